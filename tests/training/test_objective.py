"""The objective: L_alone + λ · L_paired, each the loss of its scores over the captions that take part."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.equations.cosine import cosine_similarity, cosine_similarity_backward
from attnretrieval.equations.info_nce import info_nce, info_nce_backward
from attnretrieval.training.data import TrainingData, draw_batches
from attnretrieval.training.objective import Batch, Objective, objective_backward, objective_forward
from tests.test_model import CONFIGS, build, draw_batch

OBJECTIVES = [Objective(), Objective("triplet", 0.5), Objective("triplet", 0.5, "hardest"), Objective("triplet", 0.5, "mean")]
LAMBDA = 0.7


def name(objective: Objective) -> str:
    return f"{objective.loss}, {objective.violations}"


def weighed(objective: Objective, paired_weight: float) -> Objective:
    return Objective(objective.loss, objective.margin, objective.violations, paired_weight)


def gradient_of(model, batch: Batch, objective: Objective):
    losses, cache = objective_forward(model, batch, objective)
    gradient = model.parameters.zeros_like()
    objective_backward(model, cache, objective, gradient)
    return losses, gradient


@pytest.fixture
def model():
    return build(CONFIGS["token cosine, projections"])      # cross-attention with parameters of its own


@pytest.fixture
def batch() -> Batch:
    return draw_batch(np.random.default_rng(1))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name)
def test_the_total_is_the_weighted_sum(model, batch, objective):
    losses, _ = objective_forward(model, batch, weighed(objective, LAMBDA))
    assert float(losses.total) == pytest.approx(float(losses.alone) + LAMBDA * float(losses.paired), rel=1e-14)
    assert float(losses.alone) > 0 and float(losses.paired) > 0 and losses.alone != losses.paired


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name)
def test_without_lambda_there_is_only_the_loss_alone(model, batch, objective):
    losses, gradient = gradient_of(model, batch, objective)
    with_paired, _ = objective_forward(model, batch, weighed(objective, LAMBDA))
    assert losses.total == losses.alone == with_paired.alone and losses.paired is None
    touched = {key for key in model.parameters if gradient[key].any()}
    assert not {key for key in touched if key.startswith(("cross_", "loss_paired"))}
    assert {key.partition(".")[0] for key in touched} >= {"words", "text", "image"}


def test_the_loss_alone_is_info_nce_of_cosines(model, batch):
    losses, gradient = gradient_of(model, batch, Objective())
    texts, tape_t = model.forward_text(batch.ids, batch.word_mask)
    images, tape_v = model.forward_image(batch.regions, batch.region_mask)
    S, cosines = cosine_similarity(texts.g, images.g)
    loss, cache = info_nce(S, model.parameters["loss_alone.log_temperature"], batch.positives)
    grads = info_nce_backward(1.0, cache)
    d_g_t, d_g_v = cosine_similarity_backward(grads.d_S, cosines)
    expected = model.parameters.zeros_like()
    expected["loss_alone.log_temperature"][...] = grads.d_log_temperature
    model.backward_text(None, d_g_t, tape_t, expected)
    model.backward_image(None, d_g_v, tape_v, expected)
    assert losses.total == loss
    np.testing.assert_array_equal(gradient.flat, expected.flat)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name)
def test_lambda_scales_the_paired_gradient(model, batch, objective):
    _, alone = gradient_of(model, batch, objective)
    once, twice = (gradient_of(model, batch, weighed(objective, weight))[1].flat - alone.flat
                   for weight in (LAMBDA, 2 * LAMBDA))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-9, atol=1e-13)
    assert once.any()


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name)
def test_only_the_paired_captions_take_part_in_the_paired_loss(model, batch, objective):
    objective = weighed(objective, LAMBDA)
    some, _ = objective_forward(model, batch, objective)
    every, _ = objective_forward(model, batch._replace(paired=None), objective)
    kept = batch.paired
    cut = Batch(batch.ids[kept], batch.word_mask[kept], batch.regions, batch.region_mask, batch.positives[kept])
    assert float(some.paired) == pytest.approx(float(objective_forward(model, cut, objective)[0].paired), rel=1e-12)
    assert some.alone == every.alone and abs(some.paired - every.paired) > 1e-6
    whole = np.arange(len(batch.ids))
    assert objective_forward(model, batch._replace(paired=whole), objective)[0].paired == every.paired
    # a caption outside them moves the words that only it has by the loss alone
    lonely = np.where(np.arange(5)[:, None] == 1, 8, batch.ids % 8)          # caption 1 holds nothing but word 8
    batch = batch._replace(ids=lonely)
    assert 1 not in kept
    np.testing.assert_allclose(gradient_of(model, batch, objective)[1]["words.E"][8],
                               gradient_of(model, batch, weighed(objective, 0))[1]["words.E"][8], rtol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name)
def test_captions_of_one_image_are_never_negatives_of_it(objective):
    """The whole way from the data: whatever another caption of an image scores with it, it is not pushed away."""
    rng = np.random.default_rng(0)
    data = TrainingData(rng.integers(0, 9, (12, 4)), np.ones((12, 4), bool), np.arange(12) % 4, rng.normal(size=(4, 6, 7)))
    batch = next(draw_batches(data, rng, batch_images=4, captions_per_image=3, dtype="float64"))
    shown = batch.positives.argmax(axis=1)
    assert batch.positives.sum(axis=0).tolist() == [3, 3, 3, 3]
    model = build(CONFIGS["add, mean"])
    texts, images = model.encode_text(batch.ids, batch.word_mask), model.encode_image(batch.regions)
    S, _ = cosine_similarity(texts.g, images.g)
    loss = float(objective_forward(model, batch, objective)[0].total)
    if objective.loss == "info_nce":
        tau = np.exp(float(model.parameters["loss_alone.log_temperature"]))
        log_R = S / tau - np.log(np.exp(S / tau).sum(axis=0))               # images choose among captions
        log_P = S / tau - np.log(np.exp(S / tau).sum(axis=1, keepdims=True))
        expected = -(log_P[np.arange(12), shown].mean() + np.mean([log_R[shown == i, i].mean() for i in range(4)])) / 2
    else:
        gather = {"sum": np.sum, "hardest": np.max, "mean": np.mean}[objective.violations]
        violations = [gather(np.maximum(0, 0.5 + others - S[c, i])) for c, i in enumerate(shown)
                      for others in (np.delete(S[c], i), S[shown != i, i])]
        expected = sum(violations) / 12
    assert loss == pytest.approx(expected, rel=1e-10)


def test_unknown_names():
    with pytest.raises(ValueError, match="loss='hinge' is not one of info_nce, triplet"):
        Objective("hinge")
    with pytest.raises(ValueError, match="violations='worst' is not one of sum, hardest, mean"):
        Objective("triplet", violations="worst")
