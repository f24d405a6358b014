"""What people write for the gate and the pooling of lesson 3, and how to call it."""

from __future__ import annotations

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises.caches import GateCache
from attnretrieval.course.exercises.exercise import Mistake
from attnretrieval.equations.fusion import fuse_gate
from attnretrieval.equations.pooling import pool_mean
from attnretrieval.equations.softmax import softmax


def _sigmoid(U: Array) -> Array:
    return 1 / (1 + np.exp(-U))


def _mixed(H: Array, C: Array, G: Array) -> Array:
    return G * H + (1 - G) * C


def _fuse_gate_back(d_F: Array, cache: GateCache, slope: Array | float | None = None, context: int = -1,
                    swapped: bool = False) -> tuple[Array, ...]:
    """The gradients with another slope of σ, with C in dG times `context`, or with the halves of dU Wᵀ swapped."""
    H, C, W, G = cache
    d = H.shape[-1]
    d_U = d_F * (H + context * C) * (G * (1 - G) if slope is None else slope)
    d_X = np.roll(d_U @ W.T, d, axis=-1) if swapped else d_U @ W.T
    rows = d_U.reshape(-1, d)
    d_W = np.concatenate([H, C], axis=-1).reshape(-1, 2 * d).T @ rows
    return d_F * G + d_X[..., :d], d_F * (1 - G) + d_X[..., d:], d_W, rows.sum(axis=0)


def _counts(mask: Array) -> Array:
    return np.maximum(mask.sum(axis=-1, keepdims=True), 1)


def _pooled(F: Array, a: Array) -> Array:
    return (a[..., None] * F).sum(axis=-2)


GATE = [
    Mistake("C stands in front of H: it is [H ; C]", "C 放在了 H 前面：应是 [H ; C]",
            lambda H, C, W, b: _mixed(H, C, _sigmoid(np.concatenate([C, H], axis=-1) @ W + b))),
    Mistake("the σ is missing: a gate lies between 0 and 1", "少了 σ：门的值在 0 与 1 之间",
            lambda H, C, W, b: _mixed(H, C, np.concatenate([H, C], axis=-1) @ W + b)),
    Mistake("brackets are missing: (1 - G) * C, not 1 - G * C", "少了括号：是 (1 - G) * C，而不是 1 - G * C",
            lambda H, C, W, b: fuse_gate(H, C, W, b)[0] + 1 - C),
]

GATE_BACKWARD = [
    Mistake("the halves of dU Wᵀ are exchanged: the first d features belong to H", "dU Wᵀ 的两半颠倒了：前 d 个特征属于 H",
            lambda d_F, cache: _fuse_gate_back(d_F, cache, swapped=True)),
    Mistake("σ' is G (1 - G); 1 - G² is that of tanh", "σ' 是 G (1 - G)；1 - G² 是 tanh 的",
            lambda d_F, cache: _fuse_gate_back(d_F, cache, 1 - cache.G**2)),
    Mistake("σ' is missing: dU = dG ∘ G (1 - G)", "少了 σ'：dU = dG ∘ G (1 - G)",
            lambda d_F, cache: _fuse_gate_back(d_F, cache, 1)),
    Mistake("dG is dF ∘ (H - C): C is there with a minus", "dG 是 dF ∘ (H - C)：C 前是负号",
            lambda d_F, cache: _fuse_gate_back(d_F, cache, context=1)),
    Mistake("dG is dF ∘ (H - C): C is missing", "dG 是 dF ∘ (H - C)：少了 C",
            lambda d_F, cache: _fuse_gate_back(d_F, cache, context=0)),
]

MEAN_BACKWARD = [
    Mistake("it divides by the number of all tokens: padding does not count", "除以了全部词元的个数：填充不应计入",
            lambda d_g, cache: cache.mask[..., None] * d_g[..., None, :] / cache.mask.shape[-1]),
    Mistake("padding gets a gradient too: g does not move with it", "填充也得到了梯度：g 并不随它变化",
            lambda d_g, cache: np.ones(cache.mask.shape)[..., None] * (d_g / _counts(cache.mask))[..., None, :]),
    Mistake("it divides by the number of real tokens of the whole batch: each sequence has its own",
            "除以了整批真实词元的个数：每个序列各有各的",
            lambda d_g, cache: cache.mask[..., None] * d_g[..., None, :] / max(cache.mask.sum(), 1)),
]

POOL_ATTENTION = [
    Mistake("it does not divide by √d", "没有除以 √d", lambda F, u, mask: _pooled(F, softmax(F @ u, mask))),
    Mistake("the mask is not used", "没有使用遮罩",
            lambda F, u, mask: _pooled(F, softmax(F @ u / np.sqrt(len(u))))),
    Mistake("it divides by the root of the number of tokens, not of features",
            "除以的是词元个数的平方根，应是特征维数的平方根",
            lambda F, u, mask: _pooled(F, softmax(F @ u / np.sqrt(F.shape[-2]), mask))),
    Mistake("it weights all tokens alike: that is the mean", "各词元权重相同：那是均值",
            lambda F, u, mask: pool_mean(F, mask)[0]),
    Mistake("weights are masked after the softmax: they do not sum to 1", "遮罩用在了 softmax 之后：权重之和不为 1",
            lambda F, u, mask: _pooled(F, softmax(F @ u / np.sqrt(len(u))) * mask)),
]
