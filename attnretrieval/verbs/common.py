"""What several verbs say or read in the same way."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

import numpy as np

from attnretrieval.backend import DEVICES
from attnretrieval.inputs.captions import Captions
from attnretrieval.inputs.files import InputError, atomic_file
from attnretrieval.inputs.phrases import load_phrases
from attnretrieval.inputs.words import phrase_positions
from attnretrieval.model import Encoded
from attnretrieval.retrieval.metrics import Recalls
from attnretrieval.retrieval.pointing import Pointing, pointing_accuracy
from attnretrieval.retriever import Retriever

PhraseTokens = list[list[tuple[np.ndarray, np.ndarray, str]]]


def seed(text: str) -> int:
    """The type of an argument that starts a random generator."""
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def thread_count(text: str) -> int:
    """The type of --threads."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def add_machine(parser: ArgumentParser) -> None:
    """Where to compute: nothing here changes a result beyond rounding."""
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--threads", type=thread_count, default=1, metavar="T",
                        help="share the items of a batch out over T threads, with one thread in BLAS")


def print_recalls(found: Recalls) -> None:
    """A small table of both directions."""
    print(f"mode {found.mode:<14} R@1    R@5   R@10   median   mean rank")
    for name, way in (("image → text", found.i2t), ("text → image", found.t2i)):
        print(f"  {name}   {way.r1:6.1f} {way.r5:6.1f} {way.r10:6.1f}   {way.medr:6.0f}   {way.meanr:9.1f}")
        if way.ties:
            print(f"    {way.ties} of {way.queries} ranks hang on a tie; R@1 between {way.r1_worst:.1f} and {way.r1_best:.1f}")
    print(f"  rsum {found.rsum:.1f}")


def write_json(path: str | Path, values: Any) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")


def phrase_tokens(retriever: Retriever, phrases_file: str | Path, captions: Captions) -> tuple[PhraseTokens, str]:
    """For each caption its phrases as (token numbers, boxes, type); and one line on how many were found."""
    found = load_phrases(phrases_file, captions)
    listed: PhraseTokens = []
    for text, phrases in zip(captions.texts, found.of, strict=True):
        spans = retriever.vocabulary.spans(text)[:retriever.max_words] if phrases else []
        listed.append([(phrase_positions(spans, p.start, p.end), p.boxes, p.type) for p in phrases])
    return listed, found.summary()


def point(
    retriever: Retriever, texts: Encoded, images: Encoded, image_of: np.ndarray, phrases: PhraseTokens,
    boxes: np.ndarray | None, smooth: int = 1,
) -> Pointing:
    """The pointing game of every caption with its own image."""
    if boxes is None:
        raise InputError("these features keep no boxes of their regions: there is nothing to point at")

    def attention_of(caption: int) -> np.ndarray:
        text, image = texts.take(slice(caption, caption + 1)), images.take(slice(image_of[caption], image_of[caption] + 1))
        return retriever.model.attention(*(retriever.on_device(x) for x in (text, image))).A_t2v
    return pointing_accuracy(attention_of, phrases, boxes, retriever.grid, smooth)
