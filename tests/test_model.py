"""The whole chain: the gradient of the whole loss for every parameter by name, and that results do not depend on padding,
order or block size."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.all_pairs import form_of, score_matrix
from attnretrieval.config import ModelConfig, Side
from attnretrieval.fast.steps import FastForm
from attnretrieval.fast.threads import set_threads
from attnretrieval.model import Encoded, Model
from attnretrieval.parameters import Parameters
from attnretrieval.shapes import ShapeError
from attnretrieval.training.objective import Batch, Objective, objective_backward, objective_forward

STEP = 1e-30
RICH = {"project": True, "residual": True, "layer_norm": True, "feed_forward": 6}

CONFIGS = {
    **{f"{fusion}, {pooling}": {"fusion": fusion, "t": {"pooling": pooling}, "v": {"pooling": pooling}}
       for fusion in ("add", "concat", "gate") for pooling in ("mean", "max", "attention")},
    "every option": {
        "fusion": "gate", "cross_logits": "cosine", "cross_projections": True, "cross_heads": 2, "alone_weight": 0.5,
        "t": {**RICH, "positions": 4}, "v": {**RICH, "positions": 6, "self_attention": False}},
    "layer norm without residual": {"t": {"layer_norm": True, "feed_forward": 3}},
    **{f"token cosine, {logits}, {pooling}": {
        "paired_score": "token_cosine", "cross_logits": logits, "alone_weight": 0.5, "trained_words": False, "fusion": fusion,
        "t": {**RICH, "pooling": pooling}, "v": {**RICH, "pooling": pooling}}
       for logits, pooling, fusion in [("dot", "mean", "add"), ("cosine", "attention", "gate"), ("cosine", "mean", "concat")]},
    "token cosine, projections": {"paired_score": "token_cosine", "cross_projections": True, "cross_heads": 2},
}


def build(options: dict, seed: int = 0, dtype: str = "float64") -> Model:
    rng = np.random.default_rng(seed)
    options = {**options}
    config = ModelConfig(Side(5, **options.pop("t", {})), Side(7, **options.pop("v", {})), words=9, d=4, heads=2, **options)
    model = Model.create(config, rng, None if config.trained_words else rng.normal(size=(9, 5)), dtype)
    model.parameters.flat += (0.3 * rng.normal(size=model.parameters.flat.shape)).astype(dtype)  # no parameter stays at 0 or 1
    return model


def draw_batch(rng: np.random.Generator) -> Batch:
    C, I, n, m = 5, 3, 4, 6
    region_mask = rng.random((I, m)) > 0.3
    region_mask[:, 0] = True
    positives = np.zeros((C, I), bool)
    positives[np.arange(C), [0, 0, 1, 1, 2]] = True
    word_mask = np.arange(n) < rng.integers(1, n + 1, (C, 1))
    return Batch(rng.integers(0, 9, (C, n)), word_mask, rng.normal(size=(I, m, 7)), region_mask, positives, np.array([0, 3, 4]))


@pytest.mark.parametrize("objective", [
    Objective(paired_weight=0.7),
    Objective("triplet", margin=0.5, paired_weight=0.5),
    Objective("triplet", violations="hardest", paired_weight=0.5),
], ids=["info_nce", "triplet", "hardest"])
@pytest.mark.parametrize("name", CONFIGS)
def test_gradient_of_the_whole_loss_by_parameter(name, objective):
    model, batch = build(CONFIGS[name]), draw_batch(np.random.default_rng(1))
    _, cache = objective_forward(model, batch, objective)
    gradient = model.parameters.zeros_like()
    objective_backward(model, cache, objective, gradient)

    flat = model.parameters.flat
    expected = np.empty_like(flat)
    for i in range(len(flat)):
        stepped = flat.astype(complex)
        stepped[i] += STEP * 1j
        moved = Model(model.config, Parameters(model.parameters.shapes, stepped), model.table)
        expected[i] = objective_forward(moved, batch, objective)[0].total.imag / STEP
    scale = np.linalg.norm(expected)
    wrong, expected = model.parameters.like(gradient.flat - expected), model.parameters.like(expected)
    errors = {key: np.linalg.norm(wrong[key]) / scale for key in model.parameters}
    assert {key: error for key, error in errors.items() if error > 1e-10} == {}
    used = {key for key in model.parameters if np.any(expected[key])}
    unused = set(model.parameters) - used - {"loss_alone.log_temperature", "loss_paired.log_temperature"}
    assert not unused, "parameters that the loss does not depend on"


def encoded(model: Model, batch: Batch) -> tuple[Encoded, Encoded]:
    return model.encode_text(batch.ids, batch.word_mask), model.encode_image(batch.regions, batch.region_mask)


def one_pair_at_a_time(model: Model, texts: Encoded, images: Encoded) -> np.ndarray:
    """The plain equations, pair by pair, without a single padded token."""
    S = np.empty((len(texts.H), len(images.H)))
    for c in range(len(texts.H)):
        for i in range(len(images.H)):
            text, image = (Encoded(x.H[j, x.mask[j]][None], np.ones((1, int(x.mask[j].sum())), bool), x.g[j][None])
                           for x, j in ((texts, c), (images, i)))
            s = model.paired(text, image)[0][0]
            cosine = text.g[0] @ image.g[0] / np.sqrt((text.g[0] @ text.g[0]) * (image.g[0] @ image.g[0]))
            S[c, i] = s + model.config.alone_weight * cosine
    return S


@pytest.mark.parametrize("name", CONFIGS)
def test_all_pairs_equal_one_pair_at_a_time(name):
    model, batch = build(CONFIGS[name]), draw_batch(np.random.default_rng(2))
    texts, images = encoded(model, batch)
    S = one_pair_at_a_time(model, texts, images)
    for block in ((1, 1), (2, 2), (3, 2), (32, 16)):
        np.testing.assert_allclose(score_matrix(model, texts, images, block), S, rtol=0, atol=1e-10)
    t_index, v_index = np.array([4, 0, 0, 3, 4, 1]), np.array([0, 2, 1, 0, 2, 0])
    np.testing.assert_allclose(model.score_pairs(texts, images, t_index, v_index), S[t_index, v_index], rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.score_pairs(texts, images, v_index, v_index), S[v_index, v_index], rtol=0, atol=1e-10)
    attention = model.attention(texts.take(slice(1, 2)), images.take(slice(2, 3)))
    assert abs(attention.score - S[1, 2]) < 1e-10
    assert attention.A_t2v.shape[1:] == (4, 6) and attention.A_v2t.shape[1:] == (6, 4)
    np.testing.assert_array_equal(attention.A_t2v[:, :, ~batch.region_mask[2]], 0)


def test_the_fast_form_is_used_where_it_applies():
    assert form_of(build(CONFIGS["token cosine, dot, mean"])) == "token_cosine"
    assert form_of(build(CONFIGS["token cosine, projections"])) == "plain"
    assert form_of(build(CONFIGS["gate, max"])) == "fused"
    assert form_of(build(CONFIGS["every option"])) == "plain"
    model = build(CONFIGS["gate, max"])
    plain = Model(model.config, model.parameters, fast=False)
    assert form_of(plain) == "plain"
    for chain, plain_chain in ((model.text_chain, plain.text_chain), (model.image_chain, plain.image_chain)):
        assert any(isinstance(step, FastForm) for step in chain)
        assert not any(isinstance(step, FastForm) for step in plain_chain)


@pytest.mark.parametrize("name", ["add, mean", "gate, max", "every option", "token cosine, cosine, attention"])
def test_padding_and_order_change_nothing(name):
    model, batch = build(CONFIGS[name]), draw_batch(np.random.default_rng(3))
    texts, images = encoded(model, batch)
    S = score_matrix(model, texts, images)
    # other words in the padding, regions reversed in order of images
    order = np.array([2, 0, 1])
    ids = np.where(batch.word_mask, batch.ids, 8 - batch.ids)
    regions = np.where(batch.region_mask[..., None], batch.regions, 1e3)[order]
    other_texts, other_images = model.encode_text(ids, batch.word_mask), model.encode_image(regions, batch.region_mask[order])
    np.testing.assert_allclose(other_texts.g, texts.g, rtol=0, atol=1e-12)
    np.testing.assert_allclose(other_images.g, images.g[order], rtol=0, atol=1e-12)
    np.testing.assert_allclose(score_matrix(model, other_texts, other_images), S[:, order], rtol=0, atol=1e-10)
    # each text by itself, without its padding
    for c in range(len(ids)):
        n = int(batch.word_mask[c].sum())
        alone = model.encode_text(batch.ids[c:c + 1, :n], batch.word_mask[c:c + 1, :n])
        np.testing.assert_allclose(alone.g[0], texts.g[c], rtol=0, atol=1e-12)


def test_dtype_stays():
    model, batch = build(CONFIGS["every option"], dtype="float32"), draw_batch(np.random.default_rng(4))
    batch = batch._replace(regions=batch.regions.astype("float32"))
    losses, cache = objective_forward(model, batch, Objective(paired_weight=1.0), np.random.default_rng(0))
    assert losses.total.dtype == np.float32
    texts, images = encoded(model, batch)
    assert texts.H.dtype == images.g.dtype == score_matrix(model, texts, images).dtype == np.float32


def test_dropout_is_seeded():
    sides = {"t": {"drop_inputs": 0.3, "drop_hidden": 0.3, **RICH}, "v": {"drop_inputs": 0.3}}
    model, batch = build(sides), draw_batch(np.random.default_rng(5))
    one, same, other = (float(objective_forward(model, batch, Objective(), np.random.default_rng(seed))[0].total)
                        for seed in (0, 0, 1))
    assert one == same != other


def test_config_survives_json():
    config = build(CONFIGS["every option"]).config
    assert ModelConfig.from_json(config.to_json()) == config


def test_wrong_input_teaches():
    model, batch = build(CONFIGS["add, mean"]), draw_batch(np.random.default_rng(6))
    with pytest.raises(ShapeError, match="made for 7"):
        model.encode_image(batch.regions[..., :5])
    spoilt = batch.regions.copy()
    spoilt[1, 2, 3] = np.nan
    with pytest.raises(ShapeError, match=r"first at \(1, 2, 3\)"):
        model.encode_image(spoilt)
    with pytest.raises(ShapeError, match=r"V has shape \(6, 7\), expected 3 axes"):
        model.encode_image(batch.regions[0])
    with pytest.raises(ShapeError, match=r"mask has shape \(3, 5\), which does not broadcast to \(3, 6\)"):
        model.encode_image(batch.regions, batch.region_mask[:, :5])
    with pytest.raises(ShapeError, match="max pooling has no weights"):
        ModelConfig(Side(5, pooling="max"), Side(7), words=9, paired_score="token_cosine")
    with pytest.raises(ShapeError, match="project=True"):
        Model.create(ModelConfig(Side(5, residual=True), Side(7), words=9), np.random.default_rng(0))
    with pytest.raises(ValueError, match="fusion='mix' is not one of add, concat, gate"):
        ModelConfig(Side(5), Side(7), words=9, fusion="mix")


def test_a_wrong_mask_is_named_before_the_batch_is_shared_over_threads():
    model, regions = build(CONFIGS["add, mean"]), np.zeros((4000, 6, 7))
    set_threads(2)
    try:
        with pytest.raises(ShapeError, match=r"mask has shape \(4000, 5\), which does not broadcast to \(4000, 6\)"):
            model.encode_image(regions, np.ones((4000, 5), bool))
    finally:
        set_threads(1)


def test_the_word_table():
    rng = np.random.default_rng(0)
    trained, frozen = (ModelConfig(Side(5), Side(7), words=9, d=4, trained_words=trained) for trained in (True, False))
    table = rng.normal(size=(9, 5))
    model = Model.create(trained, rng, table, "float64")               # where training starts
    np.testing.assert_array_equal(model.parameters["words.E"], table)
    assert model.table is None
    assert Model.create(trained, rng).table is None
    model = Model.create(frozen, rng, table)
    np.testing.assert_array_equal(model.table, table.astype("float32"))
    assert "words.E" not in model.parameters

    with pytest.raises(ShapeError, match=r"axis 0 of table \(8\) must equal axis 0 of the vocabulary \(9\)"):
        Model.create(trained, rng, table[:8])
    with pytest.raises(ShapeError, match=r"axis 1 of table \(4\) must equal axis 0 of word vectors \(5\)"):
        Model.create(trained, rng, table[:, :4])
    with pytest.raises(ShapeError, match=r"the word table has shape \(9, 4\), expected \(9, 5\)"):
        Model.create(frozen, rng, table[:, :4])
    with pytest.raises(ShapeError, match="exactly when trained_words is False"):
        Model.create(frozen, rng)
    with pytest.raises(ShapeError, match="exactly when trained_words is False"):
        Model(trained, Model.create(trained, rng).parameters, table)


def test_one_mask_for_all_items_is_kept_item_by_item():
    """`Encoded.take` picks rows of it."""
    model = build(CONFIGS["add, mean"])
    V = np.random.default_rng(0).normal(size=(3, 6, model.config.image.d_in))
    mask = np.array([True, True, True, True, False, False])
    one, each = model.encode_image(V, mask), model.encode_image(V, np.tile(mask, (3, 1)))
    assert one.mask.shape == (3, 6) and np.array_equal(one.take([2]).mask, each.take([2]).mask)
    np.testing.assert_array_equal(one.g, each.g)
    ids = np.ones((2, 6), int)
    assert model.encode_text(ids, mask).take([1]).mask.shape == (1, 6)
    with pytest.raises(ShapeError, match=r"mask has shape \(5,\), which does not broadcast to \(2, 6\)"):
        model.encode_text(ids, mask[:5])


def test_no_mask_means_that_every_region_is_real():
    model, batch = build(CONFIGS["add, mean"]), draw_batch(np.random.default_rng(7))
    alone, masked = model.encode_image(batch.regions), model.encode_image(batch.regions, np.ones((3, 6), bool))
    for x, y in zip(alone, masked, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", ["add, mean", "token cosine, dot, mean"], ids=["trained words", "a frozen table"])
@pytest.mark.parametrize("fast", [True, False])
def test_to_another_device_and_back(name, fast, cupy_standin):
    plain = build(CONFIGS[name])
    model = Model(plain.config, plain.parameters, plain.table, fast)
    assert model.fast == fast
    there = model.to("gpu")
    back = there.to("cpu")
    assert isinstance(there.parameters.flat, cupy_standin.ndarray) and not there.fast    # fast forms are for the CPU
    assert back.fast == fast
    np.testing.assert_array_equal(back.parameters.flat, model.parameters.flat)
    if model.table is None:
        assert there.table is back.table is None
    else:
        assert isinstance(there.table, cupy_standin.ndarray)
        np.testing.assert_array_equal(back.table, model.table)
