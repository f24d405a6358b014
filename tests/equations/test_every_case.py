"""What holds for every equation in every case: dtypes, layouts in memory, and calls in any order."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course.cases import CASES
from attnretrieval.shapes import ShapeError


def variants(name: str, dtype=np.float64):
    return CASES[name].make(np.random.default_rng(5), dtype).items()


def run(name: str, inputs: dict, options: dict, seed: int = 6):
    """The output and the gradients, by name."""
    forward, backward = CASES[name][:2]
    out, cache = forward(**inputs, **options)
    d_out = np.asarray(np.random.default_rng(seed).normal(size=np.shape(out)), out.dtype)
    return out, backward(d_out, cache)._asdict()


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32_and_is_close(name):
    doubles = dict(variants(name))
    for label, (inputs, options) in variants(name, np.float32):
        out, grads = run(name, inputs, options)
        exact, exact_grads = run(name, *doubles[label])
        assert out.dtype == np.float32
        scale = max((np.abs(d).max() for d in exact_grads.values() if d is not None and d.size), default=0)
        np.testing.assert_allclose(out, exact, rtol=1e-4, atol=1e-4)
        for key, d in grads.items():
            if d is not None:
                assert d.dtype == np.float32, f"{label}: {key}"
                np.testing.assert_allclose(d, exact_grads[key], atol=2e-4 * scale, err_msg=f"{label}: {key}")


@pytest.mark.parametrize("name", CASES)
def test_the_layout_in_memory_does_not_matter(name):
    def strided(x):
        """The same values, every second element of a larger array, in Fortran order."""
        if not isinstance(x, np.ndarray) or x.ndim == 0:
            return x
        room = np.zeros([2 * size for size in x.shape], x.dtype, order="F")
        room[tuple(slice(None, None, 2) for _ in x.shape)] = x
        return room[tuple(slice(None, None, 2) for _ in x.shape)]

    for label, (inputs, options) in variants(name):
        out, grads = run(name, inputs, options)
        out_s, grads_s = run(name, *({key: strided(x) for key, x in xs.items()} for xs in (inputs, options)))
        np.testing.assert_allclose(out_s, out, rtol=1e-12, atol=1e-13, err_msg=label)
        for key, d in grads.items():
            if d is not None:
                np.testing.assert_allclose(grads_s[key], d, rtol=1e-10, atol=1e-12, err_msg=f"{label}: {key}")


@pytest.mark.parametrize("name", CASES)
def test_read_only_inputs_are_enough(name):
    """A memory-mapped store or a shared parameter vector may not be writable."""
    for _, (inputs, options) in variants(name):
        for x in (*inputs.values(), *options.values()):
            if isinstance(x, np.ndarray):
                x.flags.writeable = False
        run(name, inputs, options)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"split_heads", "join_heads"}))
def test_integers_are_refused(name):
    """A product of integers would overflow or round without a word. Heads may hold anything."""
    inputs, options = next(iter(variants(name)))[1]
    for key, x in inputs.items():
        if x is not None and x.dtype.kind == "f":
            with pytest.raises(ShapeError, match="expected floats"):
                CASES[name].forward(**{**inputs, key: x.astype(int)}, **options)
