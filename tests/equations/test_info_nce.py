"""InfoNCE against a loop; several right answers share the target; the temperature keeps to its range."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.info_nce import info_nce, info_nce_backward
from attnretrieval.shapes import ShapeError
from tests.equations.test_triplet import POSITIVES

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("which", POSITIVES)
@pytest.mark.parametrize("tau", [0.05, 0.7])
def test_it_is_the_loop(which, tau):
    positives = POSITIVES[which]
    S = RNG.normal(size=positives.shape)
    loss, _ = info_nce(S, np.asarray(math.log(tau)), positives)
    assert float(loss) == pytest.approx(reference.info_nce(S, positives, tau), rel=1e-11)


def test_equal_scores_give_the_logarithm_of_the_batch():
    loss, _ = info_nce(np.zeros((8, 8)), np.asarray(0.0), np.eye(8, dtype=bool))
    assert float(loss) == pytest.approx(math.log(8))


@pytest.mark.parametrize("tau, held", [(0.001, 0.01), (7.0, 1.0)])
def test_the_temperature_is_held_at_the_ends_of_its_range(tau, held):
    S, positives = 0.1 * RNG.normal(size=(4, 4)), np.eye(4, dtype=bool)
    loss, cache = info_nce(S, np.asarray(math.log(tau)), positives)
    assert float(loss) == pytest.approx(reference.info_nce(S, positives, held), rel=1e-11)
    assert info_nce_backward(np.asarray(1.0), cache).d_log_temperature == 0


@pytest.mark.parametrize("tau", [0.01, 1.0])
def test_exactly_at_an_end_of_its_range_the_temperature_is_held(tau):
    _, cache = info_nce(RNG.normal(size=(4, 4)), np.asarray(math.log(tau)), np.eye(4, dtype=bool))
    assert info_nce_backward(np.asarray(1.0), cache).d_log_temperature == 0


def test_a_complex_step_of_the_temperature_goes_through():
    """No part of it is dropped on the way: NumPy would warn and go on with the real part."""
    S, positives, step = RNG.normal(size=(4, 4)), np.eye(4, dtype=bool), 1e-30
    _, cache = info_nce(S, np.asarray(math.log(0.3)), positives)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, _ = info_nce(S, np.asarray(math.log(0.3) + step * 1j), positives)
    assert loss.imag / step == pytest.approx(info_nce_backward(np.asarray(1.0), cache).d_log_temperature, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_confident_scores_do_not_overflow(dtype):
    S = np.asarray([[1, -1], [1, -1]], dtype)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        loss, cache = info_nce(S, np.asarray(math.log(0.011), dtype), np.eye(2, dtype=bool))
        grads = info_nce_backward(np.asarray(1, dtype), cache)
    assert np.isfinite(loss) and np.all(np.isfinite(grads.d_S)) and grads.d_S.dtype == dtype


def test_a_caption_without_its_image_leaves_the_other_rows_alone():
    """It still is a negative for the images, but asks for nothing itself."""
    S = RNG.normal(size=(3, 2))
    positives = np.array([[True, False], [False, True], [False, False]])
    _, cache = info_nce(S, np.asarray(0.0), positives)
    d_S = info_nce_backward(np.asarray(1.0), cache).d_S
    assert np.all(d_S[2] > 0)


def test_wrong_inputs_are_explained():
    with pytest.raises(ShapeError, match=r"log_temperature has shape \(1,\), expected \(\)"):
        info_nce(np.ones((2, 2)), np.ones(1), np.eye(2, dtype=bool))
    with pytest.raises(ShapeError, match="positives has no True"):
        info_nce(np.ones((2, 2)), np.asarray(0.0), np.zeros((2, 2), bool))
