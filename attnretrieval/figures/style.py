"""What all figures share: colours, text that is shown as it is, and writing a file.

Colours are told apart by the colour-blind and in grey print: lines by Okabe and Ito's palette, their dashes and their markers,
weights by a scale that only darkens what it lies on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text

from attnretrieval.figures.fonts import families
from attnretrieval.inputs.files import InputError, atomic_file

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6b6b6b"
DPI = 150


def _weights() -> ListedColormap:
    colors = colormaps["YlOrRd"](np.linspace(0.6, 1, 256))
    colors[:, 3] = np.linspace(0, 0.9, 256)
    return ListedColormap(colors, "weights")


WEIGHTS = _weights()            # the scale of attention weights: from nothing over red to dark red, over a pale image


def _on_white(scale: ListedColormap) -> ListedColormap:
    colors = scale(np.linspace(0, 1, 256))
    return ListedColormap(1 - (1 - colors[:, :3]) * colors[:, 3:], f"{scale.name} on white")


WEIGHTS_ON_WHITE = _on_white(WEIGHTS)


def extend(values: np.ndarray | float, scale: Normalize) -> str:
    """For a colour bar: a triangle at its upper end where values lie beyond it, by more than they round."""
    return "max" if np.max(values) > scale.vmax + 1e-5 * (scale.vmax - scale.vmin) else "neither"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, whose canvas measures texts without drawing the rest."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def pale(image: np.ndarray) -> np.ndarray:
    """The image in light grey, so that weights on it are dark and have nearly the colours of their bar."""
    grey = image @ np.array([0.299, 0.587, 0.114])
    return np.repeat((180 + grey * (75 / 255)).astype(np.uint8)[..., None], 3, axis=2)


def plain(text: Text) -> Text:
    """Show a user's text letter by letter, in a font that has its letters: `$` starts no formula."""
    text.set_parse_math(False)
    text.set_fontfamily(families(text.get_text()))
    return text


def fit(text: Text, width: float, smallest: float = 7) -> Text:
    """Make a text at most `width` inches wide: with smaller letters, down to `smallest` points, then by cutting its end."""
    with _quiet():
        while inches(text) > width and text.get_fontsize() > smallest:
            text.set_fontsize(max(smallest, 0.98 * text.get_fontsize() * width / inches(text)))
        letters = text.get_text()
        while inches(text) > width and len(letters) > 1:
            letters = letters[:min(len(letters) - 1, int(len(letters) * width / inches(text)))]
            text.set_text(letters.rstrip() + "…")
    return text


def inches(text: Text) -> float:
    """How wide a text is drawn."""
    return text.get_window_extent().width / text.figure.dpi


@contextmanager
def _quiet() -> Iterator[None]:
    """Say nothing of letters that no font has: fonts.py has, with what to install."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure, whole or not at all, in the format that the file's ending names (.png, .pdf, .svg, …)."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"the picture {path} is a folder, expected a file name")
    known = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise InputError(f"the picture {path}: its ending names no format that can be written; use .png, .pdf or .svg")
    with atomic_file(path) as temporary, _quiet():
        figure.savefig(temporary, dpi=DPI, format=path.suffix[1:].lower())
