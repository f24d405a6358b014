"""Phrases: found in the caption in spite of order, case and punctuation; one clear line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from attnretrieval.inputs.captions import Captions, load_captions, read_names
from attnretrieval.inputs.files import InputError
from attnretrieval.inputs.phrases import load_phrases
from attnretrieval.inputs.words import Vocabulary, phrase_positions

BOX, OTHER = [0.1, 0.2, 0.5, 0.75], [0.0, 0.0, 1.0, 1.0]


def phrase(text, *boxes, kind="animals"):
    return {"phrase": text, "type": kind, "boxes": list(boxes or (BOX,))}


def captions(*texts, names=("a.jpg",), image_of=None):
    return Captions(list(names), list(texts), np.array(image_of or [0] * len(texts)))


def load(tmp_path, data, of):
    path = tmp_path / "phrases.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return load_phrases(path, of)


def one(*sentences, file="a.jpg"):
    return {"file": file, "split": "val", "sentences": [{"caption": c, "phrases": list(p)} for c, p in sentences]}


def test_sentences_match_in_spite_of_order_case_and_punctuation(tmp_path):
    data = [one(("Snow falls .", [phrase("Snow", kind="scene")])),
            one(("Two dogs run in the snow .", [phrase("Two dogs", BOX, OTHER), phrase("the snow")]),
                ("A cat", [phrase("A cat")]), file="b.jpg"),
            one(("A cat", [phrase("A cat", OTHER)]), file="c.jpg")]
    of = captions("a  CAT!", "two dogs, run in the Snow", "snow falls", "nobody described this",
                  names=("b.jpg", "a.jpg"), image_of=[0, 0, 1, 0])
    found = load(tmp_path, data, of)
    assert [[p.text for p in row] for row in found.of] == [["a  CAT"], ["two dogs", "the Snow"], ["snow"], []]
    assert all(of.texts[i][p.start:p.end] == p.text for i, row in enumerate(found.of) for p in row)
    assert found.of[1][0].boxes.tolist() == np.float32([BOX, OTHER]).tolist()
    assert found.of[0][0].boxes.dtype == np.float32 and found.of[2][0].type == "scene"
    assert (found.captions_without, found.phrases_without) == (1, 0)
    assert found.summary().startswith("4 phrases in 3 of 4 captions; 1 captions without")


def test_a_repeated_phrase_is_the_next_one(tmp_path):
    text = "a dog chases a dog past a house"
    data = [one((text, [phrase("a dog", BOX), phrase("a dog", OTHER), phrase("a house"), phrase("chases")]))]
    row = load(tmp_path, data, captions(text)).of[0]
    assert [(p.start, p.end) for p in row] == [(0, 5), (13, 18), (24, 31), (6, 12)]


def test_a_phrase_is_whole_words(tmp_path):
    data = [one(("the catfish and the cat", [phrase("the cat"), phrase("a bird"), phrase("...")]))]
    found = load(tmp_path, data, captions("the catfish and the cat"))
    assert [(p.start, p.end) for p in found.of[0]] == [(16, 23)] and found.phrases_without == 2


def test_phrases_lead_to_words(tmp_path):
    text = "A man's red hat , in Snow"
    row = load(tmp_path, [one((text, [phrase("A man's red hat"), phrase("Snow")]))], captions(text)).of[0]
    vocabulary = Vocabulary.build([text])
    spans, tokens = vocabulary.spans(text), vocabulary.tokens_of(text)
    words = [[tokens[i] for i in phrase_positions(spans, p.start, p.end)] for p in row]
    assert words == [["a", "man", "'s", "red", "hat"], ["snow"]]


@pytest.mark.parametrize(("data", "parts"), [
    ("[\n{", [":2:", "JSON"]),
    ({"a": 1}, ["JSON dict", "expected a list"]),
    ([{"sentences": []}], ["[0]", "'file'"]),
    ([one(("a dog", [{"phrase": "a dog", "type": "x"}]))], ["[0].sentences[0].phrases[0]", "'boxes'"]),
    ([one(("a dog", [phrase("a dog", [0, 0, 1])]))], ["'a dog' is not a list of"]),
    ([one(("a dog", [phrase("a dog", [0, 0, 1, 1], [0, 0, 1])]))], ["'a dog' is not a list of"]),
    ([one(("a dog", [phrase("a dog", [0, 0, 1, "x"])]))], ["'a dog' is not a list of"]),
    ([one(("a dog", [phrase("a dog", [0, 0, 320, 200])]))], ["fractions"]),
    ([one(("a dog", [phrase("a dog", [0.5, 0, 0.4, 1])]))], ["x0 < x1"]),
    ([one(("a dog", [phrase("a dog", [0, float("nan"), 1, 1])]))], ["fractions"]),
    ([one(("a cat", [phrase("a cat")]))], ["no sentence of the 1 captions"]),
])
def test_mistakes_are_one_line(tmp_path, data, parts):
    with pytest.raises(InputError) as error:
        load(tmp_path, data, captions("a dog"))
    message = str(error.value)
    assert "\n" not in message
    for part in [str(tmp_path / "phrases.json"), *parts]:
        assert part in message


def test_flickr8k():
    folder = Path(__file__).parents[3] / "shared" / "flickr8k"
    if not folder.is_dir():
        pytest.skip("Flickr8k is not beside the repository (../shared/flickr8k)")
    of = load_captions(folder / "captions.en.txt").subset(read_names(folder / "val.txt"))
    found = load_phrases(folder / "phrases.json", of)
    assert len(of) == 5000 and found.captions_without < 0.03 * len(of) and found.phrases_without == 0
    vocabulary = Vocabulary.build(of.texts)
    for text, row in zip(of.texts, found.of, strict=True):
        spans = vocabulary.spans(text) if row else []
        assert all(len(phrase_positions(spans, p.start, p.end)) for p in row)
