"""The score of add with mean pooling from dot products of tokens is that of the plain equations, gradients included."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.all_pairs import FORMS, form_of, score_pairs
from attnretrieval.fast import pairs_fused
from attnretrieval.fast.threads import set_threads
from attnretrieval.model import Encoded, Model
from tests.fast.forms import close
from tests.fast.pairs import draw_items, draw_sides, make_model, plain, same_pairs, through

MEAN = FORMS["mean"]


def test_it_is_the_plain_score():
    rng = np.random.default_rng(0)
    for _ in range(40):
        d = int(rng.integers(1, 20))
        same_pairs(MEAN, make_model(rng, d), *draw_sides(rng, d), rng)


def test_large_logits():
    rng = np.random.default_rng(1)
    for scale in (30.0, 300.0):
        texts, images = draw_items(rng, 5, 4, 4, scale=scale), draw_items(rng, 4, 6, 4)
        assert np.abs(texts.H @ images.H.reshape(-1, 4).T).max() / 2 > 60
        same_pairs(MEAN, make_model(rng, 4), texts, images, rng)


def test_items_of_zeros():
    rng = np.random.default_rng(2)
    texts, images = draw_items(rng, 4, 3, 5), draw_items(rng, 3, 4, 5)
    texts.H[1] = 0
    images.H[2] = 0
    same_pairs(MEAN, make_model(rng, 5), texts, images, rng)


def alike(rng: np.random.Generator, count: int, n: int, d: int, common: np.ndarray, spread: float) -> Encoded:
    """Items whose tokens are one vector and `spread` times noise."""
    items = draw_items(rng, count, n, d)
    return items._replace(H=common + spread * items.H)


@pytest.mark.parametrize("spread, alike_to, bound", [(3.0, 1, 1e-5), (1.0, 1e-2, 1e-5), (0.3, 1e-4, 1e-4), (0.1, 1e-6, 3e-3)])
def test_in_float32(spread, alike_to, bound):
    """Scores are as exact as from vectors; gradients to `bound` of their length where the most alike pair has 1 - s < alike_to.

    The bounds are those that the docstring of pairs_mean.py gives. From vectors it is 2e-5 and 6e-4 in the last two.
    """
    rng = np.random.default_rng(3)
    d = 256
    model, single = make_model(rng, d), make_model(rng, d, dtype="float32")
    common = rng.normal(size=d)
    texts, images = alike(rng, 9, 12, d, common, spread), alike(rng, 8, 36, d, common, spread)
    rounded = [items._replace(H=items.H.astype("float32"), g=items.g.astype("float32")) for items in (texts, images)]
    exact = [items._replace(H=items.H.astype("float64"), g=items.g.astype("float64")) for items in rounded]
    d_S = rng.normal(size=(9, 8))
    expected = through(MEAN, model, *exact, d_S)
    found = through(MEAN, single, *rounded, d_S.astype("float32"))
    assert 0 < 1 - expected[0].max() < alike_to
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=5e-7)
    for x, y in zip(found[1:3], expected[1:3], strict=True):
        assert np.linalg.norm(x - y) < bound * np.linalg.norm(y)


def test_fused_vectors_that_cancel_stay_finite():
    rng = np.random.default_rng(4)
    model = make_model(rng, 6, dtype="float32")
    H = rng.normal(size=(3, 1, 6)).astype("float32")
    one = Encoded(H, np.ones((3, 1), bool), H[:, 0])
    S, d_H_t, d_H_v, _ = through(MEAN, model, one, one._replace(H=-H), np.ones((3, 3), "float32"))
    assert all(np.isfinite(x).all() for x in (S, d_H_t, d_H_v))


@pytest.mark.parametrize("kept", [0, 10**9])
def test_what_is_not_kept_is_computed_again(kept, monkeypatch):
    monkeypatch.setattr(pairs_fused, "KEPT_BYTES", {"sum": kept, "gate": kept})
    rng = np.random.default_rng(5)
    model, texts, images = make_model(rng, 3), draw_items(rng, 5, 4, 3), draw_items(rng, 4, 6, 3)
    _, cache = MEAN.scores(model, texts, images, None, True)
    assert all((block.A is None) == (kept == 0) for block in cache.blocks)
    assert MEAN.scores(model, texts, images, None, False)[1] is None
    same_pairs(MEAN, model, texts, images, rng)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing_beyond_rounding(threads):
    rng = np.random.default_rng(6)
    model, texts, images = make_model(rng, 4), draw_items(rng, 7, 4, 4), draw_items(rng, 5, 6, 4)
    d_S = rng.normal(size=(7, 5))
    one = through(MEAN, model, texts, images, d_S, (2, 2))
    set_threads(threads)
    try:
        for _ in range(5):
            for x, y in zip(through(MEAN, model, texts, images, d_S, (2, 2)), one, strict=True):
                np.testing.assert_allclose(x, y, rtol=0, atol=1e-12 * max(1.0, np.abs(y).max()))
    finally:
        set_threads(1)


def test_a_list_of_pairs():
    rng = np.random.default_rng(7)
    model, texts, images = make_model(rng, 256), draw_items(rng, 6, 4, 256), draw_items(rng, 6, 5, 256)
    assert form_of(model) == "mean"
    S = plain(model, texts, images, np.ones((6, 6)))[0]
    t_index, v_index = rng.integers(0, 6, (2, 30))
    close(score_pairs(model, texts, images, t_index, v_index), S[t_index, v_index])


def test_which_models_it_serves():
    rng = np.random.default_rng(8)
    for d, pooling, options, name in [
        (256, ("mean", "mean"), {}, "mean"), (128, ("mean", "mean"), {}, "fused"), (256, ("max", "mean"), {}, "fused"),
        (256, ("mean", "attention"), {}, "fused"), (256, ("mean", "mean"), {"fusion": "concat"}, "fused"),
        (256, ("mean", "mean"), {"fusion": "gate"}, "fused"), (256, ("mean", "mean"), {"cross_logits": "cosine"}, "fused"),
        (256, ("mean", "mean"), {"cross_heads": 2}, "plain"),
    ]:
        model = make_model(rng, d, pooling, **options)
        assert form_of(model) == name
        assert form_of(Model(model.config, model.parameters, fast=False)) == "plain"
