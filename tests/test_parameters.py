"""Parameters: names and one flat vector are the same memory, and a seed draws them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from attnretrieval import parameters as parameters_module
from attnretrieval.fast import threads
from attnretrieval.parameters import STARTS, Parameters, Wanted, side_by_side
from attnretrieval.shapes import ShapeError

SHAPES = {"words.E": (4, 3), "fuse_t.W": (3, 2), "fuse_t.b": (2,), "fuse_tt.W": (1, 2), "loss.log_temperature": ()}
SIZE = 12 + 6 + 2 + 2 + 1


class Grads(NamedTuple):
    d_X: np.ndarray             # of the input: no parameter
    d_W: np.ndarray
    d_b: np.ndarray


def make(dtype: str = "float64") -> Parameters:
    return Parameters(SHAPES, np.arange(SIZE, dtype=dtype))


def test_names_and_the_flat_vector_are_one_memory():
    parameters = make()
    assert list(parameters) == list(SHAPES) and "fuse_t.W" in parameters and "fuse_t" not in parameters
    for name, shape in SHAPES.items():
        view = parameters[name]
        assert view.shape == shape and np.shares_memory(view, parameters.flat)
        view[...] = -1
        assert np.count_nonzero(parameters.flat == -1) == view.size
        view[...] = -2
    assert (parameters.flat == -2).all()
    parameters.flat += 3
    assert all((parameters[name] == 1).all() for name in SHAPES)


ATTENTION = {"a.W_Q": (3, 2), "a.b_Q": (2,), "a.W_K": (3, 2), "a.W_V": (3, 4), "b.W_Q": (2, 2), "b.W_K": (3, 2), "c.W": (2, 2)}


def test_queries_keys_and_values_lie_side_by_side():
    flat = np.arange(40)
    parameters = Parameters(ATTENTION, flat)
    assert list(parameters) == list(ATTENTION)
    assert all(parameters[name].shape == shape for name, shape in ATTENTION.items())
    joined = np.concatenate([parameters[f"a.W_{letter}"] for letter in "QKV"], axis=1)
    np.testing.assert_array_equal(joined, flat[:24].reshape(3, 8))
    assert np.shares_memory(parameters["a.W_V"], flat)
    np.testing.assert_array_equal(np.concatenate([parameters[name].ravel() for name in ("a.b_Q", "b.W_Q", "b.W_K", "c.W")]),
                                  flat[24:])                           # b has no W_V, and its W_K other rows


def test_a_name_before_its_neighbours():
    shapes = {"a.W_K": (3, 2), "a.W_Q": (3, 2), "a.W_V": (3, 2)}
    parameters = Parameters(shapes, np.arange(18))
    np.testing.assert_array_equal(np.sort(np.concatenate([parameters[name].ravel() for name in shapes])), np.arange(18))


def test_large_matrices_side_by_side_are_one_matrix(monkeypatch):
    flat = np.arange(40.0)
    a = Parameters(ATTENTION, flat).under("a")
    assert side_by_side(a["W_Q"], a["W_K"]) is None                    # not worth it
    monkeypatch.setattr(parameters_module, "LARGE", 1)
    joined = side_by_side(a["W_Q"], a["W_K"], a["W_V"])
    np.testing.assert_array_equal(joined, flat[:24].reshape(3, 8))
    joined[...] = 7                                                    # a view
    assert (flat[:24] == 7).all() and (flat[24:] != 7).all()
    wide = np.zeros((3, 12))
    assert side_by_side(wide[:, 0:4:2], wide[:, 4:8:2]) is None
    for apart in [(a["W_Q"], a["W_V"]), (a["W_K"], a["W_Q"]), (a["W_Q"], a["W_K"].copy()), (a["W_Q"], a["W_K"][:2]),
                  (a["b_Q"], a["b_Q"]), (a["W_V"], Parameters(ATTENTION, flat)["b.W_Q"])]:
        assert side_by_side(*apart) is None


class AttentionGrads(NamedTuple):
    d_W_Q: np.ndarray
    d_b_Q: np.ndarray
    d_W_K: np.ndarray
    d_W_V: np.ndarray


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("count", [1, 2])
def test_large_gradients_are_added_as_small_ones_are(count, together, monkeypatch):
    monkeypatch.setattr(parameters_module, "LARGE", 1)
    monkeypatch.setattr(threads, "LEAST", 1)
    d = np.arange(24.0).reshape(3, 8)
    of_W = [d[:, :2], d[:, 2:4], d[:, 4:]] if together else [d[:, :2].copy(), d[:, 2:4].copy(), d[:, 4:].copy()]
    gradient = Parameters(ATTENTION, np.ones(40))
    threads.set_threads(count)
    try:
        gradient.add("a", AttentionGrads(of_W[0], np.array([5.0, 6.0]), *of_W[1:]))
    finally:
        threads.set_threads(1)
    np.testing.assert_array_equal(gradient.flat, [*np.arange(1, 25), 6, 7, *[1] * 14])


def test_a_list_for_files_goes_by_names():
    parameters = Parameters.draw({name: Wanted(shape) for name, shape in ATTENTION.items()}, np.random.default_rng(0))
    listed = parameters.listed()
    np.testing.assert_array_equal(listed, np.concatenate([parameters[name].ravel() for name in ATTENTION]))
    again = Parameters.from_listed(ATTENTION, listed)
    np.testing.assert_array_equal(again.flat, parameters.flat)
    assert again.flat.dtype == np.float32 and not np.shares_memory(again.flat, listed)
    with pytest.raises(ShapeError, match="the flat vector has shape"):
        Parameters.from_listed(ATTENTION, listed[1:])


def test_the_parameters_of_a_step():
    parameters = make()
    found = parameters.under("fuse_t")
    assert list(found) == ["W", "b"]                    # not those of fuse_tt
    assert np.shares_memory(found["W"], parameters.flat)
    assert parameters.under("fuse") == parameters.under("nothing") == {}


def test_gradients_are_added():
    gradient = make().zeros_like()
    grads = Grads(np.full((9, 9), np.nan), np.ones((3, 2)), np.array([1.0, 2.0]))
    for _ in range(2):
        gradient.add("fuse_t", grads)
    np.testing.assert_array_equal(gradient["fuse_t.W"], 2)
    np.testing.assert_array_equal(gradient["fuse_t.b"], [2, 4])
    assert np.count_nonzero(gradient.flat) == 8
    gradient.add("no_such_step", grads)                 # a step without parameters
    with pytest.raises(AttributeError, match="d_E"):
        gradient.add("words", grads)


def test_a_gradient_has_a_memory_of_its_own():
    parameters = make("float32")
    gradient = parameters.zeros_like()
    assert gradient.shapes == parameters.shapes and gradient.flat.dtype == np.float32 and not gradient.flat.any()
    assert not np.shares_memory(gradient.flat, parameters.flat)


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1, (SIZE, 1)])
def test_a_flat_vector_of_another_size(size):
    shape = size if isinstance(size, tuple) else (size,)
    with pytest.raises(ShapeError) as error:
        Parameters(SHAPES, np.zeros(size))
    assert str(error.value) == f"the flat vector has shape {shape}, but the 5 parameters need ({SIZE},)"


WANTED = {name: Wanted(shape, start) for (name, shape), start in
          zip(SHAPES.items(), ["small", "fan_in", "zeros", "ones", "value"], strict=True)}


def test_a_seed_draws_the_same_values():
    one, same, other = (Parameters.draw(WANTED, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.flat, same.flat)
    assert one.shapes == SHAPES and one.flat.dtype == np.float32
    assert (one["words.E"] != other["words.E"]).all() and (one["fuse_t.W"] != other["fuse_t.W"]).all()
    double = Parameters.draw(WANTED, np.random.default_rng(0), "float64")
    np.testing.assert_array_equal(double.flat.astype("float32"), one.flat)


def test_starts():
    big = {name: Wanted((400, 50), name, 0.25) for name in STARTS}
    drawn = Parameters.draw(big, np.random.default_rng(0), "float64")
    limit = 1 / np.sqrt(400)
    assert np.abs(drawn["fan_in"]).max() <= limit and drawn["fan_in"].std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    assert abs(drawn["small"].mean()) < 1e-3 and drawn["small"].std() == pytest.approx(0.02, rel=0.02)
    assert (drawn["zeros"] == 0).all() and (drawn["ones"] == 1).all() and (drawn["value"] == 0.25).all()


def test_on_the_stand_in_for_cupy(cupy_standin):
    parameters = Parameters(SHAPES, cupy_standin.asarray(np.arange(SIZE, dtype="float64")))
    gradient = parameters.zeros_like()
    gradient.add("fuse_t", Grads(None, cupy_standin.ones((3, 2)), cupy_standin.ones(2)))
    np.testing.assert_array_equal(gradient.flat.get(), [0] * 12 + [1] * 8 + [0] * 3)
    np.testing.assert_array_equal(parameters["fuse_t.b"].get(), [18, 19])
