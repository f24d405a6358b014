"""A data set from every layout of captions and features, in the right pairs, or one clear line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from attnretrieval.inputs.dataset import load_dataset
from attnretrieval.inputs.files import InputError
from attnretrieval.inputs.regions import grid_boxes, write_manifest
from tests.messages import refused

STORED = ["a.jpg", "b.jpg", "c.jpg", "unused.jpg"]             # images in the store, in its order
CAPTIONS = {"c.jpg": ["c one", "c two"], "a.jpg": ["a one"], "b.jpg": ["b one", "b two"]}      # in the order of the file
SPLITS = {"c.jpg": "train", "a.jpg": "val", "b.jpg": "restval"}
ROWS = [(name, k, text) for name, texts in CAPTIONS.items() for k, text in enumerate(texts)]
IDS = {name: 100 - i for i, name in enumerate(CAPTIONS)}
LAYOUTS = {
    "flickr8k": "".join(f"{name}#{k}\t{text}\n" for name, k, text in ROWS),
    "csv": "image,caption\n" + "".join(f"{name},{text}\n" for name, _, text in ROWS),
    "karpathy": json.dumps({"images": [{"filename": name, "split": SPLITS[name], "sentences": [{"raw": text} for text in texts]}
                                       for name, texts in CAPTIONS.items()]}),
    "coco": json.dumps({"images": [{"id": i, "file_name": name} for name, i in IDS.items()],
                        "annotations": [{"image_id": IDS[name], "caption": text} for name, _, text in ROWS]}),
}


@pytest.fixture
def store(tmp_path):
    """A store in which every feature of image i is i."""
    return make_store(tmp_path / "features", np.arange(4))


def make_store(folder, values):
    folder.mkdir(exist_ok=True)
    np.save(folder / "features.npy", np.broadcast_to(np.asarray(values, np.float16)[:, None, None], (4, 6, 5)).copy())
    write_manifest(folder, STORED, np.full((4, 2), 100), grid_boxes(2, 3), (2, 3), "patches")
    return folder


@pytest.fixture
def captions(tmp_path):
    def write(layout="flickr8k", text=None):
        path = tmp_path / f"captions.{layout}"
        path.write_text(LAYOUTS[layout] if text is None else text, encoding="utf-8")
        return path
    return write


def check(data, names):
    """These images, in this order, each with its own captions and its own features."""
    assert data.captions.image_names == names
    assert data.captions.texts == [text for name in names for text in CAPTIONS[name]]
    assert [names[i] for i in data.captions.image_of] == [name for name in names for _ in CAPTIONS[name]]
    assert data.regions.shape == (len(names), 6, 5)
    assert [set(X.ravel()) for X in data.regions] == [{STORED.index(name)} for name in names]
    assert data.extractor == "patches" and data.grid == (2, 3) and np.array_equal(data.boxes, grid_boxes(2, 3))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(store, captions, layout):
    check(load_dataset(store, captions(layout)), list(CAPTIONS))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_split_by_a_file_of_names(store, captions, tmp_path, layout):
    (tmp_path / "val.txt").write_text("b.jpg\r\nc.jpg\n\n")
    check(load_dataset(store, captions(layout), str(tmp_path / "val.txt")), ["b.jpg", "c.jpg"])


def test_a_split_by_its_karpathy_name(store, captions):
    check(load_dataset(store, captions("karpathy"), "train"), ["c.jpg", "b.jpg"])
    check(load_dataset(store, captions("karpathy"), "val"), ["a.jpg"])


def test_a_folder_named_like_the_split_is_no_file(store, captions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "val").mkdir()
    check(load_dataset(store, captions("karpathy"), "val"), ["a.jpg"])


def test_splits_that_do_not_exist(store, captions):
    path = captions("karpathy")
    refused(lambda: load_dataset(store, path, "test"), "the split test is no file of image names", path, "train, val")
    path = captions("csv")
    refused(lambda: load_dataset(store, path, "vl.txt"), "the split vl.txt is no file of image names", path)


def test_a_fault_of_the_captions_is_not_put_on_the_split(store, captions, tmp_path):
    for split in (None, "val"):
        with pytest.raises(InputError) as error:
            load_dataset(store, tmp_path / "none.json", split)
        assert str(error.value) == f"the captions file {tmp_path / 'none.json'} does not exist"
        path = captions("flickr8k", "a.jpg#0\tfine\nno tab here\n")
        with pytest.raises(InputError) as error:
            load_dataset(store, path, split)
        assert str(error.value).startswith(f"{path}:2: ")


def test_missing_captions_and_missing_features(store, captions, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("a.jpg\nunused.jpg\n")
    refused(lambda: load_dataset(store, captions(), names), "1 of 2 images have no captions", "unused.jpg")
    path = captions("flickr8k", LAYOUTS["flickr8k"] + "new.jpg#0\tnobody extracted it\n")
    refused(lambda: load_dataset(store, path), "1 of 4 images have no features", store, "new.jpg")
    names.write_text("a.jpg\n")
    check(load_dataset(store, path, names), ["a.jpg"])                  # what is not asked for may be missing


def test_nan_is_refused_where_it_is_asked_for(store, captions, tmp_path):
    make_store(store, [0, np.nan, 2, 3])
    refused(lambda: load_dataset(store, captions()), "b.jpg", "NaN or infinity", store)
    check(load_dataset(store, captions("karpathy"), "val"), ["a.jpg"])


def test_folders_that_hold_no_features(store, captions, tmp_path):
    for path in (None, captions()):
        refused(lambda path=path: load_dataset(tmp_path / "none", path), tmp_path / "none", "does not exist")
        refused(lambda path=path: load_dataset(captions(), path), "is a file, expected a folder")
    refused(lambda: load_dataset(tmp_path, captions()), tmp_path, "no manifest.json")
    refused(lambda: load_dataset(store), store, "SPLIT_ims.npy", "--captions")
    refused(lambda: load_dataset(store, split="test"), store, "test_ims.npy", "--captions")


def test_the_precomputed_layout(tmp_path):
    features = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    np.save(tmp_path / "dev_ims.npy", features)
    (tmp_path / "dev_caps.txt").write_text("".join(f"caption {i}\n" for i in range(10)))
    data = load_dataset(tmp_path, split="dev")
    assert data.captions.image_names == ["dev_0", "dev_1"] and data.captions.image_of.tolist() == [0] * 5 + [1] * 5
    assert np.array_equal(data.regions, features)
    assert data.extractor == "precomputed" and data.grid == (1, 3) and data.boxes is None
    features[1, 2, 3] = np.inf
    np.save(tmp_path / "dev_ims.npy", features)
    refused(lambda: load_dataset(tmp_path, split="dev"), "dev_1", "NaN or infinity")
