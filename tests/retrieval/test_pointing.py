"""The pointing game against a naive loop, its baselines by hand, ties and borders."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.retrieval.pointing import pointing_accuracy
from attnretrieval.shapes import ShapeError


def cells(rows, columns):
    return np.array([[c / columns, r / rows, (c + 1) / columns, (r + 1) / rows]
                     for r in range(rows) for c in range(columns)])


def one_hot(m, region, heads=2, tokens=3):
    A = np.zeros((heads, tokens, m))
    A[:, :, region] = 1
    return A


def naive(attention, phrases, boxes, rows, columns, smooth):
    hits = []
    for c, listed in enumerate(phrases):
        for tokens, truth, _ in listed:
            a = np.zeros((rows, columns))
            for head in attention[c]:
                for token in tokens:
                    a += head[token].reshape(rows, columns)
            best, where = -1, None
            for r in range(rows):
                for k in range(columns):
                    near = [a[i, j] for i in range(rows) for j in range(columns)
                            if abs(i - r) <= smooth // 2 and abs(j - k) <= smooth // 2]
                    if sum(near) / len(near) > best:
                        best, where = sum(near) / len(near), r * columns + k
            x, y = (boxes[where, 0] + boxes[where, 2]) / 2, (boxes[where, 1] + boxes[where, 3]) / 2
            hits.append(any(b[0] <= x <= b[2] and b[1] <= y <= b[3] for b in truth))
    return np.mean(hits)


@pytest.mark.parametrize("smooth", [1, 3, 5])
@pytest.mark.parametrize("grid", [(3, 3), (4, 5), (1, 6)])
def test_accuracy_matches_a_naive_loop(grid, smooth):
    rng = np.random.default_rng(0)
    rows, columns = grid
    boxes = cells(rows, columns)
    attention = rng.random((12, 2, 4, rows * columns))
    phrases = []
    for _ in range(12):
        corner = rng.random((2, 2)) * 0.6
        truth = np.concatenate([corner, corner + 0.3], axis=1)
        phrases.append([(rng.choice(4, 2, replace=False), truth, "thing"), ([0], truth[:1], "other")])
    got = pointing_accuracy(lambda c: attention[c], phrases, boxes, grid, smooth)
    assert got.accuracy == pytest.approx(naive(attention, phrases, boxes, rows, columns, smooth))
    assert got.phrases == 24 and got.by_type["thing"].phrases == 12
    assert got.accuracy == pytest.approx((got.by_type["thing"].accuracy + got.by_type["other"].accuracy) / 2)


def test_a_cell_given_as_a_box_is_hit_only_by_itself():
    boxes = cells(3, 3)
    for cell in range(9):
        for aim in range(9):
            phrases = [[([1], boxes[[cell]], "shape")]]
            got = pointing_accuracy(lambda c, aim=aim: one_hot(9, aim), phrases, boxes, (3, 3))
            assert got.accuracy == (cell == aim) and got.random == pytest.approx(1 / 9) and got.centre == (cell == 4)


def test_an_even_grid_has_four_cells_in_the_middle():
    boxes = cells(4, 4)
    got = pointing_accuracy(lambda c: one_hot(16, 0), [[([0], boxes[[5, 6]], "a")]], boxes, (4, 4))
    assert got.centre == 0.5 and got.random == pytest.approx(2 / 16)


def test_equal_weights_point_at_the_lowest_region():
    boxes = cells(2, 2)
    flat = np.full((1, 1, 4), 0.25)
    for cell in range(4):
        got = pointing_accuracy(lambda c: flat, [[([0], boxes[[cell]], "a")]], boxes, (2, 2))
        assert got.accuracy == (cell == 0)


def test_smoothing_prefers_a_group_to_a_lone_peak():
    A = np.zeros((1, 1, 25))
    A[0, 0, 24] = 0.3                        # a lone peak in the corner
    A[0, 0, [6, 7, 11, 12]] = 0.175
    boxes = cells(5, 5)
    truth = [[([0], [[0.1, 0.1, 0.6, 0.6]], "a")]]
    assert pointing_accuracy(lambda c: A, truth, boxes, (5, 5)).accuracy == 0
    assert pointing_accuracy(lambda c: A, truth, boxes, (5, 5), smooth=3).accuracy == 1


def test_phrases_without_token_or_box_do_not_count_and_cost_nothing():
    boxes = cells(2, 2)
    asked = []

    def attention_of(c):
        asked.append(c)
        return one_hot(4, 0)

    phrases = [[([], boxes[[0]], "a"), ([0], [], "a")], [([0], boxes[[0]], "b")], []]
    got = pointing_accuracy(attention_of, phrases, boxes, (2, 2))
    assert got.phrases == 1 and asked == [1] and list(got.by_type) == ["b"]


def test_a_phrase_of_two_types_counts_under_both_and_once_in_all():
    boxes = cells(2, 2)
    phrases = [[([0], boxes[[0]], "animals/people"), ([0], boxes[[1]], "people")]]
    got = pointing_accuracy(lambda c: one_hot(4, 0), phrases, boxes, (2, 2)).to_json()
    assert got["phrases"] == 2 and got["accuracy"] == 0.5
    assert got["by_type"]["animals"] == {"accuracy": 1, "random": 0.25, "centre": 0.25, "phrases": 1}
    assert got["by_type"]["people"]["phrases"] == 2


def test_mistakes_are_named():
    boxes = cells(2, 2)
    play = [[([0], boxes[[0]], "a")]]
    with pytest.raises(ShapeError, match="nothing to point at"):
        pointing_accuracy(lambda c: one_hot(4, 0), [[]], boxes, (2, 2))
    with pytest.raises(ValueError, match="odd"):
        pointing_accuracy(lambda c: one_hot(4, 0), play, boxes, (2, 2), smooth=2)
    with pytest.raises(ShapeError, match="2×3 grid"):
        pointing_accuracy(lambda c: one_hot(4, 0), play, boxes, (2, 3))
    with pytest.raises(ShapeError, match="NaN"):
        pointing_accuracy(lambda c: one_hot(4, 0) * np.nan, play, boxes, (2, 2))
    with pytest.raises(ShapeError, match="3 tokens"):
        pointing_accuracy(lambda c: one_hot(4, 0), [[([3], boxes[[0]], "a")]], boxes, (2, 2))
