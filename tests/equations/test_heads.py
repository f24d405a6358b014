"""Heads: which features go to which head, and that splitting and joining undo each other."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.equations.heads import join_heads, split_heads
from attnretrieval.shapes import ShapeError


def test_head_i_holds_its_block_of_features():
    X = np.arange(2 * 3 * 8.0).reshape(2, 3, 8)
    Y = split_heads(X, 4)
    assert Y.shape == (2, 4, 3, 2)
    for head in range(4):
        np.testing.assert_array_equal(Y[:, head], X[:, :, 2 * head:2 * head + 2])


@pytest.mark.parametrize("heads", [1, 2, 4, 8])
def test_joining_undoes_splitting(heads):
    X = np.arange(2 * 3 * 8.0).reshape(2, 3, 8)
    np.testing.assert_array_equal(join_heads(split_heads(X, heads)), X)


@pytest.mark.parametrize("heads", [0, 3, -2])
def test_heads_that_do_not_divide_d(heads):
    with pytest.raises(ShapeError, match=f"d=8 cannot be split into {heads} heads of one size"):
        split_heads(np.ones((3, 8)), heads)
