"""Maps of vectors: near is near, groups are told apart without colour, labels do not lie on each other."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.text import Text

from attnretrieval.figures.embedding import embedding_map
from attnretrieval.shapes import ShapeError
from tests.figures.look import check_layout, overlap, texts


def clusters() -> tuple[np.ndarray, list[str], list[str]]:
    rng = np.random.default_rng(0)
    centres = 5 * rng.normal(size=(3, 8))
    X = np.concatenate([centre + 0.5 * rng.normal(size=(5, 8)) for centre in centres])
    return X, [f"w{i}" for i in range(15)], [name for name in ("colours", "animals", "things") for _ in range(5)]


def test_groups_stay_together_and_have_markers_of_their_own():
    X, labels, groups = clusters()
    ax = embedding_map(X, labels, groups).axes[0]
    points = [np.asarray(group.get_offsets()) for group in ax.collections]
    assert [len(group) for group in points] == [5, 5, 5]
    centres = np.stack([group.mean(axis=0) for group in points])
    spread = max(np.linalg.norm(group - centre, axis=1).max() for group, centre in zip(points, centres, strict=True))
    between = min(np.linalg.norm(centres[i] - centres[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert between > 2 * spread
    assert len({tuple(group.get_paths()[0].vertices.ravel()) for group in ax.collections}) == 3
    share = 100 * np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2
    assert ax.get_xlabel() == f"first component, {share[0] / share.sum() * 100:.0f} % of the variance"


def test_every_label_is_there_and_none_lies_on_another():
    X, labels, groups = clusters()
    figure = embedding_map(X, labels, groups, title="$x$")
    assert set(labels) <= {text.get_text() for text in texts(figure)}
    check_layout(figure)


def test_a_mirrored_table_gives_the_same_picture():
    X, labels, groups = clusters()
    one, other = (embedding_map(table, labels, groups).axes[0].collections[0].get_offsets() for table in (X, X @ -np.eye(8)))
    np.testing.assert_allclose(np.abs(one), np.abs(other), atol=1e-8)


@pytest.mark.parametrize("count", [16, 25])
def test_long_labels_are_listed_under_their_numbers(count):
    X = np.random.default_rng(1).normal(size=(count, 8))
    labels = ["", *(f"caption ${i}$ " + "with words " * (i % 5) for i in range(1, count))]
    figure = embedding_map(X, labels, ["text"] * count)
    written = sorted(int(text.get_text()) for text in figure.axes[0].texts)
    listed = [text.get_text() for text in figure.texts if text.get_text().startswith("caption")]
    assert written == list(range(1, min(count - 1, 20) + 1)) and figure.get_figwidth() <= 9
    assert [text.split()[1] for text in listed] == [f"${i}$" for i in range(1, min(count - 1, 20) + 1)]
    check_layout(figure)


def test_pairs_are_joined_and_empty_labels_are_not_written():
    X, _, groups = clusters()
    pairs = [(0, 14), (3, 7)]
    ax = embedding_map(X, ["cat"] + [""] * 14, groups, pairs=pairs).axes[0]
    points = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections if isinstance(c, PathCollection)])
    (lines,) = (c for c in ax.collections if isinstance(c, LineCollection))
    np.testing.assert_allclose(lines.get_segments(), points[np.array(pairs)])       # rows of one group follow each other here
    assert [text.get_text() for text in ax.texts] == ["cat"]
    with pytest.raises(ShapeError, match="pairs hold the numbers 0 to 15, but X has the rows 0 to 14"):
        embedding_map(X, [""] * 15, groups, pairs=[(0, 15)])


@pytest.mark.parametrize("count, groups", [(2, 2), (5, 4), (7, 7)])
def test_wrong_input_is_told(count, groups):
    with pytest.raises(ShapeError, match="give"):
        embedding_map(np.eye(count), ["w"] * count, [f"g{i}" for i in range(groups)])


def test_distances_do_not_depend_on_their_direction():
    X = np.random.default_rng(0).normal(size=(9, 2)) * (10, 1)
    figure = embedding_map(X, [""] * 9, ["a"] * 9)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    right, up = (ax.transData.transform(point) - ax.transData.transform((0, 0)) for point in ((1, 0), (0, 1)))
    assert right[0] == pytest.approx(up[1])
    shown = np.asarray(ax.collections[0].get_offsets())
    for i, j in ((0, 1), (2, 7)):
        assert np.linalg.norm(shown[i] - shown[j]) == pytest.approx(np.linalg.norm(X[i] - X[j]))


@pytest.mark.parametrize("X", [np.ones((7, 3)), np.random.default_rng(0).normal(size=(40, 3))], ids=["one place", "a crowd"])
def test_labels_of_a_crowd_keep_apart_and_within_the_axes(X):
    labels = [f"word{i}" for i in range(len(X))]
    figure = embedding_map(X, labels, ["a"] * len(X), title="a long title " * 20)
    assert {text.get_text() for text in figure.axes[0].texts} == set(labels)
    check_layout(figure)
    frame = figure.axes[0].get_window_extent()
    for text in figure.axes[0].texts:
        box = Text.get_window_extent(text)
        assert not overlap(box, figure.axes[0].get_legend().get_window_extent())
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def test_vectors_of_one_feature_are_told():
    with pytest.raises(ShapeError, match="two features"):
        embedding_map(np.ones((4, 1)), ["w"] * 4, ["g"] * 4)
