"""The metrics of lesson 5 as loops over Python numbers, with switches for the mistakes that are made in each."""

from __future__ import annotations

import numpy as np

from attnretrieval.backend import Array


def before(scores: Array, answer: int, ties: str = "lower id") -> int:
    """How many stand before `answer` when the largest score stands first."""
    count = 0
    for other in range(len(scores)):
        tied = scores[other] == scores[answer] and other != answer
        if ties in ("lower id", "higher id") and tied:
            tied = (other < answer) == (ties == "lower id")
        elif ties == "hits":
            tied = False
        count += bool(scores[other] > scores[answer] or tied)
    return count


def caption_ranks(S: Array, image_of: Array, ties: str = "lower id") -> list[int]:
    """One a caption: the place of its image, from 0."""
    return [before(S[c], int(image_of[c]), ties) for c in range(len(S))]


def image_ranks(S: Array, image_of: Array, ties: str = "lower id") -> list[list[int]]:
    """One list an image: the places of its captions, from 0."""
    return [[before(S[:, i], c, ties) for c in range(len(S)) if image_of[c] == i] for i in range(S.shape[1])]


def recall_at_k(S: Array, image_of: Array, k: int, ties: str = "lower id") -> float:
    hits = [rank < k for rank in caption_ranks(S, image_of, ties)]
    return 100 * sum(hits) / len(hits)


def recall_over_images(S: Array, image_of: Array, k: int) -> float:
    hits = np.array(caption_ranks(S, image_of)) < k
    return 100 * float(np.mean([hits[image_of == i].mean() for i in range(S.shape[1])]))


def rank_of_first_match(S: Array, image_of: Array, choose=min) -> Array:
    return np.array([choose(ranks) for ranks in image_ranks(S, image_of)])


def median_rank(ranks: Array) -> float:
    ordered = sorted(int(rank) for rank in ranks)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return float(int(median) + 1)


def rerank(order: Array, scores: Array, k: int) -> Array:
    best = sorted(range(k), key=lambda place: -scores[place])
    return np.array([order[place] for place in best] + [order[place] for place in range(k, len(order))])


def inside(point: Array, box: Array) -> bool:
    return bool(box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3])


def rank_in_order(S: Array, image_of: Array, k: int) -> float:
    """The number that stands in argsort at the place of the image, taken for its rank."""
    order = np.argsort(-S, axis=1, kind="stable")
    return 100 * float(np.mean([order[c, i] < k for c, i in enumerate(image_of)]))


def any_caption(S: Array, image_of: Array, k: int) -> float:
    hits = np.array(caption_ranks(S, image_of)) < k
    return 100 * float(np.mean([hits[image_of == i].any() for i in range(S.shape[1])]))


def pointing_accuracy(A: Array, boxes: list[Array], centres: Array, choose=np.argmax, some=any) -> float:
    hits = [some(inside(centres[choose(a)], box) for box in listed) for a, listed in zip(A, boxes, strict=True)]
    return sum(hits) / len(hits)
