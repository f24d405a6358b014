"""The figure of the gradient check's page shows what the page says."""

from __future__ import annotations

import numpy as np
import pytest

from tests.difference_steps import STEPS, draw, errors


def best(method: str) -> tuple[float, float]:
    """The least error and its step."""
    found = errors(method)
    return float(found.min()), float(STEPS[found.argmin()])


def test_a_difference_has_a_best_step_and_five_points_have_a_better_one():
    (two, at_two), (five, at_five) = best("2 points"), best("5 points")
    assert 1e-12 < two < 1e-9 and 1e-7 < at_two < 1e-4
    assert 1e-15 < five < 1e-12 and 1e-4 < at_five < 1e-2


@pytest.mark.parametrize("method", ["2 points", "5 points"])
def test_a_difference_with_a_tiny_step_is_nothing_but_rounding(method):
    assert errors(method)[STEPS < 1e-16].min() >= 1


def test_the_complex_step_is_right_to_rounding_for_every_small_step():
    assert errors("complex step")[STEPS < 1e-8].max() < 10 * np.finfo(float).eps


def test_the_figure_has_names_and_units():
    (ax,) = draw().axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step h", "relative error of the derivative")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["2 points", "5 points", "complex step"]
