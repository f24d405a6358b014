"""The fast softmax is the plain one, and goes the plain way where logits are large or not finite."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.equations import softmax as plain
from attnretrieval.fast.softmax import RANGE, column_sums, row_sums, softmax, softmax_backward
from tests.fast.forms import close, draw_mask


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [1.0, 20.0, 1000.0])
def test_it_is_the_plain_softmax(dtype, size):
    rng = np.random.default_rng(0)
    for _ in range(40):
        S = (rng.uniform(-size, size, rng.integers(1, 6, rng.integers(1, 5)))).astype(dtype)
        mask = draw_mask(rng, S.shape)
        A, expected = softmax(S, mask), plain.softmax(S, mask)
        close(A, expected)
        if mask is not None:
            assert (A[~mask] == 0).all()
        d_A = rng.normal(size=S.shape).astype(dtype)
        close(softmax_backward(d_A, A), plain.softmax_backward(d_A, expected))
        elsewhere = np.empty_like(S)
        assert softmax(S, mask, out=elsewhere) is elsewhere and softmax(S, mask, out=S) is S
        close(elsewhere, expected)
        close(S, expected)


@pytest.mark.parametrize("S", [[RANGE, -RANGE], [1e38, 0.0], [-1e38, -1e38], [np.inf, 0.0], [-np.inf, 0.0], [np.nan, 0.0]])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_at_the_ends_of_the_range_and_beyond(S):
    S = np.array([S, [1.0, 2.0]], "float32")
    np.testing.assert_allclose(softmax(S), plain.softmax(S), rtol=1e-6)
    assert softmax(S[:, :0]).shape == (2, 0)


def test_a_masked_entry_may_be_anything():
    S, mask = np.array([[0.0, 500.0, 1.0]]), np.array([[True, False, True]])
    np.testing.assert_allclose(softmax(S, mask), plain.softmax(S, mask), rtol=1e-14)


def test_sums():
    X = np.random.default_rng(0).normal(size=(2, 3, 4))
    close(row_sums(X), X.sum(axis=-1, keepdims=True))
    close(column_sums(X), X.sum(axis=(0, 1)))
