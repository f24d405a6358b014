"""Lesson 4, objectives: cosine, the triplet loss, InfoNCE and its temperature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises.equations import gradient_of, values_of
from attnretrieval.course.exercises.exercise import Draw, Exercise, Mistake, code
from attnretrieval.equations.cosine import cosine_similarity
from attnretrieval.equations.info_nce import info_nce
from attnretrieval.equations.softmax import softmax

# --- caches as the exercises promise them ------------------------------------------------------------------------------


class CosineCache(NamedTuple):
    T_hat: Array        # (C, d), captions of length 1
    V_hat: Array        # (I, d), images of length 1
    r_t: Array          # (C, 1), 1 / length
    r_v: Array          # (I, 1)


class NCECache(NamedTuple):
    S: Array
    tau: Array
    positives: Array
    P: Array            # (C, I), rows sum to 1
    R: Array            # (C, I), columns sum to 1


def _cosine(G_t: Array, G_v: Array) -> tuple[Array, CosineCache]:
    S, (text, image) = cosine_similarity(G_t, G_v)
    return S, CosineCache(text.X_hat, image.X_hat, text.r, image.r)


def _info_nce(S: Array, log_temperature: Array, positives: Array) -> tuple[Array, NCECache]:
    L, (_, _, tau, _) = info_nce(S, log_temperature, positives)
    return L, NCECache(S, tau, positives, softmax(S / tau), softmax(S.T / tau).T)


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


def _vectors(draw: Draw) -> Iterator[tuple[str, dict[str, Array]]]:
    captions, images, d = draw.sizes(3)
    yield "one of each", {"G_t": draw(1, d), "G_v": draw(1, d)}
    yield "several", {"G_t": draw(captions, d), "G_v": draw(images, d)}


def _positives(draw: Draw) -> Iterator[tuple[str, Array]]:
    size, = draw.sizes(1, 3)
    yield "one caption an image", np.eye(size, dtype=bool)
    images, captions = sorted(draw.sizes(2, 3))
    image_of = draw.rng.permutation(np.r_[np.arange(images), draw.rng.integers(images, size=captions - images)])
    yield "several captions of one image", image_of[:, None] == np.arange(images)


def _scores(draw: Draw) -> Iterator[tuple[str, dict[str, Array], dict[str, float]]]:
    for label, positives in _positives(draw):
        margin = float(draw.rng.uniform(0.2, 0.4))
        yield label, {"S": draw(*positives.shape, scale=0.3), "positives": positives}, {"margin": margin}
    apart = np.eye(3, dtype=bool)
    yield "nothing violates", {"S": 5.0 * apart + draw(3, 3, scale=0.1), "positives": apart}, {}


def _contrasted(draw: Draw) -> Iterator[tuple[str, dict[str, Array]]]:
    for label, positives in _positives(draw):
        log_temperature = np.asarray(np.log(draw.rng.uniform(0.2, 0.8)))
        yield label, {"S": draw(*positives.shape), "log_temperature": log_temperature, "positives": positives}


def _contrasted_and_large(draw: Draw) -> Iterator[tuple[str, dict[str, Array]]]:
    yield from _contrasted(draw)
    for label, positives in list(_positives(draw))[:1]:
        yield f"large scores, {label}", {"S": 300 * draw(*positives.shape), "log_temperature": np.asarray(np.log(0.2)),
                                         "positives": positives}


# --- with a mistake ----------------------------------------------------------------------------------------------------


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


def _unshifted(S: Array, log_temperature: Array, positives: Array) -> float:
    """The maximum subtracted inside the logarithm, and not from the Z in front of it."""
    Z = S / np.exp(log_temperature)
    return _both_ways(S, log_temperature, positives) - (Z.max(axis=1).mean() + Z.max(axis=0).mean()) / 2


def _nce_back(d_L: Array, cache: NCECache, d_Z: Callable[[NCECache, Array, Array], Array]) -> tuple[Array, Array]:
    """The gradients with another dZ, of the cache and of Y and X."""
    right = cache.positives
    d_S = d_L * d_Z(cache, right / right.sum(axis=1, keepdims=True), right / right.sum(axis=0, keepdims=True)) / cache.tau
    return d_S, -(d_S * cache.S).sum()


EXERCISES = [
    Exercise(
        4, "backward", "cosine_similarity_backward(d_S, cache) -> d_G_t, d_G_v",
        ("S (C, I) holds the cosine of each caption G_t (C, d) with each image G_v (I, d). cache.T_hat (C, d) and cache.V_hat "
         "(I, d) are the vectors of length 1, cache.r_t (C, 1) and cache.r_v (I, 1) are 1 / length: T_hat = r_t ∘ G_t.",
         "S (C, I) 是每个描述 G_t (C, d) 与每张图像 G_v (I, d) 的余弦。cache.T_hat (C, d)、cache.V_hat (I, d) 是长度为 1 "
         "的向量,cache.r_t (C, 1)、cache.r_v (I, 1) 是长度的倒数:T_hat = r_t ∘ G_t。"),
        gradient_of("cosine_similarity", _vectors, _cosine, [
            Mistake("the division by the length is not undone: subtract the part along the vector, then multiply by r",
                    "没有拆除以长度这一步:先减去沿向量方向的部分,再乘 r",
                    lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: d)),
            Mistake("the part along the vector is not subtracted: d x̂ - x̂ (x̂ · d x̂)", "没有减去沿向量方向的部分:d x̂ - x̂ (x̂ · d x̂)",
                    lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * d)),
            Mistake("the factor r is missing", "少了因子 r", lambda d_S, cache: _cosine_back(
                d_S, cache, lambda d, x, r: d - _along(d, x))),
            Mistake("it divides by r; r is 1 / length already", "除以了 r;r 已经是长度的倒数", lambda d_S, cache: _cosine_back(
                d_S, cache, lambda d, x, r: (d - _along(d, x)) / r)),
            Mistake("the factor r is missing in the second term: it stands in front of the bracket", "第二项少了因子 r:它在括号之前",
                    lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * d - _along(d, x))),
            Mistake("what is subtracted is no vector along x̂: multiply the dot product by x̂", "减去的不是沿 x̂ 的向量:点积还要乘 x̂",
                    lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * (
                        d - (d * x).sum(axis=-1, keepdims=True)))),
            Mistake("x̂ · d x̂ is not summed: it is one number a row", "x̂ · d x̂ 没有求和:每行是一个数",
                    lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * (d - x * d * x))),
            Mistake("the dot product is of x̂ and d x̂, not the sum of d x̂", "点积是 x̂ 与 d x̂ 的,不是 d x̂ 之和",
                    lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * (d - x * d.sum(axis=-1, keepdims=True)))),
            Mistake("the dot product is summed over all vectors; each row has its own", "点积对所有向量求了和,应每行各求各的",
                    lambda d_S, cache: _cosine_back(d_S, cache, lambda d, x, r: r * (d - x * (d * x).sum()))),
        ]),
        (("Two steps back: the product S = T̂ V̂ᵀ, then the division of each vector by its length.",
          "倒退两步:乘积 S = T̂ V̂ᵀ,再是每个向量除以自己的长度。"),
         ("d_T̂ = d_S V̂ and d_V̂ = d_Sᵀ T̂. A longer vector has the same cosine: what of d_T̂ points along T̂ must vanish.",
          "d_T̂ = d_S V̂,d_V̂ = d_Sᵀ T̂。向量变长,余弦不变:d_T̂ 中沿 T̂ 方向的部分必须消失。"),
         ("Subtract the projection, row by row: d_T̂ - T̂ (d_T̂ · T̂), then multiply by r_t. The same for the images.",
          "逐行减去投影:d_T̂ - T̂ (d_T̂ · T̂),再乘 r_t。图像同理。"),
         code("def back(d, X, r): return r * (d - X * (d * X).sum(-1, keepdims=True)); "
              "return back(d_S @ V_hat, T_hat, r_t), back(d_S.T @ T_hat, V_hat, r_v)"))),
    Exercise(
        4, "loss", "triplet_loss(S, positives, margin=0.2) -> L",
        ("For each right pair (c, i) the sum over all wrong images j of max(0, margin + S_cj - S_ci), and over all wrong "
         "captions k of max(0, margin + S_ki - S_ci); all of it divided by the number of right pairs. S (C, I); positives (C, "
         "I) is True where caption c describes image i: such a pair is never wrong.",
         "对每个正确的对 (c, i):对所有错误图像 j 求 max(0, margin + S_cj - S_ci) 之和,对所有错误描述 k 求 max(0, margin + "
         "S_ki - S_ci) 之和;总和除以正确对的个数。S (C, I);positives (C, I) 在描述 c 属于图像 i 处为 True:这样的对绝不算错。"),
        values_of("triplet_loss", _scores, [
            Mistake("for an image choice the right images count as wrong ones too: leave positives[c] out",
                    "在选图像时把正确的图像也算作错误的了:应去掉 positives[c]",
                    lambda S, positives, margin=0.2: _triplet(S, positives, margin, not_images=positives & False)),
            Mistake("for a caption choice the right captions count as wrong ones too: leave positives[:, i] out",
                    "在选描述时把正确的描述也算作错误的了:应去掉 positives[:, i]",
                    lambda S, positives, margin=0.2: _triplet(S, positives, margin, not_captions=positives & False)),
            Mistake("the right ones are counted and the wrong ones left out: ~positives", "算的是正确的,漏了错误的:应取 ~positives",
                    lambda S, positives, margin=0.2: _triplet(S, positives, margin, ~positives, ~positives)),
            Mistake("V alone: the captions that are wrong for the image, U, are missing", "只有 V:少了对图像错误的描述 U",
                    lambda S, positives, margin=0.2: _triplet(S, positives, margin, ways=(1, 0))),
            Mistake("U alone: the images that are wrong for the caption, V, are missing", "只有 U:少了对描述错误的图像 V",
                    lambda S, positives, margin=0.2: _triplet(S, positives, margin, ways=(0, 1))),
            Mistake("the margin is not used: it is always 0.2", "没有用到 margin:总是 0.2",
                    lambda S, positives, margin=0.2: _triplet(S, positives)),
            Mistake("max(0, ·) is taken of the sum; each wrong one has its own", "对总和取了 max(0, ·),应对每个错误者分别取",
                    lambda S, positives, margin=0.2: _triplet(S, positives, margin, hinge=lambda x: x,
                                                              take=lambda x: max(0, x.sum()))),
            Mistake("only the worst of the wrong ones is counted; the formula sums over all of them",
                    "只算了错得最厉害的那个,公式对所有错误者求和",
                    lambda S, positives, margin=0.2: _triplet(S, positives, margin, take=np.max)),
            Mistake("a mean over the wrong ones; the formula sums over them", "对错误者取了均值,公式是求和",
                    lambda S, positives, margin=0.2: _triplet(S, positives, margin, take=np.mean)),
            Mistake("half of it: the sums are divided by the number of right pairs alone", "只有一半:总和只除以正确对的个数",
                    lambda S, positives, margin=0.2: _triplet(S, positives, margin) / 2),
            Mistake("divided by the number of images; there is one right pair a caption", "除以了图像数;每个描述有一个正确的对",
                    lambda S, positives, margin=0.2: _triplet(S, positives, margin) * positives.sum() / S.shape[1]),
        ]),
        (("Begin with two loops: for every c and i with positives[c, i]. Inside, one row of S for the images, one column for "
          "the captions.", "先写双重循环:对每个 positives[c, i] 为真的 c 和 i。里面:图像用 S 的一行,描述用 S 的一列。"),
         ("np.maximum(0, margin + S[c] - S[c, i]) holds all images; keep only ~positives[c] before you sum.",
          "np.maximum(0, margin + S[c] - S[c, i]) 含所有图像;求和之前只保留 ~positives[c]。"),
         ("The captions likewise with S[:, i] and ~positives[:, i]. Divide the total by positives.sum().",
          "描述同理,用 S[:, i] 与 ~positives[:, i]。总和除以 positives.sum()。"),
         code("for c, i in np.argwhere(positives): L += np.maximum(0, margin + S[c] - S[c, i])[~positives[c]].sum() + "
              "np.maximum(0, margin + S[:, i] - S[c, i])[~positives[:, i]].sum()"))),
    Exercise(
        4, "loss", "info_nce(S, log_temperature, positives) -> L",
        ("Z = S / τ with τ = exp(log_temperature). L_t: the mean over captions of -log softmax(Z) at the right image; L_v: "
         "the mean over images of -log softmax(Zᵀ) at the right caption; where there are several right ones, the mean over "
         "them. L = (L_t + L_v) / 2. S (C, I), positives (C, I); every row and column has a right answer.",
         "Z = S / τ,τ = exp(log_temperature)。L_t:对描述求平均,-log softmax(Z) 在正确图像处的值;L_v:对图像求平均,"
         "-log softmax(Zᵀ) 在正确描述处的值;正确答案有多个时取它们的均值。L = (L_t + L_v) / 2。S (C, I),positives (C, I);"
         "每行每列都有正确答案。"),
        values_of("info_nce", _contrasted_and_large, [
            Mistake("τ is exp(log_temperature), not log_temperature", "τ 是 exp(log_temperature),不是 log_temperature",
                    lambda S, log_temperature, positives: _info_nce(S * np.exp(log_temperature) / log_temperature,
                                                                    log_temperature, positives)[0]),
            Mistake("it is L_t alone: the direction of the images, L_v, is missing", "只有 L_t:少了图像方向的 L_v",
                    lambda S, log_temperature, positives: _one_way(S / np.exp(log_temperature), positives)),
            Mistake("it is L_v alone: the direction of the captions, L_t, is missing", "只有 L_v:少了描述方向的 L_t",
                    lambda S, log_temperature, positives: _one_way(S.T / np.exp(log_temperature), positives.T)),
            Mistake("Y is positives as it is: divide each row by its sum, for X each column", "Y 直接用了 positives:"
                    "每行应除以自己的和,X 则是每列",
                    lambda S, log_temperature, positives: _both_ways(S, log_temperature, positives, share=False)),
            Mistake("the sum over the right ones is inside the logarithm; it stands outside: Σ Y log P",
                    "对正确者的求和放进了对数里,应在外面:Σ Y log P",
                    lambda S, log_temperature, positives: _both_ways(S, log_temperature, positives, first_sum=True)),
            Mistake("the maximum is subtracted inside the logarithm alone: subtract it from the Z in front too",
                    "只在对数里减了最大值:前面的 Z 也要减", _unshifted),
        ]),
        (("Write one direction first: a function of Z and positives that takes the softmax along the rows. The other "
          "direction is the same function of the transposes.",
          "先写一个方向:以 Z 和 positives 为参数、沿行做 softmax 的函数。另一方向就是对转置用同一函数。"),
         ("log softmax(Z) = Z - log Σ exp(Z). Subtract the row's maximum first, so that exp cannot overflow.",
          "log softmax(Z) = Z - log Σ exp(Z)。先减去行最大值,exp 才不会溢出。"),
         ("Targets: Y = positives / positives.sum(axis=1, keepdims=True). One direction is -(Y * log_P).sum() / rows.",
          "目标:Y = positives / positives.sum(axis=1, keepdims=True)。一个方向是 -(Y * log_P).sum() / 行数。"),
         code("Z = S / np.exp(log_temperature); return (one_way(Z, positives) + one_way(Z.T, positives.T)) / 2"))),
    Exercise(
        4, "backward", "info_nce_backward(d_L, cache) -> d_S, d_log_temperature",
        ("From d_L (a number) and cache.S (C, I), cache.tau, cache.positives (C, I), cache.P (C, I), the softmax along the "
         "images, and cache.R (C, I), the softmax along the captions, whose columns sum to 1.",
         "由 d_L(一个数)及 cache.S (C, I)、cache.tau、cache.positives (C, I)、cache.P (C, I)(沿图像的 softmax)、"
         "cache.R (C, I)(沿描述的 softmax,各列之和为 1)求梯度。"),
        gradient_of("info_nce", _contrasted, _info_nce, [
            Mistake("Y and X are positives as it is: rows of Y, and columns of X, sum to 1", "Y、X 直接用了 positives:Y 每行、X 每列之和为 1",
                    lambda d_L, cache: _nce_back(d_L, cache, lambda c, Y, X: (
                        (c.P - c.positives) / len(Y) + (c.R - c.positives) / Y.shape[1]) / 2)),
            Mistake("R has the targets Y; X is positives with columns that sum to 1", "R 用了目标 Y;X 是每列之和为 1 的 positives",
                    lambda d_L, cache: _nce_back(d_L, cache, lambda c, Y, X: (
                        (c.P - Y) / len(Y) + (c.R - Y) / Y.shape[1]) / 2)),
            Mistake("the half of (4) is missing", "少了 (4) 中的一半", lambda d_L, cache: _nce_back(
                d_L, cache, lambda c, Y, X: (c.P - Y) / len(Y) + (c.R - X) / Y.shape[1])),
            Mistake("it is the gradient of L_t alone", "只是 L_t 的梯度",
                    lambda d_L, cache: _nce_back(d_L, cache, lambda c, Y, X: (c.P - Y) / len(Y))),
            Mistake("both means are taken over the captions; L_v is a mean over the I images",
                    "两个均值都对描述取了;L_v 是对 I 张图像的均值", lambda d_L, cache: _nce_back(
                        d_L, cache, lambda c, Y, X: ((c.P - Y) + (c.R - X)) / len(Y) / 2)),
            Mistake("the means are missing: 1 / C for the captions, 1 / I for the images", "少了均值:描述乘 1 / C,图像乘 1 / I",
                    lambda d_L, cache: _nce_back(d_L, cache, lambda c, Y, X: ((c.P - Y) + (c.R - X)) / 2)),
            Mistake("the targets are not subtracted: it is P - Y and R - X", "没有减去目标:是 P - Y 与 R - X",
                    lambda d_L, cache: _nce_back(d_L, cache, lambda c, Y, X: (c.P / len(Y) + c.R / Y.shape[1]) / 2)),
            Mistake("dS lacks the 1 / τ of Z = S / τ", "dS 少了 Z = S / τ 中的 1 / τ",
                    lambda d_L, cache: _nce_back(d_L, cache, lambda c, Y, X: c.tau * (
                        (c.P - Y) / len(Y) + (c.R - X) / Y.shape[1]) / 2)),
        ]),
        (("Cross-entropy and softmax together have a simple gradient: what the softmax gave minus what was wanted.",
          "交叉熵与 softmax 合在一起,梯度很简单:softmax 给出的减去想要的。"),
         ("d_Z = ((P - Y) / C + (R - X) / I) / 2: Y is positives with rows that sum to 1, X with columns that sum to 1.",
          "d_Z = ((P - Y) / C + (R - X) / I) / 2:Y 是各行之和为 1 的 positives,X 是各列之和为 1 的 positives。"),
         ("Z = S / τ gives d_S = d_L d_Z / τ. With τ = exp(l): dZ/dl = -Z, so d_log_temperature = -Σ d_S ∘ S.",
          "由 Z = S / τ 得 d_S = d_L d_Z / τ。τ = exp(l) 时 dZ/dl = -Z,所以 d_log_temperature = -Σ d_S ∘ S。"),
         code("Y = (positives / positives.sum(1, keepdims=True)).astype(S.dtype); X = (positives / positives.sum(0, "
              "keepdims=True)).astype(S.dtype); C, I = S.shape; d_S = d_L * ((P - Y) / C + (R - X) / I) / (2 * tau); "
              "return d_S, -(d_S * S).sum()"))),
]
