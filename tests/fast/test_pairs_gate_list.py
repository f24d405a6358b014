"""A list of pairs by a gate: the plain score of each, with the products of the items computed or given."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.all_pairs import score_pairs
from attnretrieval.fast import pairs_gate_list
from attnretrieval.fast.pairs_gate_items import GateItems
from attnretrieval.fast.threads import set_threads
from attnretrieval.model import Encoded, Model
from attnretrieval.shapes import ShapeError
from tests.fast.forms import close
from tests.fast.pairs import draw_items, make_model, plain

POOLINGS = [(t, v) for t in ("mean", "max", "attention") for v in ("mean", "max", "attention")]


def same_scores(model, texts, images, rng):
    """One text with many images, one image with many texts, and pairs in no order; items kept by nobody, or by a caller."""
    C, I = len(texts.H), len(images.H)
    S = plain(model, texts, images, np.ones((C, I), texts.H.dtype))[0]
    before = [x.copy() for x in (*texts, *images, model.parameters.flat)]
    items = {"t": texts, "v": images}
    kept = {side: GateItems(side, items[side], room=3).source(model) for side in items}
    for t, v in [(np.full(I, rng.integers(C)), rng.permutation(I)), (rng.permutation(C), np.full(C, rng.integers(I))),
                 (rng.integers(0, C, 12), rng.integers(0, I, 12))]:
        for sides in ("", "t", "v", "tv"):
            for _ in range(2):
                given = {side: Encoded(None, *items[side][1:]) if side in sides else items[side] for side in items}
                close(score_pairs(model, given["t"], given["v"], t, v, {side: kept[side] for side in sides}), S[t, v])
    for x, y in zip(before, (*texts, *images, model.parameters.flat), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("logits", ["dot", "cosine"])
@pytest.mark.parametrize("pooling", POOLINGS, ids="-".join)
def test_it_is_the_plain_score(pooling, logits):
    rng = np.random.default_rng(0)
    for _ in range(4):
        d, C, n, I, m = (int(x) for x in rng.integers(1, 8, 5))
        model = make_model(rng, d, pooling, fusion="gate", cross_logits=logits)
        same_scores(model, draw_items(rng, C, n, d), draw_items(rng, I, m, d), rng)


@pytest.mark.parametrize("chunk", [1, 50, 10**6])
def test_how_many_go_together_changes_nothing(chunk, monkeypatch):
    monkeypatch.setattr(pairs_gate_list, "CHUNK", chunk)
    rng = np.random.default_rng(1)
    for pooling in POOLINGS[::4]:
        model = make_model(rng, 4, pooling, fusion="gate")
        same_scores(model, draw_items(rng, 9, 4, 4), draw_items(rng, 7, 5, 4), rng)


def test_large_logits_and_float32():
    rng = np.random.default_rng(2)
    for dtype, scale in (("float64", 300.0), ("float32", 1.0)):
        model = make_model(rng, 16, ("mean", "mean"), dtype, fusion="gate")
        same_scores(model, draw_items(rng, 6, 5, 16, dtype, scale), draw_items(rng, 5, 9, 16, dtype, 0.5), rng)


def test_no_token_anywhere():
    rng = np.random.default_rng(3)
    for empty in ("t", "v", "tv"):
        model = make_model(rng, 3, fusion="gate")
        texts, images = draw_items(rng, 4, 3, 3), draw_items(rng, 5, 4, 3)
        for side, items in (("t", texts), ("v", images)):
            if side in empty:
                items.mask[...] = False
        same_scores(model, texts, images, rng)


def test_which_models_have_products_of_their_items():
    rng = np.random.default_rng(4)
    for options, has in [
        ({"fusion": "gate"}, True), ({}, False), ({"fusion": "concat"}, False), ({"fusion": "gate", "cross_heads": 2}, False),
        ({"fusion": "gate", "paired_score": "token_cosine"}, False),
    ]:
        model = make_model(rng, 4, **options)
        assert pairs_gate_list.serves(model) == has
        assert not pairs_gate_list.serves(Model(model.config, model.parameters, fast=False))


def test_an_empty_list_of_pairs():
    rng = np.random.default_rng(5)
    for options in ({"fusion": "gate"}, {}, {"paired_score": "token_cosine"}, {"cross_heads": 2}):
        model = make_model(rng, 4, **options)
        assert score_pairs(model, draw_items(rng, 2, 3, 4), draw_items(rng, 3, 2, 4), [], []).shape == (0,)


def test_with_several_threads():
    rng = np.random.default_rng(6)
    model = make_model(rng, 4, fusion="gate")
    set_threads(2)
    try:
        for _ in range(5):
            same_scores(model, draw_items(rng, 9, 4, 4), draw_items(rng, 7, 5, 4), rng)
    finally:
        set_threads(1)


@pytest.mark.parametrize("name, t, v", [("t_index", [0, 2], [0, 1]), ("v_index", [0, 1], [-4, 1])])
def test_an_item_that_is_not_there(name, t, v):
    rng = np.random.default_rng(7)
    model = make_model(rng, 4, fusion="gate")
    with pytest.raises(ShapeError, match=f"{name} goes from .* to .*, but there are [23] items"):
        score_pairs(model, draw_items(rng, 2, 3, 4), draw_items(rng, 3, 2, 4), t, v)
