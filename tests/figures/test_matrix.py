"""Matrices of attention: every weight at its place, dark where it is large, and padding that is no weight."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.figures.matrix import NUMBERS, attention_matrix, heads
from attnretrieval.shapes import ShapeError
from tests.figures.look import check_layout, colour_at, pixels, texts

WORDS = ["a", "black", "cat", "is", "chasing"]


def weights(*shape: int) -> np.ndarray:
    A = np.random.default_rng(0).random(shape) ** 3
    return A / A.sum(axis=-1, keepdims=True)


def test_darker_is_larger_and_rows_are_queries():
    A = np.array([[0.02, 0.9, 0.08], [0.5, 0.1, 0.4]])
    figure = attention_matrix(A, ["q0", "q1"], ["k0", "k1", "k2"], title="$5")
    drawn, ax = pixels(figure), figure.axes[0]
    grey = np.array([[colour_at(drawn, ax, j + 0.35, i + 0.35).sum() for j in range(3)] for i in range(2)])
    assert (np.argsort(grey.ravel()) == np.argsort(-A.ravel())).all()
    numbers = [text.get_text() for text in ax.texts]
    assert numbers == [".02", ".90", ".08", ".50", ".10", ".40"]
    assert ax.get_title() == "$5"
    check_layout_of_labels(figure)


def check_layout_of_labels(figure) -> None:
    """Numbers lie on the picture on purpose; nothing else may."""
    for ax in figure.axes:
        for text in ax.texts:
            text.set_visible(False)
    check_layout(figure)


@pytest.mark.parametrize("h", [1, 2, 4])
def test_heads_stand_side_by_side_on_one_scale(h):
    figure = heads(weights(h, 5, 5), WORDS, WORDS)
    panels = figure.axes[:h]
    assert [ax.get_title() for ax in panels] == [f"head {i}" for i in range(h)]
    assert {ax.images[0].get_clim() for ax in panels} == {(0, 1)}
    check_layout_of_labels(figure)


def test_masked_keys_are_hatched_and_have_no_number():
    A = weights(5, 5)
    figure = attention_matrix(A, WORDS, WORDS, key_mask=np.array([True, True, True, False, False]))
    ax = figure.axes[0]
    assert [patch.get_x() for patch in ax.patches] == [2.5, 3.5] and all(patch.get_hatch() for patch in ax.patches)
    assert len(ax.texts) == 15


def test_chinese_labels_have_their_font(chinese_font):
    words = list("一只黑色的猫")
    figure = attention_matrix(weights(6, 6), words, words, title="黑色的猫")
    assert sum(text.get_text() in words for text in texts(figure)) == 12
    check_layout_of_labels(figure)


def test_where_there_is_no_room_there_are_no_numbers():
    n = NUMBERS + 1
    assert not attention_matrix(weights(n, n), ["w"] * n, ["w"] * n).axes[0].texts


@pytest.mark.parametrize("arguments, message", [
    ((np.ones((2, 3)), ["a"], ["x", "y", "z"]), "2 queries and 3 keys"),
    ((np.full((1, 1), np.nan), ["a"], ["x"]), "NaN"),
    ((np.ones(3), ["a"], ["x"]), "A"),
])
def test_wrong_input_is_told(arguments, message):
    with pytest.raises(ShapeError, match=message):
        attention_matrix(*arguments)
