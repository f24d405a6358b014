"""The token-cosine score of all pairs: the fast form of `model.paired` for one head without projections.

It needs no context C at all. With H the tokens of one side, K those of the other, and everything that depends on one item only
(lengths, K Kᵀ) computed once an item:

    (1)  L = H Kᵀ                          one product for all pairs of a block; Lᵀ serves the other direction
    (2)  A = softmax(scale · L / (‖H‖‖K‖))   or softmax(L / √d)
    (3)  H_i · C_i = Σ_j A_ij L_ij         since C_i = Σ_j A_ij K_j
    (4)  ‖C_i‖²    = A_i (K Kᵀ) A_iᵀ       n·m·m products instead of n·m·d
    (5)  c_i = (3) / (‖H_i‖ √(4)),   s = Σ_i a_i c_i
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.blocks import blocks
from attnretrieval.equations.axes import swap
from attnretrieval.equations.cosine import EPS
from attnretrieval.equations.softmax import softmax, softmax_backward

if TYPE_CHECKING:
    from attnretrieval.model import Encoded, Model
    from attnretrieval.parameters import Parameters

BLOCK = (32, 16)                    # texts × images; may be changed


class TokenSide(NamedTuple):
    """What the form needs of a batch of items, each by itself."""

    H: Array                        # (N, n, d) tokens
    mask: Array                     # (N, n)
    r: Array                        # (N, n) 1 / ‖H_i‖
    gram: Array                     # (N, n, n) H Hᵀ
    a: Array                        # (N, n) the weights of the tokens

    def take(self, index) -> TokenSide:
        return TokenSide(*(x[index] for x in self))


class TokenSideGrads(NamedTuple):
    H: Array
    r: Array
    gram: Array
    a: Array

    def take(self, index: slice) -> TokenSideGrads:
        return TokenSideGrads(*(x[index] for x in self))


class TokenCosinesCache(NamedTuple):
    texts: Encoded
    images: Encoded
    block: tuple[int, int]


def serves(model: Model) -> bool:
    config = model.config
    return (model.wants_fast and config.paired_score == "token_cosine"
            and config.cross_heads == 1 and not config.cross_projections)


def scores(
    model: Model, texts: Encoded, images: Encoded, block: tuple[int, int] | None = None, keep: bool = True
) -> tuple[Array, TokenCosinesCache | None]:
    """S (C, I), and what `scores_backward` needs."""
    block = block or BLOCK
    S = module_of(texts.H, images.H).empty((len(texts.H), len(images.H)), texts.H.dtype)
    side_t, _ = _side(model, "t", texts)
    side_v, _ = _side(model, "v", images)
    scales = _scales(model)
    for rows, columns in blocks(S.shape, block):
        S[rows, columns] = _block(side_t.take(rows), side_v.take(columns), scales)[0]
    return S, TokenCosinesCache(texts, images, block) if keep else None


class Direction(NamedTuple):
    """One direction of a block: the tokens of a items look at those of b items. All (b, a, n, m) or (b, a, n)."""

    L: Array
    S: Array
    A: Array
    A_gram: Array
    dot: Array
    r_C: Array
    c: Array


def _scales(model: Model) -> tuple[Array | None, Array | None]:
    """exp(log_scale) of both directions, or None for dot logits."""
    if model.config.cross_logits == "dot":
        return None, None
    xp = module_of(model.parameters.flat)
    t2v, v2t = (xp.exp(model.parameters[f"cross_{direction}.log_scale"]) for direction in ("t2v", "v2t"))
    return t2v, v2t


def _side(model: Model, side: str, items: Encoded):
    xp = module_of(items.H)
    r = 1 / xp.sqrt((items.H * items.H).sum(axis=-1) + EPS)
    a, weighed = model.token_weights(side, items.H, items.mask)
    return TokenSide(items.H, items.mask, r, items.H @ swap(items.H), a), weighed


def _block(t: TokenSide, v: TokenSide, scales: tuple[Array | None, Array | None]):
    """The scores (a, b) of a texts with b images, and both directions."""
    a, n, d = t.H.shape
    b, m, _ = v.H.shape
    xp = module_of(t.H, v.H)
    P = (t.H.reshape(a * n, d) @ v.H.reshape(b * m, d).T).reshape(a, n, b, m)      # (1)
    t2v = _direction(xp.ascontiguousarray(P.transpose(2, 0, 1, 3)), t, v, scales[0])
    v2t = _direction(xp.ascontiguousarray(P.transpose(0, 2, 3, 1)), v, t, scales[1])
    s_t = (t.a * t2v.c).sum(axis=-1)                                               # (b, a)
    s_v = (v.a * v2t.c).sum(axis=-1)                                               # (a, b)
    return (s_t.T + s_v) / 2, t2v, v2t


def _direction(L: Array, q: TokenSide, k: TokenSide, scale: Array | None) -> Direction:
    """Queries q (a items of n tokens) look at keys k (b items of m tokens); L (b, a, n, m)."""
    xp = module_of(L)
    b, a, n, m = L.shape
    if scale is None:
        S = L * (1 / math.sqrt(q.H.shape[-1]))
    else:
        S = L * (scale * q.r)[:, :, None]
        S *= k.r[:, None, None, :]
    A = softmax(S, k.mask[:, None, None, :])                                       # (2)
    dot = (A * L).sum(axis=-1)                                                     # (3)
    A_gram = (A.reshape(b, a * n, m) @ k.gram).reshape(b, a, n, m)
    r_C = 1 / xp.sqrt((A * A_gram).sum(axis=-1) + EPS)                             # (4)
    return Direction(L, S, A, A_gram, dot, r_C, dot * q.r * r_C)                   # (5)


def _direction_backward(
    d_s: Array, cache: Direction, q: TokenSide, k: TokenSide, scale: Array | None, d_q: TokenSideGrads, d_k: TokenSideGrads
) -> tuple[Array, Array | None]:
    """d_L (b, a, n, m) and the gradient of log_scale from d_s (b, a); adds to d_q and d_k what belongs to single items."""
    L, S, A, A_gram, dot, r_C, c = cache
    b, a, n, m = L.shape
    # s was Σ_i a_i c_i
    d_c = d_s[..., None] * q.a
    d_q.a[...] += (d_s[..., None] * c).sum(axis=0)
    # (5) was c = dot · r · r_C
    d_dot = d_c * q.r * r_C
    d_q.r[...] += (d_c * dot * r_C).sum(axis=0)
    # (4) was r_C = (square + ε)^(-1/2), square = Σ_j A_ij (A gram)_ij, with a symmetric gram
    d_square = (d_c * dot * q.r) * (-0.5 * r_C * r_C * r_C)
    weighted = d_square[..., None] * A
    d_k.gram[...] += swap(A.reshape(b, a * n, m)) @ weighted.reshape(b, a * n, m)
    d_A = (2 * d_square)[..., None] * A_gram
    # (3) was dot = Σ_j A_ij L_ij
    d_A += d_dot[..., None] * L
    d_L = d_dot[..., None] * A
    # (2) was A = softmax(S)
    d_S = softmax_backward(d_A, A)
    if scale is None:
        d_S *= 1 / math.sqrt(q.H.shape[-1])
        d_L += d_S
        return d_L, None
    # S = scale · r_q · r_k · L: each factor's gradient is d_S · S over that factor
    d_S_S = d_S * S
    d_q.r[...] += d_S_S.sum(axis=(0, 3)) / q.r
    d_k.r[...] += d_S_S.sum(axis=(1, 2)) / k.r
    d_S *= (scale * q.r)[:, :, None]
    d_S *= k.r[:, None, None, :]
    d_L += d_S
    return d_L, d_S_S.sum()


def scores_backward(model: Model, d_S: Array, cache: TokenCosinesCache, gradient: Parameters) -> tuple[Array, Array]:
    xp = module_of(d_S)
    scales = _scales(model)
    t, weighed_t = _side(model, "t", cache.texts)
    v, weighed_v = _side(model, "v", cache.images)
    d_t, d_v = (TokenSideGrads(*(xp.zeros_like(x) for x in (side.H, side.r, side.gram, side.a))) for side in (t, v))
    for rows, columns in blocks(d_S.shape, cache.block):
        t_here, v_here = t.take(rows), v.take(columns)
        d_t_here, d_v_here = d_t.take(rows), d_v.take(columns)
        _, t2v, v2t = _block(t_here, v_here, scales)
        d_s = d_S[rows, columns] / 2
        d_L, d_log_scale = _direction_backward(d_s.T, t2v, t_here, v_here, scales[0], d_t_here, d_v_here)
        d_L_T, d_log_scale_T = _direction_backward(d_s, v2t, v_here, t_here, scales[1], d_v_here, d_t_here)
        if d_log_scale is not None:
            gradient["cross_t2v.log_scale"][...] += d_log_scale
            gradient["cross_v2t.log_scale"][...] += d_log_scale_T
        # (1) was P = H_t H_vᵀ, laid out once for each direction
        a, n, d = t_here.H.shape
        b, m, _ = v_here.H.shape
        d_P = (d_L.transpose(1, 2, 0, 3) + d_L_T.transpose(0, 3, 1, 2)).reshape(a * n, b * m)
        d_t_here.H[...] += (d_P @ v_here.H.reshape(b * m, d)).reshape(a, n, d)
        d_v_here.H[...] += (d_P.T @ t_here.H.reshape(a * n, d)).reshape(b, m, d)
    return (_side_backward(model, "t", d_t, t, weighed_t, gradient),
            _side_backward(model, "v", d_v, v, weighed_v, gradient))


def _side_backward(model: Model, side: str, d: TokenSideGrads, items: TokenSide, weighed, gradient: Parameters):
    """The gradient of the tokens H from those of what was computed from them."""
    d_H = d.H + model.token_weights_backward(side, d.a, weighed, gradient)
    # r was (H·H + ε)^(-1/2)
    d_H -= (d.r * items.r * items.r * items.r)[..., None] * items.H
    # gram was H Hᵀ
    d_H += (d.gram + swap(d.gram)) @ items.H
    return d_H


def pair_scores(model: Model, texts: Encoded, images: Encoded, t_index: Array, v_index: Array) -> Array:
    """s (P,): the pairs grouped by the side that repeats more, one block a group."""
    xp = module_of(texts.H)
    s = xp.empty(len(t_index), texts.H.dtype)
    scales = _scales(model)
    t, _ = _side(model, "t", texts)
    v, _ = _side(model, "v", images)
    by_text = len(xp.unique(t_index)) <= len(xp.unique(v_index))
    group = t_index if by_text else v_index
    order = xp.argsort(group, kind="stable")
    cuts = [0, *(int(i) + 1 for i in xp.flatnonzero(group[order][1:] != group[order][:-1])), len(order)]
    for start, end in zip(cuts, cuts[1:], strict=False):
        here = order[start:end]
        one = here[:1]
        if by_text:
            s[here] = _block(t.take(t_index[one]), v.take(v_index[here]), scales)[0][0]
        else:
            s[here] = _block(t.take(t_index[here]), v.take(v_index[one]), scales)[0][:, 0]
    return s
