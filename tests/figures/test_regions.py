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


@pytest.mark.parametrize("shape", [(40, 60), (60, 600), (600, 60)])
@pytest.mark.parametrize("k", [1, 4, 5, 12])
def test_panels_have_one_scale_and_fit_a_notebook(k, shape):
    weights = np.random.default_rng(0).dirichlet(np.ones(196), k)
    figure = region_weights(np.zeros((*shape, 3), np.uint8), weights, (14, 14), [f"head {i}" for i in range(k)], [3] * k,
                            limit=0.1)
    bar = figure.axes[-1]._colorbar
    shown = [ax.images[1] for ax in figure.axes[1:-1]]
    assert len(shown) == k and {id(image.norm) for image in shown} == {id(bar.norm)}
    np.testing.assert_array_equal([image.get_array().ravel() for image in shown], weights)
    assert figure.get_figwidth() < 13.5 and figure.axes[-1].get_window_extent().height > 95
    size = figure.axes[1].get_window_extent()
    assert size.height / size.width == pytest.approx(shape[0] / shape[1], rel=1e-3)
    check_layout(figure)


@pytest.mark.parametrize("limit, end", [(0.5, "max"), (1.0, "neither"), (1 - 1e-7, "neither")])
def test_the_bar_tells_of_weights_beyond_its_end(limit, end):
    weights = np.zeros((1, 6))
    weights[0, 0] = 1
    assert region_weights(WHITE, weights, (2, 3), ["one"], [None], limit=limit).axes[-1]._colorbar.extend == end


@pytest.mark.parametrize("options, message", [
    ({"image": WHITE[None]}, r"the image has shape \(1, 40, 60, 3\) .* give one image of the batch"),
    ({"image": WHITE / 255}, "dtype float64, expected .height, width, 3. uint8"),
    ({"asks": [6]}, "region 6 asks, but the grid 2×3 has regions 0 to 5"),
    ({"limit": 0}, "limit=0 ends the scale"),
    ({"weights": np.zeros((0, 6)), "titles": [], "asks": []}, "there is nothing to draw"),
])
def test_what_is_wrong_is_named(options, message):
    given = {"image": WHITE, "weights": np.zeros((1, 6)), "titles": ["one"], "asks": [None]} | options
    with pytest.raises(ShapeError, match=message):
        region_weights(grid=(2, 3), **given)
