"""Softmax against a loop; rows sum to 1; masks; large scores."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.softmax import softmax, softmax_backward
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)
MASK = np.array([[True, False, True, True], [False, False, False, True], [False, False, False, False]])


def test_it_is_the_loop():
    S = RNG.normal(size=(3, 4))
    np.testing.assert_allclose(softmax(S), [reference.softmax(row) for row in S], rtol=1e-14)


def test_masked_it_is_the_loop_over_what_is_left():
    S = RNG.normal(size=(3, 4))
    A = softmax(S, MASK)
    np.testing.assert_allclose(A, [reference.softmax(row, mask) for row, mask in zip(S, MASK, strict=True)], rtol=1e-14)
    assert np.all(A[~MASK] == 0)
    np.testing.assert_allclose(A.sum(axis=-1), [1, 1, 0])


@pytest.mark.parametrize("padding", [1e9, -1e9, np.inf, -np.inf, np.nan])
def test_what_stands_in_a_masked_place_does_not_matter(padding):
    S = RNG.normal(size=(3, 4))
    padded = np.where(MASK, S, padding)
    np.testing.assert_array_equal(softmax(padded, MASK), softmax(S, MASK))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_scores_do_not_overflow(dtype):
    S = np.array([[1e5, 0.0, -1e5], [-3e4, -3e4, -3e4]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        A = softmax(S)
    assert A.dtype == dtype
    np.testing.assert_allclose(A, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)


def test_a_constant_added_to_a_row_changes_nothing():
    S = RNG.normal(size=(3, 4))
    np.testing.assert_allclose(softmax(S + 50), softmax(S), rtol=1e-13)


def test_a_row_with_nothing_left_gives_zeros_and_a_zero_gradient():
    A = softmax(RNG.normal(size=(3, 4)), MASK)
    d_S = softmax_backward(RNG.normal(size=(3, 4)), A)
    assert np.all(A[2] == 0) and np.all(d_S[2] == 0) and np.all(d_S[~MASK] == 0)


def test_no_keys_at_all():
    assert softmax(np.zeros((3, 0))).shape == (3, 0)


def test_wrong_inputs_are_explained():
    with pytest.raises(ShapeError, match="S has dtype int64, expected floats"):
        softmax(np.arange(3))
    with pytest.raises(ShapeError, match=r"mask has shape \(3,\), which does not broadcast to \(3, 4\)"):
        softmax(np.ones((3, 4)), np.ones(3, bool))
    with pytest.raises(ShapeError, match="mask is dtype float64, expected a boolean array"):
        softmax(np.ones((3, 4)), np.ones(4))
