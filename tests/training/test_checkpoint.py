"""Checkpoint and log: a run folder holds the whole run, belongs to one configuration, and is whole or refused in one line."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import random

import numpy as np
import pytest

from attnretrieval.inputs.files import InputError
from attnretrieval.training.checkpoint import NAME, Progress, read_checkpoint
from attnretrieval.training.config import Stage
from attnretrieval.training.log import write_log
from attnretrieval.training.loop import make_optimiser, train
from tests import messages
from tests.training.test_loop import config, make_data, make_model, make_validate, strip

COLUMNS = ["epoch", "stage", "step", "learning_rate", "loss", "loss_alone", "loss_paired", "seconds", "mode", "rsum"]
SETTINGS = config(stages=(Stage(2, 0.03), Stage(1, 0.01, paired_weight=0.5)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of three epochs: its folder, its model, its rows."""
    folder, model, data = tmp_path_factory.mktemp("run"), make_model(), make_data()
    return folder, model, train(model, data, SETTINGS, make_validate(data), folder, show=False)


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the folder."""
    for path in finished[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def read(run, settings=SETTINGS, model=None):
    model = model or make_model()
    optimiser = make_optimiser(model.parameters, settings)
    return read_checkpoint(run, settings, model.parameters, optimiser, np.random.default_rng(0))


def refused(run, *parts, **options):
    model = make_model()
    before = model.parameters.flat.copy()
    messages.refused(lambda: read(run, model=options.pop("model", model), **options), run / NAME, *parts)
    np.testing.assert_array_equal(model.parameters.flat, before)


def test_a_run_folder_holds_plain_arrays_and_no_leftovers(run):
    assert sorted(path.name for path in run.iterdir()) == [NAME, "log.csv", "log.json"]
    with np.load(run / NAME, allow_pickle=False) as file:       # raises on anything pickled
        assert {name: file[name].dtype.kind for name in file} == {
            "facts": "U", "flat": "f", "best": "f", "optimiser_M": "f", "optimiser_U": "f"}


def test_vectors_go_by_the_names_of_the_parameters(run):
    """Not as they lie in memory, which may change: an old checkpoint stays readable."""
    model = make_model()
    optimiser = make_optimiser(model.parameters, SETTINGS)
    progress = read_checkpoint(run, SETTINGS, model.parameters, optimiser, np.random.default_rng(0))
    vectors = {"flat": model.parameters.flat, "best": progress.best,
               **{f"optimiser_{name}": x for name, x in optimiser.vectors.items()}}
    with np.load(run / NAME, allow_pickle=False) as file:
        for name, vector in vectors.items():
            found = model.parameters.like(vector)
            np.testing.assert_array_equal(file[name], np.concatenate([found[key].ravel() for key in found]))


def test_a_finished_run_that_is_resumed_has_nothing_left_to_do(finished, run):
    _, model, rows = finished
    resumed = make_model(seed=9)

    def never(model, mode):
        raise AssertionError

    assert strip(train(resumed, make_data(), SETTINGS, never, run, resume=True, show=False)) == strip(rows)
    np.testing.assert_array_equal(resumed.parameters.flat, model.parameters.flat)


def test_the_log_has_a_row_an_epoch(finished, run):
    rows = finished[2]
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert [(row["epoch"], row["stage"], row["step"], row["mode"]) for row in rows] == [
        (1, 1, 2, "index"), (2, 1, 4, "index"), (3, 2, 6, "rerank")]
    assert [row["loss_paired"] is None for row in rows] == [True, True, False]
    assert rows[2]["loss"] == pytest.approx(rows[2]["loss_alone"] + 0.5 * rows[2]["loss_paired"])
    assert all(math.isfinite(row["loss"]) and row["seconds"] >= 0 and row["learning_rate"] > 0 for row in rows)
    assert json.loads((run / "log.json").read_text(encoding="utf-8")) == rows
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert table == [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]


def test_a_log_whose_later_rows_have_more_columns(tmp_path):
    write_log(tmp_path, [{"epoch": 1, "mode": "a, b"}, {"epoch": 2, "更": 3}])
    assert (tmp_path / "log.csv").read_text(encoding="utf-8").splitlines() == ["epoch,mode,更", '1,"a, b",', "2,,3"]


@pytest.mark.parametrize("change", [
    {"seed": 1}, {"batch_images": 4}, {"optimiser": "sgd"}, {"drop_words": 0.0}, {"stages": SETTINGS.stages[:1]},
    {"stages": (Stage(3, 0.03), SETTINGS.stages[1])}, {"stages": (Stage(2, 0.02), SETTINGS.stages[1])}, {"loss": "triplet"},
], ids=str)
def test_another_configuration_is_refused(run, change):
    refused(run, "belongs to another configuration", settings=dataclasses.replace(SETTINGS, **change))


def test_a_model_with_other_parameters_is_refused(run):
    from tests.test_model import CONFIGS, build
    refused(run, "belongs to a model with other parameters", model=build(CONFIGS["add, mean"], dtype="float32"))


def test_a_damaged_checkpoint_is_refused(run):
    whole = (run / NAME).read_bytes()
    for content in (b"", b"text", whole[:100], whole[:-1], whole[len(whole) // 2:]):
        (run / NAME).write_bytes(content)
        refused(run, "is damaged", "start the run again without --resume")


def test_a_checkpoint_of_another_version_is_refused_and_changes_nothing(run):
    with np.load(run / NAME) as file:
        arrays = {name: x for name, x in file.items() if name != "optimiser_M"} | {"optimiser_m": file["optimiser_M"]}
    np.savez(run / NAME, **arrays)
    refused(run, "was written by another version: it holds no M of the optimiser", "start a new run folder")


def test_a_foreign_file_is_refused(run):
    with (run / NAME).open("wb") as file:
        np.save(file, np.arange(3))
    refused(run, "is damaged")
    for arrays in ({"a": np.arange(3)}, {"facts": "3"}, {"facts": "{"}, {"facts": "{}"}, {"facts": np.array([{}], object)}):
        np.savez(run / NAME, **arrays)
        refused(run, "is damaged")
    (run / NAME).unlink()
    refused(run, "does not exist")


def test_a_spoilt_byte_is_refused_or_makes_no_difference(run):
    whole, rng = (run / NAME).read_bytes(), random.Random(0)
    expected = read(run)
    for _ in range(300):
        spoilt = bytearray(whole)
        spoilt[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        (run / NAME).write_bytes(spoilt)
        try:
            progress = read(run)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert progress.rows == expected.rows
            np.testing.assert_array_equal(progress.best, expected.best)


def test_progress_through_the_stages():
    progress, flat = Progress(SETTINGS), np.zeros(2)
    assert (progress.epoch, progress.epochs, progress.step, progress.best) == (0, 3, 0, None)
    for rsum, since in ((5.0, 0), (4.0, 1), (5.0, 2), (6.0, 0)):
        flat += 1
        progress.note({"rsum": rsum, "step": 7}, flat)
        assert progress.since_best == since
    np.testing.assert_array_equal(progress.best, [4, 4])        # a copy, of the first of the best
    progress.next_stage()
    flat += 1
    progress.note({"rsum": 1.0, "step": 9}, flat)               # a stage has a best of its own
    np.testing.assert_array_equal(progress.best, [5, 5])
    assert (progress.stage, progress.stage_epoch, progress.epoch, progress.step) == (1, 1, 5, 9)
