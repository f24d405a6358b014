"""The contexts of a block, key item by key item, together with the linear layer that follows them.

For the queries of a group (R tokens) and each key item j with weights A_j (R, K_j), one product a linear map:

    (1)  Z_j = base + A_j values_j                   (s, R, d), s maps at once

since [H ; C] W = H W_1 + C W_2 and C W_2 = (A H_other) W_2 = A (H_other W_2): `base` comes from the queries and `values` from
the keys, both computed once an item, so that no product with W is done for a pair. pairs_add.py and pairs_gate.py say what they
are.

Backward, with d_Z of all key items of a block:

    (2)  d_A_j = Σ_s d_Z_j values_jᵀ,   d_values_j += A_jᵀ d_Z_j,   d_base += Σ_j d_Z_j
"""

from __future__ import annotations

from collections.abc import Iterator

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.axes import swap
from attnretrieval.fast.pairs_packed import BlockSide

CHUNK = 32_768                      # numbers of one map that are worked on at once: they stay in the cache


def contexts(A: Array, query: BlockSide, key: BlockSide) -> Iterator[tuple[slice, Array]]:
    """Chunks of key items, and their Z (s, chunk, R, d). The same memory is used again for the next chunk."""
    xp = module_of(A)
    s, R, d = query.base.shape
    segments = key.group.segments
    size = min(len(segments), max(1, CHUNK // max(1, R * d)))
    memory = xp.empty((s, size, R, d), query.base.dtype)
    for start in range(0, len(segments), size):
        Z = memory[:, : len(segments) - start]
        for j, segment in enumerate(segments[start : start + size]):
            xp.matmul(A[:, segment], key.values[:, segment], out=Z[:, j])
        Z += query.base[:, None]                                       # (1)
        yield slice(start, start + Z.shape[1]), Z


def contexts_backward(
    d_Z: Array, keys: slice, A: Array, key: BlockSide, d_A: Array, d_query: BlockSide, d_key: BlockSide
) -> None:
    """Fills d_A (R, R_key) for these key items; adds to d_base and d_values."""
    for j, segment in enumerate(key.group.segments[keys]):
        d_A[:, segment] = (d_Z[:, j] @ key.values_T[:, :, segment]).sum(axis=0)
        d_key.values[:, segment] += swap(A[:, segment]) @ d_Z[:, j]
        d_query.base[...] += d_Z[:, j]                                 # (2)
