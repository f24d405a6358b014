"""`check`, `hint` and `progress`: what comes back, as text and as HTML."""

from __future__ import annotations

import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest

from attnretrieval.course import check, hint, progress
from attnretrieval.course.session import session
from attnretrieval.equations.attention import attention
from tests.course.right import ARRAYS


@pytest.fixture(autouse=True)
def _new_session() -> None:
    session.exercises.clear()


def test_gradients_may_come_in_any_form() -> None:
    right = ARRAYS["attention_backward"]
    Mine = namedtuple("Mine", "d_V d_Q d_K")

    def as_dict(d_Y, cache):
        return dict(zip(("d_Q", "d_K", "d_V"), right(d_Y, cache), strict=True))

    def as_named(d_Y, cache):
        return Mine(**as_dict(d_Y, cache))

    for answer in (right, as_dict, as_named, lambda *both: list(right(*both))):
        assert check("attention_backward", answer)


def test_a_backward_may_get_its_own_cache() -> None:
    def forward(Q, K, V, key_mask=None):
        Y, cache = attention(Q, K, V, key_mask)
        return Y, {"mine": cache}

    def backward(d_Y, cache):
        return ARRAYS["attention_backward"](d_Y, cache["mine"])

    assert check("attention_backward", backward, forward=forward)
    assert not check("attention_backward", backward)
    with pytest.raises(ValueError, match="forward= is for a backward, softmax is a forward"):
        check("softmax", ARRAYS["softmax"], forward=forward)


def test_a_double_gradient_is_right_with_a_remark() -> None:
    """With float32 inputs np.zeros gives float64: a fault in the package, not of a student's algebra."""
    def softmax_backward(d_A, A):
        d_S = np.zeros(A.shape)
        d_S += A * (d_A - (d_A * A).sum(axis=-1, keepdims=True))
        return d_S

    answer = check("softmax_backward", softmax_backward)
    assert answer.passed and "right, and could be better: d_S" in str(answer) and "float64" in str(answer)


def test_arguments_may_have_other_names() -> None:
    assert check("softmax", lambda scores, real=None: ARRAYS["softmax"](scores, real))


def test_what_is_not_written_yet_is_no_mistake() -> None:
    def softmax(S, mask=None):
        raise NotImplementedError("your turn")

    answer = check("softmax", softmax)
    assert not answer and answer.title == "softmax: not written yet · 还没写" and 'hint("softmax")' in str(answer)


def test_the_call_is_looked_at_first() -> None:
    assert "check needs the function itself" in str(check("softmax", 3))
    def rerank(order):
        return order

    assert "rerank(order) cannot be called as rerank(order, scores, k)" in str(check("rerank", rerank))
    with pytest.raises(ValueError, match="did you mean 'softmax'"):
        check("softmaks", rerank)


def test_what_raises_is_shown_with_its_line() -> None:
    def median_rank(ranks):
        return ranks["middle"]

    text = str(check("median_rank", median_rank))
    assert 'raised IndexError in test_check.py line' in text and '`return ranks["middle"]`' in text


def test_much_printed_is_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    def softmax_backward(d_A, A):
        print("shape", A.shape)
        return ARRAYS["softmax_backward"](d_A, A)

    answer = check("softmax_backward", softmax_backward)
    assert capsys.readouterr().out.count("shape") == 20
    assert answer.passed and "more lines" in str(answer)


def test_html_is_escaped() -> None:
    def softmax(S, mask=None):
        raise ValueError("<script>alert(1)</script> & more")

    page = check("softmax", softmax)._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert "not yet right" in page and page.count("<div") == page.count("</div>")


def test_hints_come_one_by_one_in_both_languages() -> None:
    first, second = hint("rerank"), hint("rerank")
    assert "hint 1/3" in str(first) and "提示 1/3" in str(first) and "hint 2/3" in str(second)
    assert "hint 3/3" in str(hint("rerank", "en")) and "提示" not in str(hint("rerank", "en"))
    assert str(hint("rerank", "zh")).startswith("rerank，提示 3/3")     # the last one again
    assert "&quot;stable&quot;" in second._repr_html_()
    with pytest.raises(ValueError, match="language"):
        hint("rerank", "de")


def test_progress_counts_by_lesson() -> None:
    check("rerank", ARRAYS["rerank"])
    check("rerank", lambda order, scores, k: order)        # solved once is solved
    check("softmax", lambda S, mask=None: S)
    hint("softmax")
    text, page = str(progress()), progress()._repr_html_()
    assert "lesson 5: 1 of 5 solved" in text and "lesson 2: 0 of 6 solved" in text
    assert "✓ rerank" in text and "2 checks, 0 hints" in text and "… softmax " in text and "1 check, 1 hint" in text
    assert page.startswith("<table>") and "第 5 课：1 / 5" in page


def test_the_import_is_light() -> None:
    code = "import sys, attnretrieval.course as c; print('numpy' in sys.modules, callable(c.check))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "True"]
