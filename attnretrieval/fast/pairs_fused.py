"""The fused score of all pairs, s = cos(g_t, g_v): the fast form of `model.paired` for one head without projections.

    once an item     tokens for the logits; base, values and offset of the fusion (pairs_contexts.py)
    once a block     (1)  A_t2v, A_v2t                 pairs_attention.py
                     (2)  g_t, g_v                     pairs_add.py or pairs_gate.py, each direction with its own pooling
                     (3)  s = ĝ_t · ĝ_v                vectors of length 1: ĝ = r g

The backward of (3) needs ĝ of every pair, which the forward keeps: 2 d numbers a pair. With r as in equations/cosine.py

    d_g_t = r_t d_s (ĝ_v - s ĝ_t),   d_g_v = r_v d_s (ĝ_t - s ĝ_v)

All else is computed again, block by block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attnretrieval.backend import Array, module_of, to_host
from attnretrieval.blocks import spans
from attnretrieval.equations.axes import swap
from attnretrieval.equations.cosine import L2Cache, l2_normalise, l2_normalise_backward
from attnretrieval.fast.pairs_add import add, add_backward
from attnretrieval.fast.pairs_attention import pair_attention, pair_attention_backward
from attnretrieval.fast.pairs_contexts import Part
from attnretrieval.fast.pairs_gate import gate, gate_backward
from attnretrieval.fast.pairs_packed import Group, groups, lengths_of, listed, pack, real_tokens, unpack

if TYPE_CHECKING:
    from attnretrieval.model import Encoded, Model
    from attnretrieval.parameters import Parameters

FUSIONS = {"add": (add, add_backward), "concat": (add, add_backward), "gate": (gate, gate_backward)}
OTHER = {"t": "v", "v": "t"}
LISTED = 200_000                    # the same for the candidates of one query
ELEMENTS = 56_000                   # numbers in the tokens of one group: what a block works on stays in the cache


class FusedSide(NamedTuple):
    """One side, computed once an item."""

    whole: Part                     # of all items; its group is None
    groups: list[Group]
    lengths: np.ndarray             # of the items, on the host
    H: Array                        # (R, d) real tokens
    rows: Array                     # where the real tokens stand among all
    shape: tuple[int, ...]          # of H
    looked: L2Cache | None          # of the tokens of cosine logits


class FusedBlock(NamedTuple):
    """What the backward of a block does not compute again."""

    t: L2Cache                      # ĝ_t (b, a, d) and r_t
    v: L2Cache                      # ĝ_v (a, b, d) and r_v
    s: Array                        # (a, b)


class FusedCache(NamedTuple):
    t: FusedSide
    v: FusedSide
    blocks: list[FusedBlock]


def serves(model: Model) -> bool:
    config = model.config
    return model.fast and config.paired_score == "fused" and config.cross_heads == 1 and not config.cross_projections


def scores(
    model: Model, texts: Encoded, images: Encoded, block: tuple[int, int] | None = None, keep: bool = True
) -> tuple[Array, FusedCache | None]:
    """S (C, I). `keep=False`: for scores alone. `block`: texts and images of a block, None = what fits the cache."""
    size_t, size_v = block or (None, None)
    t, v = prepare(model, "t", texts), prepare(model, "v", images)
    t = t._replace(groups=_groups(t, size_t))
    v = v._replace(groups=_groups(v, size_v))
    S = module_of(texts.H).empty((len(texts.H), len(images.H)), texts.H.dtype)
    kept = []
    for group_t, group_v in _pairs_of_groups(t, v):
        scored = score_block(model, part(t.whole, group_t), part(v.whole, group_v))
        S[group_t.items, group_v.items] = scored.s
        if keep:
            kept.append(scored)
    return S, FusedCache(t, v, kept) if keep else None


def score_block(model: Model, t: Part, v: Part) -> FusedBlock:
    config = model.config
    fuse = FUSIONS[config.fusion][0]
    A = pair_attention(t.tokens, v.tokens, t.group, v.group, _scales(model))           # (1)
    _, from_t = l2_normalise(fuse(A.t2v, t, v, config.text.pooling))                   # (2)
    _, from_v = l2_normalise(fuse(swap(A.v2t), v, t, config.image.pooling))
    s = (from_t.X_hat.swapaxes(0, 1) * from_v.X_hat).sum(axis=-1)                      # (3)
    return FusedBlock(from_t, from_v, s)


def scores_backward(model: Model, d_S: Array, cache: FusedCache, gradient: Parameters) -> tuple[Array, Array]:
    """d_H of the texts and of the images; adds the parameters' gradients to `gradient`."""
    xp = module_of(d_S)
    t, v, blocks = cache
    t, v = (side._replace(whole=side.whole._replace(values_T=xp.ascontiguousarray(swap(side.whole.values)))) for side in (t, v))
    d_t, d_v = _zeros(t.whole), _zeros(v.whole)
    scales = _scales(model)
    for (group_t, group_v), kept in zip(_pairs_of_groups(t, v), blocks, strict=True):
        d_log_scales = _block_backward(
            model, d_S[group_t.items, group_v.items], kept, part(t.whole, group_t), part(v.whole, group_v),
            part(d_t, group_t), part(d_v, group_v), scales)
        if d_log_scales is not None:
            gradient["cross_t2v.log_scale"][...] += d_log_scales[0]
            gradient["cross_v2t.log_scale"][...] += d_log_scales[1]
    return prepare_backward("t", d_t, t, model, gradient), prepare_backward("v", d_v, v, model, gradient)


def _block_backward(model: Model, d_s: Array, kept: FusedBlock, t: Part, v: Part, d_t: Part, d_v: Part, scales):
    config = model.config
    fuse_backward = FUSIONS[config.fusion][1]
    (t_hat, r_t), (v_hat, r_v), s = kept
    A = pair_attention(t.tokens, v.tokens, t.group, v.group, scales)                   # (1) again
    # (3) was s = ĝ_t · ĝ_v
    d_g_t = v_hat.swapaxes(0, 1) - s.T[..., None] * t_hat
    d_g_t *= r_t * d_s.T[..., None]
    d_g_v = t_hat.swapaxes(0, 1) - s[..., None] * v_hat
    d_g_v *= r_v * d_s[..., None]
    # (2)
    d_t2v = fuse_backward(d_g_t, A.t2v, t, v, config.text.pooling, d_t, d_v)
    d_v2t = fuse_backward(d_g_v, swap(A.v2t), v, t, config.image.pooling, d_v, d_t)
    # (1)
    d_P, d_log_scales = pair_attention_backward(d_t2v, swap(d_v2t), A, t.group, v.group, scales)
    d_t.tokens[...] += d_P @ v.tokens
    d_v.tokens[...] += d_P.T @ t.tokens
    return d_log_scales


def _pairs_of_groups(t: FusedSide, v: FusedSide) -> Iterator[tuple[Group, Group]]:
    for group_t in t.groups:
        for group_v in v.groups:
            yield group_t, group_v


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
    size = max(1, LISTED // max(1, int(many.lengths.max()) * many.H.shape[-1]))
    order = np.argsort(of_one, kind="stable")
    for start in np.unique(of_one[order], return_index=True)[1]:
        item = of_one[order[start]]
        here = order[start:][: np.count_nonzero(of_one == item)]
        x = part(one.whole, listed(item[None], one.lengths, xp.empty(0, s.dtype)))
        for span in spans(len(here), size):
            y = part(many.whole, listed(of_many[here[span]], many.lengths, xp.empty(0, s.dtype)))
            s[here[span]] = to_host(score_block(model, *((y, x) if swapped else (x, y))).s).reshape(-1)
    return xp.asarray(s)


# ---- once an item ----------------------------------------------------------------------------------------------------


def part(whole: Part, group: Group) -> Part:
    """What the tokens of one group have of `whole`, as views."""
    here = group.tokens
    return Part(group, whole.tokens[here], whole.base[:, here], whole.values[:, here],
                None if whole.values_T is None else whole.values_T[:, :, here],
                None if whole.offset is None else whole.offset[here], whole.u)


def _groups(side: FusedSide, size: int | None) -> list[Group]:
    """All items; `size` of them make a group, or as many as fit the cache."""
    if size is None:
        size = max(1, ELEMENTS * len(side.lengths) // max(1, side.H.size))
    return groups(side.lengths, size, side.H)


def prepare(model: Model, side: str, items: Encoded) -> FusedSide:
    """`side` is "t" or "v"."""
    config = model.config
    rows, lengths = real_tokens(items.mask), lengths_of(items.mask)
    H = pack(items.H, rows)
    looked = None
    if config.cross_logits == "cosine":
        tokens, looked = l2_normalise(H)
    else:
        tokens = H * (1 / math.sqrt(H.shape[-1])) if side == "t" else H
    base, values, offset = _maps(model, side, H)
    u = model.parameters[f"pool_{side}.u"] if f"pool_{side}.u" in model.parameters else None
    return FusedSide(Part(None, tokens, base, values, None, offset, u), [], lengths, H, rows,
                     items.H.shape, looked)


def _maps(model: Model, side: str, H: Array) -> tuple[Array, Array, Array | None]:
    """base, values and offset as pairs_add.py and pairs_gate.py want them."""
    if model.config.fusion == "add":
        return H[None], H[None], None
    W_1, b, W_2 = _weights(model.parameters, side)
    if model.config.fusion == "concat":
        return (H @ W_1 + b)[None], (H @ W_2)[None], None
    xp = module_of(H)
    base, values = xp.empty((2, *H.shape), H.dtype), xp.empty((2, *H.shape), H.dtype)
    xp.multiply(H, -0.5, out=base[0])
    xp.multiply(H, 0.5, out=values[0])
    xp.matmul(H, -0.5 * W_1, out=base[1])
    xp.matmul(H, -0.5 * W_2, out=values[1])
    base[1] -= 0.5 * b
    return base, values, H


def _weights(parameters: Parameters, side: str) -> tuple[Array, Array, Array]:
    """What multiplies these tokens: W_1 and b of their own fusion, and W_2 of the other side's, where they are the context."""
    W, b = parameters[f"fuse_{side}.W"], parameters[f"fuse_{side}.b"]
    return W[: len(b)], b, parameters[f"fuse_{OTHER[side]}.W"][len(b) :]


def prepare_backward(side: str, d: Part, forward: FusedSide, model: Model, gradient: Parameters) -> Array:
    """d_H (N, n, d) from the gradients of what was computed once an item."""
    if forward.looked is not None:
        (d_H,) = l2_normalise_backward(d.tokens, forward.looked)
    else:
        d_H = d.tokens * (1 / math.sqrt(d.tokens.shape[-1])) if side == "t" else d.tokens
    d_H = d_H + _maps_backward(model, side, d, forward.H, gradient)
    if d.u is not None:
        gradient[f"pool_{side}.u"][...] += d.u
    return unpack(d_H, forward.rows, forward.shape)


def _maps_backward(model: Model, side: str, d: Part, H: Array, gradient: Parameters) -> Array:
    d_base, d_values = d.base, d.values
    if model.config.fusion == "add":
        return d_base[0] + d_values[0]
    W_1, _, W_2 = _weights(model.parameters, side)
    d_W_1, d_b, d_W_2 = _weights(gradient, side)
    if model.config.fusion == "concat":
        d_asked, d_given, d_H = d_base[0], d_values[0], 0.0
    else:
        d_asked, d_given = -0.5 * d_base[1], -0.5 * d_values[1]
        d_H = d.offset + 0.5 * (d_values[0] - d_base[0])
    # H W_1 + b was asked, H W_2 was given
    d_W_1 += H.T @ d_asked
    d_W_2 += H.T @ d_given
    d_b += d_asked.sum(axis=0)
    return d_H + d_asked @ W_1.T + d_given @ W_2.T


def _zeros(whole: Part) -> Part:
    """Gradients of a side, all zero."""
    xp = module_of(whole.tokens)
    return Part(None, *(None if x is None else xp.zeros_like(x) for x in (whole.tokens, whole.base, whole.values)), None,
                *(None if x is None else xp.zeros_like(x) for x in (whole.offset, whole.u)))
