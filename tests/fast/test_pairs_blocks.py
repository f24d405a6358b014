"""Blocks of pairs at the edges: no item, no token; groups of any size; several threads."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.all_pairs import FORMS, _of_kind
from attnretrieval.fast.pairs_fused import FUSED
from attnretrieval.fast.pairs_mean import MEAN
from attnretrieval.fast.pairs_token_cosine import TOKEN_COSINE
from attnretrieval.fast.threads import set_threads
from tests.fast.pairs import draw_items, make_model, same_pairs, through

KINDS = {"fused": {"fusion": "gate"}, "token_cosine": {"paired_score": "token_cosine"}, "mean": {}}


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


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("ragged", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_groups_for_several_threads(name, ragged, threads, monkeypatch):
    """With groups of a few items, all of one length or not, and as many for each thread."""
    rng = np.random.default_rng(2)
    model = make_model(rng, 4, **KINDS[name])
    kind = {"fused": FUSED, "token_cosine": TOKEN_COSINE, "mean": MEAN}[name]
    form = _of_kind(lambda model: True, kind._replace(elements=40))
    texts, images = draw_items(rng, 7, 4, 4), draw_items(rng, 11, 5, 4)
    if not ragged:
        texts.mask[...] = images.mask[...] = True
    set_threads(threads)
    try:
        same_pairs(form, model, texts, images, rng, blocks=(None,))
    finally:
        set_threads(1)
