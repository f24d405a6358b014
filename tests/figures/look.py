"""What a reader of a figure sees: its texts, where they stand, and its pixels."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from attnretrieval.figures import fonts

DPI = 100


def pixels(figure: Figure) -> np.ndarray:
    """The drawn figure, (height, width, 3) uint8."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def colour_at(drawn: np.ndarray, ax, x: float, y: float) -> np.ndarray:
    """The colour of these pixels at data coordinates (x, y) of an axes."""
    column, row = ax.transData.transform((x, y))
    return drawn[len(drawn) - 1 - int(row), int(column)].astype(int)


def texts(figure: Figure) -> list[Text]:
    """All texts that are drawn."""
    found = list(figure.texts)
    for ax in figure.axes:
        found += [*ax.texts, ax.title]
        if ax.axison:
            for axis in (ax.xaxis, ax.yaxis):
                low, high = sorted(axis.get_view_interval())
                found += [axis.label, *(tick.label1 if tick.label1.get_visible() else tick.label2
                                        for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)]
    return [text for text in found if text.get_text().strip() and text.get_visible()]


def check_layout(figure: Figure) -> None:
    """No text lies on another text or on a picture, unless it is the number of a cell; and all lie within the figure.

    And every letter has a glyph in one of the fonts of its text.
    """
    pixels(figure)
    boxes = {id(text): Text.get_window_extent(text) for text in texts(figure)}     # of the letters, without an arrow
    named = {id(text): text.get_text() for text in texts(figure)}
    numbers = {id(text) for text in texts(figure) if text.get_gid() == "number"}
    check_glyphs(figure)
    for key, box in boxes.items():
        inside = Bbox.intersection(box, figure.bbox)
        assert inside is not None and np.allclose(inside.extents, box.extents), f"{named[key]!r} leaves the figure"
        for ax in figure.axes:
            for image in ax.images if key not in numbers else ():
                assert not overlap(box, image.get_window_extent()), f"{named[key]!r} lies on a picture"
    slanted = {id(text) for text in texts(figure) if text.get_rotation() % 90}      # of which boxes say too little
    for a, b in combinations(boxes, 2):
        assert {a, b} <= slanted or not overlap(boxes[a], boxes[b]), f"{named[a]!r} and {named[b]!r} overlap"


def check_glyphs(figure: Figure) -> None:
    legends = [text for ax in figure.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    for text in texts(figure) + legends:
        if not (text.get_parse_math() and "$" in text.get_text()):
            known = frozenset().union(*map(fonts._characters, text.get_fontfamily()))
            missing = {letter for letter in text.get_text() if not letter.isspace()} - known
            assert not missing, f"{text.get_text()!r} has no glyph for {missing}"


def overlap(a: Bbox, b: Bbox) -> bool:
    common = Bbox.intersection(a, b)
    return common is not None and common.width > 0.5 and common.height > 0.5
