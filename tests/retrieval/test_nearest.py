"""The nearest items are those of the plain form and a stable sort, bit for bit, whatever the blocks, the ties and the order."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from attnretrieval.retrieval import nearest
from attnretrieval.retrieval.nearest import CosineIndex, cosines
from attnretrieval.shapes import ShapeError


def brute_force(Q, G, k):
    S = cosines(Q, G)
    ids = np.argsort(-S, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(S, ids, axis=1)


def same_as_brute_force(Q, G, k):
    for found, expected in zip(CosineIndex(G).nearest(Q, k), brute_force(Q, G, k), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


def draw(items, d, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((items, d)) * 10.0 ** rng.integers(-3, 4, (items, 1))).astype(dtype)


@pytest.fixture(params=[(1, 1, 1, 0, 1), (40, 7, 3, 10, 5), (3000, 600, 1000, 2, 64)], ids=["single", "small", "middle"])
def blocks(request, monkeypatch):
    for name, size in zip(("SCORES", "ITEMS", "QUERIES", "FEW", "PAIRS"), request.param, strict=True):
        monkeypatch.setattr(nearest, name, size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 10, 299, 300])
@pytest.mark.parametrize("queries", [1, 3, 20])
def test_blocks_of_any_size(blocks, queries, k, dtype):
    same_as_brute_force(draw(queries, 9, seed=1), draw(300, 9, dtype), k)


@pytest.mark.parametrize("queries", [1, 6, 100])
def test_blocks_as_they_are(queries):
    same_as_brute_force(draw(queries, 64, seed=1), draw(5000, 64), 10)


@pytest.mark.parametrize("queries", [1, 12])
def test_vectors_that_differ_by_less_than_the_product_errs(blocks, queries):
    """Copies, and copies with the last bit of a number moved, in every place: the product alone would mix them up."""
    rng = np.random.default_rng(2)
    G = np.repeat(draw(4, 33), 100, axis=0)
    moved = rng.integers(33, size=200)
    G[::2][np.arange(200), moved] = np.nextafter(G[::2][np.arange(200), moved], np.float32(np.inf))
    Q = np.concatenate([G[:queries // 2], draw(queries - queries // 2, 33, seed=3)])
    same_as_brute_force(Q, rng.permutation(G), 60)


def test_equal_vectors_come_by_id(blocks):
    ids, scores = CosineIndex(np.ones((300, 5), np.float32)).nearest(draw(3, 5), 7)
    np.testing.assert_array_equal(ids, np.tile(np.arange(7), (3, 1)))
    assert (scores == scores[:, :1]).all()


@pytest.mark.parametrize("towards", [1, -1])
def test_items_that_come_nearer_or_go_away(blocks, towards):
    angle = np.linspace(0, 3, 300)[::towards]
    G = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    same_as_brute_force(np.array([[1, 0], [2, 0.1]], np.float32), G, 10)


def test_vectors_of_zeros(blocks):
    G = draw(40, 4)
    G[5:15] = 0
    same_as_brute_force(np.concatenate([draw(5, 4), np.zeros((1, 4), np.float32)]), G, 12)


def test_very_long_and_very_short_vectors():
    G = draw(200, 8)
    G[::3] *= np.float32(1e14)
    G[1::3] *= np.float32(1e-30)
    same_as_brute_force(draw(6, 8, seed=1), G, 50)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("queries", [1, 50])
def test_the_product_errs_by_less_than_the_margin(queries, dtype):
    G, Q = np.abs(draw(1000, 300, dtype)), np.abs(draw(queries, 300, dtype, seed=1))        # one sign: the largest errors
    index = CosineIndex(G)
    S = index.r[:, None] * (G @ (Q / np.linalg.norm(Q.astype(float), axis=1, keepdims=True)).astype(dtype).T)
    assert np.abs(S.T - cosines(Q, G)).max() < index.error < 1e-4


def test_memory_does_not_grow_with_the_gallery(monkeypatch):
    monkeypatch.setattr(nearest, "SCORES", 100_000)

    def peak(items):
        index, Q = CosineIndex(draw(items, 4)), draw(200, 4, seed=1)
        tracemalloc.start()
        index.nearest(Q, 5)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(40_000) < 1.3 * peak(10_000) < 0.25 * 200 * 40_000 * 4


def test_what_cannot_be_compared_is_named():
    G = draw(20, 4)
    for bad in (np.nan, 1e25):
        G[7, 2] = bad
        with pytest.raises(ShapeError, match="g of item 7 holds NaN, or is longer than float32 can square"):
            CosineIndex(G)
