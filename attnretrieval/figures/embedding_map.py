"""Texts and images in one plane: the two principal components of their vectors g, with every pair joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from attnretrieval.backend import to_host
from attnretrieval.figures.given import check_pairs
from attnretrieval.figures.matrices import label_list
from attnretrieval.figures.style import BLUE, GREY, ORANGE, fit, new_figure, plain
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_same_size

WIDE, TALL, LISTED = 5.2, 4.9, 3.05      # inches: the plane, the list of labels
MOST = 20                               # labels that a list holds


def embedding_map(
    g_t: Any,
    g_v: Any,
    image_of: Any = None,
    labels: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Vectors g_t (texts, d) and g_v (images, d), of length 1 as the cosine compares them, in their first two components.

    `image_of` (texts,) is the number of each text's image, None where text i belongs to image i. `labels`, one a text, are
    listed beside the plane (up to 20), under the numbers that stand at the points. The axes say which share of the variance
    they show: pairs that are close here may be apart in the components that are not drawn.
    """
    g_t, g_v = to_host(g_t), to_host(g_v)
    for name, g in (("g_t", g_t), ("g_v", g_v)):
        check_array(name, g, ndim=2)
        check_finite(name, g)
    check_same_size("g_t", g_t, 1, "g_v", g_v, 1, "both lie in one space")
    right = check_pairs(image_of, len(g_t), len(g_v))
    if not len(right):
        raise ShapeError("there are no texts: there is nothing to draw")
    places, shares = components(np.concatenate([g_t, g_v]))
    texts, images = places[:len(g_t)], places[len(g_t):]

    listed = min(MOST, len(g_t)) if labels is not None else 0
    left, right_side = 0.75, (LISTED if listed else 0.15)
    width, height = left + WIDE + right_side, TALL + 0.65 + (0.25 if title else 0)
    figure = new_figure(width, height)
    ax = figure.add_axes((left / width, 0.55 / height, WIDE / width, TALL / height))
    ax.add_collection(LineCollection(np.stack([texts, images[right]], axis=1), colors=GREY, linewidths=0.9, zorder=1))
    ax.scatter(*images.T, s=44, marker="s", color=ORANGE, edgecolor="black", linewidth=0.6, label="image", zorder=2)
    ax.scatter(*texts.T, s=38, marker="o", color=BLUE, edgecolor="white", linewidth=0.6, label="text", zorder=3)
    ax.set_xlabel(f"component 1 ({100 * shares[0]:.0f} % of the variance)", fontsize=10)
    ax.set_ylabel(f"component 2 ({100 * shares[1]:.0f} %)", fontsize=10)
    ax.set_aspect("equal", adjustable="datalim")        # a distance is a distance in any direction
    ax.margins(0.08)
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=9, loc="upper left", bbox_to_anchor=(0, 1), framealpha=0.9)
    if title:
        fit(plain(figure.suptitle(title, fontsize=11, y=1 - 0.08 / height, va="top")), width - 0.2)
    for i, label in enumerate(label_list("labels", labels, len(g_t))[:listed]):
        away = texts[i] - images[right[i]]                  # the number stands where the line to the image does not go
        away = 9 * away / max(np.linalg.norm(away), 1e-12) if away.any() else (6, 6)
        ax.annotate(str(i + 1), texts[i], xytext=away, textcoords="offset points", fontsize=8, ha="center", va="center",
                    zorder=4)
        y = 1 - (height - TALL - 0.55 + 0.12 + 0.24 * i) / height
        figure.text((left + WIDE + 0.4) / width, y, f"{i + 1}", fontsize=9, ha="right", va="center", color=GREY)
        fit(plain(figure.text((left + WIDE + 0.5) / width, y, label, fontsize=9, va="center")), LISTED - 0.6)
    return figure


def components(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows, scaled to length 1, in their first two principal components, and these components' shares of the variance."""
    X = g.astype(float)
    X = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)
    X = X - X.mean(axis=0)
    _, sizes, directions = np.linalg.svd(X, full_matrices=False)
    directions *= np.where(directions.sum(axis=1) < 0, -1, 1)[:, None]      # a component has no sign of its own; this fixes one
    directions, sizes = np.pad(directions[:2], ((0, 2 - len(directions[:2])), (0, 0))), np.pad(sizes, (0, 2))
    return X @ directions.T, sizes[:2] ** 2 / max((sizes ** 2).sum(), 1e-300)
