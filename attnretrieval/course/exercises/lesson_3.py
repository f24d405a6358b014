"""Lesson 3, cross-attention: the contexts of both directions, fusion, pooling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course import reference
from attnretrieval.course.exercises import fusion_mistakes
from attnretrieval.course.exercises.caches import GateCache, MeanCache
from attnretrieval.course.exercises.equations import gradient_of, values_of
from attnretrieval.course.exercises.exercise import Draw, Exercise, Mistake, code
from attnretrieval.course.exercises.loops import loop
from attnretrieval.equations.attention import attention
from attnretrieval.equations.fusion import fuse_gate
from attnretrieval.equations.pooling import pool_mean

# --- contexts ----------------------------------------------------------------------------------------------------------


def _look(H: Array, H_other: Array, key_mask: Array | None = None) -> Array:
    return attention(H, H_other, H_other, key_mask)[0]


def _weights(H: Array, H_other: Array, key_mask: Array | None = None) -> Array:
    return attention(H, H_other, H_other, key_mask)[1].A


def _tokens(draw: Draw) -> Iterator[tuple[str, dict[str, Array]]]:
    n, m, d = draw.sizes(3, 3)          # not 2, which is the batch
    yield "one text, one image", {"H": draw(n, d), "H_other": draw(m, d)}
    yield "batch", {"H": draw(2, n, d), "H_other": draw(2, m, d)}
    yield "masked", {"H": draw(2, n, d), "H_other": draw(2, m, d), "key_mask": draw.mask(2, m)}


def _contexts(H_t: Array, H_v: Array, word_mask: Array, region_mask: Array) -> tuple[Array, Array]:
    return (reference.cross_attention(H_t, H_v, region_mask), reference.cross_attention(H_v, H_t, word_mask))


def _both(draw: Draw) -> Iterator[tuple]:
    n, m, d = draw.sizes(3, 3)
    yield "nothing masked", draw(n, d), draw(m, d), np.ones(n, bool), np.ones(m, bool)
    yield "masked", draw(n, d), draw(m, d), draw.mask(1, n)[0], draw.mask(1, m)[0]


# --- caches as the exercises promise them ------------------------------------------------------------------------------


def _gate(H: Array, C: Array, W: Array, b: Array) -> tuple[Array, GateCache]:
    F, cache = fuse_gate(H, C, W, b)
    return F, GateCache(H, C, W, cache.G)


def _mean(F: Array, mask: Array) -> tuple[Array, MeanCache]:
    return pool_mean(F, mask)[0], MeanCache(F, mask)


def _fused(draw: Draw) -> Iterator[tuple[str, dict[str, Array]]]:
    n, d = draw.sizes(2, 3)             # not 2, which is the batch
    weights = {"W": draw(2 * d, d), "b": draw(d)}
    yield "one sequence", {"H": draw(n, d), "C": draw(n, d), **weights}
    yield "batch", {"H": draw(2, n, d), "C": draw(2, n, d), **weights}


def _sequences(draw: Draw, **extra: Array) -> Iterator[tuple[str, dict[str, Array]]]:
    n, d = draw.sizes(2, 3)
    yield "nothing masked", {"F": draw(n, d), "mask": np.ones(n, bool)}
    yield "batch, masked", {"F": draw(2, n, d), "mask": draw.mask(2, n)}
    nothing = draw.mask(2, n)
    nothing[1] = False
    yield "a sequence with no token", {"F": draw(2, n, d), "mask": nothing}


def _asked(draw: Draw) -> Iterator[tuple[str, dict[str, Array]]]:
    for label, inputs in _sequences(draw):
        yield label, {"F": inputs["F"], "u": draw(inputs["F"].shape[-1]), "mask": inputs["mask"]}


EXERCISES = [
    Exercise(
        3, "forward", "cross_attention(H, H_other, key_mask=None) -> C",
        ("For each token of H (..., n, d) what it finds among the tokens of the other modality H_other (..., m, d): "
         "C = softmax(H H_otherᵀ / √d) H_other, (..., n, d). key_mask (..., m): True = a real token of the other.",
         "H (..., n, d) 的每个词元在另一模态 H_other (..., m, d) 中找到的内容：C = softmax(H H_otherᵀ / √d) H_other,(..., n, "
         "d)。key_mask (..., m)：True 表示另一模态的真实词元。"),
        values_of("cross_attention", _tokens, [
            Mistake("the values are the tokens themselves; a context is made of the other modality's tokens",
                    "值取了自己一方的词元；上下文应由另一模态的词元组成", lambda H, H_other, key_mask=None: _look(H, H)),
            Mistake("it adds H: a context holds only what was found, fusion comes later",
                    "加上了 H：上下文只含找到的内容，融合是后面的事",
                    lambda H, H_other, key_mask=None: H + _look(H, H_other, key_mask)),
            Mistake("the direction is reversed: the other modality looks at H", "方向反了：成了另一模态看 H",
                    lambda H, H_other, key_mask=None: _look(H_other, H)),
            Mistake("the softmax runs over the tokens that look, not over those looked at",
                    "softmax 沿观看者的方向，应沿被看者的方向",
                    lambda H, H_other, key_mask=None: _weights(H_other, H).swapaxes(-1, -2) @ H_other),
            Mistake("the mask is not used", "没有使用遮罩", lambda H, H_other, key_mask=None: _look(H, H_other)),
        ]),
        (("It is attention in which queries come from one side, keys and values from the other.",
          "这就是注意力：查询来自一方，键和值来自另一方。"),
         ("Which of Q, K, V of your attention(Q, K, V, key_mask) is H, and which are H_other?",
          "你的 attention(Q, K, V, key_mask) 里，Q、K、V 哪个是 H，哪些是 H_other？"),
         code("return attention(H, H_other, H_other, key_mask)"))),
    Exercise(
        3, "forward", "contexts(H_t, H_v, word_mask, region_mask) -> C_t, C_v",
        ("Both directions: words H_t (n, d) look at regions H_v (m, d) and get C_t (n, d); regions look at words and get C_v "
         "(m, d). word_mask (n,), region_mask (m,): True = real.",
         "两个方向：词 H_t (n, d) 看区域 H_v (m, d)，得 C_t (n, d)；区域看词，得 C_v (m, d)。"
         "word_mask (n,)、region_mask (m,)：True 表示真实。"),
        loop(_contexts, _both, [
            Mistake("the two contexts are exchanged: C_t, what the words found, comes first",
                    "两个结果顺序反了：先是词找到的 C_t",
                    lambda t, v, wm, rm: _contexts(t, v, wm, rm)[::-1]),
            Mistake("A_v2t is not the transpose of A_t2v: its rows must sum to 1, so it needs a softmax of its own",
                    "A_v2t 不是 A_t2v 的转置：它的每行之和须为 1，要单独做一次 softmax",
                    lambda t, v, wm, rm: (_look(t, v, rm), _weights(t, v, rm).T @ t)),
            Mistake("the masks are not used", "没有使用遮罩", lambda t, v, wm, rm: (_look(t, v), _look(v, t))),
            Mistake("the mask of the words is not used when regions look", "区域看词时没有用词的遮罩",
                    lambda t, v, wm, rm: (_look(t, v, rm), _look(v, t))),
            Mistake("the mask of the regions is not used when words look", "词看区域时没有用区域的遮罩",
                    lambda t, v, wm, rm: (_look(t, v), _look(v, t, wm))),
            Mistake("the masks of those who look are used too: a mask belongs to those who are looked at alone",
                    "观看一方的遮罩也用上了：遮罩只属于被看的一方",
                    lambda t, v, wm, rm: (_look(t, v, rm) * wm[:, None], _look(v, t, wm) * rm[:, None])),
            Mistake("each side looks at itself: that is self-attention", "各看各的：那是自注意力",
                    lambda t, v, wm, rm: (_look(t, t, wm), _look(v, v, rm))),
        ]),
        (("Call your cross_attention twice. Who looks, and at whom?", "调用两次 cross_attention。谁在看，看的是谁？"),
         ("A mask belongs to those who are looked at: words look at regions, so the first call takes region_mask.",
          "遮罩属于被看的一方：词看区域，所以第一次用 region_mask。"),
         code("return cross_attention(H_t, H_v, region_mask), cross_attention(H_v, H_t, word_mask)"))),
    Exercise(
        3, "forward", "fuse_gate(H, C, W, b) -> F",
        ("A gated fusion: G = σ([H ; C] W + b), F = G ∘ H + (1 - G) ∘ C. H, C (..., n, d); W (2d, d); b (d,); σ(u) = 1 / (1 "
         "+ exp(-u)).",
         "门控融合：G = σ([H ; C] W + b)，F = G ∘ H + (1 - G) ∘ C。"
         "H、C (..., n, d)；W (2d, d)；b (d,)；σ(u) = 1 / (1 + exp(-u))。"),
        values_of("fuse_gate", _fused, fusion_mistakes.GATE),
        (("[H ; C] puts the features of the token and of its context side by side: 2d features.",
          "[H ; C] 把词元与其上下文的特征并排：共 2d 个特征。"),
         ("np.concatenate([H, C], axis=-1) @ W + b, then σ of it. A gate of 1 keeps the token.",
          "np.concatenate([H, C], axis=-1) @ W + b，再取 σ。门为 1 时保留词元本身。"),
         code("G = 1 / (1 + np.exp(-U)); return G * H + (1 - G) * C"))),
    Exercise(
        3, "backward", "fuse_gate_backward(d_F, cache) -> d_H, d_C, d_W, d_b",
        ("The gradients of fuse_gate, from d_F (..., n, d), cache.H, cache.C, cache.W and cache.G (the gate).",
         "由 d_F (..., n, d) 及 cache.H、cache.C、cache.W、cache.G（门）求 fuse_gate 的梯度。"),
        gradient_of("fuse_gate", _fused, _gate, fusion_mistakes.GATE_BACKWARD),
        (("H has two ways to F: directly, and through the gate. Its gradient is the sum of both. So has C.",
          "H 有两条路通向 F：直接的，和经过门的。它的梯度是两者之和。C 也是。"),
         ("F = G ∘ H + (1 - G) ∘ C gives d_G = d_F ∘ (H - C), and directly d_F ∘ G for H, d_F ∘ (1 - G) for C. σ' = σ (1 - σ).",
          "由 F = G ∘ H + (1 - G) ∘ C 得 d_G = d_F ∘ (H - C)；直接的部分 H 为 d_F ∘ G，C 为 d_F ∘ (1 - G)。σ' = σ (1 - σ)。"),
         ("d_U = d_G ∘ G ∘ (1 - G). U = [H ; C] W + b is a linear layer: its d_X = d_U Wᵀ has d features for H, then d for C.",
          "d_U = d_G ∘ G ∘ (1 - G)。U = [H ; C] W + b 是线性层：d_X = d_U Wᵀ 的前 d 个特征属于 H，后 d 个属于 C。"),
         ("d = H.shape[-1]; d_X = d_U @ W.T; d_H = d_F * G + d_X[..., :d]; d_C = d_F * (1 - G) + d_X[..., d:]; d_W and d_b "
          "as in linear_backward with X = [H ; C]",
          "d = H.shape[-1]; d_X = d_U @ W.T; d_H = d_F * G + d_X[..., :d]; d_C = d_F * (1 - G) + d_X[..., d:]；d_W、d_b 同 "
          "linear_backward,X = [H ; C]"))),
    Exercise(
        3, "backward", "pool_mean_backward(d_g, cache) -> d_F",
        ("g (..., d) is the mean of the real tokens of F (..., n, d). d_F from d_g (..., d), cache.F and cache.mask (..., n), "
         "True = real. A sequence without a real token has g = 0.",
         "g (..., d) 是 F (..., n, d) 中真实词元的均值。由 d_g (..., d)、cache.F、cache.mask (..., n)（True 表示真实）求 d_F。"
         "没有真实词元的序列 g = 0。"),
        gradient_of("pool_mean", _sequences, _mean, fusion_mistakes.MEAN_BACKWARD),
        (("How much does g move when one real token moves by 1? And when padding does?",
          "一个真实词元动 1，g 动多少？填充动 1 呢？"),
         ("Each real token gets d_g divided by the number of real tokens of its sequence; padding gets 0.",
          "每个真实词元得到 d_g 除以本序列真实词元的个数；填充得 0。"),
         code("w = (mask / np.maximum(mask.sum(-1, keepdims=True), 1)).astype(F.dtype); "
              "return w[..., :, None] * d_g[..., None, :]"))),
    Exercise(
        3, "forward", "pool_attention(F, u, mask=None) -> g",
        ("A learnt query u (d,) asks every token of F (..., n, d): a = softmax(F u / √d) over the real tokens, g = Σ a_i F_i "
         "(..., d). mask (..., n): True = real.",
         "一个学来的查询 u (d,) 询问 F (..., n, d) 的每个词元：在真实词元上 a = softmax(F u / √d)，g = Σ a_i F_i (..., d)。"
         "mask (..., n)：True 表示真实。"),
        values_of("pool_attention", _asked, fusion_mistakes.POOL_ATTENTION),
        (("It is attention with a single query u, keys and values F.", "这是只有一个查询 u 的注意力，键和值都是 F。"),
         ("F @ u is one score a token, (..., n). The softmax runs over the tokens, with the mask.",
          "F @ u 是每个词元一个分数 (..., n)。softmax 沿词元方向，带遮罩。"),
         code("a = softmax(F @ u / np.sqrt(F.shape[-1]), mask); return (a[..., :, None] * F).sum(axis=-2)"))),
]
