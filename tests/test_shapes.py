"""The checks at the door: each message says what came, what was expected and what to do."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.shapes import (
    ShapeError,
    check_array,
    check_choice,
    check_finite,
    check_mask,
    check_positives,
    check_same_size,
    check_shape,
)


@pytest.mark.parametrize("x", [np.ones(2), np.ones(2, np.float32), np.ones(2, complex), np.ones(())])
def test_floats_and_complex_numbers_are_arrays(x):
    check_array("X", x)


@pytest.mark.parametrize("x, message", [
    (None, "X is a NoneType, expected an array; use numpy.asarray"),
    ([1.0, 2.0], "X is a list, expected an array"),
    (np.arange(3), r"X has dtype int64, expected floats; use X.astype\('float32'\)"),
    (np.ones(3, bool), "X has dtype bool, expected floats"),
])
def test_what_is_no_floating_array(x, message):
    with pytest.raises(ShapeError, match=message):
        check_array("X", x)


def test_the_number_of_axes():
    check_array("X", np.ones((2, 3)), ndim=2, min_ndim=2)
    with pytest.raises(ShapeError, match=r"W has shape \(3,\), expected 2 axes"):
        check_array("W", np.ones(3), ndim=2)
    with pytest.raises(ShapeError, match=r"Q has shape \(3,\), expected at least 2 axes"):
        check_array("Q", np.ones(3), min_ndim=2)


def test_two_axes_of_one_size():
    A, B = np.ones((2, 3)), np.ones((4, 3))
    check_same_size("A", A, -1, "B", B, -1)
    with pytest.raises(ShapeError, match=r"A has shape \(2, 3\) and B has shape \(4, 3\): axis 0 of A \(2\) must equal "
                                         r"axis 0 of B \(4\); one value a key"):
        check_same_size("A", A, 0, "B", B, 0, "one value a key")


def test_an_exact_shape():
    check_shape("b", np.ones(3), (3,))
    with pytest.raises(ShapeError, match=r"b has shape \(3,\), expected \(4,\); one bias an output"):
        check_shape("b", np.ones(3), (4,), "one bias an output")


@pytest.mark.parametrize("shape", [(2, 3), (3,), (1, 3), (2, 1), ()])
def test_masks_that_broadcast(shape):
    check_mask("mask", np.ones(shape, bool), (2, 3))


def test_masks_that_do_not():
    check_mask("mask", None, (2, 3))
    with pytest.raises(ShapeError, match="mask is dtype float64, expected a boolean array"):
        check_mask("mask", np.ones((2, 3)), (2, 3))
    with pytest.raises(ShapeError, match="mask is list, expected a boolean array"):
        check_mask("mask", [True], (2, 3))
    with pytest.raises(ShapeError, match=r"mask has shape \(2,\), which does not broadcast to \(2, 3\)"):
        check_mask("mask", np.ones(2, bool), (2, 3))
    with pytest.raises(ShapeError, match="does not broadcast"):
        check_mask("mask", np.ones((5, 2, 3), bool), (2, 3))           # would make the result larger


def test_finite_values():
    check_finite("X", np.ones((2, 3)))
    X = np.ones((2, 3))
    X[1, 0], X[1, 2] = np.nan, np.inf
    with pytest.raises(ShapeError, match=r"X holds 2 values that are NaN or infinite, the first at \(1, 0\)"):
        check_finite("X", X)


def test_positives():
    S = np.ones((3, 2))
    check_positives(S, np.eye(3, 2, dtype=bool))
    with pytest.raises(ShapeError, match="positives has no True"):
        check_positives(S, np.zeros((3, 2), bool))
    with pytest.raises(ShapeError, match=r"positives must have the shape of S, \(3, 2\)"):
        check_positives(S, np.ones(2, bool))
    with pytest.raises(ShapeError, match="positives must have the shape"):
        check_positives(S, None)


def test_a_choice():
    check_choice("pooling", "mean", ("mean", "max"))
    with pytest.raises(ValueError, match="pooling='median' is not one of mean, max"):
        check_choice("pooling", "median", ("mean", "max"))
