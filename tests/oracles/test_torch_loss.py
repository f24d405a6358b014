"""The whole loss against PyTorch: its value, and the gradient of every parameter, for every option by name."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from attnretrieval.config import LOGITS, PAIRED_SCORES, ModelConfig, Side
from attnretrieval.equations.fusion import FUSIONS
from attnretrieval.equations.pooling import POOLINGS
from attnretrieval.equations.triplet import VIOLATIONS
from attnretrieval.model import Model
from attnretrieval.training.objective import LOSSES, Batch, Objective, objective_backward, objective_forward
from tests.oracles.compare import check_gradients, check_value
from tests.test_model import CONFIGS, RICH, build, draw_batch

torch = pytest.importorskip("torch", reason='needs torch: pip install "attnretrieval[oracle]"')

from tests.oracles.torch_model import TorchModel  # noqa: E402

DROPS = {"drop_inputs": 0.4, "drop_hidden": 0.3}
WITH_DROPOUT = {
    "dropout": {"t": {**RICH, **DROPS}, "v": {**DROPS, "project": True, "feed_forward": 3}},
    "dropout of one side's inputs": {"v": {"drop_inputs": 0.4}, "trained_words": False},
    "dropout, no self-attention": {"t": {**RICH, **DROPS, "self_attention": False}, "v": {**DROPS, "project": True}},
}
OBJECTIVES = {
    "alone": Objective(),
    "info_nce": Objective(paired_weight=0.7),
    **{f"triplet, {violations}": Objective("triplet", 0.5, violations, 0.6) for violations in VIOLATIONS},
}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", CONFIGS)
def test_loss_and_gradient_of_every_parameter(name, objective):
    compare(build(CONFIGS[name]), draw_batch(np.random.default_rng(1)), OBJECTIVES[objective])


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_with_the_same_dropout(name):
    compare(build(WITH_DROPOUT[name]), draw_batch(np.random.default_rng(2)), OBJECTIVES["info_nce"], seed=3)


@pytest.mark.parametrize("seed", range(40))
def test_options_drawn_at_random(seed):
    """Options that meet here and in no configuration above."""
    rng = np.random.default_rng(seed)
    name = list(OBJECTIVES)[rng.integers(len(OBJECTIVES))]
    compare(build(draw_options(rng), seed), draw_batch(rng), OBJECTIVES[name], seed)


def draw_options(rng: np.random.Generator) -> dict:
    def pick(*choices):
        return choices[rng.integers(len(choices))]

    score = pick(*PAIRED_SCORES)

    def side(places: int) -> dict:
        options = {"pooling": pick(*(p for p in POOLINGS if score == "fused" or p != "max")), "layer_norm": pick(False, True),
                   "feed_forward": pick(0, 6), "drop_inputs": pick(0.0, 0.3), "drop_hidden": pick(0.0, 0.3)}
        if pick(False, True):
            options |= {"project": True, "residual": pick(False, True), "positions": pick(0, places),
                        "self_attention": pick(False, True)}
        return options

    return {"t": side(4), "v": side(6), "fusion": pick(*FUSIONS), "paired_score": score, "cross_logits": pick(*LOGITS),
            "cross_heads": pick(1, 2, 4), "cross_projections": pick(False, True), "trained_words": pick(False, True),
            "alone_weight": pick(0.0, 0.5)}


def one_caption_an_image(batch: Batch) -> Batch:
    kept = [0, 2, 4]
    return Batch(batch.ids[kept], batch.word_mask[kept], batch.regions, batch.region_mask, np.eye(3, dtype=bool))


BATCHES = {
    "all captions are paired": lambda batch: batch._replace(paired=None),
    "one caption is paired, one image left without": lambda batch: batch._replace(paired=np.array([2])),
    "every region is real": lambda batch: batch._replace(region_mask=None),
    "one caption an image": one_caption_an_image,
    "a caption of two images": lambda batch: batch._replace(positives=batch.positives | (np.arange(15) == 2).reshape(5, 3)),
}


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "alone"])
@pytest.mark.parametrize("batch", BATCHES)
def test_batches_of_other_kinds(batch, objective):
    for name in ("every option", "token cosine, cosine, attention"):
        compare(build(CONFIGS[name]), BATCHES[batch](draw_batch(np.random.default_rng(4))), OBJECTIVES[objective])


def compare(model: Model, batch: Batch, objective: Objective, seed: int | None = None) -> None:
    """`seed` draws the dropout of both; None = no dropout."""
    rngs = [None if seed is None else np.random.default_rng(seed) for _ in "ab"]
    losses, cache = objective_forward(model, batch, objective, rngs[0])
    gradient = model.parameters.zeros_like()
    objective_backward(model, cache, objective, gradient)

    p = {name: torch.tensor(model.parameters[name], requires_grad=True) for name in model.parameters}
    table = None if model.table is None else torch.tensor(model.table)
    loss = TorchModel(model.config, p, table).loss(batch, objective, rngs[1])
    grads = torch.autograd.grad(loss, tuple(p.values()), materialize_grads=True)   # zeros where the loss does not use it

    check_value(losses.total, loss.detach().numpy(), "loss")
    check_gradients({name: gradient[name] for name in model.parameters},
                    {name: d.numpy() for name, d in zip(p, grads, strict=True)}, "whole loss")


def test_every_option_by_name_is_compared():
    configs = [build(options).config for options in (*CONFIGS.values(), *WITH_DROPOUT.values())]
    for side in ("text", "image"):
        sides = [getattr(config, side) for config in configs]
        plain = Side(sides[0].d_in)
        for option in {field.name for field in fields(Side)} - {"d_in"}:
            assert any(getattr(s, option) != getattr(plain, option) for s in sides), f"{side}.{option} is never compared"
        assert {s.pooling for s in sides} == set(POOLINGS)
    plain = ModelConfig(Side(5), Side(7), words=9)
    start_values = {"cross_scale", "temperature"}
    for option in {field.name for field in fields(ModelConfig)} - {"text", "image", "words"} - start_values:
        assert any(getattr(config, option) != getattr(plain, option) for config in configs), f"{option} is never compared"
    assert {config.fusion for config in configs} == set(FUSIONS)
    assert {config.cross_logits for config in configs} == set(LOGITS)
    assert {config.paired_score for config in configs} == set(PAIRED_SCORES)
    assert {objective.loss for objective in OBJECTIVES.values()} == set(LOSSES)
