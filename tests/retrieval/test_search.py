"""Search and evaluation against brute force with a stable sort; blocks, batches, padding and ties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attnretrieval.inputs.files import InputError
from attnretrieval.model import Encoded
from attnretrieval.retrieval import nearest, search
from attnretrieval.retrieval.gallery import Gallery
from attnretrieval.retrieval.metrics import recalls
from attnretrieval.retrieval.search import MODES, evaluate, rank_all, search_images, search_texts, top_ids
from attnretrieval.shapes import ShapeError
from tests.retrieval.stand_in import StandIn, encoded, padded


def gallery(images=None, texts=None):
    return Gallery(Path("shop"), 4, "", "", images, [], texts, [], None)


@pytest.fixture
def sides():
    rng = np.random.default_rng(0)
    return encoded(rng, 23, 5, like=4), encoded(rng, 17, 6, like=5)


def cosine(texts, images):
    S = np.empty((len(texts.g), len(images.g)), np.float32)
    for c, t in enumerate(texts.g.astype(float)):
        for i, v in enumerate(images.g.astype(float)):
            S[c, i] = round(t @ v / np.sqrt((t @ t + 1e-12) * (v @ v + 1e-12)) * 2**30) / 2**30
    return S


def brute_force(cosines, paired, mode, rerank_k):
    """(Q, N) ids and scores of a whole order, one query after the other."""
    ids, scores = [], []
    for by_index, by_pair in zip(cosines, paired, strict=True):
        order = sorted(range(len(by_index)), key=lambda j: (-by_index[j], j))
        k = {"index": 0, "rerank": rerank_k, "exhaustive": len(order)}[mode]
        first = sorted(order[:k], key=lambda j: (-by_pair[j], j))
        ids.append(first + order[k:])
        scores.append([by_pair[j] for j in first] + [by_index[j] for j in order[k:]])
    return np.array(ids), np.array(scores)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [1, 3, 17])
@pytest.mark.parametrize("rerank_k", [1, 5, 16])
def test_search_matches_brute_force(sides, mode, k, rerank_k):
    texts, images = sides
    S = StandIn().score_matrix(texts, images)
    ids, scores = brute_force(cosine(texts, images), S, mode, rerank_k)
    hits = search_images(gallery(images=images), StandIn(), texts, mode, k, rerank_k)
    np.testing.assert_array_equal(hits.ids, ids[:, :k])
    np.testing.assert_allclose(hits.scores, scores[:, :k], rtol=1e-6)
    ids, scores = brute_force(cosine(texts, images).T, S.T, mode, rerank_k)
    hits = search_texts(gallery(texts=texts), StandIn(), images, mode, k, rerank_k)
    np.testing.assert_array_equal(hits.ids, ids[:, :k])
    np.testing.assert_allclose(hits.scores, scores[:, :k], rtol=1e-6)


def test_rerank_of_the_whole_gallery_is_exhaustive(sides):
    texts, images = sides
    whole = search_images(gallery(images), StandIn(), texts, "exhaustive", k=17)
    for rerank_k in (17, 100):
        hits = search_images(gallery(images), StandIn(), texts, "rerank", 17, rerank_k)
        np.testing.assert_array_equal(hits.ids, whole.ids)
        np.testing.assert_array_equal(hits.scores, whole.scores)


def test_rerank_of_the_whole_gallery_is_exhaustive_pair_by_pair(sides, monkeypatch):
    texts, images = sides
    whole = search_images(gallery(images), StandIn(), texts, "exhaustive", k=17)
    monkeypatch.setattr(search, "_mode", lambda mode, rerank_k, items: mode)      # no shortcut
    hits = search_images(gallery(images), StandIn(), texts, "rerank", 17, 17)
    np.testing.assert_array_equal(hits.ids, whole.ids)
    np.testing.assert_array_equal(hits.scores, whole.scores)


@pytest.mark.parametrize("mode", MODES)
def test_blocks_batches_and_padding_change_nothing(sides, mode, monkeypatch):
    texts, images = sides
    hits = search_images(gallery(images), StandIn(), texts, mode, 9, 6)
    report = evaluate(StandIn(), texts, images, np.arange(23) % 17, mode, 6)
    for scores, items, per_call, pairs, size in ((1, 3, 2, 5, 1), (70, 5, 7, 11, 400), (200, 100, 1, 1000, 10**6)):
        monkeypatch.setattr(search, "SCORES", scores)
        monkeypatch.setattr(nearest, "SCORES", scores)
        monkeypatch.setattr(nearest, "ITEMS", items)
        monkeypatch.setattr(nearest, "PLAIN_ITEMS", items)
        monkeypatch.setattr(search, "TEXTS", per_call)
        monkeypatch.setattr(search, "PAIRS", pairs)
        monkeypatch.setattr(search, "TOKEN_BYTES", size)
        other = search_images(gallery(padded(images, 2)), StandIn(), padded(texts, 3), mode, 9, 6)
        np.testing.assert_array_equal(other.ids, hits.ids)
        np.testing.assert_array_equal(other.scores, hits.scores)
        assert evaluate(StandIn(), padded(texts, 1), images, np.arange(23) % 17, mode, 6) == report
    for q in (0, 11, 22):
        alone = search_images(gallery(images), StandIn(), texts.take(slice(q, q + 1)), mode, 9, 6)
        np.testing.assert_array_equal(alone.ids[0], hits.ids[q])
    backwards = search_images(gallery(images), StandIn(), texts.take(slice(None, None, -1)), mode, 9, 6)
    np.testing.assert_array_equal(backwards.ids[::-1], hits.ids)


def test_equal_vectors_get_equal_cosines_wherever_they_stand():
    rng = np.random.default_rng(1)
    g = np.tile(rng.normal(size=(1, 257)).astype(np.float32), (1003, 1))
    items = Encoded(None, None, g)
    queries = Encoded(None, None, rng.normal(size=(37, 257)).astype(np.float32))
    hits = search_images(gallery(items), StandIn(), queries, "index", k=1003)
    np.testing.assert_array_equal(hits.ids, np.tile(np.arange(1003), (37, 1)))
    assert (hits.scores == hits.scores[:, :1]).all()


def test_top_ids_is_a_stable_sort():
    rng = np.random.default_rng(2)
    for grain in (1, 10, 1000):
        S = (rng.integers(-grain, grain, (40, 60)) / grain).astype(np.float32)
        order = np.argsort(-S, axis=1, kind="stable")
        for k in (1, 2, 59, 60):
            np.testing.assert_array_equal(top_ids(S, k), order[:, :k])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rerank_k", [1, 4, 18])
def test_evaluate_matches_the_orders_that_search_returns(sides, mode, rerank_k):
    texts, images = sides
    image_of = np.random.default_rng(3).integers(0, 15, 23)      # some images have no caption
    i2t, t2i = rank_all(StandIn(), texts, images, image_of, mode, rerank_k)
    hits = search_images(gallery(images), StandIn(), texts, mode, 17, rerank_k)
    assert t2i.rank.tolist() == [row.tolist().index(image) for row, image in zip(hits.ids, image_of, strict=True)]
    hits = search_texts(gallery(texts=texts), StandIn(), images, mode, 23, rerank_k)
    expected = [min(row.tolist().index(c) for c in np.flatnonzero(image_of == image))
                for image, row in enumerate(hits.ids) if (image_of == image).any()]
    assert i2t.rank.tolist() == expected
    for r in (i2t, t2i):
        assert (r.best <= r.rank).all() and (r.rank <= r.worst).all()


def test_evaluate_gives_the_recalls_of_the_score_matrix(sides):
    texts, images = sides
    image_of = np.arange(23) % 17
    index, exhaustive = (evaluate(StandIn(), texts, images, image_of, mode) for mode in ("index", "exhaustive"))
    assert index == recalls(cosine(texts, images), image_of, "index")
    assert exhaustive == recalls(StandIn().score_matrix(texts, images), image_of, "exhaustive")
    assert evaluate(StandIn(), texts, images, image_of, "rerank", 50) == exhaustive._replace(mode="rerank")


def test_a_collapsed_model_is_exposed_in_every_mode():
    texts, images = (Encoded(np.ones((20, 2, 4)), np.ones((20, 2), bool), np.ones((20, 4))) for _ in range(2))
    for mode in MODES:
        got = evaluate(StandIn(), texts, images, np.arange(20), mode, rerank_k=6)
        for side in (got.i2t, got.t2i):
            assert side.r1 == 5 and side.ties == 20 and side.r1_best == 100 and side.r1_worst == 0


def test_rerank_asks_only_for_the_best_k(sides):
    texts, images = sides
    model = StandIn()
    search_images(gallery(images), model, texts, "rerank", 3, 5)
    assert model.pairs == 23 * 5
    search_images(gallery(images), model, texts, "index", 3)
    assert model.pairs == 23 * 5


def test_mistakes_are_named(sides):
    texts, images = sides
    with pytest.raises(InputError, match="gallery shop holds no images"):
        search_images(gallery(texts=texts), StandIn(), texts)
    with pytest.raises(InputError, match="gallery shop holds no texts"):
        search_texts(gallery(images), StandIn(), images)
    with pytest.raises(InputError, match="without tokens"):
        search_images(gallery(Encoded(None, None, images.g)), StandIn(), texts, "rerank")
    with pytest.raises(ValueError, match="mode='fast' is not one of index, rerank, exhaustive"):
        search_images(gallery(images), StandIn(), texts, "fast")
    with pytest.raises(ValueError, match="rerank_k=0"):
        search_images(gallery(images), StandIn(), texts, "rerank", rerank_k=0)
    with pytest.raises(ShapeError, match="encode the queries with the model"):
        search_images(gallery(images), StandIn(), texts._replace(g=texts.g[:, :3]))
    with pytest.raises(ShapeError, match="NaN"):
        search_images(gallery(images), StandIn(), texts._replace(g=texts.g * np.nan))
    with pytest.raises(ShapeError, match="nothing to search"):
        search_images(gallery(images), StandIn(), texts.take(slice(0, 0)))
