"""The extractor that takes its network from an ONNX file, on small networks written here."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from attnretrieval.inputs.extract import extract_folder
from attnretrieval.inputs.extractors import OnnxExtractor, make_extractor
from attnretrieval.inputs.files import MissingExtra
from tests.messages import refused

needs_onnx = 'needs onnx and onnxruntime: pip install "attnretrieval[onnx]"'
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture
def write(tmp_path):
    """Writes a network of one convolution, 8×8 with stride 8, and whatever nodes follow; returns its path and weights."""
    onnx = pytest.importorskip("onnx", reason=needs_onnx)
    pytest.importorskip("onnxruntime", reason=needs_onnx)

    def write(height=24, width=32, channels=5, more=(), inputs=("image",), name="net.onnx", shape=None):
        make, kind = onnx.helper, onnx.TensorProto.FLOAT
        W = np.random.default_rng(0).standard_normal((channels, 3, 8, 8)).astype(np.float32) / 8
        nodes = [make.make_node("Conv", ["image", "W"], ["map"], kernel_shape=[8, 8], strides=[8, 8]),
                 *(make.make_node(*node) for node in more)]
        shape = ["batch", 3, height, width] if shape is None else shape
        graph = make.make_graph(
            nodes, "network", [make.make_tensor_value_info(i, kind, shape) for i in inputs],
            [make.make_tensor_value_info(nodes[-1].output[0], kind, None)],
            [make.make_tensor("W", kind, W.shape, W.ravel())])
        model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
        path = tmp_path / name
        onnx.save(model, path)
        return path, W
    return write


def test_features_are_those_of_the_network(write):
    path, W = write()
    extractor = make_extractor(f"onnx:{path}")
    assert isinstance(extractor, OnnxExtractor)
    assert (extractor.name, extractor.grid, extractor.d_v, extractor.size) == (f"onnx:{path}", (3, 4), 5, (24, 32))
    image = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    features = extractor(image)
    assert features.shape == (12, 5) and features.dtype == np.float32
    X = (image / 255 - MEAN) / DEVIATION
    for row in range(3):
        for column in range(4):
            window = X[8 * row:8 * row + 8, 8 * column:8 * column + 8]
            expected = np.tensordot(W, window.transpose(2, 0, 1), axes=3)
            np.testing.assert_allclose(features[4 * row + column], expected, rtol=1e-4, atol=1e-5)


def test_a_network_that_takes_any_size(write):
    path, _ = write("height", "width")
    extractor = OnnxExtractor(path)
    assert extractor.size == (224, 224) and extractor.grid == (28, 28)


@pytest.mark.parametrize("processes", [1, 2])
def test_from_a_folder_to_a_store(write, tmp_path, processes):
    path, _ = write()
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for i in range(18):
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    store = extract_folder(folder, tmp_path / "f", f"onnx:{path}", processes=processes, show=False)
    assert store.extractor == f"onnx:{path}" and store.grid == (3, 4) and store.regions.shape == (18, 12, 5)
    expected = OnnxExtractor(path)(np.asarray(Image.open(folder / "07.png")))
    np.testing.assert_allclose(store.regions[7], expected, rtol=1e-3, atol=1e-3)


def test_networks_that_give_no_map(write):
    path, _ = write(more=[("GlobalAveragePool", ["map"], ["mean"]), ("Flatten", ["mean"], ["vector"])])
    refused(lambda: OnnxExtractor(path), path, "features (1, 5)", "before its pooling")


def test_networks_that_take_something_else(write):
    path, _ = write(channels=3, inputs=("image", "other"), more=[
        ("GlobalAveragePool", ["other"], ["mean"]), ("Add", ["map", "mean"], ["sum"])])
    refused(lambda: OnnxExtractor(path), path, "expected one image (1, 3, height, width)")
    path, _ = write(shape=["batch", 4, 24, 32])
    refused(lambda: OnnxExtractor(path), path, "is not a network that onnxruntime can run on one image")


def test_files_that_hold_no_network(write, tmp_path):
    for content in (b"", b"no network", write()[0].read_bytes()[:-400]):
        path = tmp_path / "broken.onnx"
        path.write_bytes(content)
        refused(lambda path=path: OnnxExtractor(path), path)
    refused(lambda: make_extractor(f"onnx:{tmp_path / 'none.onnx'}"), tmp_path / "none.onnx", "does not exist")
    refused(lambda: OnnxExtractor(tmp_path), tmp_path, "is a folder")


def test_without_the_package(tmp_path, monkeypatch):
    (tmp_path / "net.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r'pip install "attnretrieval\[onnx\]"'):
        OnnxExtractor(tmp_path / "net.onnx")


def test_a_name_that_is_no_extractor():
    refused(lambda: make_extractor("resnet"), "'resnet'", "efficientnet-lite0", "patches", "onnx:FILE")
