"""Dropout (Srivastava et al. 2014), "inverted": what is kept is scaled up, so that nothing changes at test time.

    (1)  Y = X ∘ keep           keep = 0 with probability p, else 1 / (1 - p); broadcasts to X

The random draw is apart from the equation (`draw_dropout`), on the host, so that a seed gives one run on every device.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attnretrieval.backend import Array, module_of
from attnretrieval.shapes import ShapeError, check_array


class DropoutCache(NamedTuple):
    keep: Array


class DropoutGrads(NamedTuple):
    d_X: Array


def draw_dropout(rng: np.random.Generator, shape: tuple[int, ...], p: float, like: Array) -> Array:
    """A `keep` of this shape, in the dtype and on the device of `like`."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout p={p} must be at least 0 and below 1")
    keep = (rng.random(shape, dtype=np.float32) >= p) * np.asarray(1 / (1 - p), like.real.dtype)
    return module_of(like).asarray(keep)


def dropout(X: Array, keep: Array) -> tuple[Array, DropoutCache]:
    """Y, shaped as X; `keep` broadcasts to X (see `draw_dropout`)."""
    module_of(X, keep)
    check_array("X", X)
    check_array("keep", keep)
    pairs = zip(reversed(keep.shape), reversed(X.shape), strict=False)
    if keep.ndim > X.ndim or any(k not in (1, x) for k, x in pairs):
        raise ShapeError(f"keep has shape {keep.shape}, which does not broadcast to {X.shape}, that of X")
    return X * keep, DropoutCache(keep)                                # (1)


def dropout_backward(d_Y: Array, cache: DropoutCache) -> DropoutGrads:
    # (1) was Y = X ∘ keep
    return DropoutGrads(d_Y * cache.keep)
