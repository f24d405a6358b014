"""The lecturer's guide quotes what `check` says. Wrong answers are checked and their messages read, so that it stays true."""

from __future__ import annotations

import csv
import re
from functools import cache

import pytest

from attnretrieval.course import check
from attnretrieval.course.exercises import EXERCISES
from attnretrieval.course.grade import Row, write_csv
from tests.course.wrong import WRONG, wrong
from tests.docs.conftest import DOCS, LANGUAGES

ROW = re.compile(r"^\|(?P<mistake>.*?) \| (?P<answer>.*[\"“].*) \|$", re.MULTILINE)
QUOTES = {"en": re.compile(r'"([^"]+)"'), "zh": re.compile(r"“([^”]+)”")}
ASCII = {ord(mark) + 0xFEE0: mark for mark in ",:;?!()"}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def guide(language: str) -> str:
    return (DOCS / language / "lecturer.md").read_text(encoding="utf-8")


def plain(text: str) -> str:
    """Without what differs from draw to draw, and between a Chinese page and a Chinese message: numbers, spaces, full width."""
    return re.sub(r"\d[\d.]*", "0", re.sub(r"\s", "", text.translate(ASCII)))


@cache
def said() -> str:
    return plain("\n".join(str(check(name, wrong(name, old, new), seed=1)) for name, answers in WRONG.items()
                           for old, new, _ in answers))


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_tables_quote_is_what_check_says(language):
    quoted = [quote for row in ROW.finditer(guide(language)) for quote in QUOTES[language].findall(row["answer"])]
    assert len(quoted) > 30
    assert not [quote for quote in quoted if plain(quote) not in said()]


def test_both_languages_have_the_same_rows():
    assert len(ROW.findall(guide("en"))) == len(ROW.findall(guide("zh")))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_whole_answer_is_what_check_prints(language):
    def softmax_backward(d_A, A):
        return d_A * A

    assert f"{check('softmax_backward', softmax_backward, seed=1)}\n" in [text for _, text in BLOCK.findall(guide(language))]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_exercise_of_ones_own_runs_and_prints_what_is_shown(language, capsys, monkeypatch):
    monkeypatch.setattr("attnretrieval.course.exercises.EXERCISES", EXERCISES | {})
    blocks = BLOCK.findall(guide(language))
    at = next(i for i, (kind, text) in enumerate(blocks) if kind == "python" and "EXERCISES[" in text)
    exec(blocks[at][1], {})
    assert capsys.readouterr().out == blocks[at + 1][1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_of_marks_has_the_columns_of_the_file(language, tmp_path):
    exercises = [name for name, exercise in EXERCISES.items() if exercise.lesson == 2]
    write_csv(tmp_path / "marks.csv", [Row("anna.ipynb")], exercises)
    with (tmp_path / "marks.csv").open(encoding="utf-8-sig", newline="") as file:
        header = ",".join(next(csv.reader(file)))
    shown = next(text for _, text in BLOCK.findall(guide(language)) if text.startswith("submission,"))
    assert shown.splitlines()[0] == header
    assert {len(row) for row in csv.reader(shown.splitlines())} == {len(header.split(","))}
