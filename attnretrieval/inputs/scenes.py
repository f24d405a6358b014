"""Scenes: small pictures of two coloured objects in a relation, with captions whose every word has a known place.

A picture is 64×64 pixels, a grid of 4×4 cells; each object lies inside one cell, so that one region holds it whole. The
relation can be seen:

    chase    the chaser, with speed lines, in the cell left of what it chases
    left     in one row, with at least one cell between the two
    above    in one column

Captions come from one grammar in English and in Chinese, the plain form first and the converse second: "a blue car is left
of a yellow star", "a yellow star is right of a blue car". A *meaning* is (shape, colour, relation, shape, colour). Meanings are
dealt out to train, val and test once and for all, so that no combination is in two of them and, within one, no caption is true
of two scenes. The running example is always in test, and each of its words is in train.

What may be changed: the words, shapes and colours (with scene_drawing.py), the shares of the splits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from attnretrieval.inputs.captions import Captions
from attnretrieval.inputs.files import InputError, atomic_folder
from attnretrieval.inputs.regions import grid_boxes
from attnretrieval.inputs.scene_drawing import COLOURS, SHAPES, sprite
from attnretrieval.shapes import check_choice

GRID, CELL = 4, 16
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
CHASERS = ("cat", "dog", "bird", "car")
CHASED = ("cat", "dog", "bird", "fish", "ball", "car")
BACKGROUND, NOISE = (244, 242, 236), 3.0

WORDS_ZH = {"cat": ("只", "猫"), "dog": ("只", "狗"), "bird": ("只", "鸟"), "fish": ("条", "鱼"), "ball": ("个", "球"),
            "car": ("辆", "汽车"), "star": ("颗", "星星"), "tree": ("棵", "树"), "house": ("座", "房子")}
COLOURS_ZH = {"black": "黑色", "red": "红色", "blue": "蓝色", "yellow": "黄色", "green": "绿色", "purple": "紫色",
              "orange": "橙色"}
LANGUAGES = ("en", "zh")
RUNNING_EXAMPLE = {"en": "a black cat is chasing a red ball", "zh": "一只黑色的猫在追红色的球"}


class Meaning(NamedTuple):
    shape: str
    colour: str
    relation: str               # "chase", "left", "above": the first object does it, or is there
    other_shape: str
    other_colour: str


EXAMPLE_MEANING = Meaning("cat", "black", "chase", "ball", "red")


class Span(NamedTuple):
    """The characters start to end (excluded) of a caption, and the cells that they speak of."""

    start: int
    end: int
    cells: tuple[int, ...]
    kind: str                   # "object", "colour" or "relation"


class SceneCaption(NamedTuple):
    text: str
    spans: list[Span]


@dataclass(frozen=True)
class Scene:
    meaning: Meaning
    cells: tuple[int, int]      # of the first object and of the other; cell = 4 · row + column
    image: np.ndarray           # (64, 64, 3) uint8


@cache
def meanings(split: str) -> tuple[Meaning, ...]:
    """All meanings of a split, in a fixed random order; test begins with the running example."""
    check_choice("split", split, SHARES)
    every = [Meaning(a, x, relation, b, y)
             for a, x, relation, b, y in product(SHAPES, COLOURS, ("chase", "left", "above"), SHAPES, COLOURS)
             if (a, x) != (b, y) and (relation != "chase" or (a in CHASERS and b in CHASED))]
    every = [every[i] for i in np.random.default_rng(2024).permutation(len(every)) if every[i] != EXAMPLE_MEANING]
    first = round(SHARES["train"] * len(every))
    second = first + round(SHARES["val"] * len(every))
    part = {"train": every[:first], "val": every[first:second], "test": [EXAMPLE_MEANING, *every[second:]]}[split]
    # Who chases from the left is also left of what it chases: in one gallery, "left of" would be true of both pictures.
    also_left = {meaning._replace(relation="left") for meaning in part if meaning.relation == "chase"}
    return tuple(meaning for meaning in part if meaning not in also_left)


def make_scenes(split: str, count: int, rng: np.random.Generator) -> list[Scene]:
    """`count` scenes of a split, no two with one meaning: a caption names one of them only. Test begins with the example."""
    available = meanings(split)
    if not 1 <= count <= len(available):
        raise InputError(f"{count} scenes of split {split!r} are asked for, there are 1 to {len(available)} different ones")
    first = [0] if split == "test" else []
    others = rng.permutation(np.arange(len(first), len(available)))[:count - len(first)]
    return [draw_scene(available[i], rng) for i in [*first, *others]]


def draw_scene(meaning: Meaning, rng: np.random.Generator) -> Scene:
    """A picture of this meaning, at places that the generator draws."""
    row, column = (int(i) for i in rng.integers(GRID, size=2))
    if meaning.relation == "chase":
        column = int(rng.integers(GRID - 1))
        places = (row, column), (row, column + 1)
    elif meaning.relation == "left":
        column, other = ((0, 2), (0, 3), (1, 3))[rng.integers(3)]
        places = (row, column), (row, other)
    else:
        row, other = np.sort(rng.permutation(GRID)[:2]).tolist()
        places = (row, column), (other, column)
    canvas = np.array(BACKGROUND, np.float32) + rng.normal(0, NOISE, (GRID * CELL, GRID * CELL, 1)).astype(np.float32)
    canvas = np.broadcast_to(canvas, (GRID * CELL, GRID * CELL, 3)).copy()
    objects = (sprite(meaning.shape, meaning.colour, meaning.relation == "chase"),
               sprite(meaning.other_shape, meaning.other_colour))
    for (r, c), drawn in zip(places, objects, strict=True):
        high, wide = drawn.shape[:2]
        y, x = (CELL * i + int(rng.integers(CELL - size + 1)) for i, size in ((r, high), (c, wide)))
        part = canvas[y:y + high, x:x + wide]
        part += (drawn[..., :3] - part) * drawn[..., 3:]
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return Scene(meaning, tuple(GRID * r + c for r, c in places), image)


# ---- the grammar -----------------------------------------------------------------------------------------------------

# {0} is the first object, {1} the other; "@" stands before the word of the relation. In Chinese, {1'} has no measure word.
FORMS = {
    "en": {"chase": ("{0} is @chasing {1}", "{1} is @chased by {0}"),
           "left": ("{0} is @left of {1}", "{1} is @right of {0}"),
           "above": ("{0} is @above {1}", "{1} is @below {0}")},
    "zh": {"chase": ("{0}在@追{1'}", "{1}被{0}@追着"),
           "left": ("{0}在{1}@左边", "{1}在{0}@右边"),
           "above": ("{0}在{1}@上面", "{1}在{0}@下面")},
}


def captions_of(scene: Scene, language: str) -> list[SceneCaption]:
    """The captions of a scene, the plain form first."""
    check_choice("language", language, LANGUAGES)
    return [_caption(scene, form, language) for form in FORMS[language][scene.meaning.relation]]


def _caption(scene: Scene, form: str, language: str) -> SceneCaption:
    meaning = scene.meaning
    objects = (meaning.shape, meaning.colour), (meaning.other_shape, meaning.other_colour)
    text, spans = "", []

    def say(words: str, cells: tuple[int, ...] = (), kind: str = "") -> None:
        nonlocal text
        if kind:
            spans.append(Span(len(text), len(text) + len(words), cells, kind))
        text += words

    i = 0
    while i < len(form):
        if form[i] == "{":
            end = form.index("}", i)
            which, cells = int(form[i + 1]), (scene.cells[int(form[i + 1])],)
            shape, colour = objects[which]
            if language == "en":
                say("an " if colour[0] in "aeiou" else "a ")
                say(colour, cells, "colour")
                say(" ")
                say(shape, cells, "object")
            else:
                measure, noun = WORDS_ZH[shape]
                say("" if "'" in form[i:end] else "一" + measure)
                say(COLOURS_ZH[colour], cells, "colour")
                say("的")
                say(noun, cells, "object")
            i = end + 1
        elif form[i] == "@":
            end = i + 1
            while end < len(form) and form[end] not in " {":
                end += 1
            say(form[i + 1:end], scene.cells, "relation")
            i = end
        else:
            say(form[i])
            i += 1
    return SceneCaption(text, spans)


def scene_captions(scenes: Sequence[Scene], language: str) -> tuple[Captions, list[list[Span]]]:
    """The captions of several scenes as a data set, and for each caption its spans."""
    told = [captions_of(scene, language) for scene in scenes]
    image_of = np.repeat(np.arange(len(scenes)), [len(captions) for captions in told])
    flat = [caption for captions in told for caption in captions]
    return Captions([_name(i) for i in range(len(scenes))], [c.text for c in flat], image_of), [c.spans for c in flat]


def _name(i: int) -> str:
    return f"scene_{i:05}.png"


# ---- as files --------------------------------------------------------------------------------------------------------


def write_folder(splits: dict[str, Sequence[Scene]], folder: str | Path) -> None:
    """Scenes as a data set that the command line reads: images/, captions.{en,zh}.txt, {split}.txt, phrases.{en,zh}.json."""
    scenes = [scene for part in splits.values() for scene in part]
    boxes = grid_boxes(GRID, GRID).tolist()
    with atomic_folder(folder) as path:
        (path / "images").mkdir()
        start = 0
        for split, part in splits.items():
            (path / f"{split}.txt").write_text("".join(f"{_name(start + i)}\n" for i in range(len(part))), encoding="utf-8")
            start += len(part)
        for i, scene in enumerate(scenes):
            Image.fromarray(scene.image).save(path / "images" / _name(i))
        split_of = [split for split, part in splits.items() for _ in part]
        for language in LANGUAGES:
            lines, listed = [], []
            for i, scene in enumerate(scenes):
                told = captions_of(scene, language)
                lines += [f"{_name(i)}#{k}\t{caption.text}\n" for k, caption in enumerate(told)]
                sentences = [{"caption": text, "phrases": [
                    {"phrase": text[s.start:s.end], "type": s.kind, "boxes": [boxes[cell] for cell in s.cells]} for s in spans]}
                    for text, spans in told]
                listed.append({"file": _name(i), "split": split_of[i], "width": GRID * CELL, "height": GRID * CELL,
                               "sentences": sentences})
            (path / f"captions.{language}.txt").write_text("".join(lines), encoding="utf-8")
            (path / f"phrases.{language}.json").write_text(json.dumps(listed, ensure_ascii=False), encoding="utf-8")
