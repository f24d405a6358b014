"""The builder: words in pairs, blanks, and what counts as stale."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

SOURCE = '''# %% [markdown] lang="en"
# # Title

# %% [markdown] lang="zh"
# # 标题

# %%
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %%
print("a")
print(1 / 3)
'''


@pytest.fixture
def tiny(build, tmp_path, monkeypatch):
    """The builder in a folder of its own, with one lesson and its exercises."""
    monkeypatch.setattr(build, "HERE", tmp_path)
    (tmp_path / "source").mkdir()
    for name in ("1_tiny", "1_exercises"):
        (tmp_path / "source" / f"{name}.py").write_text(SOURCE, encoding="utf-8")
    return build


def test_a_lesson_is_made_in_both_languages_and_is_not_stale(tiny, tmp_path):
    made = tiny.make("1_tiny")
    tiny.write(made)
    tiny.check(made)
    english, chinese = (made.notebooks[f"{language}/1_tiny.ipynb"]["cells"] for language in ("en", "zh"))
    assert (english[0]["source"], chinese[0]["source"]) == ("# Title", "# 标题")
    assert english[1:] == chinese[1:]
    assert english[2]["outputs"] == [{"output_type": "stream", "name": "stdout", "text": "a\n0.3333333333333333\n"}]
    first = (tmp_path / "en" / "1_tiny.ipynb").read_bytes()
    tiny.write(tiny.make("1_tiny"))
    assert (tmp_path / "en" / "1_tiny.ipynb").read_bytes() == first, "a rebuild changes nothing"


def test_changed_words_code_and_outputs_are_stale(tiny, tmp_path):
    tiny.write(tiny.make("1_tiny"))
    source = tmp_path / "source" / "1_tiny.py"
    for old, new in (("# # 标题", "# # 题目"), ("2 * x", "3 * x"), ('print("a")', 'print("b")')):
        source.write_text(SOURCE.replace(old, new), encoding="utf-8")
        with pytest.raises(tiny.StaleNotebook, match="build.py"):
            tiny.check(tiny.make("1_tiny"))


def test_exercises_have_blanks_and_solutions_have_none(tiny):
    books = tiny.make("1_exercises").notebooks
    assert set(books) == {"en/1_exercises.ipynb", "zh/1_exercises.ipynb", "solutions/1_exercises.ipynb"}
    blank = books["zh/1_exercises.ipynb"]["cells"]
    assert blank[1]["source"] == 'def double(x):\n    raise NotImplementedError("your turn")'
    assert not any(cell.get("outputs") for cell in blank)
    solution = books["solutions/1_exercises.ipynb"]["cells"]
    assert "return 2 * x" in solution[2]["source"] and [cell["cell_type"] for cell in solution[:2]] == ["markdown"] * 2
    assert solution[3]["outputs"]


def test_a_cell_that_raises_ends_the_build(tiny, tmp_path):
    (tmp_path / "source" / "1_tiny.py").write_text("# %%\n1 / 0\n", encoding="utf-8")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        tiny.make("1_tiny")


def test_of_a_cell_with_sliders_the_picture_stays(tiny, tmp_path):
    pytest.importorskip("ipywidgets", reason='the sliders need pip install -e ".[course]"')
    (tmp_path / "source" / "1_tiny.py").write_text(
        "# %%\nfrom ipywidgets import interact\n_ = interact(lambda x: print(x), x=(0, 3))\n'the picture'\n", encoding="utf-8")
    outputs = tiny.make("1_tiny").notebooks["en/1_tiny.ipynb"]["cells"][0]["outputs"]
    assert [output["data"] for output in outputs] == [{"text/plain": "'the picture'"}]


def test_chinese_words_are_typeset_and_english_words_are_not(tiny, tmp_path):
    source = SOURCE.replace("# # Title", "# One, two.").replace("# # 标题", "# 一,\n# 二。")
    (tmp_path / "source" / "1_tiny.py").write_text(source, encoding="utf-8")
    words = [cell["source"] for cell in tiny.read("1_tiny")[:2]]
    assert words == ["One, two.", "一" + chr(0xFF0C) + "二。"]


def test_a_picture_is_packed_and_stands_on_white(build):
    pixels = np.zeros((40, 50, 4), np.uint8)
    pixels[:20] = 255, 0, 0, 255                            # red above, nothing below
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    small = base64.b64decode(build.smaller(base64.b64encode(file.getvalue()).decode()))
    picture = Image.open(io.BytesIO(small))
    assert picture.mode == "RGB" and len(small) < len(file.getvalue()) / 10
    assert (picture.getpixel((3, 3)), picture.getpixel((3, 30))) == ((255, 0, 0), (255, 255, 255))


def test_words_without_their_pair_are_refused(tiny, tmp_path):
    (tmp_path / "source" / "1_tiny.py").write_text('# %% [markdown] lang="en"\n# Title\n', encoding="utf-8")
    with pytest.raises(ValueError, match="pairs"):
        tiny.make("1_tiny")


def test_numbers_may_round_differently_and_counts_may_not(build):
    assert build.same_text("error 1.3e-16, loss 0.512", "error 4.0e-15, loss 0.513")
    assert build.same_text("[ 0.1 -0.0]", "[0.1  0.0]")
    for other in ("loss 0.6, 3 cases", "loss 0.5, 4 cases", "loss 0.5, 3 boxes"):
        assert not build.same_text("loss 0.5, 3 cases", other)


def test_pictures_may_differ_in_a_few_pixels_and_not_in_what_they_show(build):
    def png(pixels):
        file = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()

    white = np.full((60, 80), 255)
    dot, half = white.copy(), white.copy()
    dot[:3, :3], half[:30] = 0, 0
    assert build.same_picture(png(white), png(dot))
    assert not build.same_picture(png(white), png(half))
    assert not build.same_picture(png(white), png(white[:, :40]))
