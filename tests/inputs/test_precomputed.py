"""Features that others computed: the three ways in which they stand beside their captions, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest

from attnretrieval.inputs import precomputed
from attnretrieval.inputs.dataset import load_dataset
from attnretrieval.inputs.precomputed import is_precomputed, load_precomputed
from tests.messages import refused

X = np.random.default_rng(0).standard_normal((3, 4, 6)).astype(np.float32)
TEXTS = [f"caption {i}" for i in range(15)]
LINES = "\n".join(TEXTS) + "\n"


@pytest.fixture
def write(tmp_path):
    def write(features=X, captions=LINES, image_map=None):
        if isinstance(features, bytes):
            (tmp_path / "test_ims.npy").write_bytes(features)
        elif features is not None:
            np.save(tmp_path / "test_ims.npy", features, allow_pickle=True)
        for part, text in (("caps", captions), ("map", image_map)):
            if text is not None:
                (tmp_path / f"test_{part}.txt").write_bytes(text.encode())
        return tmp_path
    return write


def saved(save, array):
    file = io.BytesIO()
    save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("features", [X, X.astype(np.float16), X.astype(np.float64)], ids=lambda x: str(x.dtype))
def test_five_captions_an_image(write, features):
    captions, found = load_precomputed(write(features), "test")
    assert isinstance(found, np.memmap) and found.dtype == features.dtype and np.array_equal(found, features)
    assert captions.image_names == ["test_0", "test_1", "test_2"] and captions.texts == TEXTS
    assert captions.image_of.tolist() == [0] * 5 + [1] * 5 + [2] * 5 and captions.image_of.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0


def test_another_number_of_captions_an_image(write):
    captions, _ = load_precomputed(write(captions="\n".join(TEXTS[:6])), "test")
    assert captions.image_of.tolist() == [0, 0, 1, 1, 2, 2]


def test_one_vector_an_image_is_one_region(write):
    _, found = load_precomputed(write(X[:, 0]), "test")
    assert np.array_equal(found, X[:, :1])


def test_features_that_stand_five_times(write):
    captions, found = load_precomputed(write(X.repeat(5, axis=0)), "test")
    assert isinstance(found, np.memmap) and np.array_equal(found, X)
    assert captions.image_of.tolist() == [0] * 5 + [1] * 5 + [2] * 5


@pytest.mark.parametrize("changed", [3, 12])
def test_as_many_images_as_captions_are_not_mistaken_for_repeats(write, changed):
    features = X.repeat(5, axis=0)
    features[changed] += 1
    captions, found = load_precomputed(write(features), "test")
    assert len(found) == 15 and captions.image_of.tolist() == list(range(15))


def test_a_map(write):
    image_of = np.random.default_rng(1).integers(3, size=15)
    captions, found = load_precomputed(write(image_map="".join(f"{i}\r\n" for i in image_of)), "test")
    assert np.array_equal(captions.image_of, image_of) and len(found) == 3
    given = (image_of + 1) % 3
    for value in (given, given.astype(np.uint8), given.tolist()):       # comes before the file
        assert np.array_equal(load_precomputed(write(), "test", value)[0].image_of, given)


def test_captions_with_a_mark_windows_ends_and_chinese(write):
    captions, _ = load_precomputed(write(captions="\ufeffa dog\r\n 狗 \r\na\u2028b\r\n"), "test")
    assert captions.texts == ["a dog", "狗", "a\u2028b"]                  # as written: one line stays one caption


def test_as_a_data_set(write):
    folder = write()
    assert is_precomputed(folder, "test") and not is_precomputed(folder, "dev") and not is_precomputed(folder, None)
    data = load_dataset(folder, split="test")
    assert data.extractor == "precomputed" and data.grid == (1, 4) and data.boxes is None
    spoilt = X.copy()
    spoilt[1, 2, 3] = np.nan
    refused(lambda: load_dataset(write(spoilt), split="test"), "test_1", "NaN")


DAMAGED = {"nothing": b"", "text": b"0.1 0.2 0.3\n" * 20, "cut": saved(np.save, X)[:-7], "cut header": saved(np.save, X)[:40],
           "archive": saved(np.savez, X), "objects": np.array([{}]), "whole numbers": X.astype(int), "complex": X + 0j,
           "no axis": np.float32(1), "one axis": X[0, 0], "four axes": X[None], "no images": X[:0], "no regions": X[:, :0],
           "no features": X[:, :, :0]}


@pytest.mark.parametrize("features", DAMAGED.values(), ids=DAMAGED)
def test_features_that_are_refused(write, features):
    folder = write(features)
    refused(lambda: load_precomputed(folder, "test"), folder / "test_ims.npy")


def test_captions_that_are_refused(write):
    for text, *parts in (("", "no captions"), ("\n", "test_caps.txt:1", "empty"), ("a\n \nb\n", "test_caps.txt:2", "empty"),
                         ("a\nb\n", "2 captions for the 3 images", "test_map.txt"),
                         ("a\n" * 7, "7 captions for the 3 images", "test_map.txt")):
        refused(lambda text=text: load_precomputed(write(captions=text), "test"), "test_caps.txt", *parts)
    (write() / "test_caps.txt").write_bytes(b"a\n\xff\n")
    refused(lambda: load_precomputed(write(captions=None), "test"), "test_caps.txt:2", "UTF-8")


@pytest.mark.parametrize("entry", ["x", "-1", "1.0", "", "0 1", "²", "9" * 20])
def test_maps_that_are_no_numbers(write, entry):
    refused(lambda: load_precomputed(write(image_map="0\n" * 4 + f"{entry}\n" + "0\n" * 10), "test"), "test_map.txt:5")


def test_maps_that_do_not_fit(write):
    refused(lambda: load_precomputed(write(image_map="0\n1\n"), "test"), "2 numbers for the 15 captions")
    refused(lambda: load_precomputed(write(image_map="0\n" * 14 + "3\n"), "test"), "caption 15", "the image 3", "0 to 2")
    refused(lambda: load_precomputed(write(), "test", np.array([0, -1] + [0] * 13)), "caption 2", "the image -1")
    for wrong in (np.zeros(15), np.zeros((15, 1), int), np.zeros(15, bool)):
        refused(lambda wrong=wrong: load_precomputed(write(), "test", wrong), "expected one whole number a caption")


def test_missing_files(tmp_path, write):
    refused(lambda: load_precomputed(tmp_path, "test"), tmp_path / "test_ims.npy", "does not exist")
    refused(lambda: load_precomputed(write(captions=None), "test"), tmp_path / "test_caps.txt", "does not exist")


def test_the_features_are_not_read_whole(write, monkeypatch):
    """Published ones are tens of gigabytes: only the first and the last rows are looked at."""
    rows = []

    class Watched(np.memmap):
        def __getitem__(self, index):
            rows.append(index)
            return np.asarray(self)[index]
    opened = precomputed.np.lib.format.open_memmap
    monkeypatch.setattr(precomputed.np.lib.format, "open_memmap", lambda *a, **k: opened(*a, **k).view(Watched))
    load_precomputed(write(X.repeat(5, axis=0)), "test")
    assert rows == [slice(None, 5), slice(-5, None), slice(None, None, 5)]
