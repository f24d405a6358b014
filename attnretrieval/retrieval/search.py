"""Search a gallery, and the ranks of a whole evaluation, in three modes.

    index        cosine of the stored g⁰                                       one product, no tokens needed
    rerank       the best `rerank_k` by index, re-ordered by the paired s(t, v); what lies outside keeps its order below
    exhaustive   the paired s(t, v) with every item

`rerank` with `rerank_k` = gallery size is `exhaustive`, and runs as such. Equal scores: the lower id first.

Everything runs in blocks. A cosine has the same bits in every block, batch and mode, and equal vectors get equal scores
(nearest.py, which searches the index on the CPU). Paired scores are the model's: where two ways of batching differ, they
differ by its rounding. The block sizes below may be changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attnretrieval.backend import module_of, to_device, to_host
from attnretrieval.inputs.files import InputError
from attnretrieval.model import Encoded, Model
from attnretrieval.retrieval.metrics import (
    Ranks,
    Recalls,
    check_truth,
    join_ranks,
    rank_block,
    ranks,
    recalls_from_ranks,
    right_answers,
)
from attnretrieval.retrieval.nearest import cosines
from attnretrieval.shapes import ShapeError, check_array, check_choice, check_finite

if TYPE_CHECKING:
    from attnretrieval.retrieval.gallery import Gallery
    from attnretrieval.retrieval.kept_products import KeptProducts

MODES = ("index", "rerank", "exhaustive")

SCORES = 4_000_000          # scores of a block of queries with all items
TEXTS = 256                 # texts of one call of model.score_matrix
PAIRS = 16_384              # pairs of one call of model.score_pairs
TOKEN_BYTES = 256_000_000   # tokens of the images of one call


class Hits(NamedTuple):
    """The best items of each query, best first. After a rerank the first `rerank_k` scores are paired, the rest cosines."""
    ids: np.ndarray         # (Q, k) int64
    scores: np.ndarray      # (Q, k)


def search_images(
    gallery: Gallery, model: Model, texts: Encoded, mode: str = "index", k: int = 10, rerank_k: int = 50
) -> Hits:
    """The best `k` images of the gallery for each text; all of them where the gallery holds fewer."""
    if gallery.images is None:
        raise InputError(f"gallery {gallery.path} holds no images, only texts")
    return _search(gallery, gallery.images, model, texts, "t2i", mode, k, rerank_k)


def search_texts(
    gallery: Gallery, model: Model, images: Encoded, mode: str = "index", k: int = 10, rerank_k: int = 50
) -> Hits:
    """The best `k` texts of the gallery for each image; all of them where the gallery holds fewer."""
    if gallery.texts is None:
        raise InputError(f"gallery {gallery.path} holds no texts, only images")
    return _search(gallery, gallery.texts, model, images, "i2t", mode, k, rerank_k)


def evaluate(
    model: Model, texts: Encoded, images: Encoded, image_of: np.ndarray, mode: str = "index", rerank_k: int = 50
) -> Recalls:
    """Recalls of both directions over a whole set; `image_of` as `truth` in metrics.py."""
    i2t, t2i = rank_all(model, texts, images, image_of, mode, rerank_k)
    return recalls_from_ranks(i2t, t2i, mode)


def rank_all(
    model: Model, texts: Encoded, images: Encoded, image_of: np.ndarray, mode: str = "index", rerank_k: int = 50
) -> tuple[Ranks, Ranks]:
    """Ranks i2t and t2i. `exhaustive` holds the whole (C, I) matrix: 500 MB for 25,000 captions × 5,000 images."""
    _check(texts, images, mode, 1, rerank_k)
    truth = check_truth(image_of, len(texts.g), len(images.g))
    modes = {"i2t": _mode(mode, rerank_k, len(texts.g)), "t2i": _mode(mode, rerank_k, len(images.g))}
    paired_scores = _score_matrix(model, texts, images, _device(texts)) if "exhaustive" in modes.values() else None

    def one_way(queries: Encoded, items: Encoded, direction: str) -> Ranks:
        if modes[direction] == "exhaustive":
            return ranks(paired_scores if direction == "t2i" else paired_scores.T, truth, direction)
        blocks = []
        for rows in _row_blocks(len(queries.g), len(items.g)):
            rows = rows[right_answers(truth, direction, rows, len(items.g)).any(axis=1)]
            S = cosines(to_host(queries.g)[rows], items.g)
            right = right_answers(truth, direction, rows, len(items.g))
            block = rank_block(S, right)
            if modes[direction] == "rerank":
                first = np.sort(top_ids(S, rerank_k), axis=1)
                paired = _score_candidates(model, queries, items, rows, first, direction)
                block = _reranked(block, paired, np.take_along_axis(right, first, axis=1))
            blocks.append(block)
        return join_ranks(blocks)

    return one_way(images, texts, "i2t"), one_way(texts, images, "t2i")


def top_ids(S: np.ndarray, k: int) -> np.ndarray:
    """(Q, k) the ids of the k largest of each row of S (Q, N), largest first, equals by lower id."""
    if k == S.shape[1]:
        return np.argsort(-S, axis=1, kind="stable")
    cut = np.partition(S, -k, axis=1)[:, -k]
    ids = np.empty((len(S), k), np.int64)
    for row, (scores, least) in enumerate(zip(S, cut, strict=True)):
        candidates = np.flatnonzero(scores >= least)        # more than k where several are equal to the k-th
        ids[row] = candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
    return ids


# ---- one search ------------------------------------------------------------------------------------------------------


def _search(
    gallery: Gallery, items: Encoded, model: Model, queries: Encoded, direction: str, mode: str, k: int, rerank_k: int
) -> Hits:
    _check(queries, items, mode, k, rerank_k)
    if mode != "index" and items.H is None:
        raise InputError(f'gallery {gallery.path} was written without tokens: use mode "index", or index with tokens')
    count = len(items.g)
    k, mode = min(k, count), _mode(mode, rerank_k, count)
    if mode == "exhaustive":
        blocks = []
        for rows in _row_blocks(len(queries.g), count):
            block = queries.take(slice(rows[0], rows[-1] + 1))
            texts, images = (block, items) if direction == "t2i" else (items, block)
            S = _score_matrix(model, texts, images, _device(queries))
            S = S if direction == "t2i" else S.T
            ids = top_ids(S, k)
            blocks.append(Hits(ids, np.take_along_axis(S, ids, axis=1)))
        return Hits(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
    index = gallery.image_index if direction == "t2i" else gallery.text_index
    ids, scores = index.nearest(queries.g, max(k, rerank_k) if mode == "rerank" else k)
    if mode == "rerank":
        first = np.sort(ids[:, :rerank_k], axis=1)
        kept = gallery.image_products if direction == "t2i" else gallery.text_products
        paired = _score_candidates(model, queries, items, np.arange(len(ids)), first, direction, kept)
        order = np.argsort(-paired, axis=1, kind="stable")
        ids = np.concatenate([np.take_along_axis(first, order, axis=1), ids[:, rerank_k:]], axis=1)
        scores = np.concatenate([np.take_along_axis(paired, order, axis=1), scores[:, rerank_k:]], axis=1)
    return Hits(ids[:, :k], scores[:, :k])


def _reranked(by_index: Ranks, paired: np.ndarray, right: np.ndarray) -> Ranks:
    """Ranks when the candidates with scores `paired` (Q, k) go first. Below them the ranks by index hold.

    A tie of cosines across the border of the k counts as well: best, the answer gets in and wins; worst, it stays out.
    """
    k = paired.shape[1]
    inside = right.any(axis=1)
    among = rank_block(paired[inside], right[inside])
    rank, best, worst = by_index
    rank, best, worst = rank.copy(), np.where(best < k, 0, best), worst.copy()
    rank[inside], best[inside] = among.rank, among.best
    worst[inside] = np.where(worst[inside] < k, among.worst, worst[inside])
    return Ranks(rank, best, worst)


# ---- scores ----------------------------------------------------------------------------------------------------------


def _score_matrix(model: Model, texts: Encoded, images: Encoded, device: str) -> np.ndarray:
    """(C, I) paired scores. Texts of like length go together, so that little padding is computed."""
    S = None
    by_length = np.argsort(_lengths(texts), kind="stable")
    fit = _that_fit(images)
    for start in range(0, len(images.g), fit):
        columns = slice(start, start + fit)
        v = _take(images, np.arange(len(images.g))[columns], device)
        for first in range(0, len(by_length), TEXTS):
            rows = by_length[first : first + TEXTS]
            scores = to_host(model.score_matrix(_take(texts, rows, device), v))
            if S is None:
                S = np.empty((len(texts.g), len(images.g)), scores.dtype)
            S[rows, columns] = scores
    check_finite("the matrix of paired scores", S)
    return S


def _score_candidates(
    model: Model, queries: Encoded, items: Encoded, rows: np.ndarray, candidates: np.ndarray, direction: str,
    kept: KeptProducts | None = None,
) -> np.ndarray:
    """(len(rows), k) paired scores of queries `rows` with their candidates (len(rows), k). `kept`: of the items."""
    query, item = np.repeat(rows, candidates.shape[1]), candidates.ravel()
    if direction == "t2i":
        s = _score_pairs(model, queries, items, query, item, _device(queries), kept)
    else:
        s = _score_pairs(model, items, queries, item, query, _device(queries), kept)
    return s.reshape(candidates.shape)


def _score_pairs(
    model: Model, texts: Encoded, images: Encoded, t_index: np.ndarray, v_index: np.ndarray, device: str,
    kept: KeptProducts | None,
) -> np.ndarray:
    """(P,) paired scores. Each call gets only the items it needs, each once, and texts of like length together."""
    order = np.lexsort((t_index, _lengths(texts)[t_index]))
    fit = _that_fit(images)
    step = PAIRS if len(images.g) <= fit else min(PAIRS, fit)
    s = None
    for start in range(0, len(order), step):
        here = order[start : start + step]
        t, of_t = np.unique(t_index[here], return_inverse=True)
        v, of_v = np.unique(v_index[here], return_inverse=True)
        source = None if kept is None else kept.of(model, v if kept.side == "v" else t)
        sources = {} if source is None else {kept.side: source}
        these_texts, these_images = _take(texts, t, device, "t" not in sources), _take(images, v, device, "v" not in sources)
        scores = to_host(model.score_pairs(these_texts, these_images, of_t, of_v, sources))
        if s is None:
            s = np.empty(len(order), scores.dtype)
        s[here] = scores
    check_finite("the list of paired scores", s)
    return s


# ---- blocks ----------------------------------------------------------------------------------------------------------


def _row_blocks(queries: int, items: int) -> list[np.ndarray]:
    step = max(1, SCORES // items)
    return [np.arange(start, min(start + step, queries)) for start in range(0, queries, step)]


def _take(items: Encoded, index: np.ndarray, device: str, tokens: bool = True) -> Encoded:
    """These items on `device`, in the dtype of g, without columns that are padding in all of them; H None without `tokens`."""
    index = module_of(items.g).asarray(index)
    mask = items.mask[index]
    real = to_host(mask.any(axis=0)).nonzero()[0]
    width = int(real[-1]) + 1 if len(real) else 1
    H = to_device(items.H[:, :width][index].astype(items.g.dtype, copy=False), device) if tokens else None
    return Encoded(H, to_device(mask[:, :width], device), to_device(items.g[index], device))


def _lengths(texts: Encoded) -> np.ndarray:
    return to_host(texts.mask.sum(axis=1))


def _that_fit(images: Encoded) -> int:
    return max(1, TOKEN_BYTES // (images.H.shape[1] * images.H.shape[2] * images.g.dtype.itemsize))


def _device(queries: Encoded) -> str:
    return "cpu" if module_of(queries.g) is np else "gpu"


def _mode(mode: str, rerank_k: int, items: int) -> str:
    return "exhaustive" if mode == "rerank" and rerank_k >= items else mode


def _check(queries: Encoded, items: Encoded, mode: str, k: int, rerank_k: int) -> None:
    check_choice("mode", mode, MODES)
    for name, value in (("k", k), ("rerank_k", rerank_k)):
        if value < 1:
            raise ValueError(f"{name}={value}, expected at least 1")
    check_array("g of the queries", queries.g, ndim=2)
    check_finite("g of the queries", queries.g)
    if len(queries.g) == 0 or len(items.g) == 0:
        raise ShapeError(f"{len(queries.g)} queries and {len(items.g)} items: there is nothing to search")
    if queries.g.shape[1] != items.g.shape[1]:
        raise ShapeError(
            f"queries have d={queries.g.shape[1]} and items d={items.g.shape[1]}: "
            "encode the queries with the model that encoded the gallery"
        )
