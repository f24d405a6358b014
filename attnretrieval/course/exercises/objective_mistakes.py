"""What people write for the objectives of lesson 4 and their gradients, and how to call it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises.caches import CosineCache, NCECache
from attnretrieval.course.exercises.exercise import Mistake


def _triplet(S: Array, positives: Array, margin: float = 0.2, not_images: Array | None = None,
             not_captions: Array | None = None, take: Callable = np.sum, hinge: Callable = lambda x: np.maximum(0, x),
             ways: tuple[int, int] = (1, 1)) -> float:
    """The triplet loss with something changed: which entries are left out, (C, I), what is taken of the hinges of a row or
    a column, the hinge, and how often each direction counts.
    """
    no_image, no_caption = (positives if x is None else x for x in (not_images, not_captions))
    total = 0.0
    for c, i in zip(*np.nonzero(positives), strict=True):
        for way, scores, wrong in ((ways[0], S[c], ~no_image[c]), (ways[1], S[:, i], ~no_caption[:, i])):
            if wrong.any():
                total += way * float(take(hinge(margin + scores[wrong] - S[c, i])))
    return total / int(positives.sum())


def _cosine_back(d_S: Array, cache: CosineCache, back: Callable[[Array, Array, Array], Array]) -> tuple[Array, Array]:
    """The gradients with another step for the division, back(d_x̂, x̂, r)."""
    T_hat, V_hat, r_t, r_v = cache
    return back(d_S @ V_hat, T_hat, r_t), back(d_S.T @ T_hat, V_hat, r_v)


def _along(d: Array, x: Array) -> Array:
    return x * (d * x).sum(axis=-1, keepdims=True)


def _one_way(Z: Array, positives: Array, share: bool = True, first_sum: bool = False) -> float:
    """One direction of InfoNCE: the right ones share the target or count 1 each; the sum inside the logarithm or outside."""
    log_P = Z - Z.max(axis=1, keepdims=True)
    log_P = log_P - np.log(np.exp(log_P).sum(axis=1, keepdims=True))
    if first_sum:
        return float(-np.log((positives * np.exp(log_P)).sum(axis=1)).mean())
    Y = positives / positives.sum(axis=1, keepdims=True) if share else positives
    return float(-(Y * log_P).sum(axis=1).mean())


def _both_ways(S: Array, log_temperature: Array, positives: Array, **options: bool) -> float:
    Z = S / np.exp(log_temperature)
    return (_one_way(Z, positives, **options) + _one_way(Z.T, positives.T, **options)) / 2


def _on_diagonal(Z: Array) -> float:
    n = min(Z.shape)
    return (_one_way(Z[:n], np.eye(n, Z.shape[1], dtype=bool)) + _one_way(Z.T[:n], np.eye(n, len(Z), dtype=bool))) / 2


def _unshifted(S: Array, log_temperature: Array, positives: Array) -> float:
    """The maximum subtracted inside the logarithm, and not from the Z in front of it."""
    Z = S / np.exp(log_temperature)
    return _both_ways(S, log_temperature, positives) - (Z.max(axis=1).mean() + Z.max(axis=0).mean()) / 2


def _nce_back(d_L: Array, cache: NCECache, d_Z: Callable[[NCECache, Array, Array], Array]) -> tuple[Array, Array]:
    """The gradients with another dZ, of the cache and of Y and X."""
    right = cache.positives
    d_S = d_L * d_Z(cache, right / right.sum(axis=1, keepdims=True), right / right.sum(axis=0, keepdims=True)) / cache.tau
    return d_S, -(d_S * cache.S).sum()


COSINE_BACKWARD = [
    Mistake("the division by the length is not undone: subtract the part along the vector, then multiply by r",
            "没有拆除以长度这一步：先减去沿向量方向的部分，再乘 r",
            lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: d)),
    Mistake("the part along the vector is not subtracted: d x̂ - x̂ (x̂ · d x̂)", "没有减去沿向量方向的部分：d x̂ - x̂ (x̂ · d x̂)",
            lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * d)),
    Mistake("the factor r is missing", "少了因子 r", lambda d_S, cache: _cosine_back(
        d_S, cache, lambda d, x, r: d - _along(d, x))),
    Mistake("it divides by r; r is 1 / length already", "除以了 r；r 已经是长度的倒数", lambda d_S, cache: _cosine_back(
        d_S, cache, lambda d, x, r: (d - _along(d, x)) / r)),
    Mistake("the factor r is missing in the second term: it stands in front of the bracket", "第二项少了因子 r：它在括号之前",
            lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * d - _along(d, x))),
    Mistake("what is subtracted is no vector along x̂: multiply the dot product by x̂", "减去的不是沿 x̂ 的向量：点积还要乘 x̂",
            lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * (
                d - (d * x).sum(axis=-1, keepdims=True)))),
    Mistake("x̂ · d x̂ is not summed: it is one number a row", "x̂ · d x̂ 没有求和：每行是一个数",
            lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * (d - x * d * x))),
    Mistake("the dot product is of x̂ and d x̂, not the sum of d x̂", "点积是 x̂ 与 d x̂ 的，不是 d x̂ 之和",
            lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * (d - x * d.sum(axis=-1, keepdims=True)))),
    Mistake("the dot product is summed over all vectors; each row has its own", "点积对所有向量求了和，应每行各求各的",
            lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * (d - x * (d * x).sum()))),
]

TRIPLET = [
    Mistake("for an image choice the right images count as wrong ones too: leave positives[c] out",
            "在选图像时把正确的图像也算作错误的了：应去掉 positives[c]",
            lambda S, positives, margin=0.2: _triplet(S, positives, margin, not_images=positives & False)),
    Mistake("for a caption choice the right captions count as wrong ones too: leave positives[:, i] out",
            "在选描述时把正确的描述也算作错误的了：应去掉 positives[:, i]",
            lambda S, positives, margin=0.2: _triplet(S, positives, margin, not_captions=positives & False)),
    Mistake("the right ones are counted and the wrong ones left out: ~positives", "算的是正确的，漏了错误的：应取 ~positives",
            lambda S, positives, margin=0.2: _triplet(S, positives, margin, ~positives, ~positives)),
    Mistake("V alone: the captions that are wrong for the image, U, are missing", "只有 V：少了对图像错误的描述 U",
            lambda S, positives, margin=0.2: _triplet(S, positives, margin, ways=(1, 0))),
    Mistake("U alone: the images that are wrong for the caption, V, are missing", "只有 U：少了对描述错误的图像 V",
            lambda S, positives, margin=0.2: _triplet(S, positives, margin, ways=(0, 1))),
    Mistake("the margin is not used: it is always 0.2", "没有用到 margin：总是 0.2",
            lambda S, positives, margin=0.2: _triplet(S, positives)),
    Mistake("max(0, ·) is taken of the sum; each wrong one has its own", "对总和取了 max(0, ·)，应对每个错误者分别取",
            lambda S, positives, margin=0.2: _triplet(S, positives, margin, hinge=lambda x: x,
                                                      take=lambda x: max(0, x.sum()))),
    Mistake("only the worst of the wrong ones is counted; the formula sums over all of them",
            "只算了错得最厉害的那个，公式对所有错误者求和",
            lambda S, positives, margin=0.2: _triplet(S, positives, margin, take=np.max)),
    Mistake("a mean over the wrong ones; the formula sums over them", "对错误者取了均值，公式是求和",
            lambda S, positives, margin=0.2: _triplet(S, positives, margin, take=np.mean)),
    Mistake("half of the loss: the sums are divided by the number of right pairs alone", "只有一半：总和只除以正确对的个数",
            lambda S, positives, margin=0.2: _triplet(S, positives, margin) / 2),
    Mistake("divided by the number of images; there is one right pair a caption", "除以了图像数；每个描述有一个正确的对",
            lambda S, positives, margin=0.2: _triplet(S, positives, margin) * positives.sum() / S.shape[1]),
]

INFO_NCE = [
    Mistake("τ is exp(log_temperature), not log_temperature", "τ 是 exp(log_temperature)，不是 log_temperature",
            lambda S, log_temperature, positives: _both_ways(S * np.exp(log_temperature) / log_temperature,
                                                             log_temperature, positives)),
    Mistake("it is L_t alone: the direction of the images, L_v, is missing", "只有 L_t：少了图像方向的 L_v",
            lambda S, log_temperature, positives: _one_way(S / np.exp(log_temperature), positives)),
    Mistake("it is L_v alone: the direction of the captions, L_t, is missing", "只有 L_v：少了描述方向的 L_t",
            lambda S, log_temperature, positives: _one_way(S.T / np.exp(log_temperature), positives.T)),
    Mistake("Y is positives as it is: divide each row by its sum, for X each column", "Y 直接用了 positives："
            "每行应除以自己的和，X 则是每列",
            lambda S, log_temperature, positives: _both_ways(S, log_temperature, positives, share=False)),
    Mistake("the sum over the right ones is inside the logarithm; it stands outside: Σ Y log P",
            "对正确者的求和放进了对数里，应在外面：Σ Y log P",
            lambda S, log_temperature, positives: _both_ways(S, log_temperature, positives, first_sum=True)),
    Mistake("the diagonal is taken for the right answers; positives says which they are",
            "把对角线当成了正确答案，应看 positives",
            lambda S, log_temperature, positives: _on_diagonal(S / np.exp(log_temperature))),
    Mistake("the maximum is subtracted inside the logarithm alone: subtract it from the Z in front too",
            "只在对数里减了最大值：前面的 Z 也要减", _unshifted),
]

INFO_NCE_BACKWARD = [
    # a caption has one image here, so that Y is positives as it is
    Mistake("X is not positives as it is, nor Y: the columns of X sum to 1, an image shares the target among its captions",
            "X 不是 positives 本身，也不是 Y：X 每列之和为 1，一幅图的目标由它的几句描述分担",
            lambda d_L, cache: _nce_back(d_L, cache, lambda c, Y, X: (
                (c.P - Y) / len(Y) + (c.R - c.positives) / Y.shape[1]) / 2)),
    Mistake("the half of (4) is missing", "少了 (4) 中的一半", lambda d_L, cache: _nce_back(
        d_L, cache, lambda c, Y, X: (c.P - Y) / len(Y) + (c.R - X) / Y.shape[1])),
    Mistake("it is the gradient of L_t alone", "只是 L_t 的梯度",
            lambda d_L, cache: _nce_back(d_L, cache, lambda c, Y, X: (c.P - Y) / len(Y))),
    Mistake("both means are taken over the captions; L_v is a mean over the I images",
            "两个均值都对描述取了；L_v 是对 I 张图像的均值", lambda d_L, cache: _nce_back(
                d_L, cache, lambda c, Y, X: ((c.P - Y) + (c.R - X)) / len(Y) / 2)),
    Mistake("the means are missing: 1 / C for the captions, 1 / I for the images", "少了均值：描述乘 1 / C，图像乘 1 / I",
            lambda d_L, cache: _nce_back(d_L, cache, lambda c, Y, X: ((c.P - Y) + (c.R - X)) / 2)),
    Mistake("the targets are not subtracted: it is P - Y and R - X", "没有减去目标：是 P - Y 与 R - X",
            lambda d_L, cache: _nce_back(d_L, cache, lambda c, Y, X: (c.P / len(Y) + c.R / Y.shape[1]) / 2)),
    Mistake("dS lacks the 1 / τ of Z = S / τ", "dS 少了 Z = S / τ 中的 1 / τ",
            lambda d_L, cache: _nce_back(d_L, cache, lambda c, Y, X: c.tau * (
                (c.P - Y) / len(Y) + (c.R - X) / Y.shape[1]) / 2)),
]
