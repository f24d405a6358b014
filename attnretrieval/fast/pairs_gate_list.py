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

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attnretrieval.backend import Array, module_of
from attnretrieval.blocks import spans
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

CHUNK = 65_536                      # numbers in D that are worked on at once: they stay in the cache


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
    """g (keys, queries, d): the pooled vector of each query item for each key item, a few items at a time."""
    queries, keys, d = query.group.segments, key.group.segments, query.offset.shape[-1]
    g = module_of(A).empty((len(keys), len(queries), d), query.base.dtype)
    longest = max((segment.stop - segment.start for segment in queries), default=0)
    few = CHUNK // max(1, longest * d) if pooling == "mean" else len(queries)      # other poolings want the whole group
    for some in spans(len(queries), max(1, few)):
        rows = slice(queries[some][0].start, queries[some][-1].stop)
        H, X, mean = query.offset[rows], query.base[0, rows], query.group.mean[some, rows]
        for others in spans(len(keys), max(1, CHUNK // max(1, H.size))):
            D = _share_of_context(A[rows], H, X, key, keys[others])
            if pooling == "mean":
                g[others, some] = 0.5 * (mean @ D) + mean @ H          # (5)
            else:
                D *= 0.5
                g[others] = POOLINGS[pooling][0](D, query)             # (4), where H is the offset
    return g


def _share_of_context(A: Array, H: Array, X: Array, key: BlockSide, keys: Sequence[slice]) -> Array:
    """D ∘ p (keys, R, d) of query tokens H with these items of the other side."""
    xp = module_of(A)
    D, p = xp.empty((2, len(keys), *H.shape), H.dtype)
    for j, segment in enumerate(keys):
        xp.matmul(A[:, segment], key.offset[segment], out=D[j])
        xp.matmul(A[:, segment], key.values[0, segment], out=p[j])
    D -= H
    p += X                                                             # (2)
    xp.tanh(p, out=p)
    p += 1                                                             # (3)
    D *= p
    return D


GATED = Listed(prepare_listed, gated_score)
