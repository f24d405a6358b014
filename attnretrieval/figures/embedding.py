"""Vectors as points on a plane: what is near what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from attnretrieval.backend import to_host
from attnretrieval.figures.style import BLUE, GREEN, GREY, ORANGE, RED, new_figure, plain
from attnretrieval.shapes import ShapeError, check_array, check_finite

LOOKS = ((BLUE, "o"), (RED, "s"), (GREEN, "^"), (ORANGE, "D"), (GREY, "x"), ("black", "v"))   # told apart in grey by marker


def embedding_map(X: Any, labels: Sequence[str], groups: Sequence[str], title: str = "") -> Figure:
    """The rows of X (R, d), seen along their two principal components; one colour and one marker a group.

    The axes carry the share of the variance that each shows: what is left is not in the picture.
    """
    X = to_host(X)
    check_array("X", X, ndim=2)
    check_finite("X", X)
    if not len(X) == len(labels) == len(groups) or len(X) < 3:
        raise ShapeError(f"{len(X)} vectors, {len(labels)} labels and {len(groups)} groups; give one of each, and three "
                         "vectors or more")
    names = list(dict.fromkeys(groups))
    if len(names) > len(LOOKS):
        raise ShapeError(f"{len(names)} groups cannot be told apart; give at most {len(LOOKS)}")
    centred = X - X.mean(axis=0)
    U, s, _ = np.linalg.svd(centred, full_matrices=False)
    sign = np.where(np.take_along_axis(U, np.abs(U).argmax(axis=0)[None], 0)[0] < 0, -1, 1)     # an axis has no sign of its own
    points = (U * (s * sign))[:, :2]
    share = 100 * s[:2] ** 2 / max(float((s**2).sum()), 1e-300)
    figure = new_figure(7.5, 5.2)
    ax = figure.add_axes((0.09, 0.1, 0.88, 0.82))
    for name, (colour, marker) in zip(names, LOOKS, strict=False):
        rows = [i for i, group in enumerate(groups) if group == name]
        ax.scatter(points[rows, 0], points[rows, 1], c=colour, marker=marker, s=28, label=name)
    _write(ax, points, labels)
    ax.margins(0.08)
    ax.set_xlabel(f"first component, {share[0]:.0f} % of the variance", fontsize=9)
    ax.set_ylabel(f"second component, {share[1]:.0f} %", fontsize=9)
    ax.tick_params(labelsize=7)
    ax.grid(color="#dddddd", linewidth=0.5)
    ax.set_axisbelow(True)
    for text in ax.legend(fontsize=8, framealpha=0.9).get_texts():
        plain(text)
    if title:
        plain(ax.set_title(title, fontsize=11))
    return figure


def _write(ax, points: np.ndarray, labels: Sequence[str]) -> None:
    """Each label right of its point, or left, above or below where another label is already."""
    ax.figure.draw_without_rendering()
    taken = []
    for (x, y), label in sorted(zip(points.tolist(), labels, strict=True)):
        for dx, dy, ha, va in ((6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 6, "center", "bottom"),
                               (0, -6, "center", "top"), (6, 8, "left", "bottom"), (6, -8, "left", "top")):
            text = plain(ax.annotate(label, (x, y), xytext=(dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=9))
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
            text.remove()
        else:
            text = plain(ax.annotate(label, (x, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=9))
        taken.append(text.get_window_extent())
