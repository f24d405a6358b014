"""Labels in every language: a font that has the letters where one is installed, one clear warning where none is."""

from __future__ import annotations

import warnings

import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from attnretrieval.figures import fonts
from attnretrieval.figures.fonts import OWN, PREFERRED, MissingFont, families
from attnretrieval.figures.style import plain
from tests.figures.conftest import HAN, make_font
from tests.figures.look import pixels


def draw(text: str):
    """The pixels of a text; any warning about it is an error."""
    figure = Figure(figsize=(4, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain(figure.text(0.1, 0.3, text))
        return pixels(figure)


@pytest.mark.parametrize("text", ["a black dog", "Mädchen, собака, σκύλος ✓✗→", "", "a b\n"])
def test_matplotlibs_own_font_is_enough(no_chinese_font, text):
    assert families(text) == [OWN]
    draw(text)


def test_an_installed_font_draws_the_rest(chinese_font):
    assert families("a 猫 and a 狗") == [OWN, chinese_font]
    assert families("a cat") == [OWN]
    assert (draw("猫") < 128).all(axis=2).sum() > 80          # a square of 14 points


def test_without_a_font_one_warning_says_what_to_install(no_chinese_font):
    with pytest.warns(MissingFont) as seen:
        for text in ("猫", "狗 ball"):
            assert families(text) == [OWN]
    assert len(seen) == 1
    message = str(seen[0].message)
    assert "Chinese characters" in message and "apt install fonts-noto-cjk" in message and "\n" not in message


def test_other_characters_that_no_font_has_are_named(no_chinese_font):
    with pytest.warns(MissingFont, match="the characters \U00012000 \U00012001, so"):
        assert families("x\U00012001\U00012000") == [OWN]


def test_two_fonts_share_a_text(installed, tmp_path):
    installed(make_font(tmp_path / "a.ttf", "First", "猫"), make_font(tmp_path / "b.ttf", "Second", "狗"))
    assert sorted(families("猫狗")) == [OWN, "First", "Second"]
    draw("猫狗")
    with pytest.warns(MissingFont, match="the characters \U00012000"):
        assert families("猫\U00012000") == [OWN, "First"]     # what can be drawn is


def test_a_preferred_font_comes_first(installed, tmp_path):
    installed(make_font(tmp_path / "a.ttf", "A Font", HAN), make_font(tmp_path / "b.ttf", PREFERRED[-1], HAN))
    assert families("猫") == [OWN, PREFERRED[-1]]


def test_a_font_file_that_cannot_be_read_is_none(installed, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    installed(str(tmp_path / "broken.ttf"), make_font(tmp_path / "b.ttf", "Whole", HAN))
    assert families("猫") == [OWN, "Whole"]


def test_the_fonts_of_this_machine():
    if not set(PREFERRED) & {entry.name for entry in font_manager.fontManager.ttflist}:
        pytest.skip("no font with Chinese is installed: " + fonts.TO_INSTALL)
    draw(HAN)
