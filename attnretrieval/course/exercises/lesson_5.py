"""Lesson 5, retrieval: recall, ranks, reranking, and whether attention points where the word is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises import retrieval_loops as loops
from attnretrieval.course.exercises.exercise import Draw, Exercise, Mistake, code
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


def _axes_exchanged(A: Array, boxes: list[Array], centres: Array) -> float:
    return loops.pointing_accuracy(A, boxes, centres[:, ::-1])


def _sizes_as_corners(A: Array, boxes: list[Array], centres: Array) -> float:
    return loops.pointing_accuracy(A, [np.c_[b[:, :2], b[:, :2] + b[:, 2:]] for b in boxes], centres)


EXERCISES = [
    Exercise(
        5, "metric", "recall_at_k(S, image_of, k) -> percent",
        ("Text to image: for each caption (a row of S (C, I)) its own image image_of[c] is a hit if fewer than k images stand "
         "before it. The share of hits in percent. Among equal scores the image with the lower number stands first.",
         "由文找图:对每个描述(S (C, I) 的一行),若排在其图像 image_of[c] 之前的图像少于 k 个,即为命中。返回命中的百分比。"
         "分数相等时编号小的图像在前。"),
        loop(loops.recall_at_k, _for_recall, [
            Mistake("you count ties as hits: an equal score with a lower number stands before it",
                    "你把并列都算作命中:分数相等且编号更小的排在前面",
                    lambda S, image_of, k: loops.recall_at_k(S, image_of, k, "hits")),
            Mistake("you count every tie as a miss: only equal scores with a lower number stand before it",
                    "你把并列都算作未命中:只有编号更小的才排在前面",
                    lambda S, image_of, k: loops.recall_at_k(S, image_of, k, "misses")),
            Mistake("recall is averaged over images, not over captions: each caption is one query",
                    "召回率是对图像求的平均,应对描述求平均:每个描述是一个查询", loops.recall_over_images),
            Mistake("it is a share from 0 to 1; recall is told in percent", "得到的是 0 到 1 的比例,召回率用百分数",
                    lambda S, image_of, k: loops.recall_at_k(S, image_of, k) / 100),
            Mistake("ranks count from 0: rank k is not among the first k", "名次从 0 数起:第 k 名不在前 k 个之内",
                    lambda S, image_of, k: loops.recall_at_k(S, image_of, k + 1)),
            Mistake("the smallest score stands first; the largest must", "最小的分数排在了最前,应是最大的",
                    lambda S, image_of, k: loops.recall_at_k(-S, image_of, k)),
            Mistake("of equal scores the higher number stands first: argsort()[::-1] turns ties round too, sort -S instead",
                    "分数相等时编号大的排在了前面:argsort()[::-1] 把并列也颠倒了,应对 -S 排序",
                    lambda S, image_of, k: loops.recall_at_k(S, image_of, k, "higher id")),
            Mistake("argsort lists the images in order: the rank of an image is the place where it stands, not the entry of its "
                    "number", "argsort 按次序列出图像:图像的名次是它所在的位置,而不是以它的编号取出的那一项", loops.rank_in_order),
            Mistake("an image counts as found with any of its captions: each caption is one query",
                    "任一描述找到就算找到了图像:每个描述是一个查询", loops.any_caption),
            Mistake("a rank from 1 is compared with < k: the k-th is a hit too", "从 1 数起的名次用了 < k:第 k 名也算命中",
                    lambda S, image_of, k: loops.recall_at_k(S, image_of, k - 1)),
            Mistake("hits are divided by the number of images; each caption is one query", "命中数除以了图像数,应除以描述数",
                    lambda S, image_of, k: loops.recall_at_k(S, image_of, k) * len(S) / S.shape[1]),
            Mistake("the percentage is rounded", "百分数取了整", lambda S, image_of, k: round(loops.recall_at_k(S, image_of, k))),
            Mistake("the percentage is rounded down", "百分数向下取了整",
                    lambda S, image_of, k: int(loops.recall_at_k(S, image_of, k))),
            Mistake("it is recall from image to text: there images are the queries", "这是由图找文的召回率:那里图像才是查询",
                    lambda S, image_of, k: 100 * float(np.mean(loops.rank_of_first_match(S, image_of) < k))),
            Mistake("k is not used: it is R@1", "没有用到 k:得到的是 R@1",
                    lambda S, image_of, k: loops.recall_at_k(S, image_of, 1)),
            Mistake("hits are counted; divide by the number of captions", "只数了命中数,还应除以描述数",
                    lambda S, image_of, k: loops.recall_at_k(S, image_of, k) * len(S) / 100),
        ]),
        (("The rank of a caption's image is the number of images with a better score. Rank 0 is the best.",
          "一个描述的图像的名次,就是分数比它高的图像数。名次 0 最好。"),
         ("own = S[c, image_of[c]]; count S[c] > own, and of those with S[c] == own the ones with a lower number.",
          "own = S[c, image_of[c]];数出 S[c] > own 的个数,再加上 S[c] == own 中编号更小的。"),
         ("A stable sort does both: order = np.argsort(-S[c], kind=\"stable\"); a hit if image_of[c] is in order[:k].",
          "稳定排序一步到位:order = np.argsort(-S[c], kind=\"stable\");image_of[c] 在 order[:k] 中即命中。"),
         code("return 100 * np.mean([image_of[c] in np.argsort(-S[c], kind=\"stable\")[:k] for c in range(len(S))])"))),
    Exercise(
        5, "metric", "rank_of_first_match(S, image_of) -> ranks",
        ("Image to text: for each image (a column of S (C, I)) how many captions stand before the first of its own captions, "
         "those c with image_of[c] = i. ranks (I,), from 0. Among equal scores the caption with the lower number stands first.",
         "由图找文:对每张图像(S (C, I) 的一列),排在它的第一个自有描述(image_of[c] = i 的 c)之前的描述有几个。"
         "ranks (I,),从 0 数起。分数相等时编号小的描述在前。"),
        loop(loops.rank_of_first_match, _galleries, [
            Mistake("ranks count from 0 here: the best is 0", "这里名次从 0 数起:最好为 0",
                    lambda S, image_of: loops.rank_of_first_match(S, image_of) + 1),
            Mistake("it is the rank of the last of its captions; the first one found counts",
                    "这是最后一个自有描述的名次,应取最先找到的",
                    lambda S, image_of: loops.rank_of_first_match(S, image_of, max)),
            Mistake("it is the mean rank of its captions; the first one found counts", "这是自有描述的平均名次,应取最先找到的",
                    lambda S, image_of: loops.rank_of_first_match(S, image_of, np.mean)),
            Mistake("it is the caption that comes first in the file, not the one with the best score",
                    "取了文件里最先出现的描述,应取分数最高的", lambda S, image_of: loops.rank_of_first_match(S, image_of,
                    lambda r: r[0])),
            Mistake("captions are the queries: this is text to image", "查询成了描述:这是由文找图",
                    lambda S, image_of: np.array(loops.caption_ranks(S, image_of))),
            Mistake("ties are not counted: an equal score with a lower number stands before it",
                    "没有计入并列:分数相等且编号更小的排在前面",
                    lambda S, image_of: np.array([min(r) for r in loops.image_ranks(S, image_of, "hits")])),
            Mistake("of equal scores the higher number stands first: argsort()[::-1] turns ties round too, sort -S instead",
                    "分数相等时编号大的排在了前面:argsort()[::-1] 把并列也颠倒了,应对 -S 排序",
                    lambda S, image_of: np.array([min(r) for r in loops.image_ranks(S, image_of, "higher id")])),
            Mistake("it is the number of the caption that is found first; its rank is the place where it stands",
                    "这是最先找到的描述的编号,名次是它所在的位置", lambda S, image_of: np.array(
                        [int(np.argmax(np.where(image_of == i, S[:, i], -np.inf))) for i in range(S.shape[1])])),
            Mistake("the smallest score stands first; the largest must", "最小的分数排在了最前,应是最大的",
                    lambda S, image_of: loops.rank_of_first_match(-S, image_of)),
        ]),
        (("One column of S is the scores of all captions for one image. Sort it, best first.",
          "S 的一列是所有描述对一张图像的分数。把它从高到低排序。"),
         ("order = np.argsort(-S[:, i], kind=\"stable\"); image_of[order] == i is True where one of its own captions stands.",
          "order = np.argsort(-S[:, i], kind=\"stable\");image_of[order] == i 在自有描述所在处为 True。"),
         ("argmax of an array of bool is the place of the first True.", "布尔数组的 argmax 就是第一个 True 的位置。"))),
    Exercise(
        5, "metric", "median_rank(ranks) -> medr",
        ("The median rank as papers report it: floor(median(ranks)) + 1, with ranks (Q,) from 0: the best value is 1.",
         "论文中报告的中位名次:floor(median(ranks)) + 1,ranks (Q,) 从 0 数起:最好为 1。"),
        loop(loops.median_rank, _ranks, [
            Mistake("the + 1 is missing: ranks count from 0, papers from 1", "少了 + 1:名次从 0 数起,论文从 1 数起",
                    lambda ranks: np.floor(np.median(ranks))),
            Mistake("the floor is missing: with an even number of queries the median can end in .5",
                    "少了向下取整:查询数为偶数时中位数可能带 .5", lambda ranks: np.median(ranks) + 1),
            Mistake("it is the mean rank", "这是平均名次", lambda ranks: np.mean(ranks) + 1),
            Mistake("it is the mean rank, rounded down", "这是向下取整的平均名次", lambda ranks: np.floor(np.mean(ranks)) + 1),
            Mistake("it is the lower of the two in the middle; the median is their mean", "取了中间两个中较小的,中位数是两者的均值",
                    lambda ranks: np.sort(ranks)[(len(ranks) - 1) // 2] + 1),
            Mistake("it is the higher of the two in the middle; the median is their mean", "取了中间两个中较大的,中位数是两者的均值",
                    lambda ranks: np.sort(ranks)[len(ranks) // 2] + 1),
            Mistake("round takes .5 to the even number; the floor is always down", "round 把 .5 取到偶数,应总是向下取整",
                    lambda ranks: np.round(np.median(ranks)) + 1),
            Mistake("it is rounded up, not down", "应向下取整,而不是向上", lambda ranks: np.ceil(np.median(ranks)) + 1),
            Mistake("the ranks are not sorted before the middle one is taken", "取中间一个之前没有排序",
                    lambda ranks: ranks[len(ranks) // 2] + 1),
        ]),
        (("np.median sorts, and takes the mean of the two in the middle where there are two.",
          "np.median 会排序;中间有两个时取它们的均值。"),
         ("np.floor makes 2.5 a 2.", "np.floor 把 2.5 变成 2。"),
         code("return np.floor(np.median(ranks)) + 1"))),
    Exercise(
        5, "metric", "rerank(order, scores, k) -> order",
        ("The index found the ids order (n,), best first. A slower, better model scored the first k of them: scores (k,), "
         "one a place. Sort those k by the new scores, largest first, equal ones as they stood; the others keep their places.",
         "索引找到了编号 order (n,),最好的在前。较慢而更准的模型给前 k 个打了分:scores (k,),每个位置一个。"
         "按新分数从大到小重排这 k 个,相等者保持原来的先后;其余位置不变。"),
        loop(loops.rerank, _orders, [
            Mistake("the smallest score stands first; the largest must", "最小的分数排在了最前,应是最大的",
                    lambda order, scores, k: loops.rerank(order, -scores, k)),
            Mistake("it returns places, not ids: look the places up in order", "返回的是位置而不是编号:用位置去 order 里查",
                    lambda order, scores, k: np.r_[np.argsort(-scores, kind="stable"), order[k:]]),
            Mistake("the ids after the first k are lost; they keep their places", "前 k 个之后的编号丢了,它们应留在原位",
                    lambda order, scores, k: loops.rerank(order, scores, k)[:k]),
            Mistake("the sorting is used the wrong way round: order[:k][places] puts the best first",
                    "排序用反了:order[:k][places] 才把最好的放在最前", lambda order, scores, k: np.r_[
                        order[:k][np.argsort(np.argsort(-scores, kind="stable"), kind="stable")], order[k:]]),
            Mistake("the others stand before the first k; they keep their places behind", "其余的放到了前 k 个之前,它们应留在后面",
                    lambda order, scores, k: np.roll(loops.rerank(order, scores, k), -k)),
            Mistake("the last of the k keeps its place: order[:k] holds k of them", "k 个中的最后一个没有动:order[:k] 就含 k 个",
                    lambda order, scores, k: loops.rerank(order, scores, k - 1)),
            Mistake("the first k are not reordered", "前 k 个没有重排", lambda order, scores, k: order),
            Mistake("equal scores change their order; a stable sort keeps it", "分数相等者的先后变了,稳定排序能保持",
                    lambda order, scores, k: np.r_[order[:k][::-1][np.argsort(-scores[::-1], kind="stable")], order[k:]]),
        ]),
        (("Cut order into its first k and the rest. Only the first part moves.",
          "把 order 切成前 k 个与其余。只有前一段会动。"),
         ("np.argsort(-scores, kind=\"stable\") gives places, best first; order[:k][places] gives the ids.",
          "np.argsort(-scores, kind=\"stable\") 给出由好到差的位置;order[:k][places] 就是编号。"),
         code("return np.concatenate([order[:k][places], order[k:]])"))),
    Exercise(
        5, "metric", "pointing_accuracy(A, boxes, centres) -> share",
        ("A (P, m): for each phrase its attention on the m regions. centres (m, 2): x, y of each region. boxes: for each "
         "phrase an array (B, 4) of x0, y0, x1, y1. A hit: the centre of the region with the largest weight lies in any of "
         "the boxes, edges included. The share of hits, 0 to 1.",
         "A (P, m):每个短语在 m 个区域上的注意力。centres (m, 2):各区域中心的 x、y。boxes:每个短语一个数组 (B, 4),即 x0, y0, "
         "x1, y1。权重最大的区域的中心落在任一框内(含边界)即为命中。返回命中的比例,0 到 1。"),
        loop(loops.pointing_accuracy, _phrases, [
            Mistake("it asks for the first box alone; any box of the phrase counts", "只看了第一个框,短语的任一框都算",
                    lambda A, boxes, centres: loops.pointing_accuracy(A, [b[:1] for b in boxes], centres)),
            Mistake("it asks for all boxes; one of them is enough", "要求落在所有框内,其实一个就够",
                    lambda A, boxes, centres: loops.pointing_accuracy(A, boxes, centres, some=all)),
            Mistake("x and y are exchanged", "x 与 y 颠倒了", _axes_exchanged),
            Mistake("boxes are corners x0, y0, x1, y1, not a corner and a size",
                    "框是两个角 x0, y0, x1, y1,不是一角加宽高", _sizes_as_corners),
            Mistake("it points at the smallest weight", "指向了权重最小的区域",
                    lambda A, boxes, centres: loops.pointing_accuracy(A, boxes, centres, np.argmin)),
            Mistake("a centre on the edge of a box lies inside", "中心在框的边界上也算在内",
                    lambda A, boxes, centres: loops.pointing_accuracy(
                        A, [b + np.array([1, 1, -1, -1]) * 1e-12 for b in boxes], centres)),
            Mistake("the upper edges do not count: x0 <= x <= x1", "没有算上界:x0 <= x <= x1",
                    lambda A, boxes, centres: loops.pointing_accuracy(
                        A, [b - np.array([0, 0, 1, 1]) * 1e-12 for b in boxes], centres)),
            Mistake("a phrase counts once for each box; any of them is enough, and one hit is all", "一个短语按框数重复计了:任一框命中即算一次",
                    lambda A, boxes, centres: loops.pointing_accuracy(A, boxes, centres, some=sum)),
            Mistake("the largest weight of all phrases is taken; each phrase has its own", "取了所有短语中最大的权重,应每个短语各取各的",
                    lambda A, boxes, centres: loops.pointing_accuracy(
                        np.repeat(A[A.max(axis=1).argmax()][None], len(A), axis=0), boxes, centres)),
            Mistake("hits are counted; divide by the number of phrases", "只数了命中数,还应除以短语数",
                    lambda A, boxes, centres: loops.pointing_accuracy(A, boxes, centres) * len(A)),
            Mistake("x or y inside is not enough: both must lie in the box", "x 或 y 在内还不够:两者都要在框内",
                    lambda A, boxes, centres: loops.pointing_accuracy(A, [np.r_[
                        np.c_[b[:, 0], -9 + 0 * b[:, 0], b[:, 2], 9 + 0 * b[:, 0]],
                        np.c_[-9 + 0 * b[:, 0], b[:, 1], 9 + 0 * b[:, 0], b[:, 3]]] for b in boxes], centres)),
            Mistake("it is a percentage; the share is from 0 to 1", "得到的是百分数,应是 0 到 1 的比例",
                    lambda A, boxes, centres: 100 * loops.pointing_accuracy(A, boxes, centres)),
            Mistake("it is the weight inside the boxes, not whether the largest weight lies inside",
                    "算的是框内权重之和,应看最大权重是否在框内",
                    lambda A, boxes, centres: float(np.mean([sum(w for w, c in zip(a, centres, strict=True)
                                                                 if any(loops.inside(c, b) for b in listed))
                                                             for a, listed in zip(A, boxes, strict=True)]))),
        ]),
        (("For each phrase take the region with the largest weight, and look where its centre is.",
          "对每个短语取权重最大的区域,看它的中心在哪里。"),
         ("x, y = centres[A[p].argmax()]. It lies in a box if x0 <= x <= x1 and y0 <= y <= y1.",
          "x, y = centres[A[p].argmax()]。x0 <= x <= x1 且 y0 <= y <= y1 时在框内。"),
         ("any(...) over the boxes of the phrase; the mean over the phrases.", "对短语的各框取 any(...),再对短语求平均。"))),
]
