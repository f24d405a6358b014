"""Recall at k, median and mean rank, computed as the field computes them (the formulas of VSE++, Faghri et al. 2018).

    t2i   one query a caption:  rank = how many images stand before the caption's own image
    i2t   one query an image:   rank = how many captions stand before the first of the image's own captions

    R@k = 100 · share of queries with rank < k        rsum = R@1 + R@5 + R@10, both directions
    medr = floor(median(rank)) + 1                    meanr = mean(rank) + 1            ranks count from 0

Rows of a score matrix are captions, columns are images. `truth` says what belongs together, in either form:

    image_of  (C,) int    the column of each caption's image; any map, also uneven ones
    positives (C, I) bool  True where the caption describes the image

A query without any right answer is no query and is left out; as an answer to others it still counts.

Equal scores: the lower id stands first, as in search. A model that gives every pair the same score would look good or
bad by the order of the files alone, so every `Recall` also carries `ties`, the number of queries whose rank hangs on
that rule, and `r1_best` and `r1_worst`, the R@1 if every tie went for or against the right answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import to_host
from attnretrieval.shapes import ShapeError, check_array, check_finite

BLOCK = 2_000_000  # entries of the score matrix looked at together


class Ranks(NamedTuple):
    """One entry a query, counted from 0."""
    rank: np.ndarray    # ties by lower id
    best: np.ndarray    # every tie for the right answer
    worst: np.ndarray   # every tie against it


class Recall(NamedTuple):
    """One direction. `r1` … `r10`, `r1_best` and `r1_worst` in percent."""
    r1: float
    r5: float
    r10: float
    medr: float
    meanr: float
    queries: int
    ties: int
    r1_best: float
    r1_worst: float


class Recalls(NamedTuple):
    i2t: Recall
    t2i: Recall
    rsum: float
    mode: str

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries; `r1_best` and `r1_worst` are there only when there are ties."""
        return {"i2t": _to_json(self.i2t), "t2i": _to_json(self.t2i), "rsum": self.rsum, "mode": self.mode}


def recalls(S: Any, truth: Any, mode: str = "exhaustive") -> Recalls:
    """Both directions from the scores S (C, I). `mode` is only a label: how the scores came about."""
    check_array("S", S, ndim=2)
    S = to_host(S)
    if S.dtype.kind == "c":
        raise ShapeError(f"S has dtype {S.dtype}; scores are real numbers")
    check_finite("S", S)
    truth = check_truth(truth, *S.shape)
    return recalls_from_ranks(ranks(S.T, truth, "i2t"), ranks(S, truth, "t2i"), mode)


def recalls_from_ranks(i2t: Ranks, t2i: Ranks, mode: str) -> Recalls:
    a, b = _recall(i2t), _recall(t2i)
    return Recalls(a, b, a.r1 + a.r5 + a.r10 + b.r1 + b.r5 + b.r10, mode)


def ranks(S: np.ndarray, truth: np.ndarray, direction: str) -> Ranks:
    """The rank of the first right answer of every query that has one; the rows of S are the queries.

    `direction` "t2i": queries are captions, S (C, I). "i2t": queries are images, S (I, C).
    """
    rows = max(1, BLOCK // S.shape[1])
    blocks = []
    for start in range(0, len(S), rows):
        queries = np.arange(start, min(start + rows, len(S)))
        right = right_answers(truth, direction, queries, S.shape[1])
        blocks.append(rank_block(S[queries], right))
    return join_ranks(blocks)


def rank_block(S: np.ndarray, right: np.ndarray) -> Ranks:
    """Ranks of a few queries from their scores S (Q, N) and right answers (Q, N) bool; rows with none are dropped."""
    keep = right.any(axis=1)
    S, right = S[keep], right[keep]
    top = np.where(right, S, -np.inf).max(axis=1, keepdims=True)  # the score of the first right answer
    best = (S > top).sum(axis=1)
    tied = S == top
    first = (tied & right).argmax(axis=1)                          # its id: the lowest among the right ones
    tied &= ~right
    rank = best + (tied & (np.arange(S.shape[1]) < first[:, None])).sum(axis=1)
    return Ranks(rank, best, best + tied.sum(axis=1))


def join_ranks(blocks: list[Ranks]) -> Ranks:
    return Ranks(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def check_truth(truth: Any, captions: int, images: int) -> np.ndarray:
    """`truth` as an array: (C,) int or (C, I) bool, every caption map inside the images, at least one right pair."""
    truth = np.asarray(to_host(truth))
    if truth.dtype == bool:
        if truth.shape != (captions, images):
            raise ShapeError(f"positives has shape {truth.shape}, expected {(captions, images)}: captions × images")
        if not truth.any():
            raise ShapeError("positives has no True: no caption describes any image, there is nothing to find")
        return truth
    if truth.dtype.kind not in "iu" or truth.shape != (captions,):
        raise ShapeError(
            f"image_of has shape {truth.shape} and dtype {truth.dtype}, expected {(captions,)} integers: "
            "for every caption the number of its image"
        )
    if captions == 0 or images == 0:
        raise ShapeError(f"{captions} captions and {images} images: there is nothing to rank")
    if truth.min() < 0 or truth.max() >= images:
        raise ShapeError(f"image_of holds {truth.min()} to {truth.max()}, the images are numbered 0 to {images - 1}")
    return truth


def right_answers(truth: np.ndarray, direction: str, queries: np.ndarray, answers: int) -> np.ndarray:
    """(Q, answers) bool: which answers are right for these queries."""
    if truth.dtype == bool:
        return truth[queries] if direction == "t2i" else truth[:, queries].T
    if direction == "t2i":
        return truth[queries][:, None] == np.arange(answers)
    return queries[:, None] == truth


def _recall(r: Ranks) -> Recall:
    def at(k: int, rank: np.ndarray) -> float:
        return float(100.0 * np.mean(rank < k))

    return Recall(
        at(1, r.rank), at(5, r.rank), at(10, r.rank),
        float(np.floor(np.median(r.rank)) + 1), float(np.mean(r.rank) + 1),
        len(r.rank), int((r.best != r.worst).sum()), at(1, r.best), at(1, r.worst),
    )  # fmt: skip


def _to_json(r: Recall) -> dict[str, float]:
    out = r._asdict()
    if r.ties == 0:
        del out["r1_best"], out["r1_worst"]
    return out
