"""Matrices of similarities: darker is more alike, also in grey; right answers framed, best images dotted, one scale."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from attnretrieval.figures.similarity import BLUES, similarity_matrix
from attnretrieval.figures.style import RED
from attnretrieval.shapes import ShapeError
from tests.figures.look import check_layout, colour_at, pixels

CAPTIONS = ["a black cat is chasing a red ball", "a red fish is above a purple car", "$5"]
GREY = np.array([0.299, 0.587, 0.114])


def cosines(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape)


def frames(ax) -> set[tuple[int, int]]:
    """(caption, image) of each frame in the colour of right answers."""
    return {(round(patch.get_y() + 0.42), round(patch.get_x() + 0.42)) for patch in ax.patches
            if isinstance(patch, Rectangle) and patch.get_edgecolor()[:3] == to_rgb(RED)}


def test_darker_is_more_alike_and_the_grey_print_says_the_same():
    S = np.array([[-0.9, 0.9, 0.1], [0.5, -0.4, 0.3], [-0.1, 0.7, -0.7]])
    figure = similarity_matrix(S, captions=CAPTIONS, images=["i0", "i1", "i2"])
    drawn, ax = pixels(figure), figure.axes[0]
    grey = np.array([[colour_at(drawn, ax, i - 0.3, c - 0.3) @ GREY for i in range(3)] for c in range(3)])
    assert (np.argsort(grey.ravel()) == np.argsort(-S.ravel())).all()
    lightness = BLUES(np.linspace(0, 1, 256))[:, :3] @ GREY
    assert (np.diff(lightness) < 0).all() and lightness[0] - lightness[-1] > 0.7
    check_layout(figure)


def test_right_answers_are_framed_and_the_best_image_of_each_row_has_a_dot():
    S = cosines(6, 3)
    positives = np.repeat(np.eye(3, dtype=bool), 2, axis=0)
    ax = similarity_matrix(S, positives).axes[0]
    assert frames(ax) == {(c, c // 2) for c in range(6)}
    dots = ax.collections[0].get_offsets()
    assert dots.tolist() == [[best, c] for c, best in enumerate(S.argmax(axis=1))]


def test_a_frame_and_a_dot_are_seen_on_the_palest_and_on_the_darkest_cell():
    figure = similarity_matrix(np.array([[1.0, -1.0], [-0.9, -1.0]]), np.array([[True, False], [False, True]]))
    drawn, ax = pixels(figure), figure.axes[0]
    for place in (0, 1):
        line = [colour_at(drawn, ax, place + x, place + 0.3) @ GREY for x in np.linspace(-0.49, -0.3, 12)]
        assert np.ptp(line) > 60, "the frame stands out in grey"
    dark, pale = (colour_at(drawn, ax, 0.0, row) @ GREY for row in (0.0, 1.0))
    assert dark < 40 and pale < 40
    assert max(colour_at(drawn, ax, x, 0.0) @ GREY for x in np.linspace(0, 0.3, 12)) > 150, "white around the dot"


@pytest.mark.parametrize("k", [1, 2, 4, 5])
def test_snapshots_have_one_scale_and_the_captions_once_a_row(k):
    titles = [f"step {i}" for i in range(k)]
    figure = similarity_matrix(cosines(k, 3, 3), np.eye(3, dtype=bool), CAPTIONS, titles=titles)
    panels = figure.axes[:k]
    assert {ax.images[0].get_clim() for ax in panels} == {(-1.0, 1.0)}
    assert all(frames(ax) == {(0, 0), (1, 1), (2, 2)} for ax in panels)
    assert [text.get_text() for text in figure.texts] == titles
    labelled = [[label.get_text() for label in ax.get_yticklabels()] for ax in panels]
    assert labelled == [CAPTIONS if i % 4 == 0 else [] for i in range(k)]
    check_layout(figure)


def test_pictures_stand_above_their_columns():
    colours = np.array([[200, 30, 30], [30, 160, 30], [30, 30, 200]], np.uint8)
    images = [np.broadcast_to(colour, (8, 8, 3)) for colour in colours]
    figure = similarity_matrix(cosines(3, 3), captions=CAPTIONS, images=images)
    drawn, ax = pixels(figure), figure.axes[0]
    above = [colour_at(drawn, ax, i, -1.0) for i in range(3)]
    assert np.allclose(above, colours, atol=3)


def test_other_limits_and_another_name_for_the_scale():
    figure = similarity_matrix(10 * cosines(3, 3), limits=(-10, 10), bar="logit")
    assert figure.axes[0].images[0].get_clim() == (-10, 10)
    assert figure.axes[-1].get_ylabel() == "logit"


def test_chinese_captions_have_their_font(chinese_font):
    figure = similarity_matrix(cosines(2, 2), captions=["一只黑色的猫", "红色的球"], images=["猫", "球"], titles=["黑色"])
    check_layout(figure)
    assert all(chinese_font in label.get_fontfamily() for label in figure.axes[0].get_yticklabels())


def test_many_captions_fit_a_page_and_lose_their_names():
    figure = similarity_matrix(cosines(2, 60, 60), np.eye(60, dtype=bool), [f"caption {i}" for i in range(60)])
    assert not figure.axes[0].get_yticklabels()
    assert figure.get_size_inches()[0] <= 10.01
    check_layout(figure)


@pytest.mark.parametrize("arguments, message", [
    ({"S": np.ones(3)}, "S"),
    ({"S": np.full((1, 2), np.nan)}, "NaN"),
    ({"S": np.ones((2, 2)), "captions": ["a"]}, "1 captions for 2"),
    ({"S": np.ones((2, 2)), "images": ["a", "b", "c"]}, "3 images for 2"),
    ({"S": np.ones((3, 2, 2)), "titles": ["a"]}, "1 titles for 3"),
    ({"S": np.ones((0, 2))}, "there is nothing to draw"),
    ({"S": np.ones((1, 1)), "images": [np.zeros((1, 8, 8, 3), np.uint8)]},
     r"images\[0\] has shape .*give one image of the batch"),
    ({"S": np.ones((2, 3)), "positives": np.eye(2, dtype=bool)}, "positives"),
])
def test_wrong_input_is_told(arguments, message):
    with pytest.raises(ShapeError, match=message):
        similarity_matrix(**arguments)


def test_limits_that_are_the_wrong_way_round_are_told():
    with pytest.raises(ValueError, match="lower end"):
        similarity_matrix(np.ones((2, 2)), limits=(1, -1))


def test_what_is_cut_stays_cut(chinese_font):
    long = "a large black and white dog with a brown stick in its mouth " * 4
    names = [f"{'a_very_long_file_name_' * 4}{i}.jpg" for i in range(3)]
    figure = similarity_matrix(cosines(3, 3), captions=[long, "猫" * 60, "a cat"], images=names)
    check_layout(figure)                                # also: within the figure, when it is drawn
    ax = figure.axes[0]
    shown = [label.get_text() for label in (*ax.get_yticklabels(), *ax.get_xticklabels())]
    assert [text.endswith("…") for text in shown] == [True, True, False, True, True, True]
    assert long.startswith(shown[0][:-1]) and shown[2] == "a cat" and {t.get_rotation() for t in ax.get_xticklabels()} == {60}


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (2, 3)])
def test_a_small_matrix_has_room_for_its_scale(shape):
    figure = similarity_matrix(cosines(*shape))
    assert figure.axes[-1].get_window_extent().height >= figure.dpi * 0.99
    check_layout(figure)


def test_frames_are_seen_however_small_the_cells():
    figure = similarity_matrix(np.zeros((100, 100)), np.eye(100, dtype=bool))
    ax = figure.axes[0]
    assert min(patch.get_linewidth() for patch in ax.patches) >= 0.8
    drawn = pixels(figure).astype(int)
    row, column = (int(v) for v in (len(drawn) - 1 - ax.transData.transform((50, 50))[1], ax.transData.transform((50, 50))[0]))
    near = drawn[row - 4:row + 5, column - 4:column + 5].reshape(-1, 3)
    assert (near[:, 0] > near[:, 2] + 60).any(), "orange on blue"
