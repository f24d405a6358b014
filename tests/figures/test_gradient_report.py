"""The picture of a gradient check: expected and actual on one scale, signs that grey print keeps, wrong elements crossed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from matplotlib import colormaps

from attnretrieval.equations.attention import attention, attention_backward
from attnretrieval.figures import gradient_report
from attnretrieval.gradcheck import check_gradient
from attnretrieval.gradcheck.picture import COLOURS
from tests.figures.look import check_layout, colour_at, pixels

LUMA = np.array([0.299, 0.587, 0.114])


class Grads(NamedTuple):
    d_X: np.ndarray


def report_of(spoil, shape=(3, 4)):
    """The report on d_X = 2 X u, spoilt."""
    rng = np.random.default_rng(0)
    return check_gradient(lambda X: (X * X, X), lambda u, X: Grads(spoil(2 * X * u)), {"X": rng.normal(size=shape)}, rng=rng)


def wrong_at(*places):
    def spoil(d):
        d = d.copy()
        for place in places:
            d[place] += 1
        return d
    return spoil


def panels(figure) -> list:
    return [ax for ax in figure.axes if ax.images and ax.get_title()]


def crosses(ax) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for line in ax.lines for x, y in line.get_xydata()}


def test_it_is_the_report_s_own_picture():
    report = report_of(wrong_at((1, 2)))
    np.testing.assert_array_equal(pixels(gradient_report(report)), pixels(report.plot()))


@pytest.mark.parametrize("places", [[(1, 2)], [(0, 0), (2, 3)]])
def test_what_differs_is_crossed_and_counted(places):
    report = report_of(wrong_at(*places))
    figure = gradient_report(report)
    expected, actual, difference = panels(figure)
    assert crosses(difference) == set(places)
    assert difference.get_title() == f"actual - expected: {len(places)} of 12 differ"
    (row,) = report.rows
    for ax, values in ((expected, row.expected), (actual, row.actual), (difference, row.actual - row.expected)):
        np.testing.assert_array_equal(ax.images[0].get_array(), values)
    check_layout(figure)


def test_expected_and_actual_have_one_scale_around_zero():
    expected, actual, difference = panels(gradient_report(report_of(lambda d: 3 * d)))
    limits = [ax.images[0].get_clim() for ax in (expected, actual, difference)]
    assert limits[0] == limits[1] and all(low == -high for low, high in limits)
    assert limits[0][1] == np.abs(actual.images[0].get_array()).max()


def test_a_nan_is_crossed():
    def spoil(d):
        d = d.copy()
        d[0, 1] = np.nan
        return d
    *_, difference = panels(gradient_report(report_of(spoil)))
    assert crosses(difference) == {(0, 1)}


def test_signs_can_be_told_in_grey():
    figure = gradient_report(report_of(lambda d: -d))
    drawn = pixels(figure)
    for ax in panels(figure)[:2]:
        values = np.asarray(ax.images[0].get_array())
        grey = np.array([[colour_at(drawn, ax, j - 0.3, i - 0.3) @ LUMA for j in range(4)] for i in range(3)])
        order = np.argsort(values.ravel())
        assert (np.diff(grey.ravel()[order]) > -2).all() and np.ptp(grey) > 80
    middle = np.array(colormaps[COLOURS](0.5)[:3]) @ LUMA
    assert 0.4 < middle < 0.55


def test_several_wrong_inputs_stand_below_each_other():
    rng = np.random.default_rng(1)

    def wrong(d_Y, cache):
        grads = attention_backward(d_Y, cache)
        return grads._replace(d_Q=2 * grads.d_Q, d_K=-grads.d_K)
    inputs = {name: rng.normal(size=shape) for name, shape in {"Q": (2, 3, 4), "K": (2, 5, 4), "V": (2, 5, 6)}.items()}
    figure = gradient_report(check_gradient(attention, wrong, inputs, rng=rng))
    assert [ax.get_ylabel().split("  ")[0] for ax in panels(figure)[::3]] == ["d_Q", "d_K"]
    assert figure.get_size_inches()[0] <= 9
    check_layout(figure)


@pytest.mark.parametrize("shape, place", [((100,), (70,)), ((90, 2), (0, 1)), ((90, 2), (89, 1))])
def test_of_a_large_gradient_the_part_with_the_fault_is_drawn(shape, place):
    figure = gradient_report(report_of(wrong_at(place), shape))
    *_, difference = panels(figure)
    row, column = (0, *place)[-2:]
    assert abs(colour_at(pixels(figure), difference, column, row) - 255 * np.array(colormaps[COLOURS](1.0)[:3])).max() < 20
    axis = difference.get_xlabel() if len(shape) == 1 else panels(figure)[0].get_ylabel()
    assert f"of {shape[0]}" in axis
    check_layout(figure)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rounding_is_not_drawn_as_an_error(bad):
    figure = gradient_report(report_of(lambda d: np.where(np.arange(12).reshape(3, 4) == 5, bad, d)))
    expected, _, difference = panels(figure)
    assert difference.images[0].get_clim() == expected.images[0].get_clim()
    check_layout(figure)


def test_the_longest_diagnosis_has_room():
    figure = gradient_report(report_of(lambda d: d + 1, ()))
    assert "not multiplied by the upstream gradient" in panels(figure)[1].get_title()
    check_layout(figure)
