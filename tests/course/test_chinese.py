"""Chinese words are typeset: full-width marks, whole paragraphs, and nothing else is touched."""

from __future__ import annotations

import pytest

from attnretrieval.course.chinese import FULL_WIDTH, typeset


def full(text: str) -> str:
    """`text` with every mark in its full-width form."""
    return "".join(FULL_WIDTH.get(character, character) for character in text)


@pytest.mark.parametrize("typed", (
    "词,区域;对吗?对!", "词(每个词一行)", "**一步**,再一步", "*cat*:二",
    "“猫”,“狗”", "编号 3,再说", "softmax,再说", "**步长:**",
    "a,b 都是词", "词(至于)"))
def test_marks_beside_chinese_are_full_width(typed):
    assert typeset(typed) == full(typed)


@pytest.mark.parametrize("kept", (
    "a cat, a dog", "1,000 幅图", "`f(a, b)` 里", "$f(x, y)$ 里", "$$f(x), \\text{(沿图像)}$$",
    "看[练习](1_exercises.ipynb)里", "见 https://example.org/a?b:c 里", "标着 (1)、(2) 的那一行",
    "| (3) $Y = A V$ | 乘积 |", "名次 (0, 1)。", "取 X[i, :n] 的前 n 行",
    "用 np.maximum(0, S[c] - S[c, i]) 求", "```\n词, (词)\n```"))
def test_formulas_code_links_labels_and_latin_phrases_are_kept(kept):
    assert typeset(kept) == kept


def test_chinese_is_stressed_in_bold_and_latin_in_italics():
    assert typeset("*a cat* 和 *a dog*:词*只能*") == full("*a cat* 和 *a dog*:词**只能**")
    assert typeset("只在*真实*的词里, *cat* 和**粗**") == full("只在**真实**的词里,") + "*cat* 和**粗**"


def test_a_space_after_a_mark_goes():
    assert typeset("词, 区域") == full("词,区域")
    assert typeset("**先猜再运行。** 词") == "**先猜再运行。** 词", "bold that ends in a mark needs its space"


def test_formulas_beside_marks():
    assert typeset("$m = 49$,$d = 2$") == f"$m = 49${FULL_WIDTH[',']}$d = 2$"
    assert typeset("矩阵 $T$(每行)") == f"矩阵 $T${FULL_WIDTH['(']}每行{FULL_WIDTH[')']}"
    assert typeset("(至于 (a):对)") == full("(") + "至于 (a)" + full(":对)")


def test_lines_of_a_paragraph_are_joined():
    assert typeset("每个词\n元") == "每个词元"
    assert typeset("每个词,\nsoftmax 也是") == full("每个词,") + "softmax 也是"
    assert typeset("- 每个词\n  元") == "- 每个词元"
    assert typeset("凡是\n**词**\n元") == "凡是**词**元"


@pytest.mark.parametrize("kept", (
    "每个词\n\n元", "# 标题\n词", "一。\n- 二", "一。\n1. 二", "一。\n| 二 |", "| 一。 |\n| 二 |", "一。\n$$x$$\n二",
    "每个词\nsoftmax", "词\n**“词”**"))
def test_blocks_and_words_that_need_a_space_stay_apart(kept):
    assert typeset(kept) == kept


def test_typesetting_twice_changes_nothing():
    typed = "词,(a) 区域(`x`):$y$,\n再说(见 (1)):a, b。"
    assert typeset(typeset(typed)) == typeset(typed)
