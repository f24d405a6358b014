"""Lesson 2, self-attention: scores, softmax, weighted sum, heads; their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises.equations import gradient_of, values_of
from attnretrieval.course.exercises.exercise import Draw, Exercise, Mistake, code
from attnretrieval.course.exercises.loops import loop
from attnretrieval.equations.attention import attention as ours
from attnretrieval.equations.softmax import softmax

Inputs = Iterator[tuple[str, dict[str, Array | None]]]


def _scores_of_loops(Q: Array, K: Array) -> Array:
    S = np.zeros((*Q.shape[:-1], K.shape[-2]))
    for i in np.ndindex(*S.shape):
        *batch, query, key = i
        q, k = Q[(*batch, query)], K[(*batch, key)]
        S[i] = math.fsum(float(a) * float(b) for a, b in zip(q, k, strict=True)) / math.sqrt(len(q))
    return S


def _queries_and_keys(draw: Draw) -> Iterator[tuple[str, Array, Array]]:
    n, m, d = draw.sizes(3, 3)          # not 2, which is the batch
    yield "one sequence", draw(n, d), draw(m, d)
    yield "batch", draw(2, n, d), draw(2, m, d)


def _scores(draw: Draw) -> Inputs:
    n, m = draw.sizes(2, 3)
    yield "one row", {"S": draw(m)}
    yield "batch", {"S": draw(2, n, m)}
    yield "large scores", {"S": 1000 + 10 * draw(n, m)}
    yield "masked", {"S": draw(n, m), "mask": draw.mask(n, m)}
    nothing = draw.mask(n, m)
    nothing[0] = False
    yield "a row with no key", {"S": draw(n, m), "mask": nothing}


def _attended(draw: Draw) -> Inputs:
    n, m, d, v = draw.sizes(4, 3)       # not 2, which is the batch
    yield "one sequence", {"Q": draw(n, d), "K": draw(m, d), "V": draw(m, v)}
    yield "batch", {"Q": draw(2, n, d), "K": draw(2, m, d), "V": draw(2, m, v)}
    yield "masked", {"Q": draw(2, n, d), "K": draw(2, m, d), "V": draw(2, m, v), "key_mask": draw.mask(2, m)}
    yield "a sequence with no key", {"Q": draw(2, n, d), "K": draw(2, m, d), "V": draw(2, m, v),
                                     "key_mask": np.stack([draw.mask(1, m)[0], np.zeros(m, bool)])}


def _split_of_loops(X: Array, heads: int) -> Array:
    *leading, n, d = X.shape
    size = d // heads
    Y = np.zeros((*leading, heads, n, size))
    for i in np.ndindex(*Y.shape):
        *batch, head, token, c = i
        Y[i] = X[(*batch, token, head * size + c)]
    return Y


def _to_split(draw: Draw) -> Iterator[tuple[str, Array, int]]:
    n, size, heads = draw.sizes(3, 3)   # not 2, which is the batch
    yield "one head", draw(n, size), 1
    yield "several heads", draw(n, heads * size), heads
    yield "batch", draw(2, n, heads * size), heads


def _undone(d_Y: Array, cache: tuple, back: Callable, power: int = 0) -> tuple[Array, Array, Array]:
    """The gradients of attention with another step for the softmax, `back`, or √d to that power too much."""
    Q, K, V, A = cache
    root = math.sqrt(Q.shape[-1])
    d_S = back(d_Y @ V.swapaxes(-1, -2), A) / root * root ** power
    return d_S @ K, d_S.swapaxes(-1, -2) @ Q, A.swapaxes(-1, -2) @ d_Y


def softmax_backward(d_A: Array, A: Array) -> Array:
    return A * (d_A - (d_A * A).sum(axis=-1, keepdims=True))


EXERCISES = [
    Exercise(
        2, "forward", "attention_scores(Q, K) -> S",
        ("S = Q Kᵀ / √d: how well each query (..., n, d) fits each key (..., m, d); S (..., n, m).",
         "S = Q Kᵀ / √d：每个查询 (..., n, d) 与每个键 (..., m, d) 有多相配；S (..., n, m)。"),
        loop(_scores_of_loops, _queries_and_keys, [
            Mistake("it does not divide by √d", "没有除以 √d", lambda Q, K: Q @ K.swapaxes(-1, -2)),
            Mistake("it divides by d, not by √d", "除以了 d，而不是 √d", lambda Q, K: Q @ K.swapaxes(-1, -2) / Q.shape[-1]),
            Mistake("it divides by the root of the number of keys, not of features",
                    "除以的是键个数的平方根，应是特征维数的平方根", lambda Q, K: Q @ K.swapaxes(-1, -2) / np.sqrt(K.shape[-2])),
            Mistake("it divides by the root of the number of queries, not of features: that is Q.shape[-1]",
                    "除以的是查询个数的平方根，应是特征维数 Q.shape[-1] 的平方根",
                    lambda Q, K: Q @ K.swapaxes(-1, -2) / np.sqrt(Q.shape[-2])),
            Mistake("in a batch, axis 1 holds the queries: the number of features is Q.shape[-1]",
                    "成批时轴 1 是查询：特征维数是 Q.shape[-1]", lambda Q, K: Q @ K.swapaxes(-1, -2) / np.sqrt(Q.shape[1])),
            Mistake("it multiplies by √d, where it should divide", "乘了 √d，应该是除",
                    lambda Q, K: Q @ K.swapaxes(-1, -2) * np.sqrt(Q.shape[-1])),
            Mistake("rows are keys and columns are queries: it is Sᵀ", "行是键、列是查询：得到的是 Sᵀ",
                    lambda Q, K: K @ Q.swapaxes(-1, -2) / np.sqrt(Q.shape[-1])),
        ]),
        (("One score is the dot product of one query and one key. Which matrix product makes all of them at once?",
          "一个分数就是一个查询与一个键的点积。哪个矩阵乘积能一次算出全部分数？"),
         ("Rows of Q are queries, rows of K are keys: multiply Q by K transposed. A batch has more axes in front, so exchange "
          "the last two only.",
          "Q 的行是查询，K 的行是键：Q 乘以 K 的转置。成批时前面还有别的轴，所以只交换最后两个轴。"),
         ("return Q @ K.swapaxes(-1, -2) / np.sqrt(…), where … is the number of features of a query.",
          "return Q @ K.swapaxes(-1, -2) / np.sqrt(…)，其中 … 是一个查询的特征数。"))),
    Exercise(
        2, "forward", "softmax(S, mask=None) -> A",
        ("A_j = exp(S_j) / Σ_k exp(S_k) along the last axis. `mask`, of the shape of S: True = real; what is masked gets "
         "weight 0, a row with nothing left gets zeros. Scores of 1000 must not overflow.",
         "沿最后一个轴 A_j = exp(S_j) / Σ_k exp(S_k)。`mask` 与 S 同形，True 表示真实；被遮住的权重为 0，一个也不剩的行全为 0。"
         "分数达到 1000 也不能溢出。"),
        values_of("softmax", _scores, [
            Mistake("the mask is used after the softmax: the weights that are left do not sum to 1",
                    "遮罩用在了 softmax 之后：剩下的权重之和不为 1",
                    lambda S, mask=None: softmax(S) * (1 if mask is None else mask)),
            Mistake("masked scores are 0: exp(0) = 1, so they still get weight", "被遮的分数成了 0：exp(0) = 1，仍有权重",
                    lambda S, mask=None: softmax(S if mask is None else S * mask)),
            Mistake("a large negative number is not minus infinity: a row with nothing left gets equal weights",
                    "很大的负数不是负无穷：一个也不剩的行会得到相等的权重",
                    lambda S, mask=None: softmax(S if mask is None else np.where(mask, S, -1e9))),
        ]),
        (("Take exp of everything, then divide each row by its own sum: keepdims=True keeps the shapes fitting.",
          "先对所有元素取 exp，再让每一行除以本行之和：keepdims=True 让形状对得上。"),
         ("exp(1000) is infinite. Numerator and denominator may be divided by the same number: subtract the row's maximum "
          "before exp.",
          "exp(1000) 是无穷大。分子分母可以同除一个数：取 exp 之前先减去这一行的最大值。"),
         ("For the mask put -inf in place of the masked scores: exp(-inf) = 0. A row of -inf only has maximum -inf and sum 0: "
          "use 0 for that maximum, and 1 for that sum.",
          "有遮罩时，把被遮住的分数换成 -inf：exp(-inf) = 0。"
          "整行都是 -inf 时，最大值是 -inf，和是 0：前者改用 0，后者改用 1。"),
         code("S = np.where(mask, S, -np.inf); top = S.max(-1, keepdims=True); top = np.where(np.isfinite(top), top, 0); "
              "E = np.exp(S - top); Z = E.sum(-1, keepdims=True); return E / np.where(Z == 0, 1, Z)"))),
    Exercise(
        2, "backward", "softmax_backward(d_A, A) -> d_S",
        ("d_S (..., m), from the gradient d_A of the weights and the weights A themselves.",
         "由权重的梯度 d_A 和权重 A 本身求 d_S (..., m)。"),
        gradient_of("softmax", _scores, mistakes=[
            Mistake("each element is taken for itself, dS = dA ∘ A (1 - A): the terms with j ≠ k are missing",
                    "每个元素只算了自己，dS = dA ∘ A (1 - A)：少了 j ≠ k 的各项", lambda d_A, A: d_A * A * (1 - A)),
            Mistake("the sum of a row has no weights: it is Σ dA A, not Σ dA", "每行的和没有加权：应是 Σ dA A，而不是 Σ dA",
                    lambda d_A, A: A * (d_A - d_A.sum(axis=-1, keepdims=True))),
            Mistake("a mean where the sum of a row belongs", "该对每行求和处取了均值",
                    lambda d_A, A: A * (d_A - (d_A * A).mean(axis=-1, keepdims=True))),
            Mistake("the factor A in front of the bracket is missing", "括号前少了因子 A",
                    lambda d_A, A: d_A - (d_A * A).sum(axis=-1, keepdims=True)),
            Mistake("the sum runs over everything; each row needs its own", "对全体求了和，应每行各求各的",
                    lambda d_A, A: A * (d_A - (d_A * A).sum())),
            Mistake("A and dA are exchanged: dS = A ∘ (dA - …)", "A 与 dA 颠倒了：dS = A ∘ (dA - …)",
                    lambda d_A, A: d_A * (A - (d_A * A).sum(axis=-1, keepdims=True))),
        ]),
        (("Every score moves every weight of its row. With one row of m scores the Jacobian is m × m: write down dA_j/dS_k for "
          "j = k and for j ≠ k.",
          "每个分数都会改变本行的每个权重。一行 m 个分数的雅可比矩阵是 m × m：分别写出 j = k 与 j ≠ k 时的 dA_j/dS_k。"),
         ("dA_j/dS_k = A_j (δ_jk - A_k). Put it into d_S_k = Σ_j d_A_j dA_j/dS_k and take A_k out of the sum.",
          "dA_j/dS_k = A_j (δ_jk - A_k)。代入 d_S_k = Σ_j d_A_j dA_j/dS_k，把 A_k 提到求和外面。"),
         ("d_S = A ∘ (d_A - s), where s is one number a row: Σ_j d_A_j A_j.",
          "d_S = A ∘ (d_A - s)，其中 s 是每行一个数：Σ_j d_A_j A_j。"),
         code("return A * (d_A - (d_A * A).sum(axis=-1, keepdims=True))"))),
    Exercise(
        2, "forward", "attention(Q, K, V, key_mask=None) -> Y",
        ("Y = softmax(Q Kᵀ / √d) V, with Q (..., n, d), K (..., m, d), V (..., m, v), Y (..., n, v). `key_mask` (..., m): "
         "True = a real key.",
         "Y = softmax(Q Kᵀ / √d) V,Q (..., n, d),K (..., m, d),V (..., m, v),Y (..., n, v)。"
         "`key_mask` (..., m)：True 表示真实的键。"),
        values_of("attention", _attended, [
            Mistake("it does not divide by √d", "没有除以 √d",
                    lambda Q, K, V, key_mask=None: ours(Q * np.sqrt(Q.shape[-1]), K, V, key_mask)[0]),
            Mistake("it divides by d, not by √d", "除以了 d，而不是 √d",
                    lambda Q, K, V, key_mask=None: ours(Q / np.sqrt(Q.shape[-1]), K, V, key_mask)[0]),
            Mistake("the mask is not used", "没有使用遮罩", lambda Q, K, V, key_mask=None: ours(Q, K, V)[0]),
        ]),
        (("Three lines: scores, weights, weighted sum. You have written the first two already.",
          "三行：分数、权重、加权和。前两行你已经写过了。"),
         ("Each query spreads a weight of 1 over the keys: the softmax runs along the last axis of S, the keys.",
          "每个查询把总量为 1 的权重分给各个键：softmax 沿 S 的最后一个轴，也就是键的方向。"),
         ("key_mask has one entry a key, S one row a query besides: key_mask[..., None, :] holds for every query.",
          "key_mask 每个键一项，而 S 还多了查询这一维：key_mask[..., None, :] 对每个查询都适用。"),
         ("return softmax(attention_scores(Q, K), None if key_mask is None else key_mask[..., None, :]) @ V; your softmax must "
          "let the mask broadcast: np.where does.",
          "return softmax(attention_scores(Q, K), None if key_mask is None else key_mask[..., None, :]) @ V;"
          "你的 softmax 要让遮罩能广播：np.where 就可以。"))),
    Exercise(
        2, "backward", "attention_backward(d_Y, cache) -> d_Q, d_K, d_V",
        ("The gradients of the three inputs, from d_Y (..., n, v) and cache.Q, cache.K, cache.V, cache.A (the weights). "
         "Q, K, V have the same leading axes.",
         "由 d_Y (..., n, v) 以及 cache.Q、cache.K、cache.V、cache.A（权重）求三个输入的梯度。Q、K、V 的前置轴相同。"),
        gradient_of("attention", _attended, mistakes=[
            Mistake("the softmax is not undone: dS is not dA", "没有拆 softmax：dS 不是 dA",
                    lambda d_Y, cache: _undone(d_Y, cache, lambda d_A, A: d_A)),
            Mistake("the softmax is undone element by element: dS is more than dA ∘ A (1 - A)",
                    "逐元素地拆了 softmax：dS 不只是 dA ∘ A (1 - A)",
                    lambda d_Y, cache: _undone(d_Y, cache, lambda d_A, A: d_A * A * (1 - A))),
            Mistake("the sum in dS has no weights: it is Σ dA A, not Σ dA", "dS 中的和没有加权：应是 Σ dA A，而不是 Σ dA",
                    lambda d_Y, cache: _undone(d_Y, cache, lambda d_A, A: A * (d_A - d_A.sum(axis=-1, keepdims=True)))),
            Mistake("dQ and dK are multiplied by √d, where they should be divided", "dQ、dK 乘了 √d，应该是除",
                    lambda d_Y, cache: _undone(d_Y, cache, softmax_backward, 2)),
            Mistake("dQ and dK are divided by d, not by √d", "dQ、dK 除以了 d，而不是 √d",
                    lambda d_Y, cache: _undone(d_Y, cache, softmax_backward, -1)),
        ]),
        (("Go backwards: Y = A V first, then A = softmax(S), then S = Q Kᵀ / √d. For a product C = A B the gradients are "
          "d_A = d_C Bᵀ and d_B = Aᵀ d_C.",
          "倒着走：先 Y = A V，再 A = softmax(S)，最后 S = Q Kᵀ / √d。对乘积 C = A B 有 d_A = d_C Bᵀ，d_B = Aᵀ d_C。"),
         ("Y = A V gives d_A = d_Y Vᵀ and d_V = Aᵀ d_Y. d_S is your softmax_backward(d_A, A).",
          "由 Y = A V 得 d_A = d_Y Vᵀ，d_V = Aᵀ d_Y。d_S 就是你写的 softmax_backward(d_A, A)。"),
         ("S = Q Kᵀ / √d gives d_Q = d_S K / √d and d_K = d_Sᵀ Q / √d. The scale stands in both.",
          "由 S = Q Kᵀ / √d 得 d_Q = d_S K / √d，d_K = d_Sᵀ Q / √d。两者都带有这个系数。"),
         code("Q, K, V, A = cache; d_V = A.swapaxes(-1, -2) @ d_Y; d_S = softmax_backward(d_Y @ V.swapaxes(-1, -2), A) / "
              "np.sqrt(Q.shape[-1]); return d_S @ K, d_S.swapaxes(-1, -2) @ Q, d_V"))),
    Exercise(
        2, "forward", "split_heads(X, heads) -> Y",
        ("X (..., n, d) cut into heads: Y (..., heads, n, d / heads). Head i holds features i·d/heads … (i+1)·d/heads - 1.",
         "把 X (..., n, d) 切成多头：Y (..., heads, n, d / heads)。第 i 个头含第 i·d/heads … (i+1)·d/heads - 1 个特征。"),
        loop(_split_of_loops, _to_split, [
            Mistake("reshape alone mixes tokens: cut the features first, then move the axis of the heads",
                    "只用 reshape 会把词混在一起：先切特征，再移动头的轴",
                    lambda X, heads: X.reshape(*X.shape[:-2], heads, X.shape[-2], -1)),
            Mistake("head i holds every heads-th feature, not a block of neighbours",
                    "第 i 个头取的是每隔 heads 个的特征，应是相邻的一段",
                    lambda X, heads: np.moveaxis(X.reshape(*X.shape[:-1], -1, heads), -1, -3)),
            Mistake("the axis of the heads stands behind the tokens: (..., n, heads, d / heads)",
                    "头的轴放在了词的后面：(..., n, heads, d / heads)",
                    lambda X, heads: X.reshape(*X.shape[:-1], heads, -1)),
            Mistake("the heads stand in front of the batch; they belong right before the tokens: (..., heads, n, d / heads)",
                    "头的轴放到了批次之前，应紧挨在词之前：(..., heads, n, d / heads)",
                    lambda X, heads: np.stack(np.split(X, heads, axis=-1))),
            Mistake("features and tokens are exchanged inside a head: (..., heads, d / heads, n)",
                    "每个头里特征与词颠倒了：(..., heads, d / heads, n)",
                    lambda X, heads: np.moveaxis(X.reshape(*X.shape[:-1], heads, -1), -3, -1)),
        ]),
        (("Two steps: cut the last axis into (heads, d / heads), then move the axis of the heads before the tokens.",
          "两步：先把最后一个轴切成 (heads, d / heads)，再把头的轴移到词的前面。"),
         ("reshape cuts an axis without moving anything: X.reshape(*X.shape[:-1], heads, -1) is (..., n, heads, d / heads).",
          "reshape 只切轴、不搬动数据：X.reshape(*X.shape[:-1], heads, -1) 是 (..., n, heads, d / heads)。"),
         ("Then exchange the axes -2 and -3 with swapaxes.", "然后用 swapaxes 交换 -2 与 -3 两个轴。"))),
]
