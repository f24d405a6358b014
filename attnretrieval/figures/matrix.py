"""Attention weights as a matrix: a row is a query, a column a key, and the darker a cell the larger its weight.

    attention_matrix    one matrix A (n, m)
    heads               A (heads, n, m), a panel a head, all on one scale

The scale runs from 0 to 1 unless it is told otherwise, so that two figures can be compared. Numbers stand in the cells where
there is room for them. Padding is hatched; a weight that stands there is a mistake, so its number stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnretrieval.backend import to_host
from attnretrieval.figures.given import check_limit, check_some
from attnretrieval.figures.panels import draw_matrices, ink
from attnretrieval.figures.style import GREY, WEIGHTS_ON_WHITE
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_mask

LOOKS = ("query: looks", "key: is looked at")
ROOM = 0.28                     # inches of a cell that holds its number


def attention_matrix(A: Any, queries: Sequence[str], keys: Sequence[str], key_mask: Any = None, title: str = "",
                     query_mask: Any = None, limit: float | None = 1.0) -> Figure:
    """`A` (n, m) with n labels `queries` and m labels `keys`; the rest as in `heads`."""
    A = to_host(A)
    check_array("A", A, ndim=2)
    return heads(A[None], queries, keys, key_mask, [""], query_mask=query_mask, limit=limit, title=title)


def heads(A: Any, queries: Sequence[str], keys: Sequence[str], key_mask: Any = None, titles: Sequence[str] | None = None,
          axes: tuple[str, str] = LOOKS, bar: str = "weight", query_mask: Any = None, limit: float | None = 1.0,
          title: str = "") -> Figure:
    """`A` (heads, n, m); `titles` are "head 0", "head 1" and so on where none are given, `title` stands above all.

    `key_mask` (m,) and `query_mask` (n,) are True for a real token. `limit` is the end of the scale, None the largest weight;
    values below 0 are white, and above the limit as dark as it, which a triangle on the bar tells.
    `axes` says what rows and columns are and `bar` what the numbers are, for matrices that are no attention.
    """
    A = to_host(A)
    check_array("A", A, ndim=3)
    check_finite("A", A)
    check_some("A", A)
    h, n, m = A.shape
    check_mask("key_mask", key_mask, (m,))
    check_mask("query_mask", query_mask, (n,))
    check_limit(limit)
    if (len(queries), len(keys)) != (n, m):
        raise ShapeError(f"A has {n} queries and {m} keys, but there are {len(queries)} and {len(keys)} labels")
    titles = [f"head {i}" for i in range(h)] if titles is None else titles
    if len(titles) != h:
        raise ShapeError(f"{len(titles)} titles for {h} heads")
    padded = np.zeros((n, m), bool)
    padded[:, [] if key_mask is None else ~to_host(key_mask)] = True
    padded[[] if query_mask is None else ~to_host(query_mask)] = True
    scale = Normalize(0, float(A.max()) or 1.0 if limit is None else limit)
    across = f"{axes[1]} →" if axes[1] else ""
    figure, panels = draw_matrices(A, queries, keys, titles, scale, WEIGHTS_ON_WHITE, bar,
                                   (axes[0], across + ("   (hatched: padding)" if padded.any() else "")), title)
    for ax, weights in zip(panels, A, strict=True):
        _hatch(ax, padded)
        if ax.get_window_extent().width / figure.dpi / m >= ROOM:
            _write(ax, weights, padded, scale)
    return figure


def _hatch(ax: Axes, padded: np.ndarray) -> None:
    for i, j in np.argwhere(padded):
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, hatch="///", facecolor=(0.91, 0.91, 0.91, 0.7), edgecolor=GREY,
                               linewidth=0))


def _write(ax: Axes, weights: np.ndarray, padded: np.ndarray, scale: Normalize) -> None:
    for (i, j), weight in np.ndenumerate(weights):
        if weight or not padded[i, j]:
            colour = "black" if padded[i, j] else ink(WEIGHTS_ON_WHITE(scale(weight)))
            ax.text(j, i, _short(weight), fontsize=7.5, ha="center", va="center", color=colour, gid="number")


def _short(weight: float) -> str:
    """Two decimals, written without what the eye can do without: .25, 0, 1."""
    text = f"{weight:.2f}"
    return {"0.00": "0", "-0.00": "0", "1.00": "1"}.get(text, text.replace("0.", ".", 1))
