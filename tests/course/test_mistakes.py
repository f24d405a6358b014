"""Which mistake is named, and how errors and faults are put into words."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import check
from attnretrieval.course.exercises.differences import difference
from attnretrieval.course.exercises.exercise import Mistake
from attnretrieval.course.exercises.faults import in_chinese
from attnretrieval.course.exercises.mistakes import draw_apart, recognised
from attnretrieval.course.exercises.numpy_words import in_words
from tests.course.wrong import wrong

DOUBLE, SQUARE = Mistake("double", "加倍", lambda x: 2 * x), Mistake("square", "平方", lambda x: x * x)


def test_a_mistake_gives_every_answer() -> None:
    """2 · 2 = 2²: the second answer tells."""
    assert recognised([DOUBLE, SQUARE], [((2.0,), 4.0, True), ((3.0,), 9.0, True)]) == ("square", "平方")
    assert recognised([DOUBLE, SQUARE], [((2.0,), 4.0, True), ((3.0,), 7.0, True)]) is None
    many = np.arange(5.0)       # an array does not fit by luck
    assert recognised([DOUBLE, SQUARE], [((many,), 2 * many, True), ((3.0,), 7.0, True)]) == ("double", "加倍")


def test_cases_are_drawn_until_they_tell_mistakes_apart() -> None:
    numbers = iter([0.0, 2.0, 5.0])
    assert draw_apart(lambda: [("a number", (next(numbers),))], [lambda x: x, DOUBLE.wrong, SQUARE.wrong]) == [
        ("a number", (5.0,))]


def _raised(function) -> Exception:
    with pytest.raises(Exception) as raised:
        function()
    return raised.value


@pytest.mark.parametrize("function, words", [
    (lambda: np.ones((2, 3)) @ np.ones((4, 5)), "the last axis of A, here 3, and the last but one of B, here 4"),
    (lambda: np.ones((2, 3, 4)) @ np.ones((3, 4, 5)), ".swapaxes(-1, -2) the last two"),
    (lambda: np.ones((2, 3)) + np.ones((3, 2)), "axes are matched from the last one"),
    (lambda: np.ones(3).sum(axis=-2), "here its number of axes is 1"),
    (lambda: np.ones(3)[:, None, :], "[..., None, :]"),
    (lambda: np.empty(6).reshape(6 / 2, 2), "// an integer"),
    (lambda: [1 for a, b in [np.ones((1, 2, 3)).shape]], "*leading, n, d"),
    (lambda: [1 for a, b in [(1, 2, 3)]], "as many values as there are names"),
    (lambda mask=None: mask[0], "ask for it first"),
    (lambda: bool(np.ones(2)), "`mask is not None`"),
])
def test_errors_are_put_into_words(function, words: str) -> None:
    both = in_words(_raised(function))
    assert both is not None and words in both[0] and both[1] != both[0]


def test_other_errors_speak_for_themselves() -> None:
    assert in_words(ValueError("too cold")) is None and in_words(None) is None


def test_an_error_is_told_in_words_before_it_is_quoted() -> None:
    text = str(check("attention_scores", lambda Q, K: Q @ K, seed=0))
    assert text.index("is a transpose missing?") < text.index("是否少了转置？") < text.index("matmul:")


def test_what_is_no_fault_of_the_algebra_is_not_told() -> None:
    """One gradient is wrong, another is float64 where it should be float32, and so the Hessian is not symmetric."""
    def info_nce_backward(d_L, cache):
        S, tau, positives, P, R = cache
        C, I = S.shape
        d_S = d_L * ((P - positives / positives.sum(1, keepdims=True)) / C
                     + (R - positives / positives.sum(0, keepdims=True)) / I) / (2 * tau)
        return d_S, (d_S * S).sum()

    text = str(check("info_nce_backward", info_nce_backward, seed=0))
    assert "d_log_temperature: sign" in text and "Hessian" not in text and "float32" not in text
    assert next(line for line in text.splitlines() if line.strip().startswith("S ")).endswith("ok")


def test_a_gradient_in_float32_is_called_so() -> None:
    def softmax_backward(d_A, A):
        return (A * (d_A - (d_A * A).sum(-1, keepdims=True))).astype(np.float32)

    text = str(check("softmax_backward", softmax_backward))
    assert "d_S: rounded to float32" in text and "变成了 float32" in text and "linear" not in text


def test_a_forward_may_not_write_into_its_inputs() -> None:
    def softmax(S, mask=None):
        S -= S.max(axis=-1, keepdims=True)
        E = np.exp(S)
        return E / E.sum(axis=-1, keepdims=True)

    assert "it changes its inputs" in str(check("softmax", softmax))


def test_one_line_for_a_table() -> None:
    assert check("median_rank", lambda ranks: np.median(ranks) + 1).mistake.startswith("the floor is missing")
    assert check("median_rank", lambda ranks: ranks["x"]).mistake == "raised IndexError, case 1: an odd number of queries"
    assert check("median_rank", lambda ranks: 7.5).mistake == "case 1: an odd number of queries"
    assert check("rerank", wrong("rerank", "return", "raise NotImplementedError  #")).mistake == "not written yet"


@pytest.mark.parametrize("code, chinese", [
    ("sign of the row term of softmax", "softmax 每行的那一项的符号反了"),
    ("right pairs of text to image missing", "少了一项：由文找图的正确的对"),
    ("masked tokens let in", "混进了不该有的部分：被遮的词元"),
    ("W permuted", "W 的次序乱了"),
])
def test_faults_in_chinese(code: str, chinese: str) -> None:
    assert in_chinese(code) == chinese


def test_differences_in_words() -> None:
    assert difference(np.array([True, True]), np.array([True, False])).endswith("expected False, got True")
    assert "0/0, ∞ - ∞ or 0 · ∞" in difference(np.array([np.nan, 1.0]), np.ones(2))
    assert difference(None, np.ones(2)) == "the function returned None, expected an array of shape (2,); is its return missing?"
    assert "expected 'a'" in difference(np.zeros(2), "a")
