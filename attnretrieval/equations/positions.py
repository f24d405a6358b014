"""Learnt position code: a vector for every place in a sentence or every cell of an image's grid.

    (1)  Y_i = X_i + E_i        X (..., n, d), E (n_max, d), n ≤ n_max

Attention treats its tokens as a set; without E, "cat chases ball" and "ball chases cat" look the same to it.
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.shapes import ShapeError, check_array, check_same_size


class PositionCache(NamedTuple):
    n: int
    E_shape: tuple[int, int]


class PositionGrads(NamedTuple):
    d_X: Array
    d_E: Array


def position_code(X: Array, E: Array) -> tuple[Array, PositionCache]:
    """Y (..., n, d), each token with the code of its place added."""
    module_of(X, E)
    check_array("X", X, min_ndim=2)
    check_array("E", E, ndim=2)
    check_same_size("X", X, -1, "E", E, -1, "a code is as wide as a token")
    n = X.shape[-2]
    if n > len(E):
        raise ShapeError(f"X has {n} tokens but E has codes for {len(E)} places; shorten X or learn more codes")
    return X + E[:n], PositionCache(n, E.shape)                        # (1)


def position_code_backward(d_Y: Array, cache: PositionCache) -> PositionGrads:
    n, E_shape = cache
    xp = module_of(d_Y)
    # (1) was Y_i = X_i + E_i, with the same E in every sequence: its gradient is the sum over them
    d_E = xp.zeros(E_shape, d_Y.dtype)
    d_E[:n] = d_Y.reshape(-1, *d_Y.shape[-2:]).sum(axis=0)
    return PositionGrads(d_Y.copy(), d_E)
