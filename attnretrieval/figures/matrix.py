"""Attention weights as a matrix: a row is a query, a column a key, and the darker a cell the larger its weight.

    attention_matrix    one matrix A (n, m), with its numbers where there is room for them
    heads               A (heads, n, m), one panel a head, all on one scale

The scale always runs from 0 to 1, so that two figures can be compared. Padding is hatched: `key_mask`, True = a real key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnretrieval.backend import to_host
from attnretrieval.figures.style import GREY, WEIGHTS, fit, new_figure, plain
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_mask

CELL, LABEL, TITLE, BAR = 0.42, 0.85, 0.35, 0.8     # inches
NUMBERS = 14                                        # columns up to which the numbers fit into the cells
LOOKS = ("query: the token that looks", "key: the token that is looked at")
LONGEST = 0.8                                       # inches of a label


def attention_matrix(A: Any, queries: Sequence[str], keys: Sequence[str], key_mask: Any = None, title: str = "") -> Figure:
    """`A` (n, m) with n labels `queries` and m labels `keys`."""
    A = to_host(A)
    check_array("A", A, ndim=2)
    return heads(A[None], queries, keys, key_mask, [title])


def heads(A: Any, queries: Sequence[str], keys: Sequence[str], key_mask: Any = None,
          titles: Sequence[str] | None = None, axes: tuple[str, str] = LOOKS, bar: str = "weight") -> Figure:
    """`A` (heads, n, m); `titles` are "head 0", "head 1" and so on where none are given.

    `axes` says what rows and columns are and `bar` what the numbers are, for matrices that are no attention.
    """
    A = to_host(A)
    check_array("A", A, ndim=3)
    check_finite("A", A)
    check_mask("key_mask", key_mask, A.shape[-1:])
    h, n, m = A.shape
    if (len(queries), len(keys)) != (n, m):
        raise ShapeError(f"A has {n} queries and {m} keys, but there are {len(queries)} and {len(keys)} labels")
    titles = [f"head {i}" for i in range(h)] if titles is None else titles
    if len(titles) != h:
        raise ShapeError(f"{len(titles)} titles for {h} heads")
    wide, tall = m * CELL, n * CELL
    above, below = TITLE if any(titles) else 0.1, LABEL
    width, height = h * (LABEL + wide + 0.15) + BAR, above + tall + below
    figure = new_figure(width, height)
    for i, title in enumerate(titles):
        left = LABEL + i * (LABEL + wide + 0.15)
        ax = figure.add_axes((left / width, below / height, wide / width, tall / height))
        shown = _panel(ax, A[i], queries, keys, None if key_mask is None else np.asarray(key_mask))
        if title:
            fit(plain(ax.set_title(title, fontsize=10)), wide + LABEL)
        if i == 0:
            ax.set_ylabel(axes[0], fontsize=8, color=GREY)
        ax.set_xlabel(axes[1], fontsize=8, color=GREY)
    high = min(tall, 2.4)
    scale = figure.add_axes(((width - BAR + 0.15) / width, (below + tall - high) / height, 0.14 / width, high / height))
    figure.colorbar(shown, cax=scale)
    scale.set_ylabel(bar, fontsize=8)
    scale.tick_params(labelsize=7)
    return figure


def _panel(ax, A: np.ndarray, queries: Sequence[str], keys: Sequence[str], key_mask: np.ndarray | None):
    n, m = A.shape
    shown = ax.imshow(A, cmap=WEIGHTS, vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(m), keys, rotation=60, ha="right", rotation_mode="anchor", fontsize=9)
    ax.set_yticks(range(n), queries, fontsize=9)
    ax.tick_params(length=0)
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        fit(plain(label), LONGEST)
    ax.set_xticks(np.arange(m + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1)
    ax.tick_params(which="minor", length=0)
    for j in range(m):
        if key_mask is not None and not key_mask[j]:
            ax.add_patch(Rectangle((j - 0.5, -0.5), 1, n, facecolor="#e8e8e8", edgecolor=GREY, hatch="///", linewidth=0))
    if m <= NUMBERS:
        for i, j in np.ndindex(n, m):
            if key_mask is None or key_mask[j]:
                ax.text(j, i, _short(A[i, j]), fontsize=7.5, ha="center", va="center",
                        color="white" if A[i, j] > 0.6 else "black")
    return shown


def _short(weight: float) -> str:
    """Two decimals, written without what the eye can do without: .25, 0, 1."""
    text = f"{weight:.2f}"
    return {"0.00": "0", "-0.00": "0", "1.00": "1"}.get(text, text.replace("0.", ".", 1))
