"""Fusion by a gate, for a list of pairs: one item with its candidates, as a rerank asks for. Scores alone, no gradient.

The score is that of pairs_fused.py with the gate of pairs_gate.py. Two products of an item with the gate's weights are all that
is large, and they depend on that item alone:

    (1)  X = -(H W_1 + b) / 2,   Y = -(H W_2) / 2        (2, R, d): `gate_products`, or given by a caller who kept them

For the queries of one side and each item of the other, with weights A:

    (2)  D = A H_other - H,   B = X + A Y_other          since (A H) W_2 = A (H W_2), as in pairs_contexts.py
    (3)  p = 1 + tanh B                                  twice the share of the context, (1 - G) = p / 2
    (4)  F = H + D ∘ p / 2
    (5)  mean F = mean H + ½ mean (D ∘ p)                the halves of a mean go to its result

All pairs of a batch have D and B as two maps in one array (pairs_gate.py): each item is then in many pairs, and its ±H/2 beside
X and Y are copied once for all of them. A candidate is in one pair, where those copies would cost a fifth of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.axes import swap
from attnretrieval.equations.cosine import l2_normalise
from attnretrieval.fast import pairs_fused
from attnretrieval.fast.pairs_attention import PairAttention
from attnretrieval.fast.pairs_blocks import Listed
from attnretrieval.fast.pairs_packed import BlockSide
from attnretrieval.fast.pairs_pooling import POOLINGS
from attnretrieval.fast.pairs_sides import prepare_listed

if TYPE_CHECKING:
    from attnretrieval.model import Model


def serves(model: Model) -> bool:
    return pairs_fused.serves(model) and model.config.fusion == "gate"


def gated_score(model: Model, A: PairAttention, t: BlockSide, v: BlockSide) -> tuple[Array, None]:
    """s (a, b) of a texts and b images, one of them a single item."""
    config = model.config
    g_t = _fused(A.t2v, t, v, config.text.pooling)
    g_v = _fused(swap(A.v2t), v, t, config.image.pooling)
    t_hat, v_hat = l2_normalise(g_t)[0], l2_normalise(g_v)[0]
    return (t_hat.swapaxes(0, 1) * v_hat).sum(axis=-1), None


def _fused(A: Array, query: BlockSide, key: BlockSide, pooling: str) -> Array:
    """g (keys, queries, d): the pooled vector of each query item for each key item."""
    xp = module_of(A)
    H, H_other, X, Y_other = query.offset, key.offset, query.base[0], key.values[0]
    D, B = xp.empty((2, len(key.group.segments), *H.shape), X.dtype)
    for j, segment in enumerate(key.group.segments):
        xp.matmul(A[:, segment], H_other[segment], out=D[j])
        xp.matmul(A[:, segment], Y_other[segment], out=B[j])
    D -= H
    B += X                                                             # (2)
    p = xp.tanh(B, out=B)
    p += 1                                                             # (3)
    D *= p
    if pooling != "mean":
        D *= 0.5
        return POOLINGS[pooling][0](D, query)                          # (4): H is the offset there
    g = xp.empty((len(D), len(query.group.segments), D.shape[-1]), D.dtype)
    for a, segment in enumerate(query.group.segments):
        share = query.group.mean[a, segment]
        g[:, a] = 0.5 * (share @ D[:, segment]) + share @ H[segment]   # (5)
    return g


GATED = Listed(prepare_listed, gated_score)
