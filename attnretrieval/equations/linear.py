"""Linear layer.

    (1)  Y = X W + b        X (..., d_in), W (d_in, d_out), b (d_out)

The leading axes are flattened first: one product of (N·n, d_in) with W is much faster than N products of (n, d_in).
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.shapes import check_array, check_same_size, check_shape


class LinearCache(NamedTuple):
    X: Array
    W: Array
    has_bias: bool


class LinearGrads(NamedTuple):
    d_X: Array
    d_W: Array
    d_b: Array | None


def linear(X: Array, W: Array, b: Array | None = None) -> tuple[Array, LinearCache]:
    """Y (..., d_out) from X (..., d_in)."""
    module_of(X, W, b)
    check_array("X", X, min_ndim=1)
    check_array("W", W, ndim=2)
    check_same_size("X", X, -1, "W", W, 0, "W is (d_in, d_out)")
    Y = X.reshape(-1, W.shape[0]) @ W                                  # (1)
    if b is not None:
        check_shape("b", b, (W.shape[1],), "one bias an output")
        Y += b
    return Y.reshape(*X.shape[:-1], W.shape[1]), LinearCache(X, W, b is not None)


def linear_backward(d_Y: Array, cache: LinearCache) -> LinearGrads:
    X, W, has_bias = cache
    d_Y = d_Y.reshape(-1, W.shape[1])
    # (1) was Y = X W + b
    d_X = (d_Y @ W.T).reshape(X.shape)
    d_W = X.reshape(-1, W.shape[0]).T @ d_Y
    d_b = d_Y.sum(axis=0) if has_bias else None
    return LinearGrads(d_X, d_W, d_b)
