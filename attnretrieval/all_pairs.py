"""The scores of many pairs at once: every text with every image, and lists of pairs, each in the form that suits the model.

    token_cosine   fast/pairs_token_cosine.py     token cosines, without any context
    mean           fast/pairs_mean.py             add with mean pooling and long vectors, from dot products of tokens
    fused          fast/pairs_fused.py            fused vectors, without padding, everything of one item computed once;
                   fast/pairs_gate_list.py        the same for a list of pairs by a gate
    plain          here                           the plain equations of model.py, block by block

The first form that serves the model is taken; a model with `fast=False` gets the plain one. They agree to rounding, gradients
included (tests/fast/). All work in blocks of texts × images, keep none of the large arrays of a block and compute them again in
the backward: memory is that of one block. Results do not depend on the block beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.blocks import blocks, spans
from attnretrieval.equations.cosine import CosineCache, cosine_similarity, cosine_similarity_backward
from attnretrieval.equations.token_cosine import token_cosine
from attnretrieval.fast import pairs_fused, pairs_gate_list, pairs_mean, pairs_token_cosine
from attnretrieval.fast.pairs_blocks import Kind, pair_scores, scores, scores_backward
from attnretrieval.shapes import ShapeError

if TYPE_CHECKING:
    from attnretrieval.fast.pairs_gate_items import Source
    from attnretrieval.model import Encoded, Model
    from attnretrieval.parameters import Parameters

BLOCK = (32, 16)                    # texts × images of the plain form; may be changed
PAIRS = 128                         # pairs of a list that the plain form scores at once


class Form(NamedTuple):
    """One way to compute the same scores."""

    serves: Callable[..., bool]     # (model)
    scores: Callable[..., Any]      # (model, texts, images, block, keep) → S (C, I), what the backward needs
    backward: Callable[..., Any]    # (model, d_S, cache, gradient) → d_H_t, d_H_v
    pairs: Callable[..., Array]     # (model, texts, images, t_index, v_index, **what a caller kept) → s (P,)


class PairedGrads(NamedTuple):
    """What a pair's score asks of both sides."""

    d_H_t: Array
    d_H_v: Array
    d_g_t: Array | None = None      # of g⁰; None where alone_weight is 0
    d_g_v: Array | None = None


class ScoreMatrixCache(NamedTuple):
    form: Form
    inner: Any
    alone: CosineCache | None


def form_of(model: Model) -> str:
    """The name in FORMS of the form that computes this model's scores."""
    return next(name for name, form in FORMS.items() if form.serves(model))


def score_matrix(model: Model, texts: Encoded, images: Encoded, block: tuple[int, int] | None = None) -> Array:
    """s(t, v) of every text with every image: (C, I). `block`: texts × images at a time, None = as the form likes it."""
    return _forward(model, texts, images, block, keep=False)[0]


def score_matrix_forward(
    model: Model, texts: Encoded, images: Encoded, block: tuple[int, int] | None = None
) -> tuple[Array, ScoreMatrixCache]:
    """As `score_matrix`, with what `score_matrix_backward` needs."""
    return _forward(model, texts, images, block, keep=True)


def _forward(model: Model, texts: Encoded, images: Encoded, block: tuple[int, int] | None, keep: bool):
    form = FORMS[form_of(model)]
    S, inner = form.scores(model, texts, images, block, keep)
    alone = None
    if model.config.alone_weight:
        cosines, alone = cosine_similarity(texts.g, images.g)
        S += model.config.alone_weight * cosines
    return S, ScoreMatrixCache(form, inner, alone)


def score_matrix_backward(model: Model, d_S: Array, cache: ScoreMatrixCache, gradient: Parameters) -> PairedGrads:
    """The gradients of both sides' tokens and of g⁰ (None where it has no part); adds the parameters' to `gradient`."""
    d_g_t = d_g_v = None
    if cache.alone is not None:
        d_g_t, d_g_v = cosine_similarity_backward(model.config.alone_weight * d_S, cache.alone)
    d_H_t, d_H_v = cache.form.backward(model, d_S, cache.inner, gradient)
    return PairedGrads(d_H_t, d_H_v, d_g_t, d_g_v)


def score_pairs(
    model: Model, texts: Encoded, images: Encoded, t_index: Array, v_index: Array,
    kept: dict[str, Source] | None = None,
) -> Array:
    """s(t, v) of texts[t_index[p]] with images[v_index[p]], for a list of P pairs: (P,).

    `kept`: by side, "t" or "v", where a caller keeps what a gate needs of an item (fast/pairs_gate_items.py). H of that side
    may then be None.
    """
    xp = module_of(texts.g, images.g)
    t_index, v_index = (x if x.size else x.astype("int64") for x in (xp.asarray(t_index), xp.asarray(v_index)))
    if t_index.shape != v_index.shape or t_index.ndim != 1:
        raise ShapeError(f"t_index {t_index.shape} and v_index {v_index.shape} must be two lists of one length")
    for name, index, items in (("t_index", t_index, texts), ("v_index", v_index, images)):
        count = len(items.g)
        if index.size and not (-count <= int(index.min()) and int(index.max()) < count):
            raise ShapeError(f"{name} goes from {int(index.min())} to {int(index.max())}, but there are {count} items: "
                             "number them from 0")
    given = {"kept": kept} if kept else {}
    s = FORMS[form_of(model)].pairs(model, texts, images, t_index, v_index, **given)
    if model.config.alone_weight:
        for here in spans(len(s), PAIRS):
            s[here] += model.config.alone_weight * token_cosine(texts.g[t_index[here]], images.g[v_index[here]])[0]
    return s


# ---- the plain form --------------------------------------------------------------------------------------------------


class PlainCache(NamedTuple):
    texts: Encoded
    images: Encoded
    block: tuple[int, int]


def plain_scores(model: Model, texts: Encoded, images: Encoded, block: tuple[int, int] | None = None, keep: bool = True):
    block = block or BLOCK
    S = module_of(texts.H, images.H).empty((len(texts.H), len(images.H)), texts.H.dtype)
    for rows, columns in blocks(S.shape, block):
        S[rows, columns] = model.paired(_each_with_all(texts.take(rows)), images.take(columns))[0]
    return S, PlainCache(texts, images, block) if keep else None


def plain_scores_backward(model: Model, d_S: Array, cache: PlainCache, gradient: Parameters) -> tuple[Array, Array]:
    texts, images, block = cache
    xp = module_of(d_S)
    d_H_t, d_H_v = xp.zeros_like(texts.H), xp.zeros_like(images.H)
    for rows, columns in blocks(d_S.shape, block):
        _, paired = model.paired(_each_with_all(texts.take(rows)), images.take(columns))
        grads = model.paired_backward(d_S[rows, columns], paired, gradient)
        d_H_t[rows] += grads.d_H_t[:, 0]
        d_H_v[columns] += grads.d_H_v
    return d_H_t, d_H_v


def plain_pairs(model: Model, texts: Encoded, images: Encoded, t_index: Array, v_index: Array) -> Array:
    s = module_of(texts.H).empty(len(t_index), texts.H.dtype)
    for here in spans(len(s), PAIRS):
        s[here] = model.paired(texts.take(t_index[here]), images.take(v_index[here]))[0]
    return s


def _each_with_all(texts: Encoded) -> Encoded:
    """(N, n, d) to (N, 1, n, d): broadcasts against the images (I, m, d)."""
    return type(texts)(*(x[:, None] for x in texts))


def fused_pairs(
    model: Model, texts: Encoded, images: Encoded, t_index: Array, v_index: Array, kept: dict[str, Source] | None = None
) -> Array:
    """A gate has a form of its own for lists."""
    if model.config.fusion == "gate":
        return pairs_gate_list.gate_pairs(model, texts, images, t_index, v_index, kept)
    return pair_scores(pairs_fused.FUSED, model, texts, images, t_index, v_index)


def _of_kind(serves: Callable[[Model], bool], kind: Kind) -> Form:
    return Form(serves, *(partial(function, kind) for function in (scores, scores_backward, pair_scores)))


FORMS = {
    "token_cosine": _of_kind(pairs_token_cosine.serves, pairs_token_cosine.TOKEN_COSINE),
    "mean": _of_kind(pairs_mean.serves, pairs_mean.MEAN)._replace(pairs=fused_pairs),
    "fused": _of_kind(pairs_fused.serves, pairs_fused.FUSED)._replace(pairs=fused_pairs),
    "plain": Form(lambda model: True, plain_scores, plain_scores_backward, plain_pairs),
}
