"""Train, search and explain on pictures that it makes itself: coloured objects, captions in English and Chinese."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attnretrieval.build import build_retriever, make_validate, training_data
from attnretrieval.figures import retrieval_sheet, save, training_curves, word_region_maps
from attnretrieval.inputs.captions import Captions
from attnretrieval.inputs.dataset import Dataset
from attnretrieval.inputs.extractors import PatchExtractor
from attnretrieval.inputs.files import InputError, make_parents
from attnretrieval.inputs.regions import grid_boxes
from attnretrieval.inputs.scenes import RUNNING_EXAMPLE, Scene, Span, make_scenes, scene_captions
from attnretrieval.inputs.words import phrase_positions
from attnretrieval.model import Encoded
from attnretrieval.recipe import read_recipe
from attnretrieval.retrieval.search import evaluate
from attnretrieval.retriever import Retriever
from attnretrieval.training.loop import train
from attnretrieval.verbs.common import PhraseTokens, point, print_recalls, seed, write_json
from attnretrieval.verbs.explain import words_of

EXAMPLE = "example:  attnretrieval demo --out demo/"
COUNTS = {"train": 4000, "val": 100, "test": 200}     # scenes; no combination is in two of them
SEED = 0
OBJECTS = ("object", "colour")                          # kinds of words that point at one object


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--out", default="demo", metavar="DIR", help="where the pictures go [%(default)s]")
    parser.add_argument("--seed", type=seed, default=SEED)


class SceneData(NamedTuple):
    scenes: list[Scene]
    data: Dataset
    spans: list[list[Span]]         # of every caption, the words whose regions are known


def run(arguments: Namespace) -> int:
    started = time.perf_counter()
    out = Path(arguments.out)
    if out.is_file():
        raise InputError(f"{out} is a file, expected a folder or a new name")
    make_parents(out / "model.npz")
    rng = np.random.default_rng(arguments.seed)
    parts = {split: make_part(split, count, rng) for split, count in COUNTS.items()}
    print(f"made {', '.join(f'{count} scenes to {split}' for split, count in COUNTS.items())}; captions in English and Chinese")

    recipe = read_recipe(resources.files("attnretrieval.verbs").joinpath("demo.toml"))
    retriever = build_retriever(recipe, parts["train"].data)
    rows = train(retriever.model, training_data(retriever, parts["train"].data), recipe.training,
                 make_validate(retriever, parts["val"].data))
    retriever.save(out / "model.npz")

    scenes, test, spans = parts["test"]
    texts, images = retriever.encode_captions(test.captions.texts), retriever.encode_regions(test.regions)
    summary: dict = {}
    for mode in ("index", "rerank"):
        found = evaluate(retriever.model, texts, images, test.captions.image_of, mode)
        print_recalls(found)
        summary[mode] = found.to_json()
    summary["text_to_image_r1"] = found.t2i.r1 / 100
    words = words_to_point(retriever, test.captions, spans)
    pointed = point(retriever, texts, images, test.captions.image_of, words, test.boxes)
    summary |= {"pointing_accuracy": pointed.accuracy, "pointing": pointed.to_json()}
    print(f"{pointed.phrases} words for an object or its colour look at the right one of 16 cells: "
          f"{100 * pointed.accuracy:.1f} % (a random cell {100 * pointed.random:.1f} %, "
          f"the four in the middle {100 * pointed.centre:.1f} %)")
    written = [save_curves(rows, out), *explain_examples(retriever, scenes, images, summary, out)]
    summary["seconds"] = round(time.perf_counter() - started, 1)
    write_json(out / "summary.json", summary)
    print("\n".join(map(str, [*written, out / "model.npz", out / "summary.json"])))
    print(f"{summary['seconds']} seconds")
    return 0


def make_part(split: str, count: int, rng: np.random.Generator) -> SceneData:
    """Scenes as a data set: their cells are the regions, their captions those of both languages."""
    scenes = make_scenes(split, count, rng)
    (en, spans_en), (zh, spans_zh) = (scene_captions(scenes, language) for language in ("en", "zh"))
    captions = Captions(en.image_names, en.texts + zh.texts, np.concatenate([en.image_of, zh.image_of]))
    patches = PatchExtractor()
    regions = np.stack([patches(scene.image) for scene in scenes])
    data = Dataset(captions, regions, patches.name, patches.grid, grid_boxes(*patches.grid))
    return SceneData(scenes, data, spans_en + spans_zh)


def words_to_point(retriever: Retriever, captions: Captions, spans: list[list[Span]]) -> PhraseTokens:
    """For each caption its object and colour words as (token numbers, boxes of their cells, kind)."""
    boxes = grid_boxes(*retriever.grid)
    listed = []
    for text, marked in zip(captions.texts, spans, strict=True):
        tokens = retriever.vocabulary.spans(text)
        listed.append([(phrase_positions(tokens, s.start, s.end), boxes[list(s.cells)], s.kind)
                       for s in marked if s.kind in OBJECTS])
    return listed


def save_curves(rows: list[dict], out: Path) -> Path:
    save(training_curves(rows), out / "curves.png")
    return out / "curves.png"


def explain_examples(retriever: Retriever, scenes: list[Scene], images: Encoded, summary: dict, out: Path) -> list[Path]:
    """Search for the running example in both languages; draw what was found and where its words look."""
    written = []
    for language, sentence in RUNNING_EXAMPLE.items():
        text = retriever.encode_captions([sentence], strict=True)
        scores = retriever.model.score_matrix(text, images)[0]
        order = np.argsort(-scores, kind="stable")[:6]
        right = [sentence in {c for c in scene_captions([scenes[i]], language)[0].texts} for i in order]
        summary[f"example_{language}"] = {"query": sentence, "first_is_right": right[0], "scores": scores[order].tolist()}
        print(f"{sentence}: {'found first' if right[0] else 'NOT found first'}")
        save(retrieval_sheet(sentence, [(scenes[i].image, float(scores[i]), r) for i, r in zip(order, right, strict=True)]),
             out / f"search_{language}.png")
        best = int(order[0])
        attention = retriever.model.attention(text, images.take(slice(best, best + 1)))
        save(word_region_maps(scenes[best].image, words_of(retriever, sentence), attention.A_t2v, attention.A_v2t,
                              grid_boxes(*retriever.grid)), out / f"attention_{language}.png")
        written += [out / f"search_{language}.png", out / f"attention_{language}.png"]
    return written
