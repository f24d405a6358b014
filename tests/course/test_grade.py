"""Grading a folder: whatever a submission does, it gets its row, and what is right in it counts."""

from __future__ import annotations

import csv
import inspect
import json
import os
from pathlib import Path

import pytest

from attnretrieval.course.__main__ import main
from attnretrieval.course.grade import Limits, Row, find_submissions, grade, table, write_csv
from attnretrieval.course.submission import compiled
from attnretrieval.inputs.files import InputError
from tests.course import right

MEDIAN = "import numpy as np\n" + inspect.getsource(right.median_rank)
RERANK = "import numpy as np\n" + inspect.getsource(right.rerank)

NOTEBOOKS = {       # file → cells, total, part of the reason
    "right": ([MEDIAN, RERANK, "from attnretrieval.course import check\ncheck('rerank', rerank)"], 2, ""),
    "magics": (["%matplotlib inline\n!pip list", "%%bash\nls /", "%%time\n" + MEDIAN, RERANK], 2, ""),
    "loops in a cell": ([MEDIAN, "while True: pass", RERANK], 2, "cell 2 ran longer than 1 s"),
    "loops, deaf": ([MEDIAN, "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True: pass", RERANK], 2,
                    "stopped after 6 s during cell 2"),
    "loops in an exercise": (["def median_rank(ranks):\n    while True: pass", RERANK], 1, ""),
    "memory": (["import numpy as np\nx = np.ones(100 * 2**30 // 8)", MEDIAN], 1, "cell 1 raised MemoryError"),
    "memory, drop by drop": (["import numpy as np\nx = []\nwhile True: x.append(np.empty(2**17))", MEDIAN, RERANK], 2,
                             "cell 1 raised MemoryError"),
    "exits": (["import sys\nsys.exit(0)", MEDIAN, "exit()"], 1, "cell 1 calls exit; cell 3 calls exit"),
    "exits at once": ([MEDIAN, "import os\nos._exit(0)", RERANK], 2, "ended by itself (code 0) during cell 2"),
    "crashes": ([MEDIAN, "import ctypes\nctypes.string_at(0)"], 1, "signal 11 during cell 2"),
    "exits in an exercise": (["import os\ndef median_rank(ranks): os._exit(1)", RERANK], 1,
                             "(code 1) during median_rank"),
    "prints": (["while True: print('x' * 1000)", MEDIAN], 1, "cell 1 ran longer than 1 s"),
    "raises": (["import not_there", MEDIAN, "1 / 0"], 1, "cell 1 raised ModuleNotFoundError line 1"),
    "syntax": (["def f(:\n    pass", MEDIAN], 1, "cell 1 line 1: SyntaxError"),
    "asks": (["input('name?')", MEDIAN], 1, "cell 1 raised EOFError"),
    "a thread": ([MEDIAN, "import threading, time\nthreading.Thread(target=time.sleep, args=(100,)).start()"], 1, ""),
    "the package's own": (["from attnretrieval.course.given import attention, softmax"], 0, ""),
    "blank": (["def median_rank(ranks):\n    raise NotImplementedError('your turn')"], 0, ""),
    "empty": ([], 0, "defines none of the exercises"),
}
FILES = {"text.ipynb": (b"\xff\xfe hello", "is no notebook"), "list.ipynb": (b"[1]", "no list of cells"),
         "latin.py": ("x = 'é'".encode("latin1"), "not in UTF-8"), "broken.py": (b"def f(:", "broken.py line 1: SyntaxError")}
EXERCISES = ["softmax", "median_rank", "rerank"]


def notebook(cells: list[str]) -> str:
    text = {"cell_type": "markdown", "source": ["1 / 0"]}
    code = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"nbformat": 4, "cells": [text, *code]})


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    folder = tmp_path_factory.mktemp("submissions")
    for name, (cells, *_) in NOTEBOOKS.items():
        (folder / f"{name}.ipynb").write_text(notebook(cells), encoding="utf-8")
    for name, (content, _) in FILES.items():
        (folder / name).write_bytes(content)
    rows = grade(find_submissions([folder]), EXERCISES, limits=Limits(seconds=1, total=6), jobs=2)
    return {row.submission: row for row in rows}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_notebook_gets_its_row(name: str, graded: dict[str, Row]) -> None:
    row, (_, total, reason) = graded[f"{name}.ipynb"], NOTEBOOKS[name]
    assert row.total == total
    assert reason in row.reason if reason else not row.reason


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_submission_gets_a_reason(name: str, graded: dict[str, Row]) -> None:
    assert graded[name].total == 0 and FILES[name][1] in graded[name].reason


def test_messages_say_what_is_wrong(graded: dict[str, Row]) -> None:
    assert graded["loops in an exercise.ipynb"].messages["median_rank"] == "median_rank ran longer than 1 s"
    assert graded["the package's own.ipynb"].messages["softmax"] == "softmax is the package's own, imported"
    assert "not written yet" in graded["blank.ipynb"].messages["median_rank"]
    assert graded["exits in an exercise.ipynb"].passed == {"median_rank": False, "rerank": True}


def test_a_folder_becomes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    (folder / "王").mkdir(parents=True)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "old.ipynb").write_text(notebook([MEDIAN]))
    (folder / "王" / "5.py").write_text(MEDIAN + RERANK.replace("-scores", "scores"), encoding="utf-8")
    (folder / "notes.txt").write_text("no submission")
    outputs = []
    for run in ("one", "two"):
        files = [str(tmp_path / run / "marks.csv"), str(tmp_path / run / "marks.json")]
        assert main(["grade", str(folder), "--lesson", "5", "--seed", "7", "--csv", files[0], "--json", files[1]]) == 0
        outputs.append([Path(file).read_bytes() for file in files])
    assert outputs[0] == outputs[1]                                     # the same seed, the same marks
    heading, *rows = csv.reader(outputs[0][0].decode("utf-8-sig").splitlines())
    assert heading == ["submission", "total", "recall_at_k", "rank_of_first_match", "median_rank", "rerank",
                       "pointing_accuracy", "mistakes", "reason"]
    assert rows == [["王/5.py", "1", "", "", "1", "0", "", "rerank: the smallest score stands first; the largest must", ""]]
    told = json.loads(outputs[0][1])
    assert told["seed"] == 7 and "the largest must" in told["rows"][0]["messages"]["rerank"]
    assert "王/5.py" in capsys.readouterr().out


def test_files_of_one_name_are_two_submissions(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.py").write_text("")
    a, b = tmp_path / "a", tmp_path / "b"
    assert find_submissions([a, b, a]) == {"one.py": a / "one.py", (b / "one.py").as_posix(): b / "one.py"}


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path: Path) -> None:
    row = Row("=HYPERLINK(1).py", {"rerank": False}, {}, {"rerank": "not written yet"})
    write_csv(tmp_path / "marks.csv", [row], ["rerank"])
    assert "\n'=HYPERLINK(1).py,0,0,rerank: not written yet," in (tmp_path / "marks.csv").read_text("utf-8-sig")


def test_columns_stand_under_each_other() -> None:
    """Two columns for a Chinese character."""
    _, chinese, latin = table([Row("李伟.py"), Row("abcdefgh.py")], ["rerank"]).splitlines()
    assert chinese.index("0") + 2 == latin.index("0")


def test_nothing_of_a_submission_runs_here(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text("import os\npid = os.getpid()\ndef median_rank(ranks): raise ValueError(str(pid))")
    (row,) = grade({"one": file}, ["median_rank"])
    assert "raised ValueError" in row.messages["median_rank"] and str(os.getpid()) not in row.messages["median_rank"]


def test_wrong_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="holds no submission"):
        find_submissions([tmp_path])
    assert main(["grade", str(tmp_path / "not_there.ipynb")]) == 2
    assert "neither a file nor a folder" in capsys.readouterr().err
    (tmp_path / "a.py").write_text("")
    assert main(["grade", str(tmp_path), "--lesson", "9"]) == 2
    assert "there is no lesson 9; lessons are 1, 2, 3, 4, 5, 6" in capsys.readouterr().err
    assert main(["grade", str(tmp_path), "--jobs", "0"]) == 2


def test_percent_in_a_python_line_stays() -> None:
    scope: dict[str, int] = {}
    exec(compiled("cell", "x = (7\n     % 4)"), scope)
    assert scope["x"] == 3
