"""Lesson 5, retrieval: recall, ranks, reranking, and whether attention points where the word is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises import retrieval_loops as loops
from attnretrieval.course.exercises import retrieval_mistakes
from attnretrieval.course.exercises.exercise import Draw, Exercise, code
from attnretrieval.course.exercises.loops import loop


def _galleries(draw: Draw) -> Iterator[tuple[str, Array, Array]]:
    """Scores (C, I) and the image of each caption; every image has one, some have more."""
    def image_of(captions: int, images: int) -> Array:
        return draw.rng.permutation(np.r_[np.arange(images), draw.rng.integers(images, size=captions - images)])

    images, captions = draw.sizes(1, 3)[0], draw.sizes(1, 7, 11)[0]
    yield "several captions an image", draw(captions, images), image_of(captions, images)
    images, captions = draw.sizes(1, 3)[0], draw.sizes(1, 7, 11)[0]
    yield "equal scores", draw.rng.integers(3, size=(captions, images)) / 2, image_of(captions, images)
    # NumPy's other sorts happen to be stable for short arrays
    yield "many equal scores", draw.rng.integers(2, size=(24, 20)) / 2, image_of(24, 20)


def _for_recall(draw: Draw) -> Iterator[tuple[str, Array, Array, int]]:
    for label, S, image_of in _galleries(draw):
        yield label, S, image_of, 1
        yield f"{label}, k = 2", S, image_of, 2


def _ranks(draw: Draw) -> Iterator[tuple[str, Array]]:
    yield "an odd number of queries", draw.rng.integers(12, size=7)
    low, other = 2 * draw.rng.integers(1, 5, size=2)       # even: what rounds .5 to the even number goes down, then up
    yield "an even number of queries", draw.rng.permutation([0, low, low + 1, 12])
    yield "an even number, the middle two apart", draw.rng.permutation([0, 0, other, other + 3, 13, 14])


def _orders(draw: Draw) -> Iterator[tuple[str, Array, Array, int]]:
    n, k = draw.rng.integers(7, 10), draw.rng.integers(3, 6)
    yield "the best k", draw.rng.permutation(n), draw(k), int(k)
    yield "equal scores", draw.rng.permutation(n), draw.rng.integers(2, size=k) / 2, int(k)
    yield "all of them", draw.rng.permutation(k), draw(k), int(k)


def _phrases(draw: Draw) -> Iterator[tuple[str, Array, list[Array], Array]]:
    rows, columns = draw.sizes(2, 3, 6)
    ys, xs = np.divmod(np.arange(rows * columns), columns)
    centres = np.stack([(xs + 0.5) / columns, (ys + 0.5) / rows], axis=1)

    def box() -> Array:
        (x0, y0), (x1, y1) = 0.6 * draw.rng.random((2, 2)) + [[0.0], [0.4]]      # some overlap
        return np.array([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)])

    boxes = [np.array([box() for _ in range(n)]) for n in draw.rng.integers(1, 4, size=12)]
    yield "phrases", draw.rng.dirichlet(np.ones(len(centres)), 12), boxes, centres
    A = draw.rng.dirichlet(np.ones(len(centres)), 3)
    yield "centres on the edge of the box", A, [np.r_[centres[a.argmax()], 1, 1][None] for a in A], centres
    yield "centres on the other edge", A, [np.r_[0, 0, centres[a.argmax()]][None] for a in A], centres


EXERCISES = [
    Exercise(
        5, "metric", "recall_at_k(S, image_of, k) -> percent",
        ("Text to image: for each caption (a row of S (C, I)) its own image image_of[c] is a hit if fewer than k images stand "
         "before it. The share of hits in percent. Among equal scores the image with the lower number stands first.",
         "由文找图：对每个描述（S (C, I) 的一行），若排在其图像 image_of[c] 之前的图像少于 k 个，即为命中。返回命中的百分比。"
         "分数相等时编号小的图像在前。"),
        loop(loops.recall_at_k, _for_recall, retrieval_mistakes.RECALL),
        (("The rank of a caption's image is the number of images with a better score. Rank 0 is the best.",
          "一个描述的图像的名次，就是分数比它高的图像数。名次 0 最好。"),
         ("own = S[c, image_of[c]]; count S[c] > own, and of those with S[c] == own the ones with a lower number.",
          "own = S[c, image_of[c]]；数出 S[c] > own 的个数，再加上 S[c] == own 中编号更小的。"),
         ("A stable sort does both: order = np.argsort(-S[c], kind=\"stable\"); a hit if image_of[c] is in order[:k].",
          "稳定排序一步到位：order = np.argsort(-S[c], kind=\"stable\")；image_of[c] 在 order[:k] 中即命中。"),
         code("return 100 * np.mean([image_of[c] in np.argsort(-S[c], kind=\"stable\")[:k] for c in range(len(S))])"))),
    Exercise(
        5, "metric", "rank_of_first_match(S, image_of) -> ranks",
        ("Image to text: for each image (a column of S (C, I)) how many captions stand before the first of its own captions, "
         "those c with image_of[c] = i. ranks (I,), from 0. Among equal scores the caption with the lower number stands first.",
         "由图找文：对每张图像（S (C, I) 的一列），排在它的第一个自有描述（image_of[c] = i 的 c）之前的描述有几个。"
         "ranks (I,)，从 0 数起。分数相等时编号小的描述在前。"),
        loop(loops.rank_of_first_match, _galleries, retrieval_mistakes.FIRST_MATCH),
        (("One column of S is the scores of all captions for one image. Sort it, best first.",
          "S 的一列是所有描述对一张图像的分数。把它从高到低排序。"),
         ("order = np.argsort(-S[:, i], kind=\"stable\"); image_of[order] == i is True where one of its own captions stands.",
          "order = np.argsort(-S[:, i], kind=\"stable\")；image_of[order] == i 在自有描述所在处为 True。"),
         ("argmax of an array of bool is the place of the first True.", "布尔数组的 argmax 就是第一个 True 的位置。"))),
    Exercise(
        5, "metric", "median_rank(ranks) -> medr",
        ("The median rank as papers report it: floor(median(ranks)) + 1, with ranks (Q,) from 0: the best value is 1.",
         "论文中报告的中位名次：floor(median(ranks)) + 1，ranks (Q,) 从 0 数起：最好为 1。"),
        loop(loops.median_rank, _ranks, retrieval_mistakes.MEDIAN),
        (("np.median sorts, and takes the mean of the two in the middle where there are two.",
          "np.median 会排序；中间有两个时取它们的均值。"),
         ("np.floor makes 2.5 a 2.", "np.floor 把 2.5 变成 2。"),
         code("return np.floor(np.median(ranks)) + 1"))),
    Exercise(
        5, "metric", "rerank(order, scores, k) -> order",
        ("The index found the ids order (n,), best first. A slower, better model scored the first k of them: scores (k,), "
         "one a place. Sort those k by the new scores, largest first, equal ones as they stood; the others keep their places.",
         "索引找到了编号 order (n,)，最好的在前。较慢而更准的模型给前 k 个打了分：scores (k,)，每个位置一个。"
         "按新分数从大到小重排这 k 个，相等者保持原来的先后；其余位置不变。"),
        loop(loops.rerank, _orders, retrieval_mistakes.RERANK),
        (("Cut order into its first k and the rest. Only the first part moves.",
          "把 order 切成前 k 个与其余。只有前一段会动。"),
         ("np.argsort(-scores, kind=\"stable\") gives places, best first; order[:k][places] gives the ids.",
          "np.argsort(-scores, kind=\"stable\") 给出由好到差的位置；order[:k][places] 就是编号。"),
         code("return np.concatenate([order[:k][places], order[k:]])"))),
    Exercise(
        5, "metric", "pointing_accuracy(A, boxes, centres) -> share",
        ("A (P, m): for each phrase its attention on the m regions. centres (m, 2): x, y of each region. boxes: for each "
         "phrase an array (B, 4) of x0, y0, x1, y1. A hit: the centre of the region with the largest weight lies in any of "
         "the boxes, edges included. The share of hits, 0 to 1.",
         "A (P, m)：每个短语在 m 个区域上的注意力。"
         "centres (m, 2)：各区域中心的 x、y。boxes：每个短语一个数组 (B, 4)，即 x0, y0, "
         "x1, y1。权重最大的区域的中心落在任一框内（含边界）即为命中。返回命中的比例，0 到 1。"),
        loop(loops.pointing_accuracy, _phrases, retrieval_mistakes.POINTING),
        (("For each phrase take the region with the largest weight, and look where its centre is.",
          "对每个短语取权重最大的区域，看它的中心在哪里。"),
         ("x, y = centres[A[p].argmax()]. It lies in a box if x0 <= x <= x1 and y0 <= y <= y1.",
          "x, y = centres[A[p].argmax()]。x0 <= x <= x1 且 y0 <= y <= y1 时在框内。"),
         ("any(...) over the boxes of the phrase; the mean over the phrases.", "对短语的各框取 any(...)，再对短语求平均。"))),
]
