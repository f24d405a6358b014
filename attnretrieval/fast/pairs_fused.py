"""The fused score of all pairs, s = cos(g_t, g_v): the fast form of `model.paired` for one head without projections.

    once an item     tokens for the logits, base and values of the fusion        pairs_sides.py
    once a block     (1)  A_t2v, A_v2t                 pairs_attention.py
                     (2)  g_t, g_v                     pairs_add.py or pairs_gate.py, each direction with its own pooling
                     (3)  s = ĝ_t · ĝ_v                vectors of length 1: ĝ = r g

The backward of (3) needs ĝ of every pair, which the forward keeps: 2 d numbers a pair. With r as in equations/cosine.py

    d_g_t = r_t d_s (ĝ_v - s ĝ_t),   d_g_v = r_v d_s (ĝ_t - s ĝ_v)

For a sum it also keeps A, 2 n m numbers a pair, while the batch is not large: a third of the backward saved, where a gate would
save a thirtieth. All else is computed again, block by block.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attnretrieval.backend import Array, module_of, to_host
from attnretrieval.blocks import spans
from attnretrieval.equations.axes import swap
from attnretrieval.equations.cosine import L2Cache, l2_normalise
from attnretrieval.fast.pairs_add import add, add_backward
from attnretrieval.fast.pairs_attention import PairAttention, pair_attention, pair_attention_backward
from attnretrieval.fast.pairs_gate import gate, gate_backward
from attnretrieval.fast.pairs_packed import BlockSide, Group, groups, listed
from attnretrieval.fast.pairs_sides import FusedSide, prepare, prepare_backward
from attnretrieval.fast.threads import parts, share

if TYPE_CHECKING:
    from attnretrieval.model import Encoded, Model
    from attnretrieval.parameters import Parameters

FUSIONS = {"add": (add, add_backward), "concat": (add, add_backward), "gate": (gate, gate_backward)}
ELEMENTS = 56_000                   # numbers in the tokens of a group: what a block works on stays in the cache
KEPT_BYTES = 128_000_000            # of the attention of all pairs; where it takes more, the backward computes it again
CANDIDATES = 200_000                # numbers in the tokens of the candidates of one query that are scored together


class FusedBlock(NamedTuple):
    """What the backward of a block does not compute again."""

    A: PairAttention | None
    t: L2Cache                      # ĝ_t (b, a, d) and r_t
    v: L2Cache                      # ĝ_v (a, b, d) and r_v
    s: Array                        # (a, b)


class FusedCache(NamedTuple):
    t: FusedSide
    v: FusedSide
    pairs: list[tuple[Group, Group]]
    blocks: list[FusedBlock]        # of each of them


class FusedGrads(NamedTuple):
    t: BlockSide
    v: BlockSide
    log_scales: Array               # (2,) of t2v and v2t


def serves(model: Model) -> bool:
    config = model.config
    return model.fast and config.paired_score == "fused" and config.cross_heads == 1 and not config.cross_projections


def scores(
    model: Model, texts: Encoded, images: Encoded, block: tuple[int, int] | None = None, keep: bool = True
) -> tuple[Array, FusedCache | None]:
    """S (C, I). `keep=False`: for scores alone. `block`: texts and images of a block, None = what fits the cache."""
    size_t, size_v = block or (None, None)
    t, v = prepare(model, "t", texts), prepare(model, "v", images)
    pairs = list(product(_groups(t, size_t), _groups(v, size_v)))
    S = module_of(texts.H).empty((len(texts.H), len(images.H)), texts.H.dtype)
    keep_A = model.config.fusion != "gate" and 2 * len(t.H) * v.H[:, :1].nbytes <= KEPT_BYTES

    def work(here: slice) -> list[FusedBlock]:
        kept = []
        for group_t, group_v in pairs[here]:
            scored = score_block(model, t.whole.of(group_t), v.whole.of(group_v))
            S[group_t.items, group_v.items] = scored.s
            if keep:
                kept.append(scored if keep_A else scored._replace(A=None))
        return kept

    blocks = [scored for kept in share(work, parts(len(pairs))) for scored in kept]
    return S, FusedCache(t, v, pairs, blocks) if keep else None


def _groups(side: FusedSide, size: int | None) -> list[Group]:
    """All items; `size` of them make a group, or as many as fit the cache."""
    if size is None:
        count = max(1, round(side.H.size / ELEMENTS))
    else:
        count = -(-len(side.lengths) // size)
    return groups(side.lengths, min(count, len(side.lengths)), side.H)


def score_block(model: Model, t: BlockSide, v: BlockSide) -> FusedBlock:
    config = model.config
    fuse = FUSIONS[config.fusion][0]
    A = pair_attention(t.tokens, v.tokens, t.group, v.group, _scales(model))           # (1)
    _, from_t = l2_normalise(fuse(A.t2v, t, v, config.text.pooling))                   # (2)
    _, from_v = l2_normalise(fuse(swap(A.v2t), v, t, config.image.pooling))
    s = (from_t.X_hat.swapaxes(0, 1) * from_v.X_hat).sum(axis=-1)                      # (3)
    return FusedBlock(A, from_t, from_v, s)


def scores_backward(model: Model, d_S: Array, cache: FusedCache, gradient: Parameters) -> tuple[Array, Array]:
    """d_H of the texts and of the images; adds the parameters' gradients to `gradient`."""
    t, v = cache.t.for_backward(), cache.v.for_backward()

    def work(here: slice) -> FusedGrads:
        grads = FusedGrads(t.whole.zeros(), v.whole.zeros(), module_of(d_S).zeros(2, d_S.dtype))
        for (group_t, group_v), scored in zip(cache.pairs[here], cache.blocks[here], strict=True):
            of_block = FusedGrads(grads.t.of(group_t), grads.v.of(group_v), grads.log_scales)
            d_s = d_S[group_t.items, group_v.items]
            score_block_backward(model, d_s, scored, t.whole.of(group_t), v.whole.of(group_v), of_block)
        return grads

    d_t, d_v, d_log_scales = _sum(share(work, parts(len(cache.pairs))))
    if model.config.cross_logits == "cosine":
        gradient["cross_t2v.log_scale"][...] += d_log_scales[0]
        gradient["cross_v2t.log_scale"][...] += d_log_scales[1]
    return prepare_backward(model, "t", d_t, t, gradient), prepare_backward(model, "v", d_v, v, gradient)


def _sum(grads: list[FusedGrads]) -> FusedGrads:
    """What several threads found, added up in their order."""
    first = grads[0]
    for other in grads[1:]:
        for side, more in ((first.t, other.t), (first.v, other.v)):
            for x, y in zip(side, more, strict=True):
                if x is not None:
                    x += y
        first.log_scales[...] += other.log_scales
    return first


def score_block_backward(
    model: Model, d_s: Array, scored: FusedBlock, t: BlockSide, v: BlockSide, grads: FusedGrads
) -> None:
    """Adds to `grads`, which are those of this block."""
    config, scales = model.config, _scales(model)
    fuse_backward = FUSIONS[config.fusion][1]
    A, (t_hat, r_t), (v_hat, r_v), s = scored
    if A is None:
        A = pair_attention(t.tokens, v.tokens, t.group, v.group, scales)               # (1) again
    # (3) was s = ĝ_t · ĝ_v
    d_g_t = v_hat.swapaxes(0, 1) - s.T[..., None] * t_hat
    d_g_t *= r_t * d_s.T[..., None]
    d_g_v = t_hat.swapaxes(0, 1) - s[..., None] * v_hat
    d_g_v *= r_v * d_s[..., None]
    # (2)
    d_t2v = fuse_backward(d_g_t, A.t2v, t, v, config.text.pooling, grads.t, grads.v)
    d_v2t = fuse_backward(d_g_v, swap(A.v2t), v, t, config.image.pooling, grads.v, grads.t)
    # (1)
    d_P = pair_attention_backward(d_t2v, swap(d_v2t), A, t.group, v.group, scales, grads.log_scales)
    grads.t.tokens[...] += d_P @ v.tokens
    grads.v.tokens[...] += d_P.T @ t.tokens


def _scales(model: Model) -> tuple[Array, Array] | None:
    """exp(log_scale) of both directions; None for dot logits."""
    if model.config.cross_logits == "dot":
        return None
    xp = module_of(model.parameters.flat)
    return tuple(xp.exp(model.parameters[f"cross_{direction}.log_scale"]) for direction in ("t2v", "v2t"))


def pair_scores(model: Model, texts: Encoded, images: Encoded, t_index: Array, v_index: Array) -> Array:
    """s (P,) of a list of pairs: those of one text, or of one image, are scored together."""
    xp = module_of(texts.H)
    s = np.empty(len(t_index), texts.H.dtype)
    t_index, v_index = to_host(t_index), to_host(v_index)
    swapped = len(np.unique(t_index)) > len(np.unique(v_index))
    one, many = prepare(model, "t", texts), prepare(model, "v", images)
    of_one, of_many = t_index, v_index
    if swapped:
        one, many, of_one, of_many = many, one, of_many, of_one
    size = max(1, CANDIDATES // max(1, int(many.lengths.max()) * many.H.shape[-1]))
    like = xp.empty(0, texts.H.dtype)

    def work(item: int) -> None:
        here = np.flatnonzero(of_one == item)
        x = one.whole.of(listed(np.array([item]), one.lengths, like))
        for span in spans(len(here), size):
            y = many.whole.of(listed(of_many[here[span]], many.lengths, like))
            s[here[span]] = to_host(score_block(model, *((y, x) if swapped else (x, y))).s).reshape(-1)

    share(work, np.unique(of_one))
    return xp.asarray(s)
