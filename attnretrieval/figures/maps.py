"""Attention between the words of a text and the regions of its image, drawn over the image.

Two panels a word, one above the other:

    looks at        row i of A_t2v over the regions: where the word looks; its largest weight is framed, if they differ
    looked at by    column i of A_v2t over the regions: which regions look at the word

Weights are drawn as *times uniform*: A_t2v · m and A_v2t · n, so that 1 is what attention that does not choose would give, for
a text and an image of any size. All panels have one scale, and one colour bar says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from attnretrieval.figures.given import check_given, check_head, check_limit
from attnretrieval.figures.style import WEIGHTS, extend, fit, new_figure, pale, plain

# in inches
ACROSS = 12.0                   # the image and the words of one band of panels; what does not fit goes into the next band
PANEL = 1.45                    # width of a panel, where the image is not very wide
FLATTEST, TALLEST = 0.8, 2.2    # height of a panel: room for its label, and several bands on a page
GAP, WORD, SIDE = 0.06, 0.27, 0.3


def word_region_maps(
    image: Any,
    words: Sequence[str],
    A_t2v: Any,
    A_v2t: Any,
    boxes: Any,
    head: int | None = None,
    word_mask: Any = None,
    region_mask: Any = None,
    limit: float | None = None,
    title: str = "",
) -> Figure:
    """One pair of maps a word.

    `image` (height, width, 3) uint8; `words` n labels; `A_t2v` (heads, n, m) and `A_v2t` (heads, m, n) as `Model.attention`
    gives them; `boxes` (m, 4) of the regions, [x0, y0, x1, y1] in fractions of the image. `head` draws one head, None their
    mean. Words and regions whose mask is False are padding and are not drawn. `limit` is the end of the scale in times uniform,
    None the largest weight drawn, or 2 if all are smaller: give it to compare figures.
    """
    image, words, A_t2v, A_v2t, boxes, *_ = check_given(image, words, A_t2v, A_v2t, boxes, word_mask, region_mask)
    heads, n, m = A_t2v.shape
    check_head(head, heads)
    check_limit(limit)
    t2v, v2t = (A.mean(axis=0) if head is None else A[head] for A in (A_t2v, A_v2t))
    looks_at, looked_at_by = t2v * m, v2t.T * n
    largest = float(max(looks_at.max(), looked_at_by.max()))
    scale = Normalize(0, limit or max(largest, 2))
    which = "" if heads == 1 else f"mean of {heads} heads" if head is None else f"head {head} of heads 0 to {heads - 1}"
    heading = "   ".join(filter(None, [title, f"({which})" if which else ""]))
    return _draw(image, words, looks_at, looked_at_by, boxes, scale, largest, heading)


def _draw(image: np.ndarray, words: list[str], looks_at: np.ndarray, looked_at_by: np.ndarray, boxes: np.ndarray,
          scale: Normalize, largest: float, heading: str) -> Figure:
    ratio = image.shape[1] / image.shape[0]
    wide = float(np.clip(FLATTEST * ratio, PANEL, ACROSS / 3))
    tall = float(np.clip(wide / ratio, FLATTEST, TALLEST))
    columns = min(len(words), max(1, int(ACROSS / wide) - 1))      # each band begins with the image itself
    bands = -(-len(words) // columns)
    columns = -(-len(words) // bands)                               # bands of nearly one length
    left, top = wide + SIDE, 0.37 if heading else 0.05
    pair = WORD + 2 * tall + GAP
    bar_left = left + columns * (wide + GAP) + 0.55
    width, height = bar_left + 0.85, top + bands * (pair + 0.12)
    figure = new_figure(width, height)

    def place(x: float, y: float, w: float, h: float):
        return figure.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))

    if heading:
        fit(plain(figure.suptitle(heading, fontsize=11, y=1 - 0.09 / height, va="top")), width - 0.2)
    ground = pale(image)
    for band in range(bands):
        y = top + band * (pair + 0.12) + WORD
        regions = _panel(place(GAP, y, wide, tall), image)
        _grid(regions, boxes, image.shape)
        regions.set_title("the regions", fontsize=9, style="italic")
        here = range(band * columns, min((band + 1) * columns, len(words)))
        for x, word in enumerate(here):
            above, below = (_panel(place(left + x * (wide + GAP), row, wide, tall), ground) for row in (y, y + tall + GAP))
            fit(plain(above.set_title(words[word], fontsize=11)), wide)
            _weigh(above, looks_at[word], boxes, scale, image.shape)
            _weigh(below, looked_at_by[word], boxes, scale, image.shape)
            if np.ptp(looks_at[word]) > 1e-6:                       # nothing is largest where all are equal
                _frame(above, boxes[looks_at[word].argmax()], image.shape, min(1, 7 / len(boxes) ** 0.5))
            if x == 0:
                _side_label(above, "looks at")
                _side_label(below, "looked at by")
    _bar(figure, place(bar_left, top + WORD, 0.2, 2 * tall + GAP), scale, largest)
    return figure


def _bar(figure: Figure, ax, scale: Normalize, largest: float) -> None:
    bar = figure.colorbar(ScalarMappable(scale, WEIGHTS), cax=ax, ticks=MaxNLocator(8, steps=[1, 2, 5, 10]),
                          extend=extend(largest, scale))
    bar.set_label("attention, times uniform", fontsize=9)
    ax.tick_params(labelsize=8)
    if scale.vmax > 1:
        ax.axhline(1, color="black", linewidth=1)           # what attention that does not choose would give
        ax.text(-0.2, 1, "uniform", fontsize=8, style="italic", ha="right", va="center", transform=ax.get_yaxis_transform())


def _panel(ax, image: np.ndarray):
    ax.imshow(image, interpolation="nearest")
    ax.set_xlim(-0.5, image.shape[1] - 0.5)
    ax.set_ylim(image.shape[0] - 0.5, -0.5)
    ax.set_axis_off()
    return ax


def _rectangle(box: np.ndarray, shape: tuple[int, ...]) -> Rectangle:
    (x0, x1), (y0, y1) = box[[0, 2]] * shape[1] - 0.5, box[[1, 3]] * shape[0] - 0.5
    return Rectangle((x0, y0), x1 - x0, y1 - y0)


def _grid(ax, boxes: np.ndarray, shape: tuple[int, ...]) -> None:
    for color, width in (("black", 1.2), ("white", 0.5)):       # seen on light and on dark
        ax.add_collection(PatchCollection([_rectangle(box, shape) for box in boxes], facecolor="none", edgecolor=color,
                                          linewidth=width, alpha=0.8))


def _weigh(ax, weights: np.ndarray, boxes: np.ndarray, scale: Normalize, shape: tuple[int, ...]) -> None:
    cells = PatchCollection([_rectangle(box, shape) for box in boxes], cmap=WEIGHTS, norm=scale,
                            edgecolor=(0, 0, 0, 0.25), linewidth=0.4)
    cells.set_array(weights)
    ax.add_collection(cells)


def _frame(ax, box: np.ndarray, shape: tuple[int, ...], width: float) -> None:
    for color, line in (("black", 3 * width), ("white", 1.4 * width)):       # thinner where cells are small
        frame = _rectangle(box, shape)
        frame.set(facecolor="none", edgecolor=color, linewidth=line, clip_on=False)
        ax.add_patch(frame)


def _side_label(ax, text: str) -> None:
    ax.annotate(text, (0, 0.5), xycoords="axes fraction", xytext=(-4, 0), textcoords="offset points", rotation=90,
                ha="right", va="center", fontsize=9)
