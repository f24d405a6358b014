"""The fused score of all pairs for add with mean pooling and dot logits: from dot products of tokens alone.

Words T (n, d) of a text and regions V (m, d) of an image; e = 1/n for every word, f = 1/m for every region. With α the mean over
the words of A_t2v, and β the mean over the regions of A_v2t, the fused vectors are weighted sums of these tokens:

    g_t = e T + α V,   g_v = β T + f V

so all that a cosine needs of them follows from the Gram matrices G = T Tᵀ and K = V Vᵀ, computed once an item, and from
Q = T Vᵀ = √d P, which the attention has computed already (pairs_attention.py):

    (1)  x      = g_t·g_v = β·(G e + Q α) + e·Q f + α·K f
    (2)  ‖g_t‖² = e G e + 2 e·Q α + α K α
    (3)  ‖g_v‖² = f K f + 2 β·Q f + β G β
    (4)  s      = x r_t r_v,   r = 1/√(‖g‖² + ε)

A pair costs some n m operations in place of (n + m) d, and the backward needs some (n + m) numbers of it in place of 2 d. That
pays where d is large: where a group (pairs_blocks.py) has no more tokens than a token has numbers. The Gram matrices of a group
are one matrix, 0 where tokens are of different items; α (a, R_v) and β (R_t, b) are those of all its pairs.

Rounding: (2) and (3) lose digits where their terms cancel, g_t ≈ 0. They are not taken for less than can be told from 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.cosine import EPS
from attnretrieval.fast import pairs_fused
from attnretrieval.fast.pairs_attention import PairAttention
from attnretrieval.fast.pairs_blocks import ELEMENTS, Kind, Side
from attnretrieval.fast.pairs_packed import Group, lengths_of, pack, real_tokens, unpack
from attnretrieval.fast.pairs_sides import logit_tokens

if TYPE_CHECKING:
    from attnretrieval.model import Encoded, Model
    from attnretrieval.parameters import Parameters


class MeanSide(NamedTuple):
    """What the tokens of a group bring into a block, or the gradients of that."""

    group: Group
    tokens: Array                   # (R, d) as they enter the logits
    gram: Array                     # (R, R) of tokens of one item, else 0
    to_mean: Array                  # (R,) G e: each token with the mean of its item
    square: Array                   # (a,) e G e: of that mean
    e: Array                        # (R,) the weight of the token in that mean


class Parts(dict):
    """The groups of one side that were asked for, by their first item."""

    def __iadd__(self, other: Parts) -> Parts:
        """Adds gradients that another thread has found; those of the tokens are views of what is added elsewhere."""
        for first, part in other.items():
            if first in self:
                for x, y in zip(self[first][2:5], part[2:5], strict=True):
                    x += y
            else:
                self[first] = part
        return self


class Whole(NamedTuple):
    """One side, or its gradients, whose Gram matrices are made when a group is first asked for."""

    tokens: Array                   # (R, d)
    parts: Parts
    H: Array | None                 # (R, d); None in gradients

    def of(self, group: Group) -> MeanSide:
        first = group.items.start
        if first not in self.parts:
            tokens, e = self.tokens[group.tokens], group.mean.sum(axis=0)
            gram = module_of(tokens).zeros((len(tokens), len(tokens)), tokens.dtype)
            if self.H is not None:
                H = self.H[group.tokens]
                for segment in group.segments:
                    gram[segment, segment] = H[segment] @ H[segment].T
            to_mean = gram @ e
            self.parts[first] = MeanSide(group, tokens, gram, to_mean, group.mean @ to_mean, e)
        return self.parts[first]

    def zeros(self) -> Whole:
        return Whole(module_of(self.tokens).zeros_like(self.tokens), Parts(), None)


class Kept(NamedTuple):
    s: Array                        # (a, b), as r_t and r_v
    r_t: Array
    r_v: Array
    alpha: Array                    # (a, R_v), as alpha_K
    alpha_K: Array
    beta: Array                     # (R_t, b), as the following
    G_beta: Array
    Q_alpha: Array
    Q_f: Array


def serves(model: Model) -> bool:
    config = model.config
    return (pairs_fused.serves(model) and config.fusion == "add" and config.cross_logits == "dot"
            and config.text.pooling == config.image.pooling == "mean" and config.d**2 >= ELEMENTS)


def prepare(model: Model, side: str, items: Encoded, often: bool) -> Side:
    """The texts (`side` "t") or the images ("v"), each in many pairs."""
    rows, lengths = real_tokens(items.mask), lengths_of(items.mask)
    H = pack(items.H, rows)
    tokens, _ = logit_tokens(model, side, H)
    return Side(Whole(tokens, Parts(), H), lengths, H, rows, items.H.shape, None)


def mean_score(model: Model, A: PairAttention, t: MeanSide, v: MeanSide) -> tuple[Array, Kept]:
    """s (a, b) of a texts and b images."""
    xp = module_of(A.P)
    texts, images, root = t.group, v.group, math.sqrt(t.tokens.shape[-1])
    alpha, beta = texts.mean @ A.t2v, A.v2t @ images.mean.T
    alpha_K, G_beta = alpha @ v.gram, t.gram @ beta
    Q_alpha = (A.P * xp.take(alpha, texts.owner, axis=0)) @ images.member
    Q_alpha *= root
    Q_f = A.P @ images.mean.T
    Q_f *= root
    of_text = texts.member.T
    x = of_text @ (beta * (t.to_mean[:, None] + Q_alpha)) + texts.mean @ Q_f + (alpha * v.to_mean) @ images.member   # (1)
    r_t = _inverse_length(t.square[:, None] + (alpha * alpha_K) @ images.member, 2 * (texts.mean @ Q_alpha))        # (2)
    r_v = _inverse_length(v.square + of_text @ (beta * G_beta), 2 * (of_text @ (beta * Q_f)))                       # (3)
    s = x * r_t * r_v                                                                                               # (4)
    return s, Kept(s, r_t, r_v, alpha, alpha_K, beta, G_beta, Q_alpha, Q_f)


def mean_score_backward(
    model: Model, d_s: Array, kept: Kept, A: PairAttention, t: MeanSide, v: MeanSide, d_t: MeanSide, d_v: MeanSide
) -> tuple[Array, Array, Array]:
    """The gradients of both directions' weights and of P; adds those of the sides to d_t and d_v."""
    s, r_t, r_v, alpha, alpha_K, beta, G_beta, Q_alpha, Q_f = kept
    xp = module_of(A.P)
    texts, images, root = t.group, v.group, math.sqrt(t.tokens.shape[-1])
    to_regions = images.member.T
    # (4); of the squares, not of the lengths
    d_x, d_t2, d_v2 = d_s * r_t * r_v, -0.5 * d_s * s * r_t * r_t, -0.5 * d_s * s * r_v * r_v
    d_t.square[...] += d_t2.sum(axis=1)
    d_v.square[...] += d_v2.sum(axis=0)
    # each word gets those of its text (R_t, b), each region those of its image (a, R_v)
    x_words, t2_words, v2_words = (xp.take(d, texts.owner, axis=0) for d in (d_x, d_t2, d_v2))
    x_regions, t2_regions = d_x @ to_regions, d_t2 @ to_regions
    # (1), (2) and (3): what stands beside Q α and Q f
    x_beta, v2_beta = x_words * beta, v2_words * beta
    d_Q_alpha = x_beta + 2 * t.e[:, None] * t2_words
    d_Q_f = t.e[:, None] * x_words + 2 * v2_beta
    d_Q_alpha *= root
    d_Q_f *= root
    # Q α and Q f themselves
    d_P = d_Q_alpha @ to_regions
    d_alpha = texts.member.T @ (A.P * d_P)
    d_P *= xp.take(alpha, texts.owner, axis=0)
    d_P += (d_Q_f * images.share[:, 0]) @ to_regions
    # the other terms of (1), (2) and (3)
    d_alpha += x_regions * v.to_mean
    d_alpha += 2 * t2_regions * alpha_K
    d_beta = x_words * (t.to_mean[:, None] + Q_alpha) + 2 * v2_words * (Q_f + G_beta)
    d_t.to_mean[...] += x_beta.sum(axis=1)
    d_v.to_mean[...] += (x_regions * alpha).sum(axis=0)
    d_t.gram[...] += v2_beta @ beta.T
    d_v.gram[...] += (t2_regions * alpha).T @ alpha
    # α and β were means
    return xp.take(texts.share * d_alpha, texts.owner, axis=0), (d_beta * images.share[:, 0]) @ to_regions, d_P


def prepare_backward(model: Model, side: str, d: Whole, forward: Side, gradient: Parameters) -> Array:
    """d_H (N, n, d) from the gradients of what was computed once an item."""
    d_H, H = d.tokens, forward.H
    if side == "t":
        d_H = d_H * (1 / math.sqrt(H.shape[-1]))
    for group, _, d_gram, d_to_mean, d_square, e in d.parts.values():
        # e G e was e·(G e)
        d_to_mean += e * module_of(H).take(d_square, group.owner)
        d_gram += d_to_mean[:, None] * e
        d_here, H_here = d_H[group.tokens], H[group.tokens]
        for segment in group.segments:
            d_G = d_gram[segment, segment]
            d_here[segment] += (d_G + d_G.T) @ H_here[segment]         # G was H Hᵀ
    return unpack(d_H, forward.rows, forward.shape)


def _inverse_length(squares: Array, mixed: Array) -> Array:
    """1/√(‖g‖² + ε) of a g = p + q: `squares` is ‖p‖² + ‖q‖², `mixed` is 2 p·q."""
    xp = module_of(squares)
    return 1 / xp.sqrt(xp.maximum(squares + mixed, xp.finfo(squares.dtype).eps * squares) + EPS)


MEAN = Kind(prepare, mean_score, mean_score_backward, prepare_backward, pairs_fused.keeps)
