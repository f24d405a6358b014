"""The cosine of each token with its context against a loop."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.token_cosine import token_cosine
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)


def test_it_is_the_loop_for_every_pair():
    H, C = RNG.normal(size=(2, 1, 3, 4)), RNG.normal(size=(2, 5, 3, 4))
    c, _ = token_cosine(H, C)
    expected = [[[reference.cosine(H[t, 0, i], C[t, v, i]) for i in range(3)] for v in range(5)] for t in range(2)]
    np.testing.assert_allclose(c, expected, rtol=1e-11)


def test_a_token_with_nothing_to_look_at_scores_zero():
    assert np.all(token_cosine(RNG.normal(size=(3, 4)), np.zeros((3, 4)))[0] == 0)


def test_wrong_shapes_are_explained():
    for H, C, name in ((np.ones(4), np.ones((3, 4)), "H"), (np.ones((3, 4)), np.ones(4), "C")):
        with pytest.raises(ShapeError, match=rf"{name} has shape \(4,\), expected at least 2 axes"):
            token_cosine(H, C)
    with pytest.raises(ShapeError, match="one context a token"):
        token_cosine(np.ones((3, 4)), np.ones((2, 4)))
    with pytest.raises(ShapeError, match="token and context share d"):
        token_cosine(np.ones((3, 4)), np.ones((3, 5)))
