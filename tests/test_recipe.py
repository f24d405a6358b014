"""Recipes: every option arrives where it belongs, everything else is refused with what would have been right."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from attnretrieval.config import ModelConfig, Side, wanted_parameters
from attnretrieval.inputs.files import InputError
from attnretrieval.model import Model
from attnretrieval.recipe import ImageInput, Recipe, TextInput, parse_recipe, read_recipe
from attnretrieval.training.config import Stage, TrainingConfig

SIDE = {"project": True, "positions": 5, "self_attention": False, "feed_forward": 6, "residual": True, "layer_norm": True,
        "drop_inputs": 0.1, "drop_hidden": 0.2, "pooling": "attention"}
TEXT = {"tokeniser": "characters", "vectors": "file", "d_vectors": 9, "trained": False, "min_count": 3, "max_words": 7}
IMAGE = {"pca": 4}
MODEL = {"d": 12, "heads": 8, "fusion": "gate", "cross_heads": 2, "cross_projections": True, "cross_logits": "cosine",
         "cross_scale": 7.5, "paired_score": "token_cosine", "temperature": 0.2, "alone_weight": 0.5}
TRAINING = {"seed": 3, "batch_images": 8, "captions_per_image": 2, "optimiser": "sgd", "weight_decay": 0.02, "words_rate": 0.5,
            "clip_norm": 2.0, "drop_words": 0.1, "drop_regions": 0.2, "loss": "triplet", "margin": 0.3,
            "violations": "hardest", "mean_epochs": 2, "patience": 4}
STAGE = {"epochs": 3, "learning_rate": 0.5, "schedule": "constant", "warmup_steps": 7, "paired_weight": 0.25}

# (table, option, value, what it changes in `effective`)
OPTIONS = [
    *(("text", name, value, f"text.{name}") for name, value in TEXT.items()),
    *(("image", name, value, f"image.{name}") for name, value in IMAGE.items()),
    *((side, name, value, f"model.{side}.{name}") for side in ("text", "image")
      for name, value in {**SIDE, "project": False}.items()),
    *(("model", name, value, f"model.{name}") for name, value in MODEL.items()),
    *(("training", name, value, f"training.{name}") for name, value in TRAINING.items()),
    *(("stages", name, value, f"stage.{name}") for name, value in STAGE.items()),
]
IDS = [f"{table}.{name}" for table, name, *_ in OPTIONS]
DEFAULT = {"text": {"project": True}, "image": {"project": True}, "stages": [{"epochs": 1}]}       # some options ask for these


def one(table: str, name: str, value) -> dict:
    """The default with this option."""
    if table == "stages":
        return {**DEFAULT, "stages": [{"epochs": 1} | {name: value}]}
    return {**DEFAULT, table: DEFAULT.get(table, {}) | {name: value}}


def effective(recipe: Recipe) -> dict:
    """What a recipe comes to, one entry an option."""
    training = recipe.training.to_json()
    (stage,) = training.pop("stages")
    parts = {"text": asdict(recipe.text), "image": asdict(recipe.image), "training": training, "stage": stage}
    model = recipe.model_config(3, 4, 5).to_json()
    parts |= {"model.text": model.pop("text"), "model.image": model.pop("image"), "model": model}
    return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}


def refused(table: dict, *parts: str) -> None:
    with pytest.raises((ValueError, TypeError)) as error:
        parse_recipe(table)
    assert "\n" not in str(error.value) and all(part in str(error.value) for part in parts), str(error.value)


def test_this_file_knows_every_option():
    given = {"d_in", "text", "image", "words", "trained_words", "stages"}
    for cls, names in ((Side, SIDE), (TextInput, TEXT), (ImageInput, IMAGE), (ModelConfig, MODEL), (TrainingConfig, TRAINING),
                       (Stage, STAGE)):
        assert {field.name for field in fields(cls)} - given == set(names)


@pytest.mark.parametrize(("table", "name", "value", "place"), OPTIONS, ids=IDS)
def test_an_option_arrives_where_it_belongs_and_nowhere_else(table, name, value, place):
    default, changed = effective(parse_recipe(DEFAULT)), effective(parse_recipe(one(table, name, value)))
    assert default[place] != value
    expected = {place: value} | ({"model.trained_words": False} if name == "trained" else {})
    assert {key: changed[key] for key in changed if changed[key] != default[key]} == expected


def test_all_options_together():
    recipe = parse_recipe({"text": TEXT | SIDE, "image": IMAGE | SIDE, "model": MODEL | {"heads": 3}, "training": TRAINING,
                           "stages": [STAGE, {"epochs": 9}]})
    assert recipe.text == TextInput(**TEXT) and recipe.image == ImageInput(**IMAGE)
    assert recipe.training == TrainingConfig(stages=(Stage(**STAGE), Stage(9)), **TRAINING)
    config = recipe.model_config(3, 4, 5)
    assert config == ModelConfig(Side(3, **SIDE), Side(4, **SIDE), words=5, trained_words=False, **(MODEL | {"heads": 3}))
    assert json.loads(json.dumps(recipe.to_json()))["training"]["stages"][1]["epochs"] == 9


def test_the_default_is_the_lesson():
    recipe = parse_recipe({})
    assert recipe.training == TrainingConfig() and recipe.text == TextInput() and recipe.image == ImageInput(pca=0)
    config = recipe.model_config(3, 4, 5)
    assert config == ModelConfig(Side(3), Side(4), words=5)
    for side in (config.text, config.image):
        assert side.self_attention and side.pooling == "mean"
        assert not any((side.project, side.positions, side.feed_forward, side.residual, side.layer_norm, side.drop_inputs))
    assert (config.fusion, config.cross_logits, config.paired_score) == ("add", "dot", "fused")
    steps = {name.rpartition(".")[0] for name in wanted_parameters(config)}     # no weights but those of the equations
    assert steps == {"words", "text.attention", "image.attention", "loss_alone", "loss_paired"}


@pytest.mark.parametrize(("table", "name"), [option[:2] for option in OPTIONS], ids=IDS)
def test_a_misspelt_option_is_refused_with_the_right_one(table, name):
    where = "[[stages]]" if table == "stages" else f"[{table}]"
    refused(one(table, name + "s", 1), f"{where} has no option '{name}s'; did you mean {name!r}?")


@pytest.mark.parametrize(("recipe", "parts"), [
    ({"txt": {}}, ["the recipe has no option 'txt'; did you mean 'text'?"]),
    ({"zzz": {}}, ["the recipe has no option 'zzz'; it has image, model, stages, text, training"]),
    ({"image": {"zzz": 1}}, ["[image] has no option 'zzz'; it has drop_hidden, drop_inputs, feed_forward,", "pca,"]),
    ({"text": {"d_in": 3}}, ["[text] has no option 'd_in'"]),               # follows from the data
    ({"model": {"words": 3}}, ["[model] has no option 'words'"]),
    ({"model": {"trained_words": False}}, ["[model] has no option 'trained_words'"]),
    ({"training": {"stages": []}}, ["[training] has no option 'stages'"]),
    ({"image": {"tokeniser": "words"}}, ["[image] has no option 'tokeniser'"]),
    ({"text": {"pca": 4}}, ["[text] has no option 'pca'"]),
    ({"text": 3}, ["text is a table of options, written [text]"]),
    ({"stages": {"epochs": 1}}, ["written [[stages]]"]),
    ({"stages": [3]}, ["written [[stages]]"]),
    ({"stages": [{}]}, ["[[stages]] lacks epochs"]),
    ({"stages": [{"epochs": 1}, {"epoch": 1}]}, ["[[stages]] has no option 'epoch'; did you mean 'epochs'?"]),
])
def test_options_that_do_not_exist(recipe, parts):
    refused(recipe, *parts)


WRONG = {str: [3, True, ["a"]], bool: [1, "true", 0.0], int: ["3", 3.0, True, [3]], float: ["0.1", True, [0.1]]}


@pytest.mark.parametrize(("table", "name", "value"), [option[:3] for option in OPTIONS], ids=IDS)
def test_wrong_types(table, name, value):
    for other in WRONG[type(value)]:
        refused(one(table, name, other), f"{name}={other!r} is no {type(value).__name__}; write ")


@pytest.mark.parametrize(("recipe", "parts"), [
    ({"image": {"positions": 4}}, ["image: without project=True only plain self-attention can bring the inputs to d=64"]),
    ({"text": {"residual": True}}, ["text: without project=True"]),
    ({"model": {"paired_score": "token_cosine"}, "text": {"pooling": "max"}}, ["max pooling has no weights"]),
    ({"model": {"heads": 5}}, ["heads=5 does not divide d=64"]),
    ({"text": {"vectors": "pieces"}}, ['set tokeniser="pieces" too']),
    ({"training": {"optimiser": "adam"}}, ['optimiser="adam" has no weight decay; use "adamw" or weight_decay=0']),
])
def test_options_that_do_not_go_together(recipe, parts):
    refused(recipe, *parts)


def test_a_whole_number_may_stand_for_a_fraction():
    recipe = parse_recipe({"model": {"alone_weight": 1}, "stages": [{"epochs": 1, "paired_weight": 1}]})
    assert recipe.model_config(1, 1, 1).alone_weight == 1 and recipe.training.stages[0].paired_weight == 1


@pytest.mark.parametrize(("content", "parts"), [
    (b"[text\n", ["is not TOML", "line 1"]),
    (b"[text]\nd_vectors = 8\n[text]\n", ["is not TOML", "line 3"]),
    ("[text] # 红色".encode("gbk"), ["is not TOML", "utf-8"]),
    (b"[text]\nd_vector = 8\n", ["'d_vector'; did you mean 'd_vectors'?"]),
    (b"[training]\noptimiser = 'adam'\nweight_decay = -1\n", ["weight_decay=-1"]),
])
def test_a_file_that_is_wrong_is_named(tmp_path, content, parts):
    path = tmp_path / "wrong.toml"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_recipe(path)
    message = str(error.value)
    assert message.startswith(f"the recipe {path}") and "\n" not in message and all(part in message for part in parts), message


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_file_from_any_editor(tmp_path, start):
    (tmp_path / "a.toml").write_text(f"{start}# 猫\r\n[text]\r\nd_vectors = 9\r\n", encoding="utf-8", newline="")
    assert read_recipe(str(tmp_path / "a.toml")).text.d_vectors == 9
    (tmp_path / "empty.toml").write_text("")
    assert read_recipe(tmp_path / "empty.toml") == parse_recipe({})


def test_files_that_are_not_there(tmp_path):
    for path, what in ((tmp_path / "none.toml", "does not exist"), (tmp_path, "is a folder, expected a file")):
        with pytest.raises(InputError, match=what):
            read_recipe(path)


RECIPES = {path.name: path for path in [*sorted(Path(__file__).parents[1].joinpath("docs", "recipes").glob("*.toml")),
                                        resources.files("attnretrieval.verbs").joinpath("demo.toml")]}


@pytest.mark.parametrize("name", RECIPES)
def test_our_own_recipes(name):
    recipe = read_recipe(RECIPES[name])
    size = {"pieces": 512, "file": 100}.get(recipe.text.vectors, recipe.text.d_vectors)
    config = recipe.model_config(size, recipe.image.pca or 768, 20)
    model = Model.create(config, np.random.default_rng(0), np.zeros((20, size), np.float32))
    assert np.isfinite(model.parameters.flat).all()


def test_our_own_recipes_do_what_they_say():
    assert {"pieces.toml", "glove.toml", "demo.toml"} <= set(RECIPES)
    for name, stages in (("pieces.toml", ["{} epochs alone", "then {} jointly"]), ("glove.toml", ["{} epochs alone"])):
        recipe = read_recipe(RECIPES[name]).training.stages
        told = [line for line in Path(RECIPES[name]).read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        assert [bool(stage.paired_weight) for stage in recipe] == ["jointly" in words for words in stages]
        for stage, words in zip(recipe, stages, strict=True):
            assert words.format(stage.epochs) in " ".join(told)
