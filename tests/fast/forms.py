"""Random inputs for the fast forms, and the comparison with the plain equations: values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

TOLERANCE = {"float64": 1e-10, "float32": 2e-4}


def close(x: np.ndarray, y: np.ndarray) -> None:
    """x, of a fast form, is y to the tolerance of its dtype, as a share of y's largest entry."""
    assert x.shape == y.shape and x.dtype == y.dtype
    np.testing.assert_allclose(x, y, rtol=0, atol=TOLERANCE[str(y.dtype)] * max(1.0, np.abs(y).max(initial=0)))


def same(
    fast: tuple[Callable, Callable], plain: tuple[Callable, Callable], rng: np.random.Generator, *args: Any, **kwargs: Any
):
    """Both forwards give one output, both backwards one gradient of every input, and no input is changed; the caches."""
    kept = [x.copy() if isinstance(x, np.ndarray) else x for x in (*args, *kwargs.values())]
    (Y, fast_cache), (Y_plain, plain_cache) = fast[0](*args, **kwargs), plain[0](*args, **kwargs)
    close(Y, Y_plain)
    d_Y = rng.normal(size=Y.shape).astype(Y.dtype)
    d_Y_kept = d_Y.copy()
    grads, grads_plain = fast[1](d_Y, fast_cache), plain[1](d_Y, plain_cache)
    assert grads._fields == grads_plain._fields
    for x, y in zip(grads, grads_plain, strict=True):
        close(x, y)
    np.testing.assert_array_equal(d_Y, d_Y_kept)
    for before, after in zip(kept, (*args, *kwargs.values()), strict=True):
        np.testing.assert_array_equal(before, after)
    return fast_cache, plain_cache


def draw_mask(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray | None:
    """None, all real, or a random one whose first row has nothing left."""
    kind = rng.integers(4)
    if kind == 0:
        return None
    mask = np.ones(shape, bool) if kind == 1 else rng.random(shape) < 0.6
    if kind > 1:
        mask.reshape(-1, shape[-1])[0] = False
    return mask
