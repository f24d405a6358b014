"""Vectors as points on a plane: what is near what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from attnretrieval.backend import to_host
from attnretrieval.figures.panels import shorten
from attnretrieval.figures.style import BLUE, GREEN, GREY, ORANGE, RED, fit, new_figure, plain
from attnretrieval.shapes import ShapeError, check_array, check_finite

LOOKS = ((BLUE, "o"), (RED, "s"), (GREEN, "^"), (ORANGE, "D"), (GREY, "x"), ("black", "v"))   # told apart in grey by marker

PLANE, WITH_LIST, LIST = 7.5, 6.1, 2.9          # inches: the plane with its axes, alone and beside a list of labels
LONG, MOST, SIZE = 1.1, 20, 9   # inches of a label that does not go into the plane; labels in a list; points of a letter
BESIDE = ((6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 6, "center", "bottom"), (0, -6, "center", "top"),
          (6, 8, "left", "bottom"), (6, -8, "left", "top"))
AWAY = tuple((dx, dy, ha, "center") for far in (16, 26, 36, 46) for dy in (far, -far, 0)
             for dx, ha in ((far, "left"), (-far, "right"), (0, "center")) if dx or dy)
PLACES = BESIDE + AWAY          # of a label, in points from its own; the first that is free is taken
LEADER = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}


def embedding_map(X: Any, labels: Sequence[str], groups: Sequence[str], title: str = "",
                  pairs: Sequence[tuple[int, int]] = ()) -> Figure:
    """The rows of X (R, d), seen along their two principal components; one colour and one marker a group.

    Both axes have one scale, and carry the share of the variance that each shows: what is left is not in the picture.
    `groups` are at most 6 names, one a row. A label "" is not written; where labels are long, points have numbers, and the
    first 20 labels are listed beside the plane.
    `pairs` are rows that belong together, joined by a line: texts and their images, for one

        g = np.concatenate([g_t, g_v])
        g /= np.linalg.norm(g, axis=1, keepdims=True)           # as the cosine compares them
        embedding_map(g, [*captions, *[""] * N], ["text"] * N + ["image"] * N, pairs=[(i, N + i) for i in range(N)])
    """
    X = to_host(X)
    check_array("X", X, ndim=2)
    check_finite("X", X)
    if X.shape[1] < 2:
        raise ShapeError(f"X has shape {X.shape}: a plane needs vectors of two features; give more")
    if not len(X) == len(labels) == len(groups) or len(X) < 3:
        raise ShapeError(f"{len(X)} vectors, {len(labels)} labels and {len(groups)} groups; give one of each, and three "
                         "vectors or more")
    names = list(dict.fromkeys(groups))
    if len(names) > len(LOOKS):
        raise ShapeError(f"{len(names)} groups cannot be told apart; give at most {len(LOOKS)}")
    joined = np.asarray(list(pairs), int).reshape(-1, 2)
    if joined.size and not 0 <= joined.min() <= joined.max() < len(X):
        raise ShapeError(f"pairs hold the numbers {joined.min()} to {joined.max()}, but X has the rows 0 to {len(X) - 1}")
    centred = X - X.mean(axis=0)
    U, s, _ = np.linalg.svd(centred, full_matrices=False)
    sign = np.where(np.take_along_axis(U, np.abs(U).argmax(axis=0)[None], 0)[0] < 0, -1, 1)     # an axis has no sign of its own
    points = (U * (s * sign))[:, :2]
    share = 100 * s[:2] ** 2 / max(float((s**2).sum()), 1e-300)
    listed = shorten(labels, SIZE, 2 * LONG)[1] > LONG
    plane = WITH_LIST if listed else PLANE
    figure = new_figure(plane + LIST if listed else plane, 5.2)
    width = figure.get_figwidth()
    ax = figure.add_axes((0.67 / width, 0.1, (plane - 0.9) / width, 0.82))
    for name, (colour, marker) in zip(names, LOOKS, strict=False):
        rows = [i for i, group in enumerate(groups) if group == name]
        ax.scatter(points[rows, 0], points[rows, 1], c=colour, marker=marker, s=28, label=name)
    if len(joined):
        ax.add_collection(LineCollection(points[joined], colors=GREY, linewidths=0.9, zorder=0.9))
    ax.margins(0.08)
    ax.set_aspect("equal", adjustable="datalim")        # else a distance would depend on its direction
    _write(ax, points, _list(figure, labels) if listed else labels)
    ax.set_xlabel(f"first component, {share[0]:.0f} % of the variance", fontsize=9)
    ax.set_ylabel(f"second component, {share[1]:.0f} %", fontsize=9)
    ax.tick_params(labelsize=7)
    ax.grid(color="#dddddd", linewidth=0.5)
    ax.set_axisbelow(True)
    for text in ax.legend(fontsize=8, framealpha=0.9).get_texts():
        plain(text)
    if title:
        fit(plain(ax.set_title(title, fontsize=11)), plane - 0.9)
    return figure


def _list(figure: Figure, labels: Sequence[str]) -> list[str]:
    """List the labels beside the plane; what stands at the points instead."""
    width, height = figure.get_size_inches()
    rows = [row for row, label in enumerate(labels) if label][:MOST]
    for number, row in enumerate(rows):
        y = 0.9 - 0.23 * number / height
        figure.text((WITH_LIST + 0.1) / width, y, str(number + 1), fontsize=SIZE, color=GREY, ha="right", va="center")
        fit(plain(figure.text((WITH_LIST + 0.2) / width, y, labels[row], fontsize=SIZE, va="center")), LIST - 0.25)
    return [str(rows.index(row) + 1) if row in rows else "" for row in range(len(labels))]


def _write(ax: Axes, points: np.ndarray, labels: Sequence[str]) -> None:
    """Each label beside its point, or, where points and labels are already, as near as there is room, with a line to it."""
    ax.figure.draw_without_rendering()
    half = 2.5 * ax.figure.dpi / 72                     # of a marker, in pixels
    taken = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in ax.transData.transform(points)]
    frame = ax.get_window_extent()
    for (x, y), label in sorted(zip(points.tolist(), labels, strict=True)):
        if not label:
            continue
        for dx, dy, ha, va in PLACES:
            text = plain(ax.annotate(label, (x, y), xytext=(dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=SIZE,
                                     arrowprops=LEADER if max(abs(dx), abs(dy)) > 8 else None))
            box = _letters(text)
            inside = all(frame.contains(*corner) for corner in (box.min, box.max))
            if inside and not any(box.overlaps(other) for other in taken):
                break
            text.remove()
        else:
            text = plain(ax.annotate(label, (x, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=SIZE))
        taken.append(_letters(text))


def _letters(text: Annotation) -> Bbox:
    """Where a label stands, without its line."""
    text.get_window_extent()        # puts it there
    return Text.get_window_extent(text)
