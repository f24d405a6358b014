"""Feed-forward sublayer (Vaswani et al. 2017, equation 2): the same two layers on every token.

    (1)  U = X W_1 + b_1        (..., n, d_hidden)
    (2)  R = max(0, U)          the ReLU; its kink at 0 gets gradient 0
    (3)  Y = R W_2 + b_2        (..., n, d_out)
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array
from attnretrieval.equations.linear import LinearCache, linear, linear_backward
from attnretrieval.shapes import check_array, check_same_size


class FeedForwardCache(NamedTuple):
    to_U: LinearCache
    to_Y: LinearCache           # .X is R


class FeedForwardGrads(NamedTuple):
    d_X: Array
    d_W_1: Array
    d_b_1: Array
    d_W_2: Array
    d_b_2: Array


def feed_forward(X: Array, W_1: Array, b_1: Array, W_2: Array, b_2: Array) -> tuple[Array, FeedForwardCache]:
    """Y (..., d_out) from X (..., d_in)."""
    check_array("W_1", W_1, ndim=2)
    check_array("W_2", W_2, ndim=2)
    check_same_size("W_1", W_1, 1, "W_2", W_2, 0, "one row of W_2 a hidden feature")
    U, to_U = linear(X, W_1, b_1)                                      # (1)
    U *= U.real > 0                                                    # (2)
    Y, to_Y = linear(U, W_2, b_2)                                      # (3)
    return Y, FeedForwardCache(to_U, to_Y)


def feed_forward_backward(d_Y: Array, cache: FeedForwardCache) -> FeedForwardGrads:
    # (3) was Y = R W_2 + b_2
    d_R, d_W_2, d_b_2 = linear_backward(d_Y, cache.to_Y)
    # (2) was R = max(0, U)
    R = cache.to_Y.X
    d_R *= R.real > 0
    # (1) was U = X W_1 + b_1
    d_X, d_W_1, d_b_1 = linear_backward(d_R, cache.to_U)
    return FeedForwardGrads(d_X, d_W_1, d_b_1, d_W_2, d_b_2)
