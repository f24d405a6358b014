"""Fonts for labels in any language: Matplotlib's own font, and an installed one for the characters that it lacks.

Matplotlib's own font has no Chinese. `families` looks among the installed fonts for those that draw the rest of the text,
PREFERRED first, and warns with the name of a font to install when there are none. Nothing is bundled.
"""

from __future__ import annotations

import warnings
from functools import cache

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties

from attnretrieval.inputs.words import has_han

OWN = "DejaVu Sans"             # comes with Matplotlib
PREFERRED = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Noto Sans CJK JP", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "Heiti SC", "SimHei", "Arial Unicode MS", "Droid Sans Fallback",
)
LAST_RESORT = "LastResort"      # has every character, as a box
TO_INSTALL = "install Noto Sans CJK (Debian and Ubuntu: apt install fonts-noto-cjk) or another font that has it"


class MissingFont(UserWarning):
    """No installed font can draw a label; it will show boxes."""


def families(text: str) -> list[str]:
    """The font families to draw `text` with, in the order in which Matplotlib tries them for a character."""
    missing = frozenset(c for c in text if not c.isspace()) - _characters(OWN)
    found, missing = _search(missing)
    if missing and _add_new_fonts():
        more, missing = _search(missing)
        found += more
    if missing:
        _warn("Chinese characters" if has_han("".join(missing)) else "the characters " + " ".join(sorted(missing)[:5]))
    return [OWN, *found]


@cache                          # once a process, not once a label
def _warn(what: str) -> None:
    warnings.warn(f"no installed font draws {what}, so labels show boxes instead: {TO_INSTALL}", MissingFont, stacklevel=3)


def _search(missing: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """Installed families that have these characters, and the characters that none has."""
    names = {entry.name for entry in font_manager.fontManager.ttflist}
    installed = {name for name in names if LAST_RESORT not in name.replace(" ", "")}
    found = []
    for name in [*(name for name in PREFERRED if name in installed), *sorted(installed)]:
        if not missing:
            break
        if missing & _characters(name):
            found.append(name)
            missing -= _characters(name)
    return found, missing


@cache
def _characters(family: str) -> frozenset[str]:
    path = font_manager.findfont(FontProperties(family=[family]))       # in a list, a name may hold "-" and ":"
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


@cache                          # once a process: it looks through the folders of fonts
def _add_new_fonts() -> int:
    """Tell Matplotlib of fonts that were installed after it wrote its list of fonts; how many there were."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    new = [path for path in font_manager.findSystemFonts() if path not in known]
    for path in new:
        try:
            font_manager.fontManager.addfont(path)
        except Exception:       # a font file that Matplotlib cannot read is as good as none
            continue
    return len(new)
