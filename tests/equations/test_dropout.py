"""Dropout: what is kept is scaled up, so the mean stays; a seed gives one draw."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.equations.dropout import draw_dropout, dropout
from attnretrieval.shapes import ShapeError


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [0.0, 0.25, 0.9])
def test_kept_values_are_scaled_and_the_mean_stays(p, dtype):
    like = np.ones(1, dtype)
    keep = draw_dropout(np.random.default_rng(0), (200, 200), p, like)
    assert keep.dtype == dtype
    assert np.all((keep == 0) | np.isclose(keep, 1 / (1 - p)))
    assert np.mean(keep == 0) == pytest.approx(p, abs=0.01)
    assert np.mean(keep) == pytest.approx(1, abs=0.05)


def test_a_seed_gives_one_draw():
    like = np.ones(1)
    one, two = (draw_dropout(np.random.default_rng(3), (5, 5), 0.5, like) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_one_draw_may_serve_all_tokens():
    X, keep = np.ones((2, 3, 4)), draw_dropout(np.random.default_rng(0), (2, 1, 4), 0.5, np.ones(1))
    Y, _ = dropout(X, keep)
    np.testing.assert_array_equal(Y[:, 0], Y[:, 2])


def test_a_keep_of_fewer_axes_serves_the_whole_batch():
    X, keep = np.ones((2, 3, 4)), np.array([0.0, 2, 0, 2])
    np.testing.assert_array_equal(dropout(X, keep)[0], np.broadcast_to(keep, X.shape))


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5])
def test_a_probability_out_of_range(p):
    with pytest.raises(ValueError, match="must be at least 0 and below 1"):
        draw_dropout(np.random.default_rng(0), (2,), p, np.ones(1))


def test_a_keep_that_does_not_fit():
    with pytest.raises(ShapeError, match=r"keep has shape \(3, 4\), which does not broadcast to \(3, 1\)"):
        dropout(np.ones((3, 1)), np.ones((3, 4)))
    with pytest.raises(ShapeError, match="keep has dtype bool, expected floats"):
        dropout(np.ones((3, 4)), np.ones((3, 4), bool))
