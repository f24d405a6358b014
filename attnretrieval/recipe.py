"""A recipe: everything that decides a training run but its data, as a TOML file that a person writes and reads.

    [text]        tokeniser, vectors, max_words, ..., and the options of the text's `Side`
    [image]       pca, and the options of the image's `Side`
    [model]       the options of `ModelConfig`
    [training]    the options of `TrainingConfig`
    [[stages]]    one or more `Stage`s

Every option has a default and is documented where its class is defined (config.py, training/config.py, below). A name that
does not exist is refused, with the names that do.
"""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from attnretrieval.config import ModelConfig, Side, wanted_parameters
from attnretrieval.inputs.files import InputError, need_file
from attnretrieval.inputs.words import TOKENISERS
from attnretrieval.shapes import check_choice, check_range, did_you_mean
from attnretrieval.training.config import Stage, TrainingConfig

WORD_VECTORS = ("random", "pieces", "file")
KINDS = {"int": int, "float": float, "bool": bool, "str": str}     # of options, as the classes write them
WRITTEN = {int: "a whole number", float: "a number", bool: "true or false", str: "text in quotes"}


@dataclass(frozen=True)
class TextInput:
    """How captions become word vectors."""

    tokeniser: str = "words"        # one of TOKENISERS
    vectors: str = "random"         # one of WORD_VECTORS; "file" = GloVe, fastText or word2vec, given by --vectors
    d_vectors: int = 64             # size of random vectors
    trained: bool = True            # whether the word table is trained on
    min_count: int = 1              # words rarer than this in the training captions are <unk>
    max_words: int = 32             # longer captions are cut, as are those with more words than `positions`

    def __post_init__(self) -> None:
        check_choice("tokeniser", self.tokeniser, TOKENISERS)
        check_choice("vectors", self.vectors, WORD_VECTORS)
        if self.vectors == "pieces" and self.tokeniser != "pieces":
            raise ValueError('vectors="pieces" are vectors of pieces; set tokeniser="pieces" too')
        for name in ("d_vectors", "min_count", "max_words"):
            check_range(name, getattr(self, name), 1)


@dataclass(frozen=True)
class ImageInput:
    """How region features become inputs."""

    pca: int = 0                    # size that the features are reduced to, fitted on the training images; 0 = left alone

    def __post_init__(self) -> None:
        check_range("pca", self.pca, 0)


@dataclass(frozen=True)
class Recipe:
    text: TextInput
    image: ImageInput
    text_side: dict[str, Any]       # options of Side; d_in follows from the data
    image_side: dict[str, Any]
    model: dict[str, Any]           # options of ModelConfig; the sides and the number of words follow
    training: TrainingConfig

    def model_config(self, d_t: int, d_v: int, words: int) -> ModelConfig:
        """The model for word vectors of size d_t, region features of size d_v and this many words."""
        return ModelConfig(text=Side(d_t, **self.text_side), image=Side(d_v, **self.image_side), words=words,
                           trained_words=self.text.trained, **self.model)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_recipe(path: str | Path) -> Recipe:
    """The recipe in a TOML file; one clear line for everything that is wrong with it."""
    path = need_file(path, "the recipe")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe {path} is not TOML: {error}") from error
    try:
        return parse_recipe(table)
    except (ValueError, TypeError) as error:
        raise InputError(f"the recipe {path}: {error}") from error


def parse_recipe(table: dict[str, Any]) -> Recipe:
    """A recipe from nested dicts, as `tomllib` gives them."""
    _known("the recipe", table, {"text", "image", "model", "training", "stages"})
    for name, value in table.items():
        if name == "stages" and not (isinstance(value, list) and all(isinstance(stage, dict) for stage in value)):
            raise InputError("each of the stages is a table of options, written [[stages]]")
        if name != "stages" and not isinstance(value, dict):
            raise InputError(f"{name} is a table of options, written [{name}]")
    stages = tuple(Stage(**_options("[[stages]]", Stage, stage)) for stage in table.get("stages", []))
    text, image, model, training = ({**table.get(name, {})} for name in ("text", "image", "model", "training"))
    text_input = TextInput(**_take(text, TextInput))
    image_input = ImageInput(**_take(image, ImageInput))
    given = {"d_in", "text", "image", "words", "trained_words", "stages"}      # these follow from the data or have a place
    recipe = Recipe(
        text_input, image_input,
        _options("[text]", Side, text, given, also=TextInput), _options("[image]", Side, image, given, also=ImageInput),
        _options("[model]", ModelConfig, model, given),
        TrainingConfig(**({"stages": stages} if stages else {}),
                       **_options("[training]", TrainingConfig, training, given)),
    )
    wanted_parameters(recipe.model_config(1, 1, 1))         # their own checks
    return recipe


def _take(table: dict[str, Any], cls: type) -> dict[str, Any]:
    """The options of `cls`, removed from `table`."""
    return _typed(cls, {field.name: table.pop(field.name) for field in fields(cls) if field.name in table})


def _options(where: str, cls: type, table: dict[str, Any], given: set[str] = frozenset(), also: type | None = None):
    names = {field.name for field in fields(cls)} - given
    _known(where, table, names, {field.name for field in fields(also)} if also else set())
    for field in fields(cls):
        if field.name in names - table.keys() and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where} lacks {field.name}")
    return _typed(cls, table)


def _known(where: str, table: dict[str, Any], names: set[str], more: set[str] = frozenset()) -> None:
    for name in table:
        if name not in names:
            raise InputError(f"{where} has no option {name!r}"
                             + (did_you_mean(name, names | more) or f"; it has {', '.join(sorted(names | more))}"))


def _typed(cls: type, table: dict[str, Any]) -> dict[str, Any]:
    """The options, each of its type (an int may stand for a float)."""
    for field in fields(cls):
        if field.name in table and field.type in KINDS:
            value, kind = table[field.name], KINDS[field.type]
            fits = isinstance(value, (int, float)) and not isinstance(value, bool) if kind is float else type(value) is kind
            if not fits:
                raise InputError(f"{field.name}={value!r} is no {kind.__name__}; write {WRITTEN[kind]}")
    return table
