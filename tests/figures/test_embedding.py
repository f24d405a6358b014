"""Maps of vectors: near is near, groups are told apart without colour, labels do not lie on each other."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.figures.embedding import embedding_map
from attnretrieval.shapes import ShapeError
from tests.figures.look import check_layout, texts


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


@pytest.mark.parametrize("count, groups", [(2, 2), (5, 4), (7, 7)])
def test_wrong_input_is_told(count, groups):
    with pytest.raises(ShapeError, match="give"):
        embedding_map(np.eye(count), ["w"] * count, [f"g{i}" for i in range(groups)])
