"""Every exercise takes right answers in two styles, and rejects wrong ones in words that name the mistake."""

from __future__ import annotations

import linecache
from collections.abc import Callable

import numpy as np
import pytest

from attnretrieval.course import check
from attnretrieval.course.exercises import EXERCISES
from attnretrieval.course.exercises.exercise import KINDS
from attnretrieval.course.exercises.faults import headline, in_chinese
from tests.course.right import ARRAYS, LOOPS
from tests.course.wrong import WRONG, wrong

ANSWERS = [pytest.param(name, old, new, words, id=f"{name}-{words}") for name in WRONG for old, new, words in WRONG[name]]


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("style", [ARRAYS, LOOPS], ids=["arrays", "loops"])
def test_right_answers(name: str, style: dict[str, Callable]) -> None:
    for seed in (0, 1):
        assert check(name, style[name], seed=seed)


@pytest.mark.parametrize("name, old, new, words", ANSWERS)
def test_wrong_answers_are_named(name: str, old: str, new: str, words: str) -> None:
    answer = check(name, wrong(name, old, new), seed=0)
    assert not answer.passed
    assert words in str(answer)


def test_a_list_of_pairs_may_be_an_array() -> None:
    def near_duplicates(G, in_test, threshold):
        return np.array(ARRAYS["near_duplicates"](G, in_test, threshold))

    assert check("near_duplicates", near_duplicates, seed=0)


def test_only_what_unpacks_a_shape_is_told_of_axes(tmp_path) -> None:
    file = tmp_path / "mine.py"
    for line, words in (("a, b, c = text.split()", "as many values as there are names"),
                        ("n, d = np.ones(3).shape", "number of axes")):
        file.write_text(f"def read_captions(text):\n    {line}\n", encoding="utf-8")
        namespace = {"np": np}
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), namespace)
        linecache.checkcache(str(file))
        assert words in str(check("read_captions", namespace["read_captions"], seed=0))


def test_there_are_enough_of_each() -> None:
    assert len(EXERCISES) >= 20 and {exercise.lesson for exercise in EXERCISES.values()} == set(range(1, 7))
    assert set(ARRAYS) == set(LOOPS) == set(WRONG) == set(EXERCISES)
    assert all(len(answers) >= 3 for answers in WRONG.values())


@pytest.mark.parametrize("name", EXERCISES)
def test_is_told_in_both_languages(name: str) -> None:
    exercise = EXERCISES[name]
    assert exercise.kind in KINDS and exercise.name == name and 3 <= len(exercise.hints) <= 4
    assert exercise.task[0].isprintable() and _chinese(exercise.task[1]) and not _chinese(exercise.task[0])
    for english, chinese in exercise.hints:
        assert not _chinese(english) and (_chinese(chinese) or english == chinese)


def _chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)


@pytest.mark.parametrize("name", EXERCISES)
def test_what_is_nothing_at_all_is_rejected(name: str) -> None:
    """None, the first argument, a word, an empty answer: whatever the cases are."""
    answers = (lambda *a, **k: None, lambda *a, **k: (a or list(k.values()))[0], lambda *a, **k: "A", lambda *a, **k: (),
               lambda *a, **k: {}, lambda *a, **k: np.nan)
    for number, answer in enumerate(answers):
        found = check(name, answer, seed=number)
        assert not found.passed and str(found)


def test_shapes_are_drawn_anew() -> None:
    shapes = set()

    def attention_scores(Q, K):
        shapes.add((Q.shape, K.shape))
        return Q @ K.swapaxes(-1, -2)

    for _ in range(10):
        check("attention_scores", attention_scores)
    assert len(shapes) > 5


def test_the_same_seed_is_the_same_check() -> None:
    first, second = (str(check("attention", lambda Q, K, V, key_mask=None: V, seed=5)) for _ in range(2))
    assert first == second and "seed=5" in first


def test_a_fault_of_the_checker_is_told_in_chinese_too() -> None:
    answer = str(check("attention_backward", wrong("attention_backward", " / np.sqrt(Q.shape[-1])", ""), seed=0))
    assert "d_Q, d_K: scaled" in answer and "d_Q、d_K：差一个常数倍" in answer
    assert in_chinese("swapped with d_K") == "与 d_K 对调了" and in_chinese("nobody knows") == "nobody knows"
    assert headline({"d_Q": "unexplained"}) is None
