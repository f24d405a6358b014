"""Scenes: what the captions say is in the picture, where the spans say it is, and in no other picture."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from attnretrieval.inputs.captions import load_captions, read_names
from attnretrieval.inputs.extract import extract_folder
from attnretrieval.inputs.extractors import PatchExtractor
from attnretrieval.inputs.files import InputError
from attnretrieval.inputs.phrases import load_phrases
from attnretrieval.inputs.regions import grid_boxes
from attnretrieval.inputs.scene_drawing import COLOURS, SHAPES, sprite
from attnretrieval.inputs.scenes import (
    EXAMPLE_MEANING,
    LANGUAGES,
    NOISE,
    RUNNING_EXAMPLE,
    Meaning,
    Scene,
    captions_of,
    draw_scene,
    make_scenes,
    meanings,
    scene_captions,
    write_folder,
)

SPLITS = ("train", "val", "test")
BACKGROUND = np.array([244, 242, 236])
NOUNS = {"一只": ["猫", "狗", "鸟"], "一条": ["鱼"], "一个": ["球"], "一辆": ["汽车"], "一颗": ["星星"], "一棵": ["树"],
         "一座": ["房子"]}
SHAPE_OF = {"猫": "cat", "狗": "dog", "鸟": "bird", "鱼": "fish", "球": "ball", "汽车": "car", "星星": "star", "树": "tree",
            "房子": "house"}
COLOUR_OF = {"黑": "black", "红": "red", "蓝": "blue", "黄": "yellow", "绿": "green", "紫": "purple", "橙": "orange"}


@pytest.fixture(scope="module")
def gallery() -> list[Scene]:
    return make_scenes("test", 300, np.random.default_rng(0))


def read(text: str) -> tuple[tuple[str, str], str, tuple[str, str]]:
    """What a caption claims: (colour, shape), relation, (colour, shape). It knows nothing of the grammar that wrote it."""
    if text.isascii():
        found = re.fullmatch(r"an? (\w+) (\w+) is (chasing|chased by|left of|right of|above|below) an? (\w+) (\w+)", text)
        return found.group(1, 2), found[3], found.group(4, 5)
    objects = [(COLOUR_OF[c], SHAPE_OF[s]) for c, s in re.findall(f"(.)色的({'|'.join(SHAPE_OF)})", text)]
    relation = {"追着": "chased by", "在追": "chasing", "左边": "left of", "右边": "right of", "上面": "above", "下面": "below"}
    return objects[0], next(word for sign, word in relation.items() if sign in text), objects[1]


def is_true(text: str, scene: Scene) -> bool:
    """Whether the picture shows it, by where the objects are and not by the relation that the scene was made for."""
    subject, relation, other = read(text)
    m = scene.meaning
    drawn = [(m.colour, m.shape), (m.other_colour, m.other_shape)]
    if sorted([subject, other]) != sorted(drawn):
        return False
    (row, column), (other_row, other_column) = (divmod(scene.cells[drawn.index(o)], 4) for o in (subject, other))
    chasing = has_speed_lines(scene, scene.cells[drawn.index(subject)])
    chased = has_speed_lines(scene, scene.cells[drawn.index(other)])
    return {"left of": row == other_row and column < other_column, "right of": row == other_row and column > other_column,
            "above": column == other_column and row < other_row, "below": column == other_column and row > other_row,
            "chasing": chasing and column + 1 == other_column, "chased by": chased and column == other_column + 1}[relation]


def cell_of(scene: Scene, cell: int) -> np.ndarray:
    row, column = divmod(cell, 4)
    return scene.image[16 * row:16 * row + 16, 16 * column:16 * column + 16].astype(int)


def has_speed_lines(scene: Scene, cell: int) -> bool:
    """Whether the leftmost column that is drawn on holds three grey dashes and nothing else."""
    pixels = cell_of(scene, cell)
    drawn = np.abs(pixels - BACKGROUND).max(axis=-1) > 20
    column = pixels[:, drawn.any(axis=0).argmax()]
    inked = np.abs(column - BACKGROUND).max(axis=-1) > 20
    dashes = (np.diff(inked.astype(int), prepend=0) == 1).sum()
    return dashes == 3 and bool((np.ptp(column[inked], axis=-1) < 25).all())


def test_splits_share_no_meaning_and_train_knows_every_word():
    parts = {split: set(meanings(split)) for split in SPLITS}
    assert len(parts["train"]) >= 2000 and len(parts["test"]) >= 300
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == sum(len(meanings(s)) for s in SPLITS)
    assert EXAMPLE_MEANING in parts["test"]
    words = {(place, m[place]) for m in parts["train"] for place in range(5)}
    assert {(place, m[place]) for split in ("val", "test") for m in parts[split] for place in range(5)} <= words
    assert {m.shape for m in parts["train"]} == set(SHAPES) and {m.colour for m in parts["train"]} == set(COLOURS)


def test_a_seed_gives_one_set_of_scenes():
    one, same, other = (make_scenes("train", 30, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert [s.meaning for s in one] == [s.meaning for s in same] != [s.meaning for s in other]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, same, strict=True))


def test_the_running_example_leads_the_test_scenes():
    scene = make_scenes("test", 1, np.random.default_rng(0))[0]
    assert scene.meaning == EXAMPLE_MEANING
    for language, text in RUNNING_EXAMPLE.items():
        assert captions_of(scene, language)[0].text == text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_caption_is_true_of_its_scene_and_of_no_other(gallery, language):
    for scene in gallery:
        for caption in captions_of(scene, language):
            assert [s.meaning for s in gallery if is_true(caption.text, s)] == [scene.meaning], caption.text


@pytest.mark.parametrize("split", SPLITS)
def test_no_caption_fits_two_pictures_of_a_split(split):
    """Also not "left of" to a chase, in which the chaser is left too."""
    every = set(meanings(split))
    assert not [m for m in every if m.relation == "chase" and m._replace(relation="left") in every]
    scenes = [draw_scene(m, np.random.default_rng(0)) for m in every]
    for language in LANGUAGES:
        texts = scene_captions(scenes, language)[0].texts
        assert len(set(texts)) == len(texts) == 2 * len(every)


def test_each_object_lies_in_its_cell_and_nothing_else_anywhere(gallery):
    for scene in gallery:
        assert scene.image.shape == (64, 64, 3) and scene.image.dtype == np.uint8
        for cell in range(16):
            far = np.abs(cell_of(scene, cell) - BACKGROUND).max(axis=-1) > 25    # eight deviations of the noise
            assert far.any() == (cell in scene.cells)
        m = scene.meaning
        for cell, colour in zip(scene.cells, (m.colour, m.other_colour), strict=True):
            pixels = cell_of(scene, cell).reshape(-1, 3)
            counts = {name: (np.abs(pixels - rgb).max(axis=1) < 12).sum() for name, rgb in COLOURS.items()}
            assert max(counts, key=counts.get) == colour and counts[colour] >= 10


def test_every_object_can_be_told_from_every_other():
    drawn = {(shape, colour): sprite(shape, colour) for shape in SHAPES for colour in COLOURS}
    flat = np.stack([(s[..., :3] - BACKGROUND) * s[..., 3:] for s in drawn.values()]).reshape(len(drawn), -1)
    distance = np.abs(flat[:, None] - flat[None]).mean(axis=-1) + 255 * np.eye(len(flat))
    assert distance.min() > 2 * NOISE


@pytest.mark.parametrize("shape", SHAPES)
def test_who_runs_looks_the_same_with_speed_lines_behind(shape):
    still, running = sprite(shape, "blue"), sprite(shape, "blue", running=True)
    assert still.shape == (14, 14, 4) and running.shape == (14, 16, 4)
    np.testing.assert_array_equal(running[:, 2:], still)
    lines = running[:, 0, 3] > 0.5
    assert (np.diff(lines.astype(int), prepend=0) == 1).sum() == 3
    assert (np.ptp(running[lines, 0, :3], axis=-1) < 25).all()


@pytest.mark.parametrize("language", LANGUAGES)
def test_spans_mark_every_word_that_the_picture_shows(gallery, language):
    for scene in gallery:
        m = scene.meaning
        cells = {(m.colour, m.shape): scene.cells[0], (m.other_colour, m.other_shape): scene.cells[1]}
        for text, spans in captions_of(scene, language):
            assert all(0 <= a.end <= b.start and b.end <= len(text) for a, b in zip(spans, spans[1:], strict=False))
            words = [(text[s.start:s.end], s.kind, s.cells) for s in spans]
            colours, things, relations = ([w for w in words if w[1] == kind] for kind in ("colour", "object", "relation"))
            assert len(words) == 5
            (relation, _, both), = relations
            assert both == scene.cells
            assert relation in {"chasing", "chased", "left", "right", "above", "below", *"追 追着 左边 右边 上面 下面".split()}
            subject, _, other = read(text)
            for said, (colour, _, colour_at), (thing, _, thing_at) in zip((subject, other), colours, things, strict=True):
                assert (COLOUR_OF.get(colour[0], colour), SHAPE_OF.get(thing, thing)) == said
                assert colour_at == thing_at == (cells[said],)


def test_articles_and_measure_words(gallery):
    for scene in gallery:
        for text, _ in captions_of(scene, "en"):
            assert all((article == "an") == (word[0] in "aeiou") for article, word in re.findall(r"\b(an?) (\w+)", text))
        for text, _ in captions_of(scene, "zh"):
            counted = re.findall(f"(一.).色的({'|'.join(SHAPE_OF)})", text)
            assert counted and all(noun in NOUNS[measure] for measure, noun in counted)


def test_two_objects_of_one_shape_keep_their_own_cells():
    scene = draw_scene(Meaning("dog", "red", "chase", "dog", "blue"), np.random.default_rng(0))
    for language, red in (("en", "red"), ("zh", "红色")):
        for text, spans in captions_of(scene, language):
            of_red = [s for s in spans if text[s.start:s.end] == red]
            assert [s.cells for s in of_red] == [(scene.cells[0],)]


def test_a_folder_reads_back(tmp_path):
    rng = np.random.default_rng(0)
    parts = {"train": make_scenes("train", 5, rng), "test": make_scenes("test", 3, rng)}
    scenes = parts["train"] + parts["test"]
    folder = tmp_path / "scenes"
    write_folder(parts, folder)
    names = read_names(folder / "train.txt") + read_names(folder / "test.txt")
    assert len(set(names)) == 8
    for name, scene in zip(names, scenes, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "images" / name)), scene.image)
    store = extract_folder(folder / "images", tmp_path / "features", "patches", names, processes=1, show=False)
    np.testing.assert_allclose(store.take(names), np.stack([PatchExtractor()(s.image) for s in scenes]), atol=1e-3)
    boxes = grid_boxes(4, 4)
    for language in LANGUAGES:
        written, (made, spans_of) = load_captions(folder / f"captions.{language}.txt"), scene_captions(scenes, language)
        assert (written.image_names, written.texts) == (names, made.texts)
        np.testing.assert_array_equal(written.image_of, made.image_of)
        entries = json.loads((folder / f"phrases.{language}.json").read_text(encoding="utf-8"))
        assert [(e["file"], e["split"], e["width"], e["height"]) for e in entries] == [
            (name, "train" if i < 5 else "test", 64, 64) for i, name in enumerate(names)]
        sentences = [s for e in entries for s in e["sentences"]]
        assert [s["caption"] for s in sentences] == made.texts
        for text, sentence, spans in zip(made.texts, sentences, spans_of, strict=True):
            assert [(p["phrase"], p["type"]) for p in sentence["phrases"]] == [(text[s.start:s.end], s.kind) for s in spans]
            for p, s in zip(sentence["phrases"], spans, strict=True):
                np.testing.assert_array_equal(np.float32(p["boxes"]), boxes[list(s.cells)])


def test_the_phrases_of_a_folder_find_their_words(tmp_path):
    scenes = make_scenes("test", 20, np.random.default_rng(0))
    write_folder({"test": scenes}, tmp_path / "scenes")
    captions = load_captions(tmp_path / "scenes" / "captions.en.txt")
    found = load_phrases(tmp_path / "scenes" / "phrases.en.json", captions)
    assert (found.captions_without, found.phrases_without) == (0, 0)
    for phrases, spans in zip(found.of, scene_captions(scenes, "en")[1], strict=True):
        assert [(p.start, p.end) for p in phrases] == [(s.start, s.end) for s in spans]


def test_mistakes_are_named():
    rng = np.random.default_rng(0)
    for count in (0, 10**6):
        with pytest.raises(InputError, match=f"{count} scenes of split 'val'"):
            make_scenes("val", count, rng)
    with pytest.raises(ValueError, match="split='dev' is not one of train, val, test"):
        make_scenes("dev", 1, rng)
    with pytest.raises(ValueError, match="language='de' is not one of en, zh"):
        captions_of(make_scenes("val", 1, rng)[0], "de")
