"""Fonts for the tests of figures: the same on every machine, whatever is installed there."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from attnretrieval.figures import fonts

HAN = "一只黑色的猫在追红球狗雪"
CHINESE = "Test-Han: Regular"       # signs that mean something in Matplotlib's patterns for fonts


def make_font(path: Path, family: str, characters: str) -> str:
    """A font whose every character is a black square, as wide as it is high."""
    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    for point in ((50, 900), (950, 900), (950, 0)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"uni{ord(c):05X}" for c in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): name for c, name in zip(characters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 50)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """A function: let these font files be installed, beside the fonts that come with Matplotlib, and no others."""
    caches = fonts._characters, fonts._add_new_fonts, fonts._warn

    def install(*files: str) -> None:
        own = [entry for entry in font_manager.fontManager.ttflist if entry.fname.startswith(matplotlib.get_data_path())]
        monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda: list(files))
        for cache in caches:
            cache.cache_clear()

    yield install
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def chinese_font(installed, tmp_path_factory) -> str:
    """One installed font has Chinese; its family."""
    installed(make_font(tmp_path_factory.mktemp("fonts") / "han.ttf", CHINESE, HAN))
    return CHINESE


@pytest.fixture
def no_chinese_font(installed) -> None:
    installed()
