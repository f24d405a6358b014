"""One attention map as the matrix that it is: a row for every token that looks, a column for every token it can look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnretrieval.backend import to_host
from attnretrieval.figures.given import check_limit
from attnretrieval.figures.matrices import draw_matrices, ink, label_list
from attnretrieval.figures.style import WEIGHTS_ON_WHITE
from attnretrieval.shapes import check_array, check_finite, check_mask

NUMBERS = 0.36                  # inches of a cell that holds its number


def attention_matrix(
    A: Any,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    row_mask: Any = None,
    column_mask: Any = None,
    limit: float | None = None,
    title: str = "",
) -> Figure:
    """The weights A (n, m) of one head, with their numbers where there is room.

    `rows` and `columns` are labels, None for numbers. Rows and columns whose mask is False are padding: they are hatched, and a
    weight that stands in such a column is a mistake. `limit` is the end of the scale, None the largest weight.
    """
    A = to_host(A)
    check_array("A", A, ndim=2)
    check_finite("A", A)
    check_mask("row_mask", row_mask, A.shape[:1])
    check_mask("column_mask", column_mask, A.shape[1:])
    check_limit(limit)
    n, m = A.shape
    scale = Normalize(0, limit or A.max() or 1)
    figure, (ax,) = draw_matrices(A[None], label_list("rows", rows, n), label_list("columns", columns, m), [""], scale,
                                  WEIGHTS_ON_WHITE, "attention weight", looks(row_mask, column_mask), title)
    if ax.get_window_extent().width / figure.dpi / m >= NUMBERS:
        for i, j in np.ndindex(n, m):
            colour = ink(WEIGHTS_ON_WHITE(scale(A[i, j])))
            ax.text(j, i, f"{A[i, j]:.2f}", fontsize=8, ha="center", va="center", color=colour, gid="number")
    hatch_padding(ax, row_mask, column_mask, A.shape)
    return figure


def hatch_padding(ax: Any, row_mask: Any, column_mask: Any, shape: tuple[int, int]) -> None:
    """Hatch the rows and columns that are padding."""
    n, m = shape
    padded = [((-0.5, i - 0.5), m, 1) for i in np.flatnonzero(~np.asarray(row_mask))] if row_mask is not None else []
    if column_mask is not None:
        padded += [((j - 0.5, -0.5), 1, n) for j in np.flatnonzero(~np.asarray(column_mask))]
    for corner, width, height in padded:
        ax.add_patch(Rectangle(corner, width, height, hatch="//", facecolor=(0.5, 0.5, 0.5, 0.15),
                               edgecolor=(0.4, 0.4, 0.4, 0.55), linewidth=0))


def looks(row_mask: Any, column_mask: Any) -> tuple[str, str]:
    """What the rows and the columns of a map are."""
    padded = any(mask is not None and not np.all(mask) for mask in (row_mask, column_mask))
    return "looks", "is looked at →" + ("   (hatched: padding)" if padded else "")
