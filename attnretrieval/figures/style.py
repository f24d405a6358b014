"""What all figures share: colours, text that is shown as it is, and writing a file.

Colours are told apart by the colour-blind and in grey print: lines by Okabe and Ito's palette and by their dashes, weights by
a scale whose lightness only grows.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text

from attnretrieval.figures.fonts import families
from attnretrieval.inputs.files import InputError, atomic_file

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6b6b6b"
DPI = 150


def _weights() -> ListedColormap:
    colors = colormaps["YlOrRd"](np.linspace(0, 1, 256))
    colors[:, 3] = np.linspace(0, 0.9, 256)
    return ListedColormap(colors, "weights")


WEIGHTS = _weights()            # the scale of attention weights: from nothing over light yellow to dark red, over a pale image


def plain(text: Text) -> Text:
    """Show a user's text letter by letter, in a font that has its letters: `$` starts no formula."""
    text.set_parse_math(False)
    text.set_fontfamily(families(text.get_text()))
    return text


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure, whole or not at all, in the format that the file's ending names (.png, .pdf, .svg, …)."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"the picture {path} is a folder, expected a file name")
    known = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise InputError(f"the picture {path}: its ending names no format that can be written; use .png, .pdf or .svg")
    with atomic_file(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")      # fonts.py has said so, with what to install
        figure.savefig(temporary, dpi=DPI, format=path.suffix[1:].lower())
