"""Splitting a vector into heads and putting the heads side by side again: each undoes the other, and each is the other's
backward.

    split_heads    (..., n, d)            →  (..., h, n, d / h)
    join_heads     (..., h, n, d / h)     →  (..., n, d)
"""

from __future__ import annotations

from attnretrieval.backend import Array
from attnretrieval.shapes import ShapeError


def split_heads(X: Array, heads: int) -> Array:
    """A view in which head i holds features i·d/h … (i+1)·d/h - 1."""
    d = X.shape[-1]
    if heads < 1 or d % heads:
        raise ShapeError(f"d={d} cannot be split into {heads} heads of one size; choose heads that divide d")
    return X.reshape(*X.shape[:-1], heads, d // heads).swapaxes(-2, -3)


def join_heads(X: Array) -> Array:
    """The heads' features, concatenated token by token."""
    X = X.swapaxes(-2, -3)
    return X.reshape(*X.shape[:-2], X.shape[-2] * X.shape[-1])
