"""Phrases of captions and the boxes they name: what pointing is measured against.

The file is a JSON list, one entry an image, after Flickr30k Entities:

    {"file": "a.jpg", "sentences": [{"caption": "A dog on snow .",
                                     "phrases": [{"phrase": "A dog", "type": "animals", "boxes": [[x0, y0, x1, y1], ...]}]}]}

Boxes are fractions of the image's width and height, from its upper left corner; further keys (split, width, height) are let
through. A sentence finds its caption by image and words, since the two files list them in different orders and differ in case
and punctuation. A phrase finds its characters in the caption in the order in which the sentence lists its phrases, so that the
second "a dog" means the second dog.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attnretrieval.inputs.captions import Captions, entry, read_json, read_text
from attnretrieval.inputs.files import InputError
from attnretrieval.inputs.words import HAN

_WORD = re.compile(f"[{HAN}]|[^\\W{HAN}]+")     # a run of letters, or one Chinese character
_ROUNDING = 1e-3  # how far outside [0, 1] a fraction may lie, from the rounding of its file


class Phrase(NamedTuple):
    text: str          # as the caption writes it: caption[start:end]
    start: int
    end: int
    boxes: np.ndarray  # (B, 4) float32, fractions [x0, y0, x1, y1]
    type: str


class _Described(NamedTuple):
    """A phrase before it has a place in a caption."""

    text: str
    boxes: np.ndarray
    type: str


_Sentences = dict[tuple[str, ...], list[_Described]]  # the words of a sentence: its phrases


@dataclass(frozen=True)
class CaptionPhrases:
    """`of[i]` are the phrases of caption i; the counts say what did not match."""

    of: list[list[Phrase]]
    captions_without: int  # captions of the images in the file for which it has no sentence
    phrases_without: int   # phrases of matched sentences whose words the caption does not hold

    def summary(self) -> str:
        """One line for the log."""
        placed = sum(map(len, self.of))
        return (f"{placed} phrases in {sum(map(bool, self.of))} of {len(self.of)} captions; {self.captions_without} captions "
                f"without a sentence in the file, {self.phrases_without} phrases not found in their caption")


def load_phrases(path: str | Path, captions: Captions) -> CaptionPhrases:
    """The phrases of each caption. Raises when no caption has a sentence in the file."""
    sentences_of = _read(path, set(captions.image_names))
    of: list[list[Phrase]] = []
    captions_without = phrases_without = matched = 0
    for text, image in zip(captions.texts, captions.image_of, strict=True):
        described = sentences_of.get(captions.image_names[image], {}).get(_key(text))
        phrases = _place(text, described or [])
        of.append(phrases)
        matched += described is not None
        captions_without += described is None
        phrases_without += len(described or []) - len(phrases)
    if not matched:
        raise InputError(f"{path}: holds no sentence of the {len(captions)} captions; "
                         f"do the two files name the same images and speak the same language?")
    return CaptionPhrases(of, captions_without, phrases_without)


def _words(text: str) -> list[re.Match[str]]:
    return list(_WORD.finditer(text))


def _key(text: str) -> tuple[str, ...]:
    return tuple(match.group().lower() for match in _words(text))


def _place(caption: str, described: list[_Described]) -> list[Phrase]:
    """The phrases whose words the caption holds, each looked for behind the one before, and else from the beginning."""
    matches = _words(caption)
    words = _key(caption)
    phrases, behind = [], 0
    for phrase in described:
        wanted = _key(phrase.text)
        starts = [i for i in range(len(words) - len(wanted) + 1) if wanted and words[i:i + len(wanted)] == wanted]
        if not starts:
            continue
        first = next((i for i in starts if i >= behind), starts[0])
        behind = first + len(wanted)
        start, end = matches[first].start(), matches[behind - 1].end()
        phrases.append(Phrase(caption[start:end], start, end, phrase.boxes, phrase.type))
    return phrases


def _read(path: str | Path, images: set[str]) -> dict[str, _Sentences]:
    """For each image among `images`, its sentences. Boxes of other images are not looked at."""
    data = read_json(path, read_text(path, "the file of phrases"))
    if not isinstance(data, list):
        raise InputError(f"{path}: is a JSON {type(data).__name__}, expected a list with one entry an image")
    sentences_of: dict[str, _Sentences] = {}
    for i, image in enumerate(data):
        where = f"{path}: [{i}]"
        name = entry(image, "file", str, where)
        if name not in images:
            continue
        sentences = sentences_of.setdefault(name, {})
        for k, sentence in enumerate(entry(image, "sentences", list, where)):
            at = f"{where}.sentences[{k}]"
            key = _key(entry(sentence, "caption", str, at))
            described = [_described(phrase, f"{at}.phrases[{p}]")
                         for p, phrase in enumerate(entry(sentence, "phrases", list, at))]
            sentences.setdefault(key, described)
    return sentences_of


def _described(phrase: object, where: str) -> _Described:
    text = entry(phrase, "phrase", str, where)
    try:
        boxes = np.array(entry(phrase, "boxes", list, where), dtype=np.float32)
    except (ValueError, TypeError):
        boxes = np.empty(0)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"{where}: 'boxes' of {text!r:.40} is not a list of [x0, y0, x1, y1]")
    x0, y0, x1, y1 = boxes.T
    inside = (boxes >= -_ROUNDING).all() and (boxes <= 1 + _ROUNDING).all()
    if not inside or not (x0 < x1).all() or not (y0 < y1).all():  # NaN fails here too
        raise InputError(f"{where}: a box of {text!r:.40} is not [x0, y0, x1, y1] in fractions of width and height, "
                         f"with x0 < x1 and y0 < y1")
    return _Described(text, boxes, entry(phrase, "type", str, where))
