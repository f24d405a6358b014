"""Writing a figure whole or not at all, texts as they are, and colours for grey print and for the colour-blind."""

from __future__ import annotations

import warnings
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from attnretrieval.figures import save
from attnretrieval.figures.similarity import BLUES
from attnretrieval.figures.style import BLUE, DPI, GREEN, GREY, ORANGE, RED, WEIGHTS, WEIGHTS_ON_WHITE, fit, pale, plain
from attnretrieval.gradcheck.picture import COLOURS
from attnretrieval.inputs.files import InputError
from tests.figures.look import pixels

LUMA = np.array([0.299, 0.587, 0.114])
SEEN = {        # linear RGB as the colour-blind see it (Machado, Oliveira and Fernandes 2009, severity 1)
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


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


def lab(colours: np.ndarray, eye: str) -> np.ndarray:
    """CIELAB of colours (k, 3), of which equal distances look about equal, as this eye sees them."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.array(SEEN[eye]).T).clip(0, 1)
    ratio = seen @ XYZ.T / XYZ.sum(axis=1)
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("eye", SEEN)
def test_the_colour_blind_tell_colours_apart(eye):
    seen = lab(np.array([to_rgb(colour) for colour in (BLUE, ORANGE, GREEN, RED, GREY)]), eye)
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 12


@pytest.mark.parametrize("eye", SEEN)
@pytest.mark.parametrize("scale", [WEIGHTS_ON_WHITE, BLUES, colormaps[COLOURS].reversed()], ids=lambda scale: scale.name)
def test_every_scale_goes_one_way_for_the_colour_blind(scale, eye):
    lightness = lab(scale(np.linspace(0, 1, 64))[:, :3], eye)[:, 0]
    assert (np.diff(lightness) < 0.1).all() and lightness[0] - lightness[-1] > 60
