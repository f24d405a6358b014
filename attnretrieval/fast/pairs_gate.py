"""Fusion by a gate, for all pairs of a block.

With G = σ(U), U = [H ; C] W + b, the fused token is

    F = G ∘ H + (1 - G) ∘ C = H + (1 - G) ∘ (C - H)

and 1 - σ(U) = σ(-U) = (1 + tanh(-U/2)) / 2. Put the halves and the signs into what is computed once an item:

    (1)  D = (C - H) / 2,  B = -([H ; C] W + b) / 2      two maps of pairs_contexts.py; base and values below
    (2)  p = 1 + tanh B                                  twice the share of the context
    (3)  F = H + D ∘ p

         base = [-H/2 , -(H W_1 + b)/2],   values = [H_other/2 , -(H_other W_2)/2],   offset = H

Backward, all from d_F, with tanh' = 1 - tanh² = p (2 - p):

    d_H += d_F,   d_D = d_F ∘ p,   d_B = d_F ∘ D ∘ p ∘ (2 - p) = d_D ∘ D ∘ (2 - p)
"""

from __future__ import annotations

from attnretrieval.backend import Array, module_of
from attnretrieval.fast.pairs_contexts import contexts, contexts_backward
from attnretrieval.fast.pairs_packed import BlockSide
from attnretrieval.fast.pairs_pooling import POOLINGS


def gate(A: Array, query: BlockSide, key: BlockSide, pooling: str) -> Array:
    """g (keys, queries, d): the pooled vector of each query item for each key item."""
    xp = module_of(A)
    pool = POOLINGS[pooling][0]
    g = xp.empty((len(key.group.segments), len(query.group.segments), query.tokens.shape[-1]), query.base.dtype)
    for keys, (D, B) in contexts(A, query, key):                       # (1)
        p = xp.tanh(B, out=B)
        p += 1                                                         # (2)
        D *= p                                                         # (3)
        g[keys] = pool(D, query)
    return g


def gate_backward(
    d_g: Array, A: Array, query: BlockSide, key: BlockSide, pooling: str, d_query: BlockSide, d_key: BlockSide
) -> Array:
    """d_A; adds to the gradients of both parts. The forward of each chunk is done again, and its memory becomes d_D and d_B."""
    xp = module_of(A)
    pool_backward = POOLINGS[pooling][1]
    d_A = xp.empty_like(A)
    for keys, Z in contexts(A, query, key):                            # (1)
        D, p = Z
        xp.tanh(p, out=p)
        p += 1                                                         # (2)
        F = None if pooling == "mean" else D * p                       # (3), where the pooling asks for it again
        d_F = pool_backward(d_g[keys], F, query, d_query)
        q = 2 - p
        q *= D
        d_D, d_B = Z
        xp.multiply(d_F, p, out=d_D)
        xp.multiply(q, d_D, out=d_B)
        contexts_backward(Z, keys, A, key, d_A, d_query, d_key)
    return d_A
