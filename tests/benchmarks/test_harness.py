"""The harness itself: workers, rows, goals, curves and the command line."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import __main__ as program
from tests.benchmarks import goals, search, steps
from tests.benchmarks.contest import Missing, Spec, Timing, Worker, WorkerError, ask_once, contest, environment, workers
from tests.benchmarks.curves import Curve, draw
from tests.benchmarks.steps import Case
from tests.benchmarks.table import Printer, Row, write_json


def test_every_case_has_its_goals():
    assert {(case.task, case.size) for case in steps.cases()} == set(goals.STEPS)
    assert {queries for _, queries in search.CASES} == set(goals.SEARCH)


def test_every_goal_has_its_row():
    """A goal whose reference no row names would never be looked at."""
    timings = {name: Timing(1.0, 1.0, 1) for form in steps.FORMS for name in (form, f"{form}, kept")}
    timings |= {name: Timing(1.0, 1.0, 1) for name in ("ours", "floor", "ours, one thread")}
    for case in steps.cases():
        for threads, wanted in ((1, goals.STEPS[case.task, case.size]), (2, goals.TWO_THREADS)):
            found = {row.name.partition(" / ")[2]: row.goal for row in steps.rows(case, timings, {}, threads)}
            assert {name: found[name] for name in wanted} == wanted


def test_the_strongest_is_the_fastest():
    timings = {"ours": Timing(2.0, 2.0, 1), "floor": Timing(1.0, 1.0, 1), "textbook": Timing(9.0, 9.0, 1),
               "textbook, kept": Timing(3.0, 3.0, 1), "algebra": Timing(4.0, 4.0, 1), "algebra, kept": Timing(5.0, 5.0, 1)}
    rows = {row.name.partition(" / ")[2]: row for row in
            steps.rows(Case("alone", "tiny", 16), timings, {"JAX": "not the same loss"}, 1)}
    assert rows["PyTorch strongest"].note == "textbook, kept" and rows["PyTorch strongest"].reference == 3000
    assert rows["PyTorch default"].note == "algebra"
    assert rows["JAX jit"].reference is None and rows["JAX jit"].note == "JAX: not the same loss"


def test_ours_against_the_floor():
    case = Case("gate", "tiny", 16)
    with workers({name: steps.spec(case, name) for name in ("ours", "floor")}) as (started, failed):
        timings = contest(started, rounds=2, seconds=0.001)
    assert failed == {}
    assert 0 < timings["floor"].cpu < timings["ours"].cpu


def test_a_worker_says_what_is_missing_and_what_went_wrong():
    with pytest.raises(WorkerError, match="no task of this name"):
        ask_once(Spec("tests.benchmarks.test_harness:Broken"), steps=1)
    with pytest.raises(Missing, match="jax is not installed"):
        ask_once(Spec("tests.benchmarks.test_harness:Lacking"), steps=1)
    with workers({"broken": Spec("tests.benchmarks.test_harness:Broken")}) as (started, failed):
        assert started == {} and "no task of this name" in failed["broken"]


class Broken:
    def __init__(self):
        print("libraries print on stdout")
        raise ValueError("no task of this name")


class Lacking:
    def __init__(self):
        raise ModuleNotFoundError("No module named 'jax'", name="jax")


class Surroundings:
    """What a worker finds in its environment."""

    def found(self) -> list[str | None]:
        import os

        return [os.environ.get(name) for name in ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "MALLOC_MMAP_MAX_")]


def test_a_worker_has_its_own_environment(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "7")
    with Worker(Spec("tests.benchmarks.test_harness:Surroundings"), threads=2) as worker:
        assert worker.ask(call="found")["result"] == [None, "2", None]
    assert environment(1, keep=True)["MALLOC_MMAP_MAX_"] == "0"


def test_rows(tmp_path, capsys):
    rows = [Row("a / b", 2.0, 4.0, 0.6, "ms CPU", "note"), Row("c", 2.0, 1.0, 1.5, "ms CPU"), Row("d", 1.0, None, None, "s")]
    assert [row.ratio for row in rows] == [0.5, 2.0, None]
    assert [row.verdict for row in rows] == ["met", "MISSED", ""]
    write_json(tmp_path / "rows.json", rows)
    read = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert read[0] == {"name": "a / b", "ours": 2.0, "reference": 4.0, "ratio": 0.5, "goal": 0.6, "unit": "ms CPU",
                       "note": "note"}
    table = Printer()
    table.add(rows)
    table.foot()
    printed = capsys.readouterr().out
    assert "1 of 2 goals met" in printed and "missed: c" in printed


def test_a_power_is_a_slope(tmp_path):
    sizes = [8, 16, 32, 64]
    curves = [Curve(panel, "batch N", sizes, [3 * x**1.5 for x in sizes]) for panel in ("time", "memory", "search")]
    slope, line = curves[0].fit()
    assert slope == pytest.approx(1.5)
    assert list(line) == pytest.approx(curves[0].costs[2:])
    draw(curves, str(tmp_path / "curves.png"))
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_names(capsys):
    assert program.main(["--list"]) == 0
    names = capsys.readouterr().out.split()
    assert {"alone-large-64", "gate-tiny-16", "memory-gate-large-256", "search-1000k-1", "rerank", "cnn"} <= set(names)
    assert "demo" not in names                  # a minute or more: only when named
    assert program.main(["--list", "--only", "demo"]) == 0
    assert capsys.readouterr().out.split() == ["demo"]
    with pytest.raises(SystemExit) as stopped:
        program.main(["--only", "nothing of this name"])
    assert stopped.value.code == 2
