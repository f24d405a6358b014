"""Weights over regions: the right cell is dark, the asking one is framed, and the image is not turned."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.figures.regions import region_weights
from attnretrieval.shapes import ShapeError
from tests.figures.look import check_layout, colour_at, pixels

WHITE = np.full((40, 60, 3), 255, np.uint8)


def test_the_cell_with_the_weight_is_dark():
    weights = np.zeros((2, 6))
    weights[0, 5], weights[1, 0] = 1, 0.5
    figure = region_weights(WHITE, weights, (2, 3), ["one", "two"], [None, None])
    drawn = pixels(figure)
    for ax, row in zip(figure.axes[1:3], weights, strict=True):
        grey = [colour_at(drawn, ax, i % 3 + 0.5, i // 3 + 0.5).sum() for i in range(6)]
        assert np.argmin(grey) == row.argmax() and sum(g < 600 for g in grey) == 1
    assert [ax.get_title() for ax in figure.axes[:3]] == ["the regions", "one", "two"]
    check_layout(figure)


def test_the_asking_region_is_framed():
    figure = region_weights(WHITE, np.zeros((1, 6)), (2, 3), ["$"], [4])
    assert {patch.get_xy() for patch in figure.axes[1].patches} == {(1, 1)}


def test_the_image_lies_as_it_is():
    image = WHITE.copy()
    image[:20, :20] = 0                              # the region 0
    figure = region_weights(image, np.zeros((1, 6)), (2, 3), ["one"], [None])
    drawn = pixels(figure)
    assert [colour_at(drawn, figure.axes[0], i % 3 + 0.5, i // 3 + 0.5).sum() < 100 for i in range(6)] == [True] + [False] * 5


@pytest.mark.parametrize("weights, titles", [
    (np.zeros((1, 5)), ["a"]), (np.zeros((2, 6)), ["a"]), (np.full((1, 6), np.inf), ["a"])])
def test_wrong_input_is_told(weights, titles):
    with pytest.raises(ShapeError):
        region_weights(WHITE, weights, (2, 3), titles, [None])
