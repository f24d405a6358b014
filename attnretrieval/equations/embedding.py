"""Word embedding: the rows of a table that the ids of a sentence name.

    (1)  X_i = E[id_i]          E (R, d) one row a word, ids (..., n), X (..., n, d)

A word that occurs twice gets both gradients: the backward adds them up, row by row (scatter-add).
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array, module_of, scatter_add
from attnretrieval.shapes import ShapeError, check_array


class EmbeddingCache(NamedTuple):
    ids: Array
    rows: int


class EmbeddingGrads(NamedTuple):
    d_E: Array


def embedding(E: Array, ids: Array) -> tuple[Array, EmbeddingCache]:
    """X (..., n, d): row `ids[..., i]` of the table E (R, d) for every word."""
    module_of(E, ids)
    check_array("E", E, ndim=2)
    if getattr(ids, "dtype", None) is None or ids.dtype.kind not in "iu":
        raise ShapeError(f"ids are {getattr(ids, 'dtype', type(ids).__name__)}, expected an array of integers")
    if ids.size and not (0 <= int(ids.min()) and int(ids.max()) < len(E)):
        raise ShapeError(f"ids run from {int(ids.min())} to {int(ids.max())} but the table E has rows 0 to {len(E) - 1}")
    return E[ids], EmbeddingCache(ids, len(E))                         # (1)


def embedding_backward(d_X: Array, cache: EmbeddingCache) -> EmbeddingGrads:
    ids, rows = cache
    # (1) was X_i = E[id_i]
    d_E = module_of(d_X).zeros((rows, d_X.shape[-1]), d_X.dtype)
    scatter_add(d_E, ids.reshape(-1), d_X.reshape(-1, d_X.shape[-1]))
    return EmbeddingGrads(d_E)
