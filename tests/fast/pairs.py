"""Random texts and images for the forms of many pairs, and the comparison with `model.paired` on all of them."""

from __future__ import annotations

import numpy as np

from attnretrieval.config import ModelConfig, Side
from attnretrieval.model import Encoded, Model
from tests.fast.forms import close


def make_model(rng: np.random.Generator, d: int, pooling=("mean", "mean"), dtype: str = "float64", **options) -> Model:
    config = ModelConfig(Side(5, pooling=pooling[0]), Side(7, pooling=pooling[1]), words=9, d=d, heads=1, **options)
    model = Model.create(config, rng, dtype=dtype)
    model.parameters.flat[...] = rng.normal(0, 0.7, model.parameters.flat.shape)
    return model


def draw_items(rng: np.random.Generator, count: int, n: int, d: int, dtype: str = "float64", scale: float = 1.0) -> Encoded:
    """Items with padding anywhere, among them, where there are several, one with nothing left and one without padding."""
    mask = rng.random((count, n)) < 0.7
    if count > 2:
        mask[rng.integers(count)] = True
        mask[rng.integers(count)] = False
    H = (scale * rng.normal(size=(count, n, d))).astype(dtype)
    return Encoded(H, mask, rng.normal(size=(count, d)).astype(dtype))


def draw_sides(rng: np.random.Generator, d: int, dtype: str = "float64", scale: float = 1.0) -> tuple[Encoded, Encoded]:
    C, n, I, m = rng.integers(1, 8, 4)
    return draw_items(rng, C, n, d, dtype, scale), draw_items(rng, I, m, d, dtype)


def plain(model: Model, texts: Encoded, images: Encoded, d_S: np.ndarray):
    """S, d_H of both sides and the parameters' gradient, from the plain equations on all pairs at once."""
    S, cache = model.paired(Encoded(*(x[:, None] for x in texts)), images)
    gradient = model.parameters.zeros_like()
    grads = model.paired_backward(d_S, cache, gradient)
    return S, grads.d_H_t.reshape(texts.H.shape), grads.d_H_v.reshape(images.H.shape), gradient.flat


def through(form, model: Model, texts: Encoded, images: Encoded, d_S: np.ndarray, block=None):
    """The same from a form of all_pairs.FORMS."""
    S, cache = form.scores(model, texts, images, block, True)
    gradient = model.parameters.zeros_like()
    d_H_t, d_H_v = form.backward(model, d_S, cache, gradient)
    return S, d_H_t, d_H_v, gradient.flat


def same_pairs(form, model: Model, texts: Encoded, images: Encoded, rng: np.random.Generator, blocks=(None, (2, 3), (1, 1))):
    """The form gives the plain scores and gradients in every block, and changes no input."""
    d_S = rng.normal(size=(len(texts.H), len(images.H))).astype(texts.H.dtype)
    before = [x.copy() for x in (*texts, *images, d_S, model.parameters.flat)]
    expected = plain(model, texts, images, d_S)
    for block in blocks:
        for x, y in zip(through(form, model, texts, images, d_S, block), expected, strict=True):
            close(x, y)
    for x, y in zip(before, (*texts, *images, d_S, model.parameters.flat), strict=True):
        np.testing.assert_array_equal(x, y)
