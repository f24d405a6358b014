"""Where little is left of a gradient, its rounding is no fault, and a fault is still one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from attnretrieval.backend import Array
from attnretrieval.course.cases import CASES
from attnretrieval.gradcheck import Report, check_gradient

SURE = np.eye(3) + 0.01 * np.random.default_rng(0).normal(size=(3, 3))


class Grads(NamedTuple):
    d_X: Array


def check(forward, backward, X: Array) -> Report:
    return check_gradient(forward, backward, {"X": X}, rng=np.random.default_rng(1))


def tanh(X):
    return np.tanh(X), np.tanh(X)


SATURATED = np.array([4.5, 4.9, -5.0])                                 # 1 - tanh² is 5e-4 and less


def test_the_textbook_tanh_is_right_where_it_is_saturated():
    """In float32 three digits are left of 1 - t²; no other way to write it is in the textbooks."""
    report = check(tanh, lambda d_Y, t: Grads(d_Y * (1 - t * t)), SATURATED)
    assert report.passed, str(report)


@pytest.mark.parametrize("factor", [0.0, -1.0, 1 + 1e-6])
def test_a_wrong_tanh_is_wrong_there_too(factor):
    assert not check(tanh, lambda d_Y, t: Grads(factor * d_Y * (1 - t * t)), SATURATED).passed


@pytest.mark.parametrize("tau", [0.3, 0.1, 0.05])
def test_an_info_nce_that_is_sure_of_its_answers_passes(tau):
    """What a trained model gives: right pairs at 1, wrong ones at 0."""
    inputs = {"S": SURE, "log_temperature": np.asarray(np.log(tau)), "positives": np.eye(3, dtype=bool)}
    report = CASES["info_nce"].check("sure", inputs, {}, np.random.default_rng(2))
    assert report.passed, str(report)


def test_a_small_number_that_is_exact_is_judged_as_such():
    """exp(-40) is small and saturates nothing: a thousandth off is found."""
    X = np.random.default_rng(3).normal(size=3) - 40
    right, wrong = (check(lambda X: (np.exp(X),) * 2, lambda d_Y, Y, c=c: Grads(c * d_Y * Y), X) for c in (1.0, 1.001))
    assert right.passed and not wrong.passed


def test_where_nothing_is_left_a_note_says_so():
    report = check(tanh, lambda d_Y, t: Grads(d_Y * (1 - t * t)), np.array([17.0, 18.0]))      # 1 - tanh² is 2e-15 and less
    assert any("is saturated: at smaller inputs its size is" in note for note in report.notes)


def test_a_forward_need_not_take_smaller_inputs():
    def forward(X):
        if np.any(np.real(X) < 0.4):
            raise ValueError("a price below 0.4")
        return X * X, X

    report = check(forward, lambda d_Y, X: Grads(2 * X * d_Y), np.array([1.0, 1.1]))
    assert report.passed, str(report)
