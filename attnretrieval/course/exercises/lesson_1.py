"""Lesson 1, words and regions: padding and masks, a feature map as regions, the gradient of a linear layer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises.caches import LinearCache
from attnretrieval.course.exercises.equations import gradient_of
from attnretrieval.course.exercises.exercise import Draw, Exercise, Mistake, code
from attnretrieval.course.exercises.loops import loop
from attnretrieval.equations.linear import linear


def _pad(sequences: list[Array]) -> tuple[Array, Array]:
    longest = 0
    for X in sequences:
        longest = max(longest, len(X))
    padded = np.zeros((len(sequences), longest, sequences[0].shape[1]))
    mask = np.zeros((len(sequences), longest), bool)
    for s, X in enumerate(sequences):
        for i in range(len(X)):
            padded[s, i], mask[s, i] = X[i], True
    return padded, mask


def _front(sequences: list[Array]) -> tuple[Array, Array]:
    padded, mask = _pad([X[::-1] for X in sequences])
    return padded[:, ::-1], mask[:, ::-1]


def _last_repeated(sequences: list[Array]) -> tuple[Array, Array]:
    padded, mask = _pad(sequences)
    for row, X in zip(padded, sequences, strict=True):
        row[len(X):] = X[-1]
    return padded, mask


def _shortest(sequences: list[Array]) -> tuple[Array, Array]:
    return _pad([X[:min(map(len, sequences))] for X in sequences])


def _sequences(draw: Draw) -> Iterator[tuple[str, list[Array]]]:
    d, a, b, c = draw.sizes(4)
    yield "one sequence", [draw(a, d)]
    yield "different lengths", [draw(n, d) for n in (a, b, c)]
    zero, words = np.zeros((1, d)), draw(b, d)
    yield "a word of zeros", [np.vstack([words, zero]), draw(a, d)]


def _regions(F: Array) -> Array:
    channels, rows, columns = F.shape
    X = np.zeros((rows * columns, channels))
    for y in range(rows):
        for x in range(columns):
            for c in range(channels):
                X[y * columns + x, c] = F[c, y, x]
    return X


def _masked(S: Array, key_mask: Array) -> Array:
    out = np.zeros(S.shape)
    for i in np.ndindex(*S.shape):
        out[i] = S[i] if key_mask[(*i[:-2], i[-1])] else -np.inf
    return out


def _scores(draw: Draw) -> Iterator[tuple[str, Array, Array]]:
    n, m = draw.sizes(2, 3)
    yield "one sequence", draw(n, m), draw.mask(1, m)[0]
    yield "batch", draw(2, n, m), draw.mask(2, m)


def _linear(X: Array, W: Array, b: Array) -> tuple[Array, LinearCache]:
    return linear(X, W, b)[0], LinearCache(X, W)


def _layer(draw: Draw) -> Iterator[tuple[str, dict[str, Array]]]:
    n, d_in, d_out = draw.sizes(3)
    yield "one sentence", {"X": draw(n, d_in), "W": draw(d_in, d_out), "b": draw(d_out)}
    yield "batch", {"X": draw(2, n, d_in), "W": draw(d_in, d_out), "b": draw(d_out)}


def _scaled(d_Y: Array, cache: LinearCache, by: float = 1) -> tuple[Array, Array, Array]:
    """The gradients, with dW and db times a number."""
    X, W = cache
    rows = d_Y.reshape(-1, W.shape[1])
    return d_Y @ W.T, by * X.reshape(-1, W.shape[0]).T @ rows, by * rows.sum(axis=0)


EXERCISES = [
    Exercise(
        1, "forward", "regions_from_feature_map(F) -> V",
        ("The feature map F (c, h, w) of a convolutional network as regions V (h·w, c): one row a cell, row by row from the "
         "top left; a row holds the c channels of its cell.",
         "把卷积网络的特征图 F (c, h, w) 变成区域 V (h·w, c)：每个格子一行，从左上角起逐行排列；每行是该格子的 c 个通道。"),
        loop(_regions, lambda draw: iter([("a feature map", draw(*draw.sizes(3)))]), [
            Mistake("reshape alone mixes the channels of different cells: move the channel axis to the end first",
                    "只用 reshape 会把不同格子的通道混在一起：先把通道轴移到最后", lambda F: F.reshape(-1, F.shape[0])),
            Mistake("cells run down the columns; they must run along the rows", "格子按列排了，应按行排",
                    lambda F: F.transpose(2, 1, 0).reshape(-1, F.shape[0])),
            Mistake("it has one row a channel: (c, h·w); transpose it", "得到的是每个通道一行 (c, h·w)，应转置",
                    lambda F: F.reshape(F.shape[0], -1)),
            Mistake("it is still a grid (h, w, c); flatten its first two axes", "还是网格 (h, w, c)，应把前两个轴展平",
                    lambda F: F.transpose(1, 2, 0)),
        ]),
        (("A region is what all channels say of one cell. Which axis has to come last?",
          "一个区域就是所有通道在同一个格子上的值。哪个轴应放到最后？"),
         ("F.reshape(c, h * w) has one column a cell, in the right order.", "F.reshape(c, h * w) 每个格子一列，顺序是对的。"),
         ("Now exchange rows and columns: .T", "再把行与列交换：.T"))),
    Exercise(
        1, "mask", "pad(sequences) -> X, mask",
        ("Sequences of different lengths, a list of arrays (n_i, d), as one array X (N, n, d) with n the longest; zeros stand "
         "where there is no word, at the end. mask (N, n) is True where there is one.",
         "把长短不一的序列（数组列表，各为 (n_i, d)）放进一个数组 X (N, n, d)，n 为最长者；没有词的地方在末尾填 0。"
         "mask (N, n) 在有词处为 True。"),
        loop(_pad, _sequences, [
            Mistake("the mask is inverted: True must mark the words, not the padding",
                    "mask 反了：True 应标记真实的词，而不是填充",
                    lambda sequences: (_pad(sequences)[0], ~_pad(sequences)[1])),
            Mistake("the padding stands in front; it belongs at the end", "填充放在了前面，应放在末尾", _front),
            Mistake("sequences are cut to the shortest; pad them to the longest",
                    "把序列截到了最短的长度，应补到最长", _shortest),
            Mistake("the last word is repeated; padding is 0", "重复了最后一个词，填充应为 0", _last_repeated),
            Mistake("the two results are exchanged: X comes first, then the mask", "两个结果顺序反了：先是 X，再是 mask",
                    lambda sequences: _pad(sequences)[::-1]),
            Mistake("zeros are taken for padding: a word may be a vector of zeros; the lengths tell",
                    "把 0 当成了填充：词向量也可能全是 0，应看长度",
                    lambda sequences: (_pad(sequences)[0], _pad(sequences)[0].any(axis=-1))),
            Mistake("the mask is True everywhere", "mask 处处为 True",
                    lambda sequences: (_pad(sequences)[0], np.ones(_pad(sequences)[1].shape, bool))),
        ]),
        (("Begin with arrays of the right shape that are all padding, then write the words over it.",
          "先建立形状正确、全是填充的数组，再把词写进去。"),
         ("N = len(sequences), n = max(len(words) for words in sequences), d = sequences[0].shape[1]: np.zeros((N, n, d)) for "
          "X, np.zeros((N, n), dtype=bool) for the mask.",
          "N = len(sequences)，n = max(len(words) for words in sequences)，"
          "d = sequences[0].shape[1]：X 用 np.zeros((N, n, d))，"
          "mask 用 np.zeros((N, n), dtype=bool)。"),
         ("In a loop over the sequences, with their number i: X[i, :len(words)] = words, and mask[i, :len(words)] = True.",
          "对每个序列（编号 i）循环：X[i, :len(words)] = words，mask[i, :len(words)] = True。"))),
    Exercise(
        1, "mask", "mask_padding(S, key_mask) -> S_masked",
        ("Scores S (..., n, m) with -inf wherever the key is padding; key_mask (..., m), True = real. exp(-inf) is 0: such "
         "keys get no weight.",
         "分数 S (..., n, m)，凡键是填充处改为 -inf；key_mask (..., m)，True 表示真实。exp(-inf) 为 0，这些键得不到权重。"),
        loop(_masked, _scores, [
            Mistake("masked scores are 0: a score of 0 still gets weight, since exp(0) = 1",
                    "被遮的分数成了 0：exp(0) = 1，仍有权重",
                    lambda S, key_mask: S * key_mask[..., None, :]),
            Mistake("the real keys are masked, and the padding is kept", "遮住的是真实的键，留下的是填充",
                    lambda S, key_mask: np.where(key_mask[..., None, :], -np.inf, S)),
            Mistake("a large negative number is not minus infinity; use -np.inf", "很大的负数不是负无穷，请用 -np.inf",
                    lambda S, key_mask: np.where(key_mask[..., None, :], S, -1e9)),
            Mistake("the infinity has the wrong sign", "无穷的符号反了",
                    lambda S, key_mask: np.where(key_mask[..., None, :], S, np.inf)),
        ]),
        (("np.where(condition, a, b) takes a where the condition holds and b elsewhere.",
          "np.where(条件, a, b)在条件成立处取 a，其余取 b。"),
         ("S has one axis more than the mask: that of the queries. Every query has the same keys.",
          "S 比遮罩多一个轴：查询。每个查询面对的是同样的键。"),
         ("key_mask[..., None, :] has that axis, of size 1: np.where(key_mask[..., None, :], S, …)",
          "key_mask[..., None, :] 就带上了这个长度为 1 的轴：np.where(key_mask[..., None, :], S, …)"))),
    Exercise(
        1, "backward", "linear_backward(d_Y, cache) -> d_X, d_W, d_b",
        ("The gradients of Y = X W + b, from d_Y (..., d_out), cache.X (..., d_in) and cache.W (d_in, d_out).",
         "由 d_Y (..., d_out)、cache.X (..., d_in) 和 cache.W (d_in, d_out) 求 Y = X W + b 的梯度。"),
        gradient_of("linear", _layer, _linear, [
            Mistake("dW and db are means over the rows; each row counts in full: a sum", "dW、db 对各行取了均值，应求和",
                    lambda d_Y, cache: _scaled(d_Y, cache, 1 / d_Y[..., 0].size)),
            Mistake("db is not summed: b is added to every row, so its gradient is the sum over the rows",
                    "db 没有求和：b 加到了每一行上，所以它的梯度是对各行求和",
                    lambda d_Y, cache: (*_scaled(d_Y, cache)[:2], d_Y)),
        ]),
        (("A gradient has the shape of what it belongs to. Write the three shapes down: only one product fits each.",
          "梯度与它所属的量同形。把三个形状写下来：每个都只有一种乘法配得上。"),
         ("d_X = d_Y Wᵀ, d_W = Xᵀ d_Y. b is added to every row, so its gradient is the sum over all rows.",
          "d_X = d_Y Wᵀ，d_W = Xᵀ d_Y。b 加到了每一行上，所以它的梯度是对所有行求和。"),
         ("With a batch there are more rows, not more weights: X.reshape(-1, d_in) and d_Y.reshape(-1, d_out) put all rows "
          "into one matrix.",
          "成批时行多了，权重没有多：X.reshape(-1, d_in) 与 d_Y.reshape(-1, d_out) 把所有行放进一个矩阵。"),
         code("rows = d_Y.reshape(-1, W.shape[1]); return d_Y @ W.T, X.reshape(-1, W.shape[0]).T @ rows, rows.sum(axis=0)"))),
]
