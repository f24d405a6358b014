"""All pairs, or a list of pairs, block by block: what the fused score and the token cosines have in common.

    once an item     what every pair of it needs                                        prepare
    once a block     (1)  A_t2v, A_v2t of its texts and images                          pairs_attention.py
                     (2)  s of every pair from them                                     score

`Kind` names these functions for one kind of score. The backward goes the same way upwards. Of the forward it keeps (1), 3 n m
numbers a pair, while the batch is not large; what else it needs of a pair is the kind's.

Blocks are shared out over threads (threads.py). Each thread adds up gradients of its own, and these are added in a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from attnretrieval.backend import Array, module_of, to_host
from attnretrieval.blocks import spans
from attnretrieval.fast.pairs_attention import PairAttention, pair_attention, pair_attention_backward
from attnretrieval.fast.pairs_packed import Group, groups, listed
from attnretrieval.fast.threads import LEAST, parts, share, threads

if TYPE_CHECKING:
    from attnretrieval.model import Encoded, Model
    from attnretrieval.parameters import Parameters

CANDIDATES = 200_000                # numbers in the tokens of the candidates of one query that are scored together


class Side(NamedTuple):
    """One side of the matrix, computed once an item."""

    whole: Any                      # of all items: .tokens for the logits, .of(group), .zeros() and what the kind needs
    lengths: np.ndarray             # real tokens of each item, on the host
    H: Array                        # (R, d) real tokens
    rows: Array | None              # where they stand among all; None where all are real
    shape: tuple[int, ...]          # of H with its padding
    cache: Any                      # for prepare_backward


class Kind(NamedTuple):
    """One kind of score."""

    prepare: Callable[..., Side]    # (model, "t" or "v", items, often): often = each in many pairs
    score: Callable[..., Any]       # (model, A, t, v) → s (a, b), what the backward needs of the block
    backward: Callable[..., Any]    # (model, d_s, kept, A, t, v, d_t, d_v) → d_A_t2v, d_A_v2t, d_P or None
    prepare_backward: Callable[..., Array]  # (model, "t" or "v", gradients of whole, side, gradient) → d_H
    keeps: Callable[..., int]       # (model) → bytes: attention that takes more is computed again in the backward
    elements: int = 56_000          # numbers in the tokens of a group: what a block works on stays in the cache


class Block(NamedTuple):
    t: Group
    v: Group
    A: PairAttention | None
    kept: Any


class MatrixCache(NamedTuple):
    t: Side
    v: Side
    blocks: list[Block]


def scores(
    kind: Kind, model: Model, texts: Encoded, images: Encoded, block: tuple[int, int] | None = None, keep: bool = True
) -> tuple[Array, MatrixCache | None]:
    """S (C, I). `keep=False`: for scores alone. `block`: texts and images of a block, None = what fits the cache."""
    size_t, size_v = block or (None, None)
    v, t = _both(lambda side: kind.prepare(model, *side, True), ("v", images), ("t", texts))
    # all texts of one group of images in a row: the images of two threads have little in common
    groups_t, groups_v = _groups(kind, t, size_t), _groups(kind, v, size_v, threads())
    pairs = [(of_t, of_v) for of_v, of_t in product(groups_v, groups_t)]
    S = module_of(texts.H).empty((len(texts.H), len(images.H)), texts.H.dtype)
    keep_A = 3 * len(t.H) * v.H[:, :1].nbytes <= kind.keeps(model)

    def work(here: slice) -> list[Block]:
        blocks = []
        for group_t, group_v in pairs[here]:
            of_t, of_v = t.whole.of(group_t), v.whole.of(group_v)
            A = pair_attention(of_t.tokens, of_v.tokens, group_t, group_v, scales_of(model))   # (1)
            s, kept = kind.score(model, A, of_t, of_v)                                       # (2)
            S[group_t.items, group_v.items] = s
            if keep:
                blocks.append(Block(group_t, group_v, A if keep_A else None, kept))
        return blocks

    blocks = [block for some in share(work, parts(len(pairs))) for block in some]
    return S, MatrixCache(t, v, blocks) if keep else None


def scores_backward(
    kind: Kind, model: Model, d_S: Array, cache: MatrixCache, gradient: Parameters
) -> tuple[Array, Array]:
    """d_H of the texts and of the images; adds the parameters' gradients to `gradient`."""
    t, v, blocks = cache
    scales = scales_of(model)

    def work(here: slice) -> tuple[Any, Any, Array]:
        d_t, d_v = t.whole.zeros(), v.whole.zeros()
        d_log_scales = module_of(d_S).zeros(2, d_S.dtype)
        for group_t, group_v, A, kept in blocks[here]:
            of_t, of_v, d_of_t, d_of_v = t.whole.of(group_t), v.whole.of(group_v), d_t.of(group_t), d_v.of(group_v)
            if A is None:
                A = pair_attention(of_t.tokens, of_v.tokens, group_t, group_v, scales)         # (1) again
            # (2)
            d_s = d_S[group_t.items, group_v.items]
            d_t2v, d_v2t, d_P_too = kind.backward(model, d_s, kept, A, of_t, of_v, d_of_t, d_of_v)
            # (1)
            d_P = pair_attention_backward(d_t2v, d_v2t, A, group_t, group_v, scales, d_log_scales)
            if d_P_too is not None:
                d_P += d_P_too
            d_of_t.tokens[...] += d_P @ of_v.tokens
            d_of_v.tokens[...] += d_P.T @ of_t.tokens
        return d_t, d_v, d_log_scales

    d_t, d_v, d_log_scales = _sum(share(work, parts(len(blocks))))
    if scales is not None:
        gradient["cross_t2v.log_scale"][...] += d_log_scales[0]
        gradient["cross_v2t.log_scale"][...] += d_log_scales[1]
    # the two sides add to different parts of `gradient`
    d_H_v, d_H_t = _both(lambda side: kind.prepare_backward(model, *side, gradient), ("v", d_v, v), ("t", d_t, t))
    return d_H_t, d_H_v


def pair_scores(
    kind: Kind, model: Model, texts: Encoded, images: Encoded, t_index: Array, v_index: Array
) -> Array:
    """s (P,) of a list of pairs: those of one text, or of one image, are scored together."""
    xp = module_of(texts.H)
    like = xp.empty(0, texts.H.dtype)
    s = np.empty(len(t_index), texts.H.dtype)
    t_index, v_index = to_host(t_index), to_host(v_index)
    by_text = len(np.unique(t_index)) <= len(np.unique(v_index))
    t, v = kind.prepare(model, "t", texts, by_text), kind.prepare(model, "v", images, not by_text)
    one, many, of_one, of_many = (t, v, t_index, v_index) if by_text else (v, t, v_index, t_index)
    size = max(1, CANDIDATES // max(1, int(many.lengths.max(initial=1)) * many.H.shape[-1]))

    def work(item: int) -> None:
        here = np.flatnonzero(of_one == item)
        x = one.whole.of(listed(np.array([item]), one.lengths, like))
        for span in spans(len(here), size):
            y = many.whole.of(listed(of_many[here[span]], many.lengths, like))
            of_t, of_v = (x, y) if by_text else (y, x)
            A = pair_attention(of_t.tokens, of_v.tokens, of_t.group, of_v.group, scales_of(model))
            s[here[span]] = to_host(kind.score(model, A, of_t, of_v)[0]).reshape(-1)

    share(work, np.unique(of_one))
    return xp.asarray(s)


def _groups(kind: Kind, side: Side, size: int | None, workers: int = 1) -> list[Group]:
    """All items; `size` of them make a group, or as many as fit the cache, each of the `workers` getting as many groups."""
    if size is not None:
        return groups(side.lengths, -(-len(side.lengths) // size), side.H)
    count = max(1, round(side.H.size / kind.elements))
    return groups(side.lengths, count if count == 1 else -(-count // workers) * workers, side.H)


def _both(function: Callable[[tuple], Any], v: tuple, t: tuple) -> list[Any]:
    """[function(v), function(t)] of the two sides, side by side where they are large; the last of each has the tokens, H."""
    return share(function, [v, t]) if v[-1].H.size >= LEAST else [function(v), function(t)]


def scales_of(model: Model) -> tuple[Array, Array] | None:
    """exp(log_scale) of both directions; None for dot logits."""
    if model.config.cross_logits == "dot":
        return None
    xp = module_of(model.parameters.flat)
    return tuple(xp.exp(model.parameters[f"cross_{direction}.log_scale"]) for direction in ("t2v", "v2t"))


def _sum(grads: list[tuple[Any, Any, Array]]) -> tuple[Any, Any, Array]:
    """What several threads found, added up in their order."""
    first = grads[0]
    for other in grads[1:]:
        for side, more in zip(first[:2], other[:2], strict=True):
            for x, y in zip(side, more, strict=True):
                if x is not None:
                    x += y
        first[2][...] += other[2]
    return first
