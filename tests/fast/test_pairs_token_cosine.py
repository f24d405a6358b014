"""The token cosines of all pairs without contexts are those of the plain equations, gradients included."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.all_pairs import FORMS, form_of, score_pairs
from tests.fast.forms import close
from tests.fast.pairs import draw_items, draw_sides, make_model, plain, same_pairs

TOKEN_COSINE = FORMS["token_cosine"]
POOLINGS = [("mean", "mean"), ("attention", "mean"), ("mean", "attention"), ("attention", "attention")]


@pytest.mark.parametrize("fusion", ["add", "concat", "gate"])
@pytest.mark.parametrize("logits", ["dot", "cosine"])
@pytest.mark.parametrize("pooling", POOLINGS, ids="-".join)
def test_it_is_the_plain_score(pooling, logits, fusion):
    rng = np.random.default_rng(0)
    for _ in range(6):
        d = int(rng.integers(2, 6))
        model = make_model(rng, d, pooling, fusion=fusion, paired_score="token_cosine", cross_logits=logits)
        assert form_of(model) == "token_cosine"
        same_pairs(TOKEN_COSINE, model, *draw_sides(rng, d), rng)


@pytest.mark.parametrize("logits", ["dot", "cosine"])
def test_in_float32_and_with_large_logits(logits):
    rng = np.random.default_rng(1)
    for dtype, scale in (("float32", 0.5), ("float64", 300.0)):
        model = make_model(rng, 16, ("attention", "mean"), dtype, paired_score="token_cosine", cross_logits=logits)
        texts, images = draw_items(rng, 9, 7, 16, dtype, scale), draw_items(rng, 8, 12, 16, dtype, 0.5)
        same_pairs(TOKEN_COSINE, model, texts, images, rng, blocks=(None, (4, 3)))


@pytest.mark.parametrize("swapped", [False, True])
def test_a_list_of_pairs(swapped):
    rng = np.random.default_rng(2)
    model = make_model(rng, 4, paired_score="token_cosine")
    texts, images = draw_items(rng, 6, 4, 4), draw_items(rng, 6, 5, 4)
    S = plain(model, texts, images, np.ones((6, 6)))[0]
    few, many = rng.integers(0, 2, 30), rng.integers(0, 6, 30)
    t_index, v_index = (many, few) if swapped else (few, many)
    close(score_pairs(model, texts, images, t_index, v_index), S[t_index, v_index])
