"""Training: it learns, a seed gives one run, and a run that was stopped and resumed is the same run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from attnretrieval.config import ModelConfig, Side
from attnretrieval.inputs.files import InputError
from attnretrieval.model import Model
from attnretrieval.parameters import Parameters
from attnretrieval.shapes import ShapeError
from attnretrieval.training.config import Stage, TrainingConfig
from attnretrieval.training.data import TrainingData, draw_batches, drop
from attnretrieval.training.loop import TrainingError, make_optimiser, train
from attnretrieval.training.objective import Objective

IMAGES, WORDS = 12, 14


def make_data() -> TrainingData:
    """Image i shows the thing that word i names; two captions an image, the second with a word that says nothing."""
    rng = np.random.default_rng(0)
    things = rng.normal(size=(IMAGES, 6)).astype("float32")
    regions = things[:, None] + 0.1 * rng.normal(size=(IMAGES, 4, 6)).astype("float32")
    ids = np.stack([np.repeat(np.arange(IMAGES), 2), np.tile([0, IMAGES], IMAGES)], axis=1)
    word_mask = np.stack([np.ones(2 * IMAGES, bool), np.tile([False, True], IMAGES)], axis=1)
    return TrainingData(ids, word_mask, np.repeat(np.arange(IMAGES), 2), regions)


def make_model(seed: int = 0) -> Model:
    config = ModelConfig(Side(5, drop_hidden=0.1), Side(6), words=WORDS, d=8, heads=2)
    return Model.create(config, np.random.default_rng(seed))


def make_validate(data: TrainingData):
    def validate(model: Model, mode: str) -> dict:
        texts, images = model.encode_text(data.ids, data.word_mask), model.encode_image(data.regions)
        S = texts.g @ images.g.T / np.linalg.norm(images.g, axis=1)
        return {"mode": mode, "rsum": float(100 * (S.argmax(axis=1) == data.image_of).mean())}
    return validate


def config(**changes) -> TrainingConfig:
    options = {"stages": (Stage(6, 0.03, warmup_steps=2), Stage(2, 0.003, paired_weight=1.0)), "batch_images": 6,
               "captions_per_image": 2, "drop_words": 0.2, "drop_regions": 0.2, "clip_norm": 5.0}
    return TrainingConfig(**{**options, **changes})


def strip(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_it_learns():
    data, model = make_data(), make_model()
    rows = train(model, data, config(stages=(Stage(60, 0.03, warmup_steps=2),)), make_validate(data), show=False)
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    assert make_validate(data)(model, "index")["rsum"] > 80


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
def test_a_stopped_run_resumes_to_the_same_run(tmp_path, optimiser):
    data = make_data()
    settings = config(optimiser=optimiser, weight_decay=0.0 if optimiser == "adam" else 0.01)
    whole = make_model()
    rows = train(whole, data, settings, make_validate(data), show=False)

    class Stopped(Exception):
        pass

    calls = 0

    def stopping(model: Model, mode: str) -> dict:
        nonlocal calls
        calls += 1
        if calls % 4 == 0:
            raise Stopped
        return make_validate(data)(model, mode)

    resumed, again = make_model(), None
    with pytest.raises(Stopped):
        train(resumed, data, settings, stopping, tmp_path, show=False)
    while again is None:            # stopped twice more, once in the second stage; each time in a model as new as a process
        resumed = make_model(seed=9)
        try:
            again = train(resumed, data, settings, stopping, tmp_path, resume=True, show=False)
        except Stopped:
            pass
    assert strip(again) == strip(rows)
    np.testing.assert_array_equal(resumed.parameters.flat, whole.parameters.flat)
    assert strip(json.loads((tmp_path / "log.json").read_text())) == strip(rows)
    assert (tmp_path / "log.csv").read_text().startswith("epoch,stage,step,learning_rate,loss,")


def test_the_best_epoch_is_kept_and_patience_ends_a_stage():
    data, model = make_data(), make_model()
    seen = []

    def validate(model: Model, mode: str) -> dict:
        seen.append(model.parameters.flat.copy())
        return {"mode": mode, "rsum": [1.0, 3.0, 2.0, 2.0, 9.0][len(seen) - 1]}

    rows = train(model, data, config(stages=(Stage(5, 0.01),), patience=2), validate, show=False)
    assert len(rows) == 4
    np.testing.assert_array_equal(model.parameters.flat, seen[1])


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    data, settings = make_data(), config(stages=(Stage(1),))
    train(make_model(), data, settings, make_validate(data), tmp_path, show=False)
    with pytest.raises(InputError, match="another configuration"):
        train(make_model(), data, config(stages=(Stage(1),), seed=1), make_validate(data), tmp_path, resume=True, show=False)
    whole = (tmp_path / "checkpoint.npz").read_bytes()
    (tmp_path / "checkpoint.npz").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        train(make_model(), data, settings, make_validate(data), tmp_path, resume=True, show=False)
    with pytest.raises(InputError, match="does not exist"):
        train(make_model(), data, settings, make_validate(data), tmp_path / "none", resume=True, show=False)


def test_a_gradient_that_explodes_stops_the_run():
    data = make_data()
    data = data._replace(regions=data.regions * np.float32(1e30))
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match="learning rate"):
        train(make_model(), data, config(), make_validate(data), show=False)


def test_batches_hold_every_image_once_with_its_captions():
    data = make_data()
    seen = []
    for batch in draw_batches(data, np.random.default_rng(0), 5, 2):
        assert (batch.positives.sum(axis=1) == 1).all() and (batch.positives.sum(axis=0) == 2).all()
        words = batch.ids[:, 0]
        shown = batch.positives.argmax(axis=1)
        np.testing.assert_array_equal(batch.regions[shown], data.regions[words])
        assert (np.diff(shown[batch.paired]) > 0).all()
        seen.extend(words[batch.paired])
    assert sorted(seen) == list(range(IMAGES))


def test_dropping_leaves_at_least_one():
    mask = np.array([[True, False, False], [True, True, True]] * 50)
    kept = drop(mask, 0.9, np.random.default_rng(0))
    assert kept.any(axis=1).all() and not (kept & ~mask).any() and kept.sum() < mask.sum()


def test_data_that_does_not_fit_is_refused():
    data = make_data()
    with pytest.raises(ShapeError, match="1 of 12 images have no caption"):
        train(make_model(), data._replace(image_of=np.where(data.image_of == 3, 4, data.image_of)), config(),
              make_validate(data), show=False)


def test_the_mode_of_validation_follows_the_stage():
    data, modes = make_data(), []

    def validate(model: Model, mode: str) -> dict:
        modes.append(mode)
        return {"rsum": 1.0}

    train(make_model(), data, config(stages=(Stage(2), Stage(1, paired_weight=0.1), Stage(1))), validate, show=False)
    assert modes == ["index", "index", "rerank", "index"]


def test_a_stage_begins_with_the_best_weights_of_the_one_before_and_a_fresh_optimiser(tmp_path):
    data, seen, states = make_data(), [], []

    def validate(model: Model, mode: str) -> dict:
        if seen:
            with np.load(tmp_path / "checkpoint.npz") as file:     # as it was after the epoch before
                states.append((json.loads(str(file["facts"]))["steps"], bool(file["optimiser_M"].any())))
        seen.append(model.parameters.flat.copy())
        return {"mode": mode, "rsum": [1.0, 3.0, 2.0, 0.5][len(seen) - 1]}

    train(make_model(), data, config(stages=(Stage(3, 0.03), Stage(1, 0.0))), validate, tmp_path, show=False)
    np.testing.assert_array_equal(seen[3], seen[1])             # the second stage learns at rate 0
    assert states == [(2, True), (4, True), (0, False)]


@pytest.mark.parametrize("clip", [0.0, 1e-3, 1e3])
def test_gradients_are_clipped(clip):
    data, model = make_data(), make_model()
    before = model.parameters.flat.astype("float64")
    settings = config(stages=(Stage(1, 0.01, "constant", 0),), optimiser="sgd", weight_decay=0.0, words_rate=1.0,
                      batch_images=IMAGES, clip_norm=clip, drop_words=0.0, drop_regions=0.0)
    train(model, data, settings, make_validate(data), show=False)
    length = np.linalg.norm(model.parameters.flat - before) / 0.01      # of the gradient of the only step
    assert length == pytest.approx(clip, rel=0.01) if clip == 1e-3 else 0.01 < length < 1e3


def test_what_decays_and_what_learns_slowly():
    model = make_model()
    optimiser = make_optimiser(model.parameters, config(words_rate=0.25, weight_decay=0.1))
    rate, shrink = (Parameters(model.parameters.shapes, flat) for flat in (optimiser.rate, optimiser.shrink))
    for name, shape in model.parameters.shapes.items():
        assert (rate[name] == (0.25 if name == "words.E" else 1)).all()
        matrix = len(shape) == 2 and name != "words.E"
        np.testing.assert_allclose(shrink[name], 0.1 if matrix else 0, rtol=1e-6)
    assert {name for name in model.parameters if shrink[name].any()} == {
        f"{side}.attention.W_{letter}" for side in ("text", "image") for letter in "QKVO"}


def test_the_first_epochs_may_take_the_mean_of_violations():
    settings = config(loss="triplet", violations="hardest", mean_epochs=2)
    used = [settings.objective(settings.stages[1], epoch).violations for epoch in range(4)]
    assert used == ["mean", "mean", "hardest", "hardest"]
    assert settings.objective(settings.stages[1], 0) == Objective("triplet", 0.2, "mean", 1.0)


def test_one_image_is_too_little():
    data = make_data()
    one = TrainingData(data.ids[:2], data.word_mask[:2], data.image_of[:2], data.regions[:1])
    with pytest.raises(TrainingError, match="at least two images are needed"):
        train(make_model(), one, config(), make_validate(one), show=False)
