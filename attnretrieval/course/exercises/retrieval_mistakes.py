"""What people write for the metrics of lesson 5, and how to call it."""

from __future__ import annotations

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises import retrieval_loops as loops
from attnretrieval.course.exercises.exercise import Mistake


def _axes_exchanged(A: Array, boxes: list[Array], centres: Array) -> float:
    return loops.pointing_accuracy(A, boxes, centres[:, ::-1])


def _sizes_as_corners(A: Array, boxes: list[Array], centres: Array) -> float:
    return loops.pointing_accuracy(A, [np.c_[b[:, :2], b[:, :2] + b[:, 2:]] for b in boxes], centres)


RECALL = [
    Mistake("you count ties as hits: an equal score with a lower number stands before it",
            "你把并列都算作命中：分数相等且编号更小的排在前面",
            lambda S, image_of, k: loops.recall_at_k(S, image_of, k, "hits")),
    Mistake("you count every tie as a miss: only equal scores with a lower number stand before it",
            "你把并列都算作未命中：只有编号更小的才排在前面",
            lambda S, image_of, k: loops.recall_at_k(S, image_of, k, "misses")),
    Mistake("recall is averaged over images, not over captions: each caption is one query",
            "召回率是对图像求的平均，应对描述求平均：每个描述是一个查询", loops.recall_over_images),
    Mistake("it is a share from 0 to 1; recall is told in percent", "得到的是 0 到 1 的比例，召回率用百分数",
            lambda S, image_of, k: loops.recall_at_k(S, image_of, k) / 100),
    Mistake("ranks count from 0: rank k is not among the first k", "名次从 0 数起：第 k 名不在前 k 个之内",
            lambda S, image_of, k: loops.recall_at_k(S, image_of, k + 1)),
    Mistake("the smallest score stands first; the largest must", "最小的分数排在了最前，应是最大的",
            lambda S, image_of, k: loops.recall_at_k(-S, image_of, k)),
    Mistake("of equal scores the higher number stands first: argsort()[::-1] turns ties round too, sort -S instead",
            "分数相等时编号大的排在了前面：argsort()[::-1] 把并列也颠倒了，应对 -S 排序",
            lambda S, image_of, k: loops.recall_at_k(S, image_of, k, "higher id")),
    Mistake("argsort lists the images in order: the rank of an image is the place where it stands, not the entry of its "
            "number", "argsort 按次序列出图像：图像的名次是它所在的位置，而不是以它的编号取出的那一项", loops.rank_in_order),
    Mistake("an image counts as found with any of its captions: each caption is one query",
            "任一描述找到就算找到了图像：每个描述是一个查询", loops.any_caption),
    Mistake("a rank from 1 is compared with < k: the k-th is a hit too", "从 1 数起的名次用了 < k：第 k 名也算命中",
            lambda S, image_of, k: loops.recall_at_k(S, image_of, k - 1)),
    Mistake("S[c] >= own counts the image itself too: it does not stand before itself", "S[c] >= own 把图像自己也数进去了",
            lambda S, image_of, k: loops.recall_at_k(S, image_of, k - 1, "misses")),
    Mistake("hits are divided by the number of images; each caption is one query", "命中数除以了图像数，应除以描述数",
            lambda S, image_of, k: loops.recall_at_k(S, image_of, k) * len(S) / S.shape[1]),
    Mistake("the percentage is rounded", "百分数取了整", lambda S, image_of, k: round(loops.recall_at_k(S, image_of, k))),
    Mistake("the percentage is rounded down", "百分数向下取了整",
            lambda S, image_of, k: int(loops.recall_at_k(S, image_of, k))),
    Mistake("it is recall from image to text: there images are the queries", "这是由图找文的召回率：那里图像才是查询",
            lambda S, image_of, k: 100 * float(np.mean(loops.rank_of_first_match(S, image_of) < k))),
    Mistake("k is not used: it is R@1", "没有用到 k：得到的是 R@1",
            lambda S, image_of, k: loops.recall_at_k(S, image_of, 1)),
    Mistake("hits are counted; divide by the number of captions", "只数了命中数，还应除以描述数",
            lambda S, image_of, k: loops.recall_at_k(S, image_of, k) * len(S) / 100),
]

FIRST_MATCH = [
    Mistake("ranks count from 0 here: the best is 0", "这里名次从 0 数起：最好为 0",
            lambda S, image_of: loops.rank_of_first_match(S, image_of) + 1),
    Mistake("it is the rank of the last of its captions; the first one found counts",
            "这是最后一个自有描述的名次，应取最先找到的",
            lambda S, image_of: loops.rank_of_first_match(S, image_of, max)),
    Mistake("it is the mean rank of its captions; the first one found counts", "这是自有描述的平均名次，应取最先找到的",
            lambda S, image_of: loops.rank_of_first_match(S, image_of, np.mean)),
    Mistake("it is the caption that comes first in the file, not the one with the best score",
            "取了文件里最先出现的描述，应取分数最高的", lambda S, image_of: loops.rank_of_first_match(S, image_of,
            lambda r: r[0])),
    Mistake("captions are the queries: this is text to image", "查询成了描述：这是由文找图",
            lambda S, image_of: np.array(loops.caption_ranks(S, image_of))),
    Mistake("ties are not counted: an equal score with a lower number stands before it",
            "没有计入并列：分数相等且编号更小的排在前面",
            lambda S, image_of: np.array([min(r) for r in loops.image_ranks(S, image_of, "hits")])),
    Mistake("of equal scores the higher number stands first: argsort()[::-1] turns ties round too, sort -S instead",
            "分数相等时编号大的排在了前面：argsort()[::-1] 把并列也颠倒了，应对 -S 排序",
            lambda S, image_of: np.array([min(r) for r in loops.image_ranks(S, image_of, "higher id")])),
    Mistake("it is the number of the caption that is found first; its rank is the place where it stands",
            "这是最先找到的描述的编号，名次是它所在的位置", lambda S, image_of: np.array(
                [int(np.argmax(np.where(image_of == i, S[:, i], -np.inf))) for i in range(S.shape[1])])),
    Mistake("the smallest score stands first; the largest must", "最小的分数排在了最前，应是最大的",
            lambda S, image_of: loops.rank_of_first_match(-S, image_of)),
]

MEDIAN = [
    Mistake("the + 1 is missing: ranks count from 0, papers from 1", "少了 + 1：名次从 0 数起，论文从 1 数起",
            lambda ranks: np.floor(np.median(ranks))),
    Mistake("the floor is missing: with an even number of queries the median can end in .5",
            "少了向下取整：查询数为偶数时中位数可能带 .5", lambda ranks: np.median(ranks) + 1),
    Mistake("it is the mean rank", "这是平均名次", lambda ranks: np.mean(ranks) + 1),
    Mistake("it is the mean rank, rounded down", "这是向下取整的平均名次", lambda ranks: np.floor(np.mean(ranks)) + 1),
    Mistake("it is the lower of the two in the middle; the median is their mean", "取了中间两个中较小的，中位数是两者的均值",
            lambda ranks: np.sort(ranks)[(len(ranks) - 1) // 2] + 1),
    Mistake("it is the higher of the two in the middle; the median is their mean", "取了中间两个中较大的，中位数是两者的均值",
            lambda ranks: np.sort(ranks)[len(ranks) // 2] + 1),
    Mistake("round takes .5 to the even number; the floor is always down", "round 把 .5 取到偶数，应总是向下取整",
            lambda ranks: np.round(np.median(ranks)) + 1),
    Mistake("it is rounded up, not down", "应向下取整，而不是向上", lambda ranks: np.ceil(np.median(ranks)) + 1),
    Mistake("the ranks are not sorted before the middle one is taken", "取中间一个之前没有排序",
            lambda ranks: ranks[len(ranks) // 2] + 1),
]

RERANK = [
    Mistake("the smallest score stands first; the largest must", "最小的分数排在了最前，应是最大的",
            lambda order, scores, k: loops.rerank(order, -scores, k)),
    Mistake("it returns places, not ids: look the places up in order", "返回的是位置而不是编号：用位置去 order 里查",
            lambda order, scores, k: np.r_[np.argsort(-scores, kind="stable"), order[k:]]),
    Mistake("the ids after the first k are lost; they keep their places", "前 k 个之后的编号丢了，它们应留在原位",
            lambda order, scores, k: loops.rerank(order, scores, k)[:k]),
    Mistake("the sorting is used the wrong way round: order[:k][places] puts the best first",
            "排序用反了：order[:k][places] 才把最好的放在最前", lambda order, scores, k: np.r_[
                order[:k][np.argsort(np.argsort(-scores, kind="stable"), kind="stable")], order[k:]]),
    Mistake("the others stand before the first k; they keep their places behind", "其余的放到了前 k 个之前，它们应留在后面",
            lambda order, scores, k: np.roll(loops.rerank(order, scores, k), -k)),
    Mistake("the last of the k keeps its place: order[:k] holds k of them", "k 个中的最后一个没有动：order[:k] 就含 k 个",
            lambda order, scores, k: loops.rerank(order, scores, k - 1)),
    Mistake("the first k are not reordered", "前 k 个没有重排", lambda order, scores, k: order),
    Mistake("equal scores change their order; a stable sort keeps it", "分数相等者的先后变了，稳定排序能保持",
            lambda order, scores, k: np.r_[order[:k][::-1][np.argsort(-scores[::-1], kind="stable")], order[k:]]),
]

POINTING = [
    Mistake("it asks for the first box alone; any box of the phrase counts", "只看了第一个框，短语的任一框都算",
            lambda A, boxes, centres: loops.pointing_accuracy(A, [b[:1] for b in boxes], centres)),
    Mistake("it asks for all boxes; one of them is enough", "要求落在所有框内，其实一个就够",
            lambda A, boxes, centres: loops.pointing_accuracy(A, boxes, centres, some=all)),
    Mistake("x and y are exchanged", "x 与 y 颠倒了", _axes_exchanged),
    Mistake("boxes are corners x0, y0, x1, y1, not a corner and a size",
            "框是两个角 x0, y0, x1, y1，不是一角加宽高", _sizes_as_corners),
    Mistake("boxes are x0, y0, x1, y1, not x0, x1, y0, y1", "框是 x0, y0, x1, y1，不是 x0, x1, y0, y1",
            lambda A, boxes, centres: loops.pointing_accuracy(A, [b[:, [0, 2, 1, 3]] for b in boxes], centres)),
    Mistake("it points at the smallest weight", "指向了权重最小的区域",
            lambda A, boxes, centres: loops.pointing_accuracy(A, boxes, centres, np.argmin)),
    Mistake("a centre on the edge of a box lies inside", "中心在框的边界上也算在内",
            lambda A, boxes, centres: loops.pointing_accuracy(
                A, [b + np.array([1, 1, -1, -1]) * 1e-12 for b in boxes], centres)),
    Mistake("the upper edges do not count: x0 <= x <= x1", "没有算上界：x0 <= x <= x1",
            lambda A, boxes, centres: loops.pointing_accuracy(
                A, [b - np.array([0, 0, 1, 1]) * 1e-12 for b in boxes], centres)),
    Mistake("a phrase counts once for each box that is hit; one hit is all", "一个短语按框数重复计了：任一框命中即算一次",
            lambda A, boxes, centres: loops.pointing_accuracy(A, boxes, centres, some=sum)),
    Mistake("the largest weight of all phrases is taken; each phrase has its own",
            "取了所有短语中最大的权重，应每个短语各取各的",
            lambda A, boxes, centres: loops.pointing_accuracy(
                np.repeat(A[A.max(axis=1).argmax()][None], len(A), axis=0), boxes, centres)),
    Mistake("hits are counted; divide by the number of phrases", "只数了命中数，还应除以短语数",
            lambda A, boxes, centres: loops.pointing_accuracy(A, boxes, centres) * len(A)),
    Mistake("x or y inside is not enough: both must lie in the box", "x 或 y 在内还不够：两者都要在框内",
            lambda A, boxes, centres: loops.pointing_accuracy(A, [np.r_[
                np.c_[b[:, 0], -9 + 0 * b[:, 0], b[:, 2], 9 + 0 * b[:, 0]],
                np.c_[-9 + 0 * b[:, 0], b[:, 1], 9 + 0 * b[:, 0], b[:, 3]]] for b in boxes], centres)),
    Mistake("it is a percentage; the share is from 0 to 1", "得到的是百分数，应是 0 到 1 的比例",
            lambda A, boxes, centres: 100 * loops.pointing_accuracy(A, boxes, centres)),
    Mistake("it is the weight inside the boxes, not whether the largest weight lies inside",
            "算的是框内权重之和，应看最大权重是否在框内",
            lambda A, boxes, centres: float(np.mean([sum(w for w, c in zip(a, centres, strict=True)
                                                         if any(loops.inside(c, b) for b in listed))
                                                     for a, listed in zip(A, boxes, strict=True)]))),
]
