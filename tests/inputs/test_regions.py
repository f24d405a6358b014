"""The store of region features and the projection that makes them smaller."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from attnretrieval.inputs.regions import RegionProjection, grid_boxes, open_regions, write_manifest
from attnretrieval.shapes import ShapeError
from tests.messages import refused

NAMES = ["b.jpg", "猫.jpg", "a b.png"]


def make_store(folder, names=NAMES, grid=(2, 3), d_v=5, features=None):
    folder.mkdir()
    if features is None:
        features = np.random.default_rng(0).standard_normal((len(names), grid[0] * grid[1], d_v)).astype(np.float16)
    np.save(folder / "features.npy", features)
    write_manifest(folder, names, np.arange(2 * len(names)).reshape(-1, 2) + 100, grid_boxes(*grid), grid, "patches")
    return features


def test_round_trip(tmp_path):
    features = make_store(tmp_path / "f")
    store = open_regions(str(tmp_path / "f"))
    assert store.names == NAMES and store.grid == (2, 3) and store.extractor == "patches"
    assert store.regions.dtype == np.float16 and np.array_equal(store.regions, features)
    assert store.sizes.tolist() == [[100, 101], [102, 103], [104, 105]]
    assert np.array_equal(store.boxes, grid_boxes(2, 3)) and store.boxes.dtype == np.float32
    taken = store.take(["a b.png", "b.jpg", "a b.png"])
    assert taken.dtype == np.float32 and np.array_equal(taken, features[[2, 0, 2]].astype(np.float32))
    assert store.take(["b.jpg"], "float16").dtype == np.float16 and store.take([]).shape == (0, 6, 5)


def test_take_over_several_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("attnretrieval.inputs.regions.BLOCK", 4)
    names = [f"{i}.jpg" for i in range(11)]
    features = make_store(tmp_path / "f", names)
    order = np.random.default_rng(1).permutation(11)
    assert np.array_equal(open_regions(tmp_path / "f").take([names[i] for i in order], "float16"), features[order])


def test_a_name_that_is_no_unicode(tmp_path):
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")         # as a file system may give it
    make_store(tmp_path / "f", [name])
    assert open_regions(tmp_path / "f").names == [name]


def test_opening_takes_milliseconds(tmp_path):
    (tmp_path / "f").mkdir()
    np.lib.format.open_memmap(tmp_path / "f" / "features.npy", "w+", np.float16, (8000, 49, 1280))     # 1 GB, sparse
    write_manifest(tmp_path / "f", [f"{i}.jpg" for i in range(8000)], np.ones((8000, 2)), grid_boxes(7, 7), (7, 7), "x")
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        open_regions(tmp_path / "f")
        best = min(best, time.perf_counter() - start)
    assert best < 0.1


def test_store_is_read_only(tmp_path):
    make_store(tmp_path / "f")
    with pytest.raises(ValueError, match="read-only"):
        open_regions(tmp_path / "f").regions[0] = 0


def test_missing_names(tmp_path):
    make_store(tmp_path / "f")
    store = open_regions(tmp_path / "f")
    refused(lambda: store.take(["b.jpg", "c.jpg", "d.jpg"]), "2 of 3 images have no features", tmp_path / "f", "first is c.jpg")
    assert store.rows(["a b.png", "b.jpg"]).tolist() == [2, 0]


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_nan_is_refused_by_name(tmp_path, monkeypatch, spoilt):
    monkeypatch.setattr("attnretrieval.inputs.regions.BLOCK", 2)
    names = [f"{i}.jpg" for i in range(5)]
    features = np.zeros((5, 6, 5), np.float16)
    features[3, 5, 4] = spoilt
    make_store(tmp_path / "f", names, features=features)
    store = open_regions(tmp_path / "f")
    refused(lambda: store.take(names), "3.jpg", "NaN or infinity")
    assert store.take(names[:3]).shape == (3, 6, 5)                     # the others can be used


def test_foreign_and_missing_folders(tmp_path):
    refused(lambda: open_regions(tmp_path / "none"), tmp_path / "none", "does not exist")
    refused(lambda: open_regions(tmp_path), tmp_path, "no manifest.json", "attnretrieval features")
    file = tmp_path / "file"
    file.write_text("")
    refused(lambda: open_regions(file), file, "is a file, expected a folder")
    for content in ('{"format": "other"}', '{"format": "attnretrieval-regions", "version": 2}'):
        (tmp_path / "manifest.json").write_text(content)
        refused(lambda: open_regions(tmp_path), "not a folder of features that this version reads")
    for content in ("", "[]", '"x"', '{"format": "attnretrieval-regions", "version": 1}', "\xff"):
        (tmp_path / "manifest.json").write_text(content, encoding="latin-1")
        refused(lambda: open_regions(tmp_path), tmp_path, "damaged")


def test_damaged_features(tmp_path):
    make_store(tmp_path / "f")
    path = tmp_path / "f" / "features.npy"
    data = path.read_bytes()
    for size in (0, 5, 60, len(data) - 1):
        path.write_bytes(data[:size])
        refused(lambda: open_regions(tmp_path / "f"), tmp_path / "f", "damaged or cut off")
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    (tmp_path / "x.npz").replace(path)
    refused(lambda: open_regions(tmp_path / "f"), "damaged")
    np.save(path, np.array([{}]), allow_pickle=True)
    refused(lambda: open_regions(tmp_path / "f"), "damaged")
    path.unlink()
    refused(lambda: open_regions(tmp_path / "f"), "damaged")


@pytest.mark.parametrize("features", [np.zeros((2, 6, 5), "f2"), np.zeros((3, 5, 5), "f2"), np.zeros((3, 30), "f2"),
                                      np.zeros((3, 6, 5), "i2")])
def test_features_that_do_not_fit_the_manifest(tmp_path, features):
    make_store(tmp_path / "f", features=features)
    refused(lambda: open_regions(tmp_path / "f"), "does not fit together", features.shape, "3 names", "2×3")


@pytest.mark.parametrize(("entry", "value"), [("grid", [6]), ("grid", None), ("boxes", [[0, 0, 1]]), ("boxes", [[0, 0, 1, 1]]),
                                              ("sizes", [[1, 2]]), ("names", None), ("sizes", "x")])
def test_manifests_that_do_not_fit(tmp_path, entry, value):
    make_store(tmp_path / "f")
    manifest = tmp_path / "f" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {entry: value}))
    refused(lambda: open_regions(tmp_path / "f"), tmp_path / "f", "extract it again")


def test_grid_boxes():
    boxes = grid_boxes(2, 3)
    assert boxes.dtype == np.float32 and boxes.shape == (6, 4)
    for row in range(2):
        for column in range(3):
            assert np.allclose(boxes[row * 3 + column], [column / 3, row / 2, (column + 1) / 3, (row + 1) / 2])


def random_regions(rng, images=20, m=6, d_v=8, shift=0.0):
    mixing = rng.standard_normal((d_v, d_v)) * np.geomspace(1, 0.05, d_v)
    return (rng.standard_normal((images, m, d_v)) @ mixing.T + shift).astype(np.float32)


@pytest.mark.parametrize("shift", [0, 3, 1000])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_projection_against_svd(monkeypatch, shift, dtype):
    monkeypatch.setattr("attnretrieval.inputs.regions.BLOCK", 7)         # several blocks, the last one smaller
    regions = random_regions(np.random.default_rng(0), shift=shift).astype(dtype)
    X = regions.reshape(-1, 8).astype(np.float64)
    _, values, rows = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    projection = RegionProjection.fit(regions, 3)
    assert np.allclose(projection.mean, X.mean(axis=0), rtol=1e-6, atol=1e-6)
    scale = np.sqrt(3 / (values[:3] ** 2 / len(X)).sum())
    signs = np.sign((projection.components * rows[:3].T).sum(axis=0))
    assert np.allclose(projection.components, rows[:3].T * signs * scale, atol=2e-4 * scale)
    expected = (X - X.mean(axis=0)) @ (rows[:3].T * signs * scale)
    assert np.allclose(projection.apply(regions).reshape(-1, 3), expected, atol=2e-3)


def test_scale_order_and_sign():
    regions = random_regions(np.random.default_rng(1), images=100)
    for d in (1, 4, 8):
        projection = RegionProjection.fit(regions, d)
        V = projection.apply(regions).reshape(-1, d)
        assert V.dtype == np.float32 and np.allclose(V.mean(axis=0), 0, atol=1e-4)
        assert np.isclose(V.var(axis=0).mean(), 1, rtol=1e-4)
        assert (np.diff(V.var(axis=0)) <= 0).all() and (projection.components.sum(axis=0) >= 0).all()
        square = projection.components.T @ projection.components
        assert np.allclose(square, np.eye(d) * square[0, 0], atol=1e-4 * square[0, 0])        # orthogonal, one scale
    distances = [np.linalg.norm(x[:, None] - x, axis=-1) for x in (V, regions.reshape(-1, 8))]
    assert np.allclose(distances[0], distances[1] * np.sqrt(square[0, 0]), atol=1e-3)           # all components: a rotation


def test_projection_of_another_size_or_of_nothing():
    regions = random_regions(np.random.default_rng(2))
    for d in (0, 9, -1):
        with pytest.raises(ShapeError, match="not between 1 and the 8 features"):
            RegionProjection.fit(regions, d)
    with pytest.raises(ShapeError, match="all regions are the same"):
        RegionProjection.fit(np.full((3, 6, 8), 0.1, np.float32), 2)


def test_projection_arrays_round_trip(tmp_path):
    projection = RegionProjection.fit(random_regions(np.random.default_rng(3)), 4)
    np.savez(tmp_path / "p.npz", **projection.to_arrays())
    with np.load(tmp_path / "p.npz", allow_pickle=False) as arrays:
        again = RegionProjection.from_arrays(dict(arrays))
    assert np.array_equal(again.mean, projection.mean) and np.array_equal(again.components, projection.components)
    with pytest.raises(ShapeError, match="does not fit together"):
        RegionProjection.from_arrays({"mean": projection.mean[:3], "components": projection.components})
