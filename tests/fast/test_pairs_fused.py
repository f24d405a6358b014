"""The fused score of all pairs is that of the plain equations: every fusion, pooling and kind of logits, gradients included."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval import all_pairs
from attnretrieval.all_pairs import FORMS, form_of, score_pairs
from attnretrieval.fast import pairs_blocks, pairs_contexts, pairs_fused
from attnretrieval.fast.threads import set_threads
from attnretrieval.model import Model
from tests.fast.forms import close
from tests.fast.pairs import draw_items, draw_sides, make_model, plain, same_pairs, through

FUSED = FORMS["fused"]
FUSIONS = ("add", "concat", "gate")
POOLINGS = [(t, v) for t in ("mean", "max", "attention") for v in ("mean", "max", "attention")]


@pytest.mark.parametrize("logits", ["dot", "cosine"])
@pytest.mark.parametrize("pooling", POOLINGS, ids="-".join)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_it_is_the_plain_score(fusion, pooling, logits):
    rng = np.random.default_rng(0)
    for _ in range(6):
        d = int(rng.integers(1, 6))
        model = make_model(rng, d, pooling, fusion=fusion, cross_logits=logits)
        assert form_of(model) == "fused"
        same_pairs(FUSED, model, *draw_sides(rng, d), rng)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_large_logits_go_the_plain_way(fusion):
    rng = np.random.default_rng(1)
    for scale in (30.0, 300.0):
        for pooling in POOLINGS[:5:2]:
            model = make_model(rng, 4, pooling, fusion=fusion)
            texts, images = draw_items(rng, 5, 4, 4, scale=scale), draw_items(rng, 4, 6, 4)
            assert np.abs(texts.H @ images.H.reshape(-1, 4).T).max() / 2 > 60
            same_pairs(FUSED, model, texts, images, rng)


@pytest.mark.parametrize("chunk", [1, 40, 10_000])
@pytest.mark.parametrize("pooling", POOLINGS[:5:2], ids="-".join)
def test_the_chunk_of_key_items_changes_nothing(pooling, chunk, monkeypatch):
    monkeypatch.setattr(pairs_contexts, "CHUNK", chunk)
    rng = np.random.default_rng(2)
    model = make_model(rng, 4, pooling, fusion="gate")
    same_pairs(FUSED, model, draw_items(rng, 6, 4, 4), draw_items(rng, 5, 3, 4), rng)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_in_float32(fusion):
    rng = np.random.default_rng(3)
    for scale in (0.5, 20.0):
        for pooling in POOLINGS[::4]:
            model = make_model(rng, 16, pooling, "float32", fusion=fusion)
            texts, images = draw_items(rng, 9, 7, 16, "float32", scale), draw_items(rng, 8, 12, 16, "float32", 0.5)
            same_pairs(FUSED, model, texts, images, rng, blocks=(None, (4, 3)))


@pytest.mark.parametrize("fusion", ["add", "gate"])
@pytest.mark.parametrize("kept", [0, 10**9])
def test_what_is_not_kept_is_computed_again(kept, fusion, monkeypatch):
    monkeypatch.setattr(pairs_fused, "KEPT_BYTES", {"sum": kept, "gate": kept})
    rng = np.random.default_rng(4)
    model = make_model(rng, 3, cross_logits="cosine", fusion=fusion)
    texts, images = draw_items(rng, 5, 4, 3), draw_items(rng, 4, 6, 3)
    _, cache = FUSED.scores(model, texts, images, None, True)
    assert all((block.A is None) == (kept == 0) for block in cache.blocks)
    assert FUSED.scores(model, texts, images, None, False)[1] is None
    same_pairs(FUSED, model, texts, images, rng)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_threads_change_nothing_beyond_rounding(fusion, threads):
    rng = np.random.default_rng(5)
    model = make_model(rng, 4, ("attention", "mean"), fusion=fusion, cross_logits="cosine")
    texts, images = draw_items(rng, 7, 4, 4), draw_items(rng, 5, 6, 4)
    d_S = rng.normal(size=(7, 5))
    t_index, v_index = rng.integers(0, 7, 20), rng.integers(0, 5, 20)
    one = (*through(FUSED, model, texts, images, d_S, (2, 2)), score_pairs(model, texts, images, t_index, v_index))
    set_threads(threads)
    try:
        for _ in range(5):
            several = (*through(FUSED, model, texts, images, d_S, (2, 2)), score_pairs(model, texts, images, t_index, v_index))
            for x, y in zip(several, one, strict=True):
                np.testing.assert_allclose(x, y, rtol=0, atol=1e-12 * max(1.0, np.abs(y).max()))
    finally:
        set_threads(1)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_list_of_pairs(fusion, swapped, monkeypatch):
    rng = np.random.default_rng(6)
    model = make_model(rng, 4, ("max", "mean"), fusion=fusion)
    texts, images = draw_items(rng, 6, 4, 4), draw_items(rng, 6, 5, 4)
    S = plain(model, texts, images, np.ones((6, 6)))[0]
    few, many = rng.integers(0, 2, 30), rng.integers(0, 6, 30)         # with repetitions, in no order
    t_index, v_index = (many, few) if swapped else (few, many)
    for candidates in (pairs_blocks.CANDIDATES, 1, 50):
        monkeypatch.setattr(pairs_blocks, "CANDIDATES", candidates)
        close(score_pairs(model, texts, images, t_index, v_index), S[t_index, v_index])
        close(score_pairs(model, texts, images, np.arange(6), np.arange(6)), np.diagonal(S).copy())
    assert score_pairs(model, texts, images, t_index[:0], v_index[:0]).shape == (0,)


def test_which_form_serves_which_model():
    rng = np.random.default_rng(8)
    for options, name in [
        ({}, "fused"), ({"fusion": "gate", "cross_logits": "cosine"}, "fused"), ({"cross_heads": 2}, "plain"),
        ({"cross_projections": True}, "plain"), ({"paired_score": "token_cosine"}, "token_cosine"),
        ({"paired_score": "token_cosine", "cross_projections": True}, "plain"),
    ]:
        model = make_model(rng, 4, **options)
        assert form_of(model) == name
        assert form_of(Model(model.config, model.parameters, fast=False)) == "plain"
    assert list(all_pairs.FORMS) == ["token_cosine", "mean", "fused", "plain"]
