"""The map of vectors: the components are those of the data, pairs are joined, and the axes say what they leave out."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection

from attnretrieval.figures import embedding_map
from attnretrieval.figures.embedding_map import MOST, components
from attnretrieval.shapes import ShapeError
from tests.figures.look import check_layout, colour_at, pixels, texts


def vectors(count: int, d: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, d)) * np.arange(1, d + 1)


def drawn(figure) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places of texts and of images, and the lines between them."""
    ax = figure.axes[0]
    points = {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections if isinstance(c, PathCollection)}
    (lines,) = (c for c in ax.collections if isinstance(c, LineCollection))
    return points["text"], points["image"], np.array(lines.get_segments())


def test_components_are_those_of_the_covariance():
    g = vectors(20)
    places, shares = components(g)
    X = g / np.linalg.norm(g, axis=1, keepdims=True)
    variances, directions = np.linalg.eigh(np.cov(X.T))
    np.testing.assert_allclose(shares, variances[::-1][:2] / variances.sum())
    np.testing.assert_allclose(np.abs(places), np.abs((X - X.mean(axis=0)) @ directions[:, ::-1][:, :2]), atol=1e-12)


@pytest.mark.parametrize("g", [np.ones((1, 3)), np.ones((4, 1)), np.zeros((3, 2)), np.ones((3, 4))])
def test_data_without_two_components(g):
    places, shares = components(g)
    assert places.shape == (len(g), 2) and np.isfinite(places).all() and (shares < 1e-9).all()
    check_layout(embedding_map(g, g))


def test_length_does_not_count_as_it_does_not_for_the_cosine():
    g_t, g_v = vectors(5), vectors(5, seed=1)
    for a, b in zip(drawn(embedding_map(g_t, g_v)), drawn(embedding_map(3 * g_t, 0.1 * g_v)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_pairs_are_joined():
    g_t, g_v, image_of = vectors(6), vectors(3, seed=1), np.array([2, 0, 0, 1, 1, 2])
    text, image, lines = drawn(embedding_map(g_t, g_v, image_of))
    np.testing.assert_allclose(np.concatenate([text, image]), components(np.concatenate([g_t, g_v]))[0])
    np.testing.assert_allclose(lines, np.stack([text, image[image_of]], axis=1))


def test_the_axes_say_what_they_show():
    g_t, g_v = vectors(9), vectors(9, seed=1)
    figure = embedding_map(g_t, g_v)
    pixels(figure)
    ax = figure.axes[0]
    first, second = 100 * components(np.concatenate([g_t, g_v]))[1]
    assert ax.get_xlabel() == f"component 1 ({first:.0f} % of the variance)"
    assert ax.get_ylabel() == f"component 2 ({second:.0f} %)"
    x, y = ax.transData.transform([[0, 0], [1, 1]])
    assert y[0] - x[0] == pytest.approx(y[1] - x[1])            # a distance is a distance in any direction


def test_texts_and_images_differ_in_shape_and_in_grey():
    g_t, g_v = vectors(4), vectors(4, seed=1)
    figure = embedding_map(g_t, g_v)
    text, image, _ = drawn(figure)
    picture, ax = pixels(figure), figure.axes[0]
    luma = [np.array([colour_at(picture, ax, *place) @ [0.299, 0.587, 0.114] for place in places]) for places in (text, image)]
    assert (luma[1] - luma[0]).min() > 40
    assert {tuple(c.get_paths()[0].vertices.shape) for c in ax.collections if isinstance(c, PathCollection)} != 1


@pytest.mark.parametrize("count", [1, 16, MOST, MOST + 10])
def test_labels_are_listed_under_their_numbers(count):
    labels = [f"caption ${i}$ " + "with words " * (i % 5) for i in range(count)]
    figure = embedding_map(vectors(count, seed=2), vectors(count, seed=3), labels=labels, title="Run 7")
    numbers = [text.get_text() for text in figure.axes[0].texts]
    listed = [text.get_text() for text in figure.texts if text.get_text().startswith("caption")]
    shown = min(count, MOST)
    assert numbers == [str(i + 1) for i in range(shown)]
    assert [text.split()[1] for text in listed] == [f"${i}$" for i in range(shown)]
    assert figure.get_size_inches()[0] <= 9
    for text in figure.texts:
        assert figure.bbox.containsx(text.get_window_extent().x1) and figure.bbox.containsy(text.get_window_extent().y0)


def test_chinese_labels(chinese_font):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = embedding_map(vectors(2), vectors(2, seed=1), labels=["一只猫", "红色的球"])
        pixels(figure)
    assert {"一只猫", "红色的球"} <= {text.get_text() for text in texts(figure)}


@pytest.mark.parametrize(("arguments", "message"), [
    ((vectors(3), vectors(4)), "3 texts and 4 images are no pairs in order: give image_of"),
    ((vectors(3), vectors(3, d=5)), "g_t"),
    ((vectors(0), vectors(0)), "there are no texts"),
    ((vectors(2), vectors(2), None, ["a"]), "1 labels for 2"),
    ((vectors(2), vectors(2), [0, 2]), "image_of goes from 0 to 2, but images have the numbers 0 to 1"),
])
def test_wrong_inputs_are_explained(arguments, message):
    with pytest.raises(ShapeError, match=re.escape(message)):
        embedding_map(*arguments)
