"""Every forward computes its formula, on every case."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course.cases import CASES
from attnretrieval.course.values import EXTREMES, REFERENCES, check_values
from attnretrieval.equations.attention import attention


@pytest.mark.parametrize("name", CASES)
def test_every_forward_is_its_formula(name):
    values = list(check_values(name))
    assert len(values) >= len(CASES[name].make(np.random.default_rng(0), np.float64))
    for value in values:
        assert value.passed, str(value)


def test_every_equation_has_a_reference():
    assert set(REFERENCES) == set(CASES)
    assert set(EXTREMES) <= set(CASES)


def test_another_seed_passes_too():
    assert all(value.passed for name in CASES for value in check_values(name, rng=np.random.default_rng(99)))


def test_the_loops_spread_a_last_axis_of_size_1():
    """A mask that speaks of whole sequences, a dropout that takes whole tokens: the equations take them, so must the loops."""
    Q, K, V = (np.random.default_rng(0).normal(size=(2, n, 4)) for n in (3, 5, 5))
    key_mask = np.array([[True], [False]])
    expected = REFERENCES["attention"](Q, K, V, key_mask)
    np.testing.assert_allclose(attention(Q, K, V, key_mask)[0], expected, rtol=1e-12)
    np.testing.assert_array_equal(expected[1], 0)
    np.testing.assert_array_equal(REFERENCES["dropout"](Q, np.array([[2.0], [0.0], [2.0]])), Q * [[2], [0], [2]])


def test_a_wrong_forward_is_told_where_it_differs():
    """Queries divided by √d_k once more: a backward wrong in the same way would pass any gradient check."""
    def wrong(Q, K, V, key_mask=None):
        return attention(Q / 2, K, V, key_mask)

    first = next(value for value in check_values("attention", wrong) if not value.passed)
    assert str(first).startswith("attention, one sequence: the largest difference at [")
    assert "the formula gives" in str(first) and first.error > 1e-3


def test_a_wrong_shape_is_told():
    values = check_values("softmax", lambda S, mask=None: (S[..., :1], None))
    wrong = next(value for value in values if "shape" in value.problem)
    assert wrong.problem == "the output has shape (1,), the formula gives (5,)"


def test_an_unknown_name_is_explained():
    with pytest.raises(ValueError, match="equation='atention' is not one of softmax, linear"):
        next(check_values("atention"))
