"""What a rerank by a gate keeps of the gallery's items: the same scores, each item computed once, bounded, never stale."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from attnretrieval.config import ModelConfig, Side
from attnretrieval.fast.pairs_gate_items import GateItems
from attnretrieval.model import Encoded, Model
from attnretrieval.retrieval.gallery import Gallery, open_gallery, write_gallery
from attnretrieval.retrieval.kept_products import KeptProducts
from attnretrieval.retrieval.search import search_images, search_texts

D = 8


def make_model(seed: int = 0, **options) -> Model:
    config = ModelConfig(Side(D), Side(D), words=1, d=D, **{"fusion": "gate", **options})
    return Model.create(config, np.random.default_rng(seed))


def items(rng: np.random.Generator, count: int, n: int) -> Encoded:
    mask = np.arange(n) < rng.integers(1, n + 1, count)[:, None]
    return Encoded(rng.standard_normal((count, n, D), np.float32), mask, rng.standard_normal((count, D), np.float32))


@pytest.fixture
def sides():
    rng = np.random.default_rng(1)
    return items(rng, 30, 5), items(rng, 20, 6)


@pytest.fixture
def computed(monkeypatch):
    """The items for which products were computed, by whom: (GateItems, number)."""
    found, plain = [], GateItems._computed

    def counted(self, model, items):
        found.extend((self, number) for number in items.tolist())
        return plain(self, model, items)

    monkeypatch.setattr(GateItems, "_computed", counted)
    return found


def gallery(sides, keep_mib: float = 256) -> Gallery:
    texts, images = sides
    return Gallery(Path("shop"), D, "", "", images, [], texts, [], None, keep_mib)


def both_ways(shop: Gallery, model: Model, sides, queries: slice = slice(None)):
    texts, images = sides
    return (search_images(shop, model, texts.take(queries), "rerank", 10, 7),
            search_texts(shop, model, images.take(queries), "rerank", 10, 7))


def same(found, expected):
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x.ids, y.ids)
        np.testing.assert_allclose(x.scores, y.scores, rtol=0, atol=2e-6)


def test_scores_are_those_without_keeping_and_the_same_bits_when_asked_again(sides):
    model, shop = make_model(), gallery(sides)
    without = both_ways(gallery(sides, keep_mib=0), model, sides)
    first, again = both_ways(shop, model, sides), both_ways(shop, model, sides)
    same(first, without)
    for x, y in zip(first, again, strict=True):
        np.testing.assert_array_equal(x.scores, y.scores)


def kept_of(shop, computed):
    """Those that the gallery keeps: queries are computed as well, by others."""
    ours = {id(kept._kept): side for side, kept in (("t", shop.text_products), ("v", shop.image_products))}
    return [(ours[id(by)], number) for by, number in computed if id(by) in ours]


def test_an_item_is_computed_once(sides, computed):
    model, shop = make_model(), gallery(sides)
    both_ways(shop, model, sides, slice(0, 2))
    both_ways(shop, model, sides)
    both_ways(shop, model, sides)
    once = kept_of(shop, computed)
    assert len(once) == len(set(once)) > 40
    assert sum(side == "t" for side, _ in once) * 3 * 5 * D * 4 == shop.text_products.bytes
    assert sum(side == "v" for side, _ in once) * 3 * 6 * D * 4 == shop.image_products.bytes


def test_other_weights_meet_no_old_product(sides):
    model, shop = make_model(), gallery(sides)
    both_ways(shop, model, sides)
    for change in ("fuse_t.W", "fuse_v.W", "fuse_t.b", "fuse_v.b"):
        model.parameters[change][...] += 0.5                               # a step of training, in place
        same(both_ways(shop, model, sides), both_ways(gallery(sides, 0), model, sides))
    other = make_model(seed=7)
    same(both_ways(shop, other, sides), both_ways(gallery(sides, 0), other, sides))
    other.parameters["fuse_t.W"][...] = np.nan                             # equal to nothing, itself included
    for _ in range(2):
        source = shop.image_products.of(other, np.array([4]))
        assert shop.image_products.bytes == 0
        source(np.array([0]))
        assert shop.image_products.bytes > 0


def test_beyond_the_limit_those_go_that_were_asked_for_longest_ago(computed):
    model, images = make_model(), items(np.random.default_rng(2), 8, 4)
    images.mask[...] = True
    kept = KeptProducts("v", images, limit=3 * 3 * 4 * D * 4)              # three items
    expected = GateItems("v", images, 8).source(model)(np.arange(8))

    def ask(*numbers):
        computed.clear()
        found = kept.of(model, np.array(numbers))(np.arange(len(numbers)))
        np.testing.assert_allclose(found, expected[:, list(numbers)], rtol=0, atol=1e-6)
        assert kept.bytes <= 3 * 3 * 4 * D * 4
        found[...] = np.nan                                                # the caller's own
        return len(computed)

    assert [ask(0, 1, 2), ask(0), ask(3), ask(0, 2, 3), ask(1)] == [3, 0, 1, 0, 1]
    assert [ask(3), ask(0), ask(2), ask(0)] == [0, 1, 1, 0]                # 3 stayed, 2 had to go
    assert ask(5, 5, 4) == 3 and ask(5, 4, 5) == 0                         # one item twice
    assert kept.of(model, np.arange(4)) is None                            # more than fit


@pytest.mark.parametrize("room", [3, 10, 20])
def test_no_search_computes_an_item_twice(sides, room, computed):
    model, shop = make_model(), gallery(sides, keep_mib=room * 3 * 6 * D * 4 / 2**20 + 1e-6)
    for _ in range(2):
        computed.clear()
        search_images(shop, model, sides[0], "rerank", 10, 7)
        of_images = [(id(by), number) for by, number in computed if by.side == "v"]
        assert len(of_images) == len(set(of_images)) <= 20


def test_what_could_not_be_kept_is_nobodys(monkeypatch):
    model, images = make_model(), items(np.random.default_rng(3), 4, 4)
    images.mask[...] = True
    kept = GateItems("v", images, 2)
    expected = GateItems("v", images, 4).source(model)(np.arange(4))
    source, plain = kept.source(model), np.empty

    def full(shape, dtype=float):
        if len(shape) == 4 and shape[0] == 2:
            raise MemoryError("no room")
        return plain(shape, dtype)

    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(MemoryError):
        source(np.array([0]))
    monkeypatch.setattr(np, "empty", plain)
    for numbers in ([0], [1, 2], [0, 3], [3, 0]):
        np.testing.assert_array_equal(source(np.array(numbers)), expected[:, numbers])
    assert len(kept) == 2


def test_only_a_gate_that_runs_fast_keeps_anything(sides):
    for model in (make_model(fusion="add"), make_model(cross_heads=2)):
        shop = gallery(sides)
        both_ways(shop, model, sides)
        assert shop.image_products.bytes == shop.text_products.bytes == 0


def test_searches_at_the_same_time(sides):
    model = make_model()
    shop = gallery(sides, keep_mib=0.002)                                  # items come and go
    expected, wrong = both_ways(gallery(sides, 0), model, sides), []

    def work():
        try:
            for _ in range(20):
                same(both_ways(shop, model, sides), expected)
        except BaseException as error:
            wrong.append(error)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_gallery_on_disk(sides, tmp_path):
    texts, images = sides
    (tmp_path / "model.npz").write_bytes(b"stands for the model")
    write_gallery(tmp_path / "g", tmp_path / "model.npz", images, [str(i) for i in range(20)], texts, ["a"] * 30,
                  token_dtype="float16")
    model, shop = make_model(), open_gallery(tmp_path / "g")
    first = both_ways(shop, model, sides)
    same(first, both_ways(open_gallery(tmp_path / "g", keep_mib=0), model, sides))
    assert shop.image_products.bytes > 0 and shop.keep_mib == 256
    for wrong in (-1, "much"):
        with pytest.raises(ValueError, match=f"keep_mib={wrong!r}"):
            open_gallery(tmp_path / "g", keep_mib=wrong)
    same(first, both_ways(open_gallery(tmp_path / "g", keep_mib=0.01), model, sides))
