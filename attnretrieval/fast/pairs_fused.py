"""The fused score of all pairs, s = cos(g_t, g_v): the fast form of `model.paired` for one head without projections.

    once an item     tokens for the logits, base and values of the fusion        pairs_sides.py
    once a block     (1)  g_t, g_v                     pairs_add.py or pairs_gate.py, each direction with its own pooling
                     (2)  s = ĝ_t · ĝ_v                vectors of length 1: ĝ = r g

The backward of (2) needs ĝ of every pair, which the forward keeps: 2 d numbers a pair. With r as in equations/cosine.py

    d_g_t = r_t d_s (ĝ_v - s ĝ_t),   d_g_v = r_v d_s (ĝ_t - s ĝ_v)

The contexts of a block are computed again. Keeping A saves a third of the backward of a sum, and a thirtieth of a gate's, so a
gate keeps less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from attnretrieval.backend import Array
from attnretrieval.equations.axes import swap
from attnretrieval.equations.cosine import L2Cache, l2_normalise
from attnretrieval.fast.pairs_add import add, add_backward
from attnretrieval.fast.pairs_attention import PairAttention
from attnretrieval.fast.pairs_blocks import Kind
from attnretrieval.fast.pairs_gate import gate, gate_backward
from attnretrieval.fast.pairs_packed import BlockSide
from attnretrieval.fast.pairs_sides import prepare, prepare_backward

if TYPE_CHECKING:
    from attnretrieval.model import Model

FUSIONS = {"add": (add, add_backward), "concat": (add, add_backward), "gate": (gate, gate_backward)}
KEPT_BYTES = {"sum": 128_000_000, "gate": 8_000_000}


class Fused(NamedTuple):
    t: L2Cache                      # ĝ_t (b, a, d) and r_t
    v: L2Cache                      # ĝ_v (a, b, d) and r_v
    s: Array                        # (a, b)


def serves(model: Model) -> bool:
    config = model.config
    return model.fast and config.paired_score == "fused" and config.cross_heads == 1 and not config.cross_projections


def fused_score(model: Model, A: PairAttention, t: BlockSide, v: BlockSide) -> tuple[Array, Fused]:
    """s (a, b) of a texts and b images."""
    config = model.config
    fuse = FUSIONS[config.fusion][0]
    _, from_t = l2_normalise(fuse(A.t2v, t, v, config.text.pooling))                   # (1)
    _, from_v = l2_normalise(fuse(swap(A.v2t), v, t, config.image.pooling))
    s = (from_t.X_hat.swapaxes(0, 1) * from_v.X_hat).sum(axis=-1)                      # (2)
    return s, Fused(from_t, from_v, s)


def fused_score_backward(
    model: Model, d_s: Array, kept: Fused, A: PairAttention, t: BlockSide, v: BlockSide, d_t: BlockSide, d_v: BlockSide
) -> tuple[Array, Array, None]:
    """The gradients of both directions' weights; adds those of the sides to d_t and d_v."""
    config = model.config
    fuse_backward = FUSIONS[config.fusion][1]
    (t_hat, r_t), (v_hat, r_v), s = kept
    # (2) was s = ĝ_t · ĝ_v
    d_g_t = v_hat.swapaxes(0, 1) - s.T[..., None] * t_hat
    d_g_t *= r_t * d_s.T[..., None]
    d_g_v = t_hat.swapaxes(0, 1) - s[..., None] * v_hat
    d_g_v *= r_v * d_s[..., None]
    # (1)
    d_t2v = fuse_backward(d_g_t, A.t2v, t, v, config.text.pooling, d_t, d_v)
    d_v2t = fuse_backward(d_g_v, swap(A.v2t), v, t, config.image.pooling, d_v, d_t)
    return d_t2v, swap(d_v2t), None


def keeps(model: Model) -> int:
    return KEPT_BYTES["gate" if model.config.fusion == "gate" else "sum"]


FUSED = Kind(prepare, fused_score, fused_score_backward, prepare_backward, keeps)
