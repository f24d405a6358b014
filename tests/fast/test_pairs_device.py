"""The forms of pairs keep to what NumPy and CuPy share, though a model on a GPU does not choose them."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.all_pairs import FORMS, form_of
from attnretrieval.backend import to_host
from attnretrieval.model import Encoded, Model
from attnretrieval.parameters import Parameters
from tests.fast.pairs import draw_items, make_model, through
from tests.standin_cupy import ndarray

MODELS = {
    **{f"{fusion}, {pooling}": ("fused", {"fusion": fusion, "pooling": (pooling, pooling), "cross_logits": "cosine"})
       for fusion in ("add", "concat", "gate") for pooling in ("mean", "max", "attention")},
    **{f"token cosine, {logits}": ("token_cosine", {"paired_score": "token_cosine", "cross_logits": logits})
       for logits in ("dot", "cosine")},
    "add, mean, dot": ("mean", {}),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_same_values_there(name, cupy_standin):
    rng = np.random.default_rng(7)
    form, options = FORMS[MODELS[name][0]], MODELS[name][1]
    model = make_model(rng, 4, **options)
    texts, images = draw_items(rng, 5, 4, 4), draw_items(rng, 4, 6, 4)
    d_S, index = rng.normal(size=(5, 4)), np.arange(4)
    here = (*through(form, model, texts, images, d_S), form.pairs(model, texts, images, index, index))

    there = Model(model.config, Parameters(model.parameters.shapes, cupy_standin.asarray(model.parameters.flat)))
    assert form_of(there) == "plain"
    texts, images = (Encoded(*(cupy_standin.asarray(x) for x in side)) for side in (texts, images))
    d_S, index = cupy_standin.asarray(d_S), cupy_standin.asarray(index)
    gone = (*through(form, there, texts, images, d_S), form.pairs(there, texts, images, index, index))
    for x, y in zip(gone, here, strict=True):
        assert isinstance(x, ndarray)
        np.testing.assert_allclose(to_host(x), y, rtol=1e-12, atol=1e-14)
