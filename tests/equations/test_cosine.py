"""L2 normalisation and cosine similarity against loops."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.cosine import cosine_similarity, cosine_similarity_backward, l2_normalise, l2_normalise_backward
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)


def test_lengths_are_one():
    X = 3 * RNG.normal(size=(2, 3, 4))
    X_hat, _ = l2_normalise(X)
    expected = [[[v / reference.length(x) for v in x] for x in rows] for rows in X]
    np.testing.assert_allclose(X_hat, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_zero_vector_stays_zero_with_a_finite_gradient(dtype):
    X_hat, cache = l2_normalise(np.zeros((1, 4), dtype))
    d_X = l2_normalise_backward(np.ones((1, 4), dtype), cache).d_X
    assert np.all(X_hat == 0) and np.all(np.isfinite(d_X)) and d_X.dtype == dtype


def test_the_gradient_has_no_part_along_the_vector():
    X = RNG.normal(size=(5, 4))
    d_X = l2_normalise_backward(RNG.normal(size=(5, 4)), l2_normalise(X)[1]).d_X
    np.testing.assert_allclose((d_X * X).sum(axis=-1), 0, atol=1e-11)


def test_similarity_is_the_loop():
    G_t, G_v = RNG.normal(size=(5, 4)), RNG.normal(size=(3, 4))
    S, _ = cosine_similarity(G_t, G_v)
    np.testing.assert_allclose(S, [[reference.cosine(t, v) for v in G_v] for t in G_t], rtol=1e-11)


def test_similarity_does_not_depend_on_lengths():
    G_t, G_v = RNG.normal(size=(5, 4)), RNG.normal(size=(3, 4))
    scaled = cosine_similarity(G_t * RNG.uniform(0.1, 10, (5, 1)), 7 * G_v)[0]
    np.testing.assert_allclose(scaled, cosine_similarity(G_t, G_v)[0], rtol=1e-9)
    np.testing.assert_allclose(np.diag(cosine_similarity(G_t, G_t)[0]), 1, rtol=1e-11)


def test_leading_axes_broadcast_in_both_passes():
    G_t, G_v = RNG.normal(size=(2, 1, 5, 4)), RNG.normal(size=(3, 6, 4))
    S, cache = cosine_similarity(G_t, G_v)
    assert S.shape == (2, 3, 5, 6)
    np.testing.assert_allclose(S[1, 2], cosine_similarity(G_t[1, 0], G_v[2])[0], rtol=1e-13)
    grads = cosine_similarity_backward(RNG.normal(size=S.shape), cache)
    assert grads.d_G_t.shape == G_t.shape and grads.d_G_v.shape == G_v.shape


def test_wrong_shapes_are_explained():
    with pytest.raises(ShapeError, match=r"axis -1 of G_t \(4\) must equal axis -1 of G_v \(5\); project both"):
        cosine_similarity(np.ones((2, 4)), np.ones((3, 5)))
    with pytest.raises(ShapeError, match=r"G_v has shape \(4,\), expected at least 2 axes"):
        cosine_similarity(np.ones((2, 4)), np.ones(4))
    with pytest.raises(ShapeError, match=r"G_t has shape \(4,\), expected at least 2 axes"):
        cosine_similarity(np.ones(4), np.ones((2, 4)))
