"""The plain equations of model.py by themselves: `paired` and the two sides alone, each with its backward, under the gradient
checker, and the scores against loops. tests/test_model.py checks the whole loss, which takes the fast forms where it can."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.course.cases import NO_REGION, NOTHING, REGIONS, WORDS
from attnretrieval.equations.cosine import EPS
from attnretrieval.gradcheck import check_gradient
from attnretrieval.model import Encoded, Model
from attnretrieval.parameters import Parameters
from tests.test_model import build

MODELS = {
    f"{score}, {fusion}, {pooling_t} and {pooling_v}": {
        "paired_score": score, "fusion": fusion, "t": {"pooling": pooling_t}, "v": {"pooling": pooling_v}, **others}
    for score, fusion, pooling_t, pooling_v, others in [
        ("fused", "add", "mean", "attention", {"cross_logits": "cosine"}),
        ("fused", "concat", "attention", "max", {}),
        ("fused", "gate", "max", "mean", {"cross_projections": True, "cross_heads": 2}),
        ("token_cosine", "add", "mean", "mean", {"cross_projections": True, "cross_heads": 2}),
        ("token_cosine", "add", "attention", "attention", {}),
        ("token_cosine", "gate", "mean", "attention", {"cross_logits": "cosine"}),
        ("token_cosine", "concat", "attention", "mean", {}),
    ]
}
MASKS = {"padding": (WORDS, REGIONS), "nothing left": (NOTHING, NO_REGION)}
PAIRS_T, PAIRS_V = np.array([0, 1, 1, 0]), np.array([2, 0, 1, 2])


def draw_pairs(layout: str, masks: str) -> dict[str, np.ndarray]:
    """Tokens and masks of two texts and three images: every text with every image, or a list of pairs."""
    rng = np.random.default_rng(1)
    (mask_t, mask_v), H_t, H_v = MASKS[masks], rng.normal(size=(2, 3, 4)), rng.normal(size=(3, 5, 4))
    t, v = (np.s_[:, None], np.s_[:]) if layout == "all pairs" else (PAIRS_T, PAIRS_V)
    return {"H_t": H_t[t], "H_v": H_v[v], "mask_t": mask_t[t], "mask_v": mask_v[v]}


def under(model: Model, *prefixes: str) -> dict[str, np.ndarray]:
    return {key: model.parameters[key] for key in model.parameters if key.startswith(prefixes)}


def moved(model: Model, values: dict[str, np.ndarray], *arrays: np.ndarray) -> Model:
    """The plain model at other values of some parameters, in the dtype of these and of `arrays`."""
    flat = model.parameters.flat.astype(np.result_type(*values.values(), *arrays))
    there = Model(model.config, Parameters(model.parameters.shapes, flat), model.table, fast=False)
    for key, value in values.items():
        there.parameters[key][...] = value
    return there


def gradients(gradient: Parameters, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"d_{key}": gradient[key] for key in values}


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("name", MODELS)
def test_the_paired_score_is_the_loop(name, masks):
    """Forward and backward may be wrong in the same way; the loops of reference.py are written from the formulas."""
    model = build(MODELS[name])
    p = draw_pairs("list of pairs", masks)
    s, _ = model.paired(Encoded(p["H_t"], p["mask_t"], None), Encoded(p["H_v"], p["mask_v"], None))
    expected = [loop_score(model, *pair) for pair in zip(*p.values(), strict=True)]
    np.testing.assert_allclose(s, expected, rtol=0, atol=1e-12)


def loop_score(model: Model, H_t: np.ndarray, H_v: np.ndarray, mask_t: np.ndarray, mask_v: np.ndarray) -> float:
    heads = model.config.cross_heads
    C_t = reference.cross_attention(H_t, H_v, mask_v, **model.parameters.under("cross_t2v"), heads=heads, eps=EPS)
    C_v = reference.cross_attention(H_v, H_t, mask_t, **model.parameters.under("cross_v2t"), heads=heads, eps=EPS)
    sides = (("t", H_t, C_t, mask_t, model.config.text.pooling), ("v", H_v, C_v, mask_v, model.config.image.pooling))
    if model.config.paired_score == "fused":
        return reference.cosine(*(loop_pool(model, side, loop_fuse(model, side, H, C), mask, pooling)
                                  for side, H, C, mask, pooling in sides), EPS)
    s = 0.0
    for side, H, C, mask, pooling in sides:
        weights = mask / max(mask.sum(), 1)
        if pooling == "attention":
            weights = reference.pool_weights(loop_fuse(model, side, H, None), model.parameters[f"pool_{side}.u"], mask)
        s += sum(a * reference.cosine(h, c, EPS) for a, h, c in zip(weights, H, C, strict=True)) / 2
    return s


def loop_fuse(model: Model, side: str, H: np.ndarray, C: np.ndarray | None) -> np.ndarray:
    return reference.fuse(model.config.fusion, H, C, **model.parameters.under(f"fuse_{side}"))


def loop_pool(model: Model, side: str, F: np.ndarray, mask: np.ndarray, pooling: str) -> list[float]:
    return getattr(reference, f"pool_{pooling}")(F, mask=mask, **model.parameters.under(f"pool_{side}"))


@pytest.mark.parametrize("layout, masks", [("all pairs", "nothing left"), ("list of pairs", "padding")])
@pytest.mark.parametrize("name", MODELS)
def test_gradient_of_the_paired_score(name, layout, masks):
    model = build(MODELS[name])

    def forward(H_t, H_v, mask_t, mask_v, **values):
        there = moved(model, values, H_t, H_v)
        s, cache = there.paired(Encoded(H_t, mask_t, None), Encoded(H_v, mask_v, None))
        return s, (there, cache, values)

    def backward(d_s, cache):
        there, cache, values = cache
        gradient = there.parameters.zeros_like()
        d_H_t, d_H_v, *d_g = there.paired_backward(d_s, cache, gradient)
        assert d_g == [None, None]
        return {"d_H_t": d_H_t, "d_H_v": d_H_v, **gradients(gradient, values)}

    inputs = {**draw_pairs(layout, masks), **under(model, "cross_", "fuse_", "pool_")}
    algebra = [("masked", "mask_t", {"H_t": -2}), ("masked", "mask_v", {"H_v": -2})]
    report = check_gradient(forward, backward, inputs, rng=np.random.default_rng(2), tolerance=1e-10, algebra=algebra)
    assert report.passed, report


def words_alone(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"X": np.array([[3, 0, 8], [3, 5, 5]]), "mask": WORDS}


def regions_alone(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"X": rng.normal(size=(3, 5, 7)), "mask": NO_REGION}


@pytest.mark.parametrize("uses_tokens", [True, False], ids=["tokens and vector", "vector only"])
@pytest.mark.parametrize("draw, encode, undo, own", [
    (words_alone, Model.forward_text, Model.backward_text, ("words", "text.", "fuse_t", "pool_t")),
    (regions_alone, Model.forward_image, Model.backward_image, ("image.", "fuse_v", "pool_v")),
], ids=["text", "image"])
def test_gradient_alone(draw, encode, undo, own, uses_tokens):
    """Of H and g⁰, and of g⁰ only: the alone loss has no use for the tokens."""
    model, rng = build({"fusion": "gate", "t": {"pooling": "mean"}, "v": {"pooling": "attention"}}), np.random.default_rng(3)

    def forward(X, mask, **values):
        there = moved(model, values)
        encoded, tape = encode(there, X, mask)
        return (encoded.H, encoded.g) if uses_tokens else encoded.g, (there, tape, values)

    def backward(d_out, cache):
        there, tape, values = cache
        gradient = there.parameters.zeros_like()
        d_H, d_g = d_out if uses_tokens else (None, d_out)
        undo(there, d_H, d_g, tape, gradient)
        return gradients(gradient, values)

    report = check_gradient(forward, backward, under(model, *own), options=draw(rng), rng=rng, tolerance=1e-10)
    assert report.passed, report
