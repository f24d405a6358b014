"""The sum over what broadcasting repeated, against the definition: add every element to the place it came from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from attnretrieval.equations.axes import sum_to, swap

BROADCAST = (2, 1, 3)
SHAPES = [shape[start:] for shape in itertools.product((1, 2), (1,), (1, 3)) for start in range(4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_element_is_added_where_it_came_from(shape):
    d_X = np.random.default_rng(0).normal(size=BROADCAST)
    expected = np.zeros(shape)
    source = np.broadcast_to(np.arange(expected.size).reshape(shape), BROADCAST)
    for i in np.ndindex(*BROADCAST):
        expected.reshape(-1)[source[i]] += d_X[i]
    np.testing.assert_allclose(sum_to(d_X, shape), expected, rtol=1e-14)


def test_what_was_not_broadcast_is_given_back_as_it_is():
    d_X = np.ones(BROADCAST)
    assert sum_to(d_X, BROADCAST) is d_X


def test_swap_exchanges_the_last_two_axes_as_a_view():
    X = np.arange(24.0).reshape(2, 3, 4)
    assert swap(X).shape == (2, 4, 3) and np.shares_memory(swap(X), X)
    assert swap(X)[1, 2, 0] == X[1, 0, 2]
