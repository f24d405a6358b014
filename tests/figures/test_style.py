"""Writing a figure whole or not at all, texts as they are, and a scale that can be read in grey print."""

from __future__ import annotations

import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from attnretrieval.figures import save
from attnretrieval.figures.style import DPI, WEIGHTS, fit, pale, plain
from attnretrieval.inputs.files import InputError
from tests.figures.look import pixels

LUMA = np.array([0.299, 0.587, 0.114])


def figure_of(text: str = "a 猫", width: float = 3) -> Figure:
    figure = Figure(figsize=(width, 1))
    plain(figure.text(0.05, 0.3, text, fontsize=12))
    return figure


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.pdf", "new/folder/A.PNG", "图.v2.png"])
def test_formats(tmp_path, chinese_font, name):
    path = tmp_path / name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(figure_of(), str(path))
    if path.suffix.lower() == ".png":
        with Image.open(path) as image:
            assert image.size == (3 * DPI, DPI) and np.asarray(image.convert("L")).min() < 50
    elif path.suffix == ".svg":
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    else:
        assert path.read_bytes().startswith(b"%PDF") and path.read_bytes().rstrip().endswith(b"%%EOF")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("name", "message"), [
    ("a.gif2", "its ending names no format that can be written; use .png, .pdf or .svg"),
    ("a", "its ending names no format"),
    ("png", "its ending names no format"),
    ("folder.png", "is a folder, expected a file name"),
])
def test_names_that_are_refused(tmp_path, name, message):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError) as error:
        save(figure_of("a"), tmp_path / name)
    assert message in str(error.value) and str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


def test_an_error_leaves_no_file_and_keeps_the_old_one(tmp_path, monkeypatch):
    figure = figure_of("a")
    save(figure, tmp_path / "old.png")
    before = (tmp_path / "old.png").read_bytes()

    def half(path, **options):
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(figure, "savefig", half)
    for name in ("old.png", "new.png"):
        with pytest.raises(OSError, match="full"):
            save(figure, tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == before


def test_a_missing_font_is_not_told_twice(tmp_path, no_chinese_font):
    with pytest.warns(UserWarning) as seen:
        save(figure_of("a 猫"), tmp_path / "a.png")
        save(figure_of("a 猫 and a 狗"), tmp_path / "b.png")
    assert len(seen) == 1


@pytest.mark.parametrize("text", ["$1 and $2", "a_b^c", r"\alpha $x^2$", "100 % {of} it"])
def test_signs_of_formulas_are_shown_as_they_are(text):
    shown = figure_of(text)
    without = Figure(figsize=(3, 1))
    without.text(0.05, 0.3, text.replace("$", r"\$"), fontsize=12, family="DejaVu Sans", parse_math="$" in text)
    np.testing.assert_array_equal(pixels(shown), pixels(without))


def test_fit_shrinks_then_cuts(chinese_font):
    def fitted(words: str, width: float, **options):
        text = figure_of(words, 8).texts[0]
        assert fit(text, width, **options) is text
        return text, text.get_window_extent().width / text.figure.dpi

    text, width = fitted("a dog", 2)
    assert text.get_text() == "a dog" and text.get_fontsize() == 12 and width < 2
    text, width = fitted("a dog in the snow", 1.2)
    assert text.get_text() == "a dog in the snow" and 7 <= text.get_fontsize() < 12 and 1.1 < width < 1.25
    for words in ("a dog in the snow " * 9, "猫" * 99):
        text, width = fitted(words, 2)
        assert text.get_fontsize() == 7 and 1.7 < width <= 2
        assert text.get_text().endswith("…") and words.startswith(text.get_text()[:-1]) and " …" not in text.get_text()
    text, width = fitted("a dog in the snow", 0.7, smallest=12)
    assert text.get_fontsize() == 12 and text.get_text().endswith("…") and width <= 0.7


def test_more_weight_is_darker_on_every_picture():
    pictures = np.random.default_rng(0).integers(0, 256, (8, 9, 3)).astype(np.uint8)
    pictures[0, :2] = [[0, 0, 0], [255, 255, 255]]
    ground = pale(pictures)
    assert ground.dtype == np.uint8 and np.ptp(ground, axis=2).max() == 0 and ground.min() == 180 and ground.max() == 255
    lightness = (pictures @ LUMA).ravel()
    assert (np.diff(ground[..., 0].ravel()[np.argsort(lightness)].astype(int)) >= 0).all()
    colors = WEIGHTS(np.linspace(0, 1, 50))
    alpha = colors[:, 3]
    grey = (1 - alpha) * ground[..., :1].reshape(-1, 1) + alpha * 255 * (colors[:, :3] @ LUMA)
    assert (np.diff(grey, axis=1) < -0.8).all()         # by a grey level in 256, for every fiftieth of the scale
