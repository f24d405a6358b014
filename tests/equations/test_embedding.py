"""Word embedding: rows are looked up, and a repeated word gets both gradients."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.equations.embedding import embedding, embedding_backward
from attnretrieval.shapes import ShapeError


def test_rows_are_looked_up():
    E, ids = np.arange(12.0).reshape(4, 3), np.array([[3, 0], [1, 1]])
    X, _ = embedding(E, ids)
    for i in range(2):
        for j in range(2):
            np.testing.assert_array_equal(X[i, j], E[ids[i, j]])


def test_a_repeated_word_gets_both_gradients():
    E, ids = np.zeros((4, 2), np.float32), np.array([[3, 0, 3]])
    _, cache = embedding(E, ids)
    d_E = embedding_backward(np.array([[[1, 2], [10, 20], [100, 200]]], np.float32), cache).d_E
    np.testing.assert_array_equal(d_E, [[10, 20], [0, 0], [0, 0], [101, 202]])
    assert d_E.dtype == np.float32


def test_wrong_ids_are_explained():
    E = np.ones((4, 3))
    with pytest.raises(ShapeError, match="ids run from 0 to 4 but the table E has rows 0 to 3"):
        embedding(E, np.array([0, 4]))
    with pytest.raises(ShapeError, match="ids run from -1 to 2"):
        embedding(E, np.array([-1, 2]))
    with pytest.raises(ShapeError, match="ids are float64, expected an array of integers"):
        embedding(E, np.array([0.0]))
    with pytest.raises(ShapeError, match="ids are list, expected an array of integers"):
        embedding(E, [0, 1])
