"""Pooling: one vector for a whole sequence of tokens.

    mean        (1)  g = Σ_i mask_i F_i / Σ_i mask_i
    max         (1)  g_c = max_i F_ic                      feature by feature, over the real tokens
    attention   (1)  e = F u / √d                          one learnt query u (d) asks every token
                (2)  a = softmax(e)                        weights over the real tokens
                (3)  g = Σ_i a_i F_i

F (..., n, d), mask (..., n), g (..., d). A sequence without a real token gives g = 0.
Max has a kink where two tokens tie; the gradient then goes to the first of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.softmax import softmax, softmax_backward
from attnretrieval.shapes import check_array, check_mask, check_shape


class PoolMeanCache(NamedTuple):
    weights: Array              # mask / number of real tokens, broadcast over (..., n, 1)
    shape: tuple[int, ...]


class PoolMaxCache(NamedTuple):
    chosen: Array               # (..., n, d) bool: the token that gave each feature


class PoolAttentionCache(NamedTuple):
    F: Array
    u: Array
    a: Array                    # (..., n): the pooling weights


class PoolGrads(NamedTuple):
    d_F: Array


class PoolAttentionGrads(NamedTuple):
    d_F: Array
    d_u: Array


def _checked(F: Array, mask: Array | None) -> None:
    check_array("F", F, min_ndim=2)
    check_mask("mask", mask, F.shape[:-1])


def pool_mean(F: Array, mask: Array | None = None) -> tuple[Array, PoolMeanCache]:
    """g (..., d), the mean of the real tokens."""
    xp = module_of(F, mask)
    _checked(F, mask)
    mask = xp.ones(F.shape[-2], bool) if mask is None else xp.broadcast_to(mask, F.shape[:-1])
    weights = mask / xp.maximum(mask.sum(axis=-1, keepdims=True), 1)
    weights = weights.astype(F.real.dtype)
    return (weights[..., None, :] @ F)[..., 0, :], PoolMeanCache(weights, F.shape)  # (1)


def pool_mean_backward(d_g: Array, cache: PoolMeanCache) -> PoolGrads:
    weights, shape = cache
    # (1) was g = Σ_i weights_i F_i
    d_F = weights[..., :, None] * d_g[..., None, :]
    return PoolGrads(d_F.reshape(shape))


def pool_max(F: Array, mask: Array | None = None) -> tuple[Array, PoolMaxCache]:
    """g (..., d), the largest value of each feature among the real tokens."""
    xp = module_of(F, mask)
    _checked(F, mask)
    rank = F.real if mask is None else xp.where(mask[..., None], F.real, -xp.inf)
    first = rank.argmax(axis=-2)
    tokens = xp.arange(F.shape[-2]).reshape(-1, 1)
    chosen = tokens == first[..., None, :]                             # exactly one token a feature
    if mask is not None:
        chosen &= mask[..., None]                                      # none when there is no real token
    return xp.where(chosen, F, xp.zeros_like(F)).sum(axis=-2), PoolMaxCache(chosen)  # (1)


def pool_max_backward(d_g: Array, cache: PoolMaxCache) -> PoolGrads:
    # (1) was g_c = F_ic of the chosen token
    return PoolGrads(cache.chosen * d_g[..., None, :])


def pool_weights(F: Array, u: Array, mask: Array | None = None) -> tuple[Array, PoolAttentionCache]:
    """a (..., n): how well each token answers the learnt query u (d,). Steps (1) and (2) of attention pooling."""
    module_of(F, u, mask)
    _checked(F, mask)
    check_shape("u", u, (F.shape[-1],), "one query for all tokens")
    e = (F @ u) * (1 / math.sqrt(F.shape[-1]))                         # (1)
    a = softmax(e, mask)                                               # (2)
    return a, PoolAttentionCache(F, u, a)


def pool_weights_backward(d_a: Array, cache: PoolAttentionCache) -> PoolAttentionGrads:
    F, u, a = cache
    # (2) was a = softmax(e)
    d_e = softmax_backward(d_a, a)
    # (1) was e = F u / √d
    d_e *= 1 / math.sqrt(F.shape[-1])
    d_F = d_e[..., None] * u
    d_u = d_e.reshape(-1) @ F.reshape(-1, F.shape[-1])
    return PoolAttentionGrads(d_F, d_u)


def pool_attention(F: Array, u: Array, mask: Array | None = None) -> tuple[Array, PoolAttentionCache]:
    """g (..., d), the tokens weighted by how well they answer the learnt query u (d,)."""
    a, cache = pool_weights(F, u, mask)                                # (1), (2)
    return (a[..., None, :] @ F)[..., 0, :], cache                     # (3)


def pool_attention_backward(d_g: Array, cache: PoolAttentionCache) -> PoolAttentionGrads:
    # (3) was g = Σ_i a_i F_i
    d_a = (cache.F @ d_g[..., :, None])[..., 0]
    d_F = cache.a[..., :, None] * d_g[..., None, :]
    # (2), (1) gave a
    through_a = pool_weights_backward(d_a, cache)
    d_F += through_a.d_F
    return PoolAttentionGrads(d_F, through_a.d_u)


POOLINGS = {
    "mean": (pool_mean, pool_mean_backward),
    "max": (pool_max, pool_max_backward),
    "attention": (pool_attention, pool_attention_backward),
}
