"""The attention maps of all heads side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from attnretrieval.backend import to_host
from attnretrieval.figures.attention_matrix import hatch_padding, looks
from attnretrieval.figures.given import check_limit
from attnretrieval.figures.matrices import draw_matrices, label_list
from attnretrieval.figures.style import WEIGHTS_ON_WHITE
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_mask


def heads(
    A: Any,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    row_mask: Any = None,
    column_mask: Any = None,
    limit: float | None = None,
    title: str = "",
) -> Figure:
    """The weights A (heads, n, m), a panel a head, all on one scale; the other arguments are those of `attention_matrix`.

    Below each panel stands how sharply the head looks: the mean over its rows of the largest weight, 1/m for a head that does
    not choose and 1 for one that sees a single token.
    """
    A = to_host(A)
    check_array("A", A, ndim=3)
    check_finite("A", A)
    count, n, m = A.shape
    check_mask("row_mask", row_mask, (n,))
    check_mask("column_mask", column_mask, (m,))
    check_limit(limit)
    real = np.ones(n, bool) if row_mask is None else np.asarray(row_mask)
    if not real.any():
        raise ShapeError("every row is padding: there is nothing to draw")
    sharp = A[:, real].max(axis=2).mean(axis=1)
    figure, axes = draw_matrices(
        A, label_list("rows", rows, n), label_list("columns", columns, m),
        [f"head {i}: mean largest {sharp[i]:.2f}" for i in range(count)], Normalize(0, limit or A.max() or 1), WEIGHTS_ON_WHITE,
        "attention weight", looks(row_mask, column_mask), title)
    for ax in axes:
        hatch_padding(ax, row_mask, column_mask, (n, m))
    return figure
