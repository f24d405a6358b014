"""Position codes: each place gets its own, and codes beyond the sentence get no gradient."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.equations.positions import position_code, position_code_backward
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)


def test_each_token_gets_the_code_of_its_place():
    X, E = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(5, 4))
    Y, cache = position_code(X, E)
    for i in range(2):
        for place in range(3):
            np.testing.assert_array_equal(Y[i, place], X[i, place] + E[place])
    d_E = position_code_backward(np.ones_like(Y), cache).d_E
    np.testing.assert_array_equal(d_E, [[2] * 4] * 3 + [[0] * 4] * 2)


def test_wrong_shapes_are_explained():
    with pytest.raises(ShapeError, match="X has 6 tokens but E has codes for 5 places; shorten X or learn more codes"):
        position_code(np.ones((6, 4)), np.ones((5, 4)))
    with pytest.raises(ShapeError, match="a code is as wide as a token"):
        position_code(np.ones((3, 4)), np.ones((5, 3)))
