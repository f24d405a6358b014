"""NumPy or CuPy: every equation runs unchanged on CuPy arrays (a stand-in here), and the two never mix by accident."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from attnretrieval import backend
from attnretrieval.course.cases import CASES
from attnretrieval.equations.attention import attention
from attnretrieval.model import Model
from attnretrieval.parameters import Parameters
from attnretrieval.training.objective import Objective, objective_backward, objective_forward
from tests.standin_cupy import make, ndarray
from tests.test_model import CONFIGS, build, draw_batch


def arrays_in(x) -> list:
    """Every array in a result, a cache or a NamedTuple of gradients."""
    if isinstance(x, (tuple, list)):
        return [y for part in x for y in arrays_in(part)]
    return [x] if backend.is_array(x) or isinstance(x, np.generic) else []


def like_d_out(rng: np.random.Generator, out):
    return np.asarray(rng.normal(size=np.shape(out)), np.asarray(out).dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_every_equation_runs_on_the_device_with_the_same_values(name, dtype, cupy_standin):
    forward, backward, make_variants = CASES[name][:3]
    for inputs, options in make_variants(np.random.default_rng(0), dtype).values():
        out, cache = forward(**inputs, **options)
        d_out = like_d_out(np.random.default_rng(1), out)
        grads = backward(d_out, cache)

        there = {key: cupy_standin.asarray(x) if isinstance(x, np.ndarray) else x for key, x in {**inputs, **options}.items()}
        out_there, cache_there = forward(**there)
        grads_there = backward(cupy_standin.asarray(d_out), cache_there)
        for result in (out_there, cache_there, grads_there):
            assert all(isinstance(x, ndarray) for x in arrays_in(result)), f"{name}: something went to the host"
        here, gone = (arrays_in(x) for x in ((out, grads), (out_there, grads_there)))
        assert len(here) == len(gone)
        for x, y in zip(here, gone, strict=True):
            assert (y.shape, y.dtype) == (x.shape, x.dtype)
            np.testing.assert_allclose(backend.to_host(y), x, rtol=1e-6 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_whole_chain_runs_on_the_device_with_the_same_gradient(name, cupy_standin):
    model, batch, objective = build(CONFIGS[name]), draw_batch(np.random.default_rng(1)), Objective(paired_weight=0.7)
    there = Model(model.config, Parameters(model.parameters.shapes, cupy_standin.asarray(model.parameters.flat)),
                  None if model.table is None else cupy_standin.asarray(model.table))
    batch_there = batch._make(cupy_standin.asarray(x) for x in batch)
    flat = []
    for m, b in ((model, batch), (there, batch_there)):
        _, cache = objective_forward(m, b, objective)
        gradient = m.parameters.zeros_like()
        objective_backward(m, cache, objective, gradient)
        flat.append(gradient.flat)
    assert isinstance(flat[1], ndarray)
    np.testing.assert_allclose(backend.to_host(flat[1]), flat[0], rtol=1e-12, atol=1e-14)


def test_the_arrays_decide_the_module(cupy_standin):
    x, y = np.ones(2), cupy_standin.ones(2)
    assert backend.module_of() is np
    assert backend.module_of(x, None, 3.0) is np
    assert backend.module_of(y, None, 3.0) is cupy_standin
    assert backend.is_array(x) and backend.is_array(y) and not backend.is_array([1.0]) and not backend.is_array(None)


def test_mixing_the_two_is_refused(cupy_standin):
    Q = np.ones((3, 4))
    K = cupy_standin.ones((5, 4))
    with pytest.raises(backend.MixedArraysError, match="to_device"):
        attention(Q, K, K)
    with pytest.raises(backend.MixedArraysError):
        attention(K, K, K, np.ones(5, bool))
    with pytest.raises(backend.MixedArraysError):
        backend.scatter_add(K, np.array([0]), cupy_standin.ones((1, 4)))


@pytest.mark.parametrize("name", [name for name in CASES])
def test_every_equation_refuses_a_mix(name, cupy_standin):
    forward, _, make_variants = CASES[name][:3]
    for inputs, options in make_variants(np.random.default_rng(0), np.float64).values():
        arrays = [key for key, x in {**inputs, **options}.items() if isinstance(x, np.ndarray)]
        if len(arrays) > 1:
            mixed = {**inputs, **options}
            mixed[arrays[-1]] = cupy_standin.asarray(mixed[arrays[-1]])
            with pytest.raises(backend.MixedArraysError):
                forward(**mixed)
            return


def test_there_and_back(cupy_standin):
    x = np.arange(6.0).reshape(2, 3)
    there = backend.to_device(x, "gpu")
    assert isinstance(there, ndarray)
    assert backend.to_device(there, "gpu") is there
    back = backend.to_device(there, "cpu")
    assert isinstance(back, np.ndarray)
    np.testing.assert_array_equal(back, x)
    assert backend.to_host(x) is x


def test_scatter_add_adds_repeated_rows(cupy_standin):
    for xp in (np, cupy_standin):
        target = xp.zeros((3, 2))
        backend.scatter_add(target, xp.asarray([2, 0, 2]), xp.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        np.testing.assert_array_equal(backend.to_host(target), [[3, 4], [0, 0], [6, 8]])


@pytest.mark.parametrize("shape", [(), (7,), (3, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_scatter_add_of_many_numbers_is_that_of_few(shape, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    index = rng.integers(0, 9, 200)
    values, target = (rng.standard_normal((count, *shape)).astype(dtype) for count in (200, 11))
    expected = target.copy()
    backend.scatter_add(expected, index, values)
    monkeypatch.setattr(backend, "MANY", 0)
    backend.scatter_add(target, index, values)
    np.testing.assert_allclose(target, expected, rtol=1e-5 if dtype is np.float32 else 1e-13, atol=1e-6)
    backend.scatter_add(target, index[:0], values[:0])
    with pytest.raises(IndexError, match="out of bounds"):
        backend.scatter_add(target, index + 3, values)


def test_an_unknown_device_is_named():
    with pytest.raises(ValueError, match="'tpu' is not one of cpu, gpu"):
        backend.module("tpu")


def test_without_cupy_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)                     # import cupy then raises ImportError
    with pytest.raises(backend.DeviceUnavailableError, match=r'pip install "attnretrieval\[gpu\]"'):
        backend.to_device(np.ones(2), "gpu")


def test_with_cupy_and_no_driver_the_message_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", make(available=False))
    with pytest.raises(backend.DeviceUnavailableError, match="no CUDA device or driver"):
        backend.module("gpu")


# --- the stand-in itself: it must refuse what CuPy refuses, or the tests above prove nothing ---------------------------


@pytest.mark.parametrize("use", [
    lambda x, cupy: np.asarray(x),
    lambda x, cupy: np.exp(x),
    lambda x, cupy: np.sum(x),
    lambda x, cupy: np.where(x > 0, x, 0),
    lambda x, cupy: np.concatenate([x, x]),
    lambda x, cupy: np.ones(3) + x,
    lambda x, cupy: x + np.ones(3),
    lambda x, cupy: np.ones((3, 3)) @ x,
    lambda x, cupy: x > np.ones(3),
    lambda x, cupy: x.__iadd__(np.ones(3)),
    lambda x, cupy: np.ones(3).__iadd__(x),
    lambda x, cupy: x[np.array([0, 1])],
    lambda x, cupy: x.__setitem__(slice(None), np.ones(3)),
    lambda x, cupy: np.ones(3).__setitem__(slice(None), x),
    lambda x, cupy: np.ones(3)[x > 0],
    lambda x, cupy: cupy.exp(np.ones(3)),
    lambda x, cupy: cupy.maximum(x, np.ones(3)),
    lambda x, cupy: cupy.concatenate([x, np.ones(3)]),
    lambda x, cupy: x.sum(where=x > 0),
    lambda x, cupy: x.max(initial=0.0),
    lambda x, cupy: cupy.exp(x, where=x > 0),
    lambda x, cupy: cupy.add.at(x, np.array([0]), x[:1]),
    lambda x, cupy: range(3)[x.argmax()],
    lambda x, cupy: cupy.vecdot(x, x),
    lambda x, cupy: cupy.matvec(x[None], x),
    lambda x, cupy: cupy.errstate(divide="ignore"),
    lambda x, cupy: cupy.random.normal(size=3),
    lambda x, cupy: cupy.add.reduce(x),
    lambda x, cupy: x.partition(1),
    lambda x, cupy: cupy.where(True, x, x),
], ids=lambda use: None)
def test_the_stand_in_refuses(use, cupy_standin):
    with pytest.raises((TypeError, AttributeError, IndexError, ValueError)):
        use(cupy_standin.arange(3.0), cupy_standin)


def test_the_stand_in_does_what_cupy_does(cupy_standin):
    x = cupy_standin.arange(6.0).reshape(2, 3)
    assert isinstance(x.sum(), ndarray) and x.sum().shape == ()
    assert isinstance(x[0, 0], ndarray) and float(x[1, 2]) == 5.0
    assert all(isinstance(row, ndarray) for row in x) and len(x) == 2
    assert isinstance(np.float64(2) * x, ndarray) and isinstance(2 * x, ndarray)
    view = x[0]
    view += 1
    assert float(x[0, 0]) == 1.0                                       # a slice is a view
    total = x.sum()
    total += 1
    assert float(total) == 19.0
    cupy_standin.exp(x, out=x)
    assert float(x[0, 0]) == pytest.approx(np.e)
    assert type(cupy_standin.asnumpy(x)) is np.ndarray
