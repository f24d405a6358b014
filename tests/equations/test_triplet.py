"""The triplet loss against a loop over all pairs; captions of one image are no negatives of each other."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.triplet import VIOLATIONS, triplet_loss, triplet_loss_backward
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)
SEVERAL = np.eye(3, dtype=bool)[[0, 0, 1, 2, 1, 0]]
SHARED = SEVERAL.copy()
SHARED[0, 2] = True
LONELY = SEVERAL.copy()
LONELY[3] = False                       # caption 3 and image 2 have no partner
POSITIVES = {"one each": np.eye(4, dtype=bool), "several captions": SEVERAL, "a shared caption": SHARED, "no partner": LONELY,
             "no negatives": np.ones((2, 3), bool)}


@pytest.mark.parametrize("violations", VIOLATIONS)
@pytest.mark.parametrize("which", POSITIVES)
@pytest.mark.parametrize("margin", [0.0, 0.2, 2.0])
def test_it_is_the_loop(which, violations, margin):
    positives = POSITIVES[which]
    S = 0.4 * RNG.normal(size=positives.shape)
    loss, _ = triplet_loss(S, positives, margin, violations)
    assert float(loss) == pytest.approx(reference.triplet(S, positives, margin, violations), rel=1e-12)


def test_by_hand():
    S = np.array([[0.9, 0.8], [0.1, 0.5]])                             # margin 0.2
    # caption 0: image 1 violates by 0.1; caption 1: none; image 0: none; image 1: caption 0 violates by 0.5; two pairs
    loss, cache = triplet_loss(S, np.eye(2, dtype=bool), 0.2)
    assert float(loss) == pytest.approx((0.1 + 0.5) / 2)
    np.testing.assert_allclose(triplet_loss_backward(np.asarray(1.0), cache).d_S, np.array([[-1, 2], [0, -1]]) / 2)


def test_a_better_caption_of_the_same_image_is_no_violation():
    S = np.array([[0.1], [0.9]])
    assert float(triplet_loss(S, np.ones((2, 1), bool))[0]) == 0


def test_nothing_violates_nothing_is_learnt():
    loss, cache = triplet_loss(np.eye(3), np.eye(3, dtype=bool), 0.2)
    assert float(loss) == 0 and np.all(triplet_loss_backward(np.asarray(1.0), cache).d_S == 0)


@pytest.mark.parametrize("violations", VIOLATIONS)
def test_a_hinge_at_exactly_zero_has_no_gradient(violations):
    S = np.array([[0.5, 0.25], [0.0, 0.5]])                            # margin 0.25: caption 0 and image 1 touch their hinges
    loss, cache = triplet_loss(S, np.eye(2, dtype=bool), 0.25, violations)
    assert float(loss) == 0 and np.all(triplet_loss_backward(np.asarray(1.0), cache).d_S == 0)


def test_the_hardest_of_two_equal_negatives_is_the_first():
    S = np.array([[0.0, 0.5, 0.5]])
    _, cache = triplet_loss(S, np.array([[True, False, False]]), 0.2, "hardest")
    np.testing.assert_array_equal(triplet_loss_backward(np.asarray(1.0), cache).d_S, [[-1, 1, 0]])


def test_wrong_inputs_are_explained():
    S = np.ones((2, 2))
    with pytest.raises(ValueError, match="violations='max' is not one of sum, hardest, mean"):
        triplet_loss(S, np.eye(2, dtype=bool), violations="max")
    with pytest.raises(ShapeError, match="positives has no True"):
        triplet_loss(S, np.zeros((2, 2), bool))
    with pytest.raises(ShapeError, match="positives must have the shape of S"):
        triplet_loss(S, np.ones(2, bool))
