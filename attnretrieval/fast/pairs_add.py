"""Fusion by a sum, for all pairs of a block: add, and concat, which is a sum behind a linear layer.

    add      F = H + C                           base = H,          values = H_other
    concat   F = [H ; C] W + b                   base = H W_1 + b,  values = H_other W_2

In both F = base + A values (pairs_contexts.py). With mean pooling nothing stands between the two means and the product, so

    (1)  g = mean_i F_i = mean_i base_i + (mean_i A_i) values

and no (R, d) array exists for a pair at all: the attention is pooled first, (R, K) numbers instead of (R, d).
Max and attention pooling need every token of a pair.
"""

from __future__ import annotations

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.axes import swap
from attnretrieval.fast.pairs_contexts import contexts, contexts_backward
from attnretrieval.fast.pairs_packed import BlockSide
from attnretrieval.fast.pairs_pooling import POOLINGS


def add(A: Array, query: BlockSide, key: BlockSide, pooling: str) -> Array:
    """g (keys, queries, d): the pooled vector of each query item for each key item."""
    xp = module_of(A)
    g = xp.empty((len(key.group.segments), len(query.group.segments), query.base.shape[-1]), query.base.dtype)
    if pooling != "mean":
        pool = POOLINGS[pooling][0]
        for keys, (F,) in contexts(A, query, key):
            g[keys] = pool(F, query)
        return g
    A_mean, values = query.group.mean @ A, key.values[0]
    for j, segment in enumerate(key.group.segments):
        xp.matmul(A_mean[:, segment], values[segment], out=g[j])
    g += query.group.mean @ query.base[0]                              # (1)
    return g


def add_backward(
    d_g: Array, A: Array, query: BlockSide, key: BlockSide, pooling: str, d_query: BlockSide, d_key: BlockSide
) -> Array:
    """d_A; adds to the gradients of both parts."""
    xp = module_of(A)
    if pooling != "mean":
        d_A = xp.empty_like(A)
        for keys, (F,) in contexts(A, query, key):
            d_F = POOLINGS[pooling][1](d_g[keys], F, query, d_query)
            contexts_backward(d_F[None], keys, A, key, d_A, d_query, d_key)
        return d_A
    mean = query.group.mean
    A_mean = mean @ A
    d_A_mean = xp.empty_like(A_mean)
    # (1)
    d_query.base[0] += mean.T @ d_g.sum(axis=0)
    for j, segment in enumerate(key.group.segments):
        xp.matmul(d_g[j], key.values_T[0, :, segment], out=d_A_mean[:, segment])
        d_key.values[0, segment] += swap(A_mean[:, segment]) @ d_g[j]
    return xp.matmul(mean.T, d_A_mean, out=xp.empty_like(A))
