"""Blocks of pairs at the edges: no item, no token."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.all_pairs import FORMS
from tests.fast.pairs import draw_items, make_model, same_pairs, through

KINDS = {"fused": {"fusion": "gate"}, "token_cosine": {"paired_score": "token_cosine"}}


@pytest.mark.parametrize("name", KINDS)
def test_no_item_on_one_side(name):
    rng = np.random.default_rng(0)
    model, form = make_model(rng, 4, **KINDS[name]), FORMS[name]
    texts, images = draw_items(rng, 3, 4, 4), draw_items(rng, 2, 5, 4)
    none = texts.take(slice(0, 0))
    S, d_H_t, d_H_v, gradient = through(form, model, none, images, np.empty((0, 2)))
    assert S.shape == (0, 2) and d_H_t.shape == (0, 4, 4) and not d_H_v.any() and not gradient.any()
    assert form.scores(model, texts, images.take(slice(0, 0)), None, True)[0].shape == (3, 0)
    assert form.pairs(model, texts, images, np.empty(0, int), np.empty(0, int)).shape == (0,)


@pytest.mark.parametrize("empty", ["texts", "images", "both"])
@pytest.mark.parametrize("name", KINDS)
def test_no_token_anywhere(name, empty):
    rng = np.random.default_rng(1)
    model = make_model(rng, 4, **KINDS[name])
    texts, images = draw_items(rng, 3, 4, 4), draw_items(rng, 4, 5, 4)
    for side, of in (("texts", texts), ("images", images)):
        if empty in (side, "both"):
            of.mask[...] = False
    same_pairs(FORMS[name], model, texts, images, rng)
