"""The fused score of all pairs for add with mean pooling and dot logits, from dot products of tokens alone.

Words T (n, d) of a text, regions V (m, d) of an image; e = 1/n for every word, f = 1/m for every region. With α the mean over
the words of A_t2v, and β the mean over the regions of A_v2t, the fused vectors are weighted sums of these tokens:

    g_t = e T + α V,   g_v = β T + f V

so all that a cosine needs of them follows from the Gram matrices G = T Tᵀ and K = V Vᵀ, computed once an item (pairs_grams.py),
and from Q = T Vᵀ = √d P, which the attention has computed already (pairs_attention.py):

    (1)  x      = g_t·g_v = β·(G e + Q α) + e·Q f + α·K f
    (2)  ‖g_t‖² = e G e + 2 e·Q α + α K α
    (3)  ‖g_v‖² = f K f + 2 β·Q f + β G β
    (4)  s      = x r_t r_v,   r = 1/√(‖g‖² + ε)

A pair costs some n m operations in place of (n + m) d, and the backward needs some (n + m) numbers of it in place of 2 d. That
pays where d is large: where a group (pairs_blocks.py) has not many more tokens than a token has numbers. The Gram matrices of a
group are one matrix, 0 where tokens are of different items; α (a, R_v) and β (R_t, b) are those of all its pairs. Groups are
larger than those of the vectors' forms: a pair takes less of the cache.

Rounding: (2) and (3) lose digits where their terms cancel, g ≈ 0; they are not taken for less than can be told from 0. Scores
are as exact as those from vectors. The gradient is a small difference where all s are nearly 1: in float32 its error is 5e-5
of it at 1 - s = 1e-4 (1e-5 from vectors) and 2e-3 at 1e-6 (5e-4); below that, where a float32 cannot tell s from 1, both are
noise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.cosine import EPS
from attnretrieval.fast import pairs_fused
from attnretrieval.fast.pairs_attention import PairAttention
from attnretrieval.fast.pairs_blocks import Kind
from attnretrieval.fast.pairs_grams import MeanGrads, MeanSide, prepare, prepare_backward

if TYPE_CHECKING:
    from attnretrieval.model import Model

LARGE = 56_000                      # d² from which on dot products of tokens are faster than vectors of pairs


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
            and config.text.pooling == config.image.pooling == "mean" and config.d**2 >= LARGE)


def mean_score(model: Model, A: PairAttention, t: MeanSide, v: MeanSide) -> tuple[Array, Kept]:
    """s (a, b) of a texts and b images."""
    xp = module_of(A.P)
    texts, images, root = t.group, v.group, math.sqrt(t.tokens.shape[-1])
    of_text, of_image, f = texts.member_T, images.member, images.share[:, 0]
    alpha, beta = texts.mean @ A.t2v, (A.v2t @ of_image) * f
    alpha_K, G_beta = alpha @ v.gram, t.gram @ beta
    Q_alpha = (A.P * xp.take(alpha, texts.owner, axis=0)) @ of_image
    Q_alpha *= root
    Q_f = (A.P @ of_image) * (root * f)
    x = of_text @ (beta * (t.to_mean[:, None] + Q_alpha)) + texts.mean @ Q_f + (alpha * v.to_mean) @ of_image       # (1)
    r_t = _inverse_length(t.square[:, None] + (alpha * alpha_K) @ of_image, 2 * (texts.mean @ Q_alpha))             # (2)
    r_v = _inverse_length(v.square + of_text @ (beta * G_beta), 2 * (of_text @ (beta * Q_f)))                       # (3)
    s = x * r_t * r_v                                                                                               # (4)
    return s, Kept(s, r_t, r_v, alpha, alpha_K, beta, G_beta, Q_alpha, Q_f)


def mean_score_backward(
    model: Model, d_s: Array, kept: Kept, A: PairAttention, t: MeanSide, v: MeanSide, d_t: MeanGrads, d_v: MeanGrads
) -> tuple[Array, Array, Array]:
    """The gradients of both directions' weights and of P; adds those of the sides to d_t and d_v."""
    s, r_t, r_v, alpha, alpha_K, beta, G_beta, Q_alpha, Q_f = kept
    xp = module_of(A.P)
    texts, images, root = t.group, v.group, math.sqrt(t.tokens.shape[-1])
    to_regions, e, f = images.member_T, t.e[:, None], images.share[:, 0]
    # (4); of the squares of (2) and (3), times 2
    d_x, d_t2, d_v2 = d_s * r_t * r_v, -d_s * s * r_t * r_t, -d_s * s * r_v * r_v
    d_t.square[...] += 0.5 * d_t2.sum(axis=1)
    d_v.square[...] += 0.5 * d_v2.sum(axis=0)
    # for each word those of its text (R_t, b), for each region those of its image (a, R_v)
    x_words, t2_words, v2_words = (xp.take(d, texts.owner, axis=0) for d in (d_x, d_t2, d_v2))
    x_regions, t2_regions = d_x @ to_regions, d_t2 @ to_regions
    x_beta, v2_beta, t2_alpha = x_words * beta, v2_words * beta, t2_regions * alpha
    # Q α and Q f in (1), (2) and (3)
    d_Q_alpha, d_Q_f = x_beta + e * t2_words, v2_beta + e * x_words
    d_P = (root * d_Q_alpha) @ to_regions
    d_alpha = texts.member_T @ (A.P * d_P)
    d_P *= xp.take(alpha, texts.owner, axis=0)
    d_P += (d_Q_f * (root * f)) @ to_regions
    # the other terms
    d_alpha += x_regions * v.to_mean
    d_alpha += t2_regions * alpha_K
    d_beta = x_words * (t.to_mean[:, None] + Q_alpha) + v2_words * (Q_f + G_beta)
    d_t.to_mean[...] += x_beta.sum(axis=1)
    d_v.to_mean[...] += (x_regions * alpha).sum(axis=0)
    d_t.products.append((v2_beta, beta))
    d_v.products.append((t2_alpha.T, alpha.T))
    # α and β were means
    return xp.take(texts.share * d_alpha, texts.owner, axis=0), (d_beta * f) @ to_regions, d_P


def _inverse_length(squares: Array, mixed: Array) -> Array:
    """1/√(‖g‖² + ε) of a g = p + q: `squares` is ‖p‖² + ‖q‖², `mixed` is 2 p·q."""
    xp = module_of(squares)
    return 1 / xp.sqrt(xp.maximum(squares + mixed, xp.finfo(squares.dtype).eps * squares) + EPS)


MEAN = Kind(prepare, mean_score, mean_score_backward, prepare_backward, pairs_fused.keeps, elements=75_000)
