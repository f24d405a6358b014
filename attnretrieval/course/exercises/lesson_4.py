"""Lesson 4, objectives: cosine, the triplet loss, InfoNCE and its temperature."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises import objective_mistakes
from attnretrieval.course.exercises.caches import CosineCache, NCECache
from attnretrieval.course.exercises.equations import gradient_of, values_of
from attnretrieval.course.exercises.exercise import Draw, Exercise, code
from attnretrieval.equations.cosine import cosine_similarity
from attnretrieval.equations.info_nce import info_nce
from attnretrieval.equations.softmax import softmax

# --- caches as the exercises promise them ------------------------------------------------------------------------------


def _cosine(G_t: Array, G_v: Array) -> tuple[Array, CosineCache]:
    S, (text, image) = cosine_similarity(G_t, G_v)
    return S, CosineCache(text.X_hat, image.X_hat, text.r, image.r)


def _info_nce(S: Array, log_temperature: Array, positives: Array) -> tuple[Array, NCECache]:
    L, (_, _, tau, _) = info_nce(S, log_temperature, positives)
    return L, NCECache(S, tau, positives, softmax(S / tau), softmax(S.T / tau).T)


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


EXERCISES = [
    Exercise(
        4, "backward", "cosine_similarity_backward(d_S, cache) -> d_G_t, d_G_v",
        ("S (C, I) holds the cosine of each caption G_t (C, d) with each image G_v (I, d). cache.T_hat (C, d) and cache.V_hat "
         "(I, d) are the vectors of length 1, cache.r_t (C, 1) and cache.r_v (I, 1) are 1 / length: T_hat = r_t ∘ G_t.",
         "S (C, I) 是每个描述 G_t (C, d) 与每张图像 G_v (I, d) 的余弦。cache.T_hat (C, d)、cache.V_hat (I, d) 是长度为 1 "
         "的向量，cache.r_t (C, 1)、cache.r_v (I, 1) 是长度的倒数：T_hat = r_t ∘ G_t。"),
        gradient_of("cosine_similarity", _vectors, _cosine, objective_mistakes.COSINE_BACKWARD),
        (("Two steps back: the product S = T̂ V̂ᵀ, then the division of each vector by its length.",
          "倒退两步：乘积 S = T̂ V̂ᵀ，再是每个向量除以自己的长度。"),
         ("d_T̂ = d_S V̂ and d_V̂ = d_Sᵀ T̂. A longer vector has the same cosine: what of d_T̂ points along T̂ must vanish.",
          "d_T̂ = d_S V̂，d_V̂ = d_Sᵀ T̂。向量变长，余弦不变：d_T̂ 中沿 T̂ 方向的部分必须消失。"),
         ("Subtract the projection, row by row: d_T̂ - T̂ (d_T̂ · T̂), then multiply by r_t. The same for the images.",
          "逐行减去投影：d_T̂ - T̂ (d_T̂ · T̂)，再乘 r_t。图像同理。"),
         code("def back(d, X, r): return r * (d - X * (d * X).sum(-1, keepdims=True)); "
              "return back(d_S @ V_hat, T_hat, r_t), back(d_S.T @ T_hat, V_hat, r_v)"))),
    Exercise(
        4, "loss", "triplet_loss(S, positives, margin=0.2) -> L",
        ("For each right pair (c, i) the sum over all wrong images j of max(0, margin + S_cj - S_ci), and over all wrong "
         "captions k of max(0, margin + S_ki - S_ci); all of it divided by the number of right pairs. S (C, I); positives (C, "
         "I) is True where caption c describes image i: such a pair is never wrong.",
         "对每个正确的对 (c, i)：对所有错误图像 j 求 max(0, margin + S_cj - S_ci) 之和，对所有错误描述 k 求 max(0, margin + "
         "S_ki - S_ci) 之和；总和除以正确对的个数。"
         "S (C, I)；positives (C, I) 在描述 c 属于图像 i 处为 True：这样的对绝不算错。"),
        values_of("triplet_loss", _scores, objective_mistakes.TRIPLET),
        (("Begin with two loops: for every c and i with positives[c, i]. Inside, one row of S for the images, one column for "
          "the captions.", "先写双重循环：对每个 positives[c, i] 为真的 c 和 i。里面：图像用 S 的一行，描述用 S 的一列。"),
         ("np.maximum(0, margin + S[c] - S[c, i]) holds all images; keep only ~positives[c] before you sum.",
          "np.maximum(0, margin + S[c] - S[c, i]) 含所有图像；求和之前只保留 ~positives[c]。"),
         ("The captions likewise with S[:, i] and ~positives[:, i]. Divide the total by positives.sum().",
          "描述同理，用 S[:, i] 与 ~positives[:, i]。总和除以 positives.sum()。"),
         code("for c, i in np.argwhere(positives): L += np.maximum(0, margin + S[c] - S[c, i])[~positives[c]].sum() + "
              "np.maximum(0, margin + S[:, i] - S[c, i])[~positives[:, i]].sum()"))),
    Exercise(
        4, "loss", "info_nce(S, log_temperature, positives) -> L",
        ("Z = S / τ with τ = exp(log_temperature). L_t: the mean over captions of -log softmax(Z) at the right image; L_v: "
         "the mean over images of -log softmax(Zᵀ) at the right caption; where there are several right ones, the mean over "
         "them. L = (L_t + L_v) / 2. S (C, I), positives (C, I); every row and column has a right answer.",
         "Z = S / τ，τ = exp(log_temperature)。L_t：对描述求平均，-log softmax(Z) 在正确图像处的值；L_v：对图像求平均，"
         "-log softmax(Zᵀ) 在正确描述处的值；正确答案有多个时取它们的均值。L = (L_t + L_v) / 2。S (C, I)，positives (C, I)；"
         "每行每列都有正确答案。"),
        values_of("info_nce", _contrasted_and_large, objective_mistakes.INFO_NCE),
        (("Write one direction first: a function of Z and positives that takes the softmax along the rows. The other "
          "direction is the same function of the transposes.",
          "先写一个方向：以 Z 和 positives 为参数、沿行做 softmax 的函数。另一方向就是对转置用同一函数。"),
         ("log softmax(Z) = Z - log Σ exp(Z). Subtract the row's maximum first, so that exp cannot overflow.",
          "log softmax(Z) = Z - log Σ exp(Z)。先减去行最大值，exp 才不会溢出。"),
         ("Targets: Y = positives / positives.sum(axis=1, keepdims=True). One direction is -(Y * log_P).sum() / rows.",
          "目标：Y = positives / positives.sum(axis=1, keepdims=True)。一个方向是 -(Y * log_P).sum() / 行数。"),
         code("Z = S / np.exp(log_temperature); return (one_way(Z, positives) + one_way(Z.T, positives.T)) / 2"))),
    Exercise(
        4, "backward", "info_nce_backward(d_L, cache) -> d_S, d_log_temperature",
        ("From d_L (a number) and cache.S (C, I), cache.tau, cache.positives (C, I), cache.P (C, I), the softmax along the "
         "images, and cache.R (C, I), the softmax along the captions, whose columns sum to 1.",
         "由 d_L（一个数）及 cache.S (C, I)、cache.tau、cache.positives (C, I)、cache.P (C, I)（沿图像的 softmax）、"
         "cache.R (C, I)（沿描述的 softmax，各列之和为 1）求梯度。"),
        gradient_of("info_nce", _contrasted, _info_nce, objective_mistakes.INFO_NCE_BACKWARD),
        (("Cross-entropy and softmax together have a simple gradient: what the softmax gave minus what was wanted.",
          "交叉熵与 softmax 合在一起，梯度很简单：softmax 给出的减去想要的。"),
         ("d_Z = ((P - Y) / C + (R - X) / I) / 2: Y is positives with rows that sum to 1, X with columns that sum to 1.",
          "d_Z = ((P - Y) / C + (R - X) / I) / 2：Y 是各行之和为 1 的 positives，X 是各列之和为 1 的 positives。"),
         ("Z = S / τ gives d_S = d_L d_Z / τ. With τ = exp(l): dZ/dl = -Z, so d_log_temperature = -Σ d_S ∘ S.",
          "由 Z = S / τ 得 d_S = d_L d_Z / τ。τ = exp(l) 时 dZ/dl = -Z，所以 d_log_temperature = -Σ d_S ∘ S。"),
         code("Y = (positives / positives.sum(1, keepdims=True)).astype(S.dtype); X = (positives / positives.sum(0, "
              "keepdims=True)).astype(S.dtype); C, I = S.shape; d_S = d_L * ((P - Y) / C + (R - X) / I) / (2 * tau); "
              "return d_S, -(d_S * S).sum()"))),
]
