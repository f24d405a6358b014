"""Packed tokens: there and back, groups that cover all items, sums over items as products."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.equations.softmax import softmax, softmax_backward
from attnretrieval.fast.pairs_packed import (
    groups,
    lengths_of,
    listed,
    pack,
    real_tokens,
    softmax_in_items,
    softmax_in_items_backward,
    unpack,
)
from tests.fast.forms import close

MASK = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], bool)


def test_there_and_back():
    H = np.random.default_rng(0).normal(size=(4, 3, 2))
    rows = real_tokens(MASK)
    tokens = pack(H, rows)
    np.testing.assert_array_equal(tokens, H[MASK])
    np.testing.assert_array_equal(unpack(tokens, rows, H.shape), H * MASK[..., None])
    assert real_tokens(np.ones((2, 3), bool)) is None
    assert np.shares_memory(pack(H, None), H) and unpack(pack(H, None), None, H.shape).shape == H.shape


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_groups_cover_all_items_in_order(count):
    H = np.arange(12.0).reshape(4, 3, 1)
    tokens, lengths = pack(H, real_tokens(MASK)), lengths_of(MASK)
    found = groups(lengths, count, tokens)
    assert len(found) == count
    assert np.concatenate([np.arange(4)[group.items] for group in found]).tolist() == [0, 1, 2, 3]
    assert np.concatenate([np.arange(6)[group.tokens] for group in found]).tolist() == list(range(6))
    for group in found:
        here = tokens[group.tokens]
        np.testing.assert_array_equal(group.member, group.member_T.T)
        for a, item in enumerate(np.arange(4)[group.items]):
            mine = H[item][MASK[item]]
            np.testing.assert_array_equal(here[group.segments[a]], mine)
            np.testing.assert_array_equal(here[group.owner == a], mine)
            np.testing.assert_allclose(group.member_T[a] @ here, mine.sum(axis=0))
            np.testing.assert_allclose(group.mean[a] @ here, mine.mean(axis=0) if len(mine) else [0])


@pytest.mark.parametrize("items", [[0, 1, 2], [3], [2, 0, 0], [1, 1], [3, 2]])
def test_any_list_of_items(items):
    H = np.arange(12.0).reshape(4, 3, 1)
    tokens, lengths = pack(H, real_tokens(MASK)), lengths_of(MASK)
    group = listed(np.array(items), lengths, tokens)
    here = tokens[group.tokens]
    for segment, item in zip(group.segments, items, strict=True):
        np.testing.assert_array_equal(here[segment], H[item][MASK[item]])
    assert isinstance(group.tokens, slice) == (items in ([0, 1, 2], [3]))      # neighbours are views


@pytest.mark.parametrize("size", [1.0, 59.0, 1000.0])
def test_softmax_in_items(size):
    rng = np.random.default_rng(1)
    lengths = lengths_of(MASK)
    (group,) = groups(lengths, 1, np.empty(0))
    S, d_A = rng.uniform(-size, size, (2, 5, 6))
    A = softmax_in_items(S, group)
    d_S = softmax_in_items_backward(d_A, A, group)
    for segment in group.segments:
        expected = softmax(S[:, segment])
        close(A[:, segment], expected)
        close(d_S[:, segment], softmax_backward(d_A[:, segment], expected))
