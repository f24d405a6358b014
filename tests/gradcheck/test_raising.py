"""A pass that raises, or returns what is no answer: a failed report that says who, where and on what, never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from attnretrieval.course.cases import CASES
from attnretrieval.course.values import check_values
from attnretrieval.equations.attention import attention, attention_backward
from attnretrieval.gradcheck import Report, check_gradient
from attnretrieval.gradcheck.calls import described

FILE = Path(__file__).name


class Grads(NamedTuple):
    d_X: object
    d_W: object


class Renamed(NamedTuple):
    X: object
    W: object


def product(X, W):
    return X @ W, (X, W)


def product_backward(d_Y, cache):
    X, W = cache
    return Grads(d_Y @ W.T, X.T @ d_Y)


def check(forward=product, backward=product_backward) -> Report:
    rng = np.random.default_rng(3)
    return check_gradient(forward, backward, {"X": rng.normal(size=(2, 3)), "W": rng.normal(size=(3, 4))}, rng=rng)


def line_of(text: str) -> int:
    """The line of this file that holds the text first."""
    return next(i for i, line in enumerate(Path(__file__).read_text("utf-8").splitlines(), 1) if text in line)


# --- it raises ---------------------------------------------------------------------------------------------------------


def test_a_backward_that_raises():
    def wrong(d_Y, cache):
        X, W = cache
        return Grads(d_Y @ W, X.T @ d_Y)

    report = check(backward=wrong)
    line = line_of("return Grads(d_Y @ W, X.T")
    assert not report.passed and report.rows == [] and np.isnan(report.worst_error)
    assert isinstance(report.raised, ValueError)
    (problem,) = report.problems
    assert problem.startswith(f"the backward raised ValueError in {FILE} line {line}, `return Grads(d_Y @ W, X.T @ d_Y)`: mat")
    assert problem.endswith("it was given d_out (2, 4), cache ((2, 3), (3, 4))")
    assert "nothing to draw: the backward raised" in report.plot().texts[0].get_text()
    assert str(report) == f"product: FAILED\n  - {problem}"


def test_a_forward_that_raises():
    report = check(forward=lambda X, W: (X[5], None))
    (problem,) = report.problems
    assert "the forward raised IndexError in " in problem and problem.endswith("it was given X (2, 3), W (3, 4)")


def test_a_forward_that_does_not_take_an_input():
    (problem,) = check(forward=lambda X: (X, None)).problems
    assert "got an unexpected keyword argument 'W'; it was given X (2, 3), W (3, 4)" in problem


def test_where_it_raises_is_told_of_its_own_file():
    """The last line in the file of the pass, not the line in NumPy or in this package that the error came from."""
    report = check_gradient(attention, lambda d_Y, cache: attention_backward(d_Y[:, 1:], cache), attention_inputs(),
                            rng=np.random.default_rng(0))
    assert f" in {FILE} line {line_of('attention_backward(d_Y[:, 1:], cache)')}, `" in report.problems[0]
    assert report.problems[0].endswith("cache AttentionCache(Q (2, 3, 4), K (2, 5, 4), V (2, 5, 3), A (2, 3, 5))")


def attention_inputs():
    draw = np.random.default_rng(1).normal
    return {"Q": draw(size=(2, 3, 4)), "K": draw(size=(2, 5, 4)), "V": draw(size=(2, 5, 3))}


@pytest.mark.parametrize("condition, given", [
    (lambda d_Y, X: X.dtype == np.float32, "d_out (2, 4) float32"),
    (lambda d_Y, X: not d_Y.any(), "d_out (2, 4) of zeros"),
    (lambda d_Y, X: not d_Y.flags.c_contiguous, "d_out (2, 4) with steps in memory"),
], ids=["float32", "zero upstream", "strided"])
def test_a_backward_that_raises_on_some_calls(condition, given):
    """The values are compared all the same; the report says which calls break."""
    def wrong(d_Y, cache):
        if condition(d_Y, cache[0]):
            raise ValueError(f"I do not like {d_Y}")
        return product_backward(d_Y, cache)

    report = check(backward=wrong)
    assert [row.passed for row in report.rows] == [True, True] and report.worst_error < 1e-12
    (problem,) = report.problems                                       # once, though several checks make such calls
    assert "raised ValueError in" in problem and ": I do not like [[" in problem
    assert f"; it was given {given}, cache (" in problem and isinstance(report.raised, ValueError)


def test_a_forward_that_raises_on_complex_numbers_is_no_reason_to_fail():
    def real_only(X, W):
        if np.any(X.imag):
            raise ArithmeticError
        return X @ W, (X, W)

    report = check(forward=real_only)
    assert report.passed and report.raised is None
    assert "on complex inputs the forward raised ArithmeticError in" in report.notes[0]


def test_a_backward_that_raises_on_complex_numbers_is_no_reason_to_fail():
    """Only the Hessian of a loss asks a backward for complex numbers."""
    def wrong(d_L, X):
        if np.iscomplexobj(X):
            raise ArithmeticError
        return 2 * d_L * X

    X = np.random.default_rng(1).normal(size=3)
    assert check_gradient(lambda X: ((X * X).sum(), X), wrong, {"X": X}, rng=np.random.default_rng(2)).passed


def test_an_interruption_passes_through():
    def interrupted(d_Y, cache):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(backward=interrupted)


# --- it returns what is no answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer, message", [
    (None, "the backward returned None, expected d_X, d_W as a NamedTuple, a dict, or a tuple in this order; is its return "
           "missing?"),
    (..., "is it not written yet?"),
    (np.ones(3), "the backward returned an array, expected d_X, d_W as"),
    ((np.ones((2, 3)),), "the backward returned 1 gradients; expected d_X, d_W as"),
    ((np.ones((2, 3)), None, None), "the backward returned 3 gradients, 2 of them None; expected d_X, d_W"),
    (tuple(np.ones((3, 2, 3))), "the backward returned 3 gradients; expected d_X, d_W as a NamedTuple, a dict, or a tuple in "
                                "this order; None for an input that is None"),
    (Renamed(1.0, 2.0), "the backward returned Renamed with X, W; expected d_X, d_W as"),
    ({"d_X": 1.0, 7: 2.0}, "the backward returned dict with 7; expected"),
    (Grads("a", 1.0), "the backward returned a str as d_X, expected an array"),
    (Grads([[1.0] * 3] * 2, 1.0), "the backward returned a list of 2 as d_X, expected an array"),
    (Grads(np.array([None]), 1.0), "the backward returned an array of dtype object as d_X, expected an array"),
    (Grads(1j * np.ones((2, 3)), 1.0), "the backward gave complex numbers as d_X, and all that it was given is real"),
])
def test_a_backward_whose_answer_is_none(answer, message):
    report = check(backward=lambda d_Y, cache: answer)
    assert not report.passed and message in str(report) and isinstance(report.raised, TypeError)


@pytest.mark.parametrize("answer, message", [
    (None, r"the forward returned None, expected the pair (out, cache); is its return missing?"),
    (np.ones(3), "the forward returned an array, expected the pair (out, cache)"),
    ((1.0, 2.0, 3.0), "the forward returned a tuple of 3, expected the pair (out, cache)"),
    (([1.0], None), "the forward returned a list of 1 as its output, expected an array"),
    (((), None), "the forward returned a tuple of 0 as its output, expected an array"),
    (("out", None), "the forward returned a str as its output, expected an array"),
    ((1j * np.ones(3), None), "the forward gave complex numbers for real inputs"),
])
def test_a_forward_whose_answer_is_none(answer, message):
    report = check(forward=lambda X, W: answer, backward=lambda d_Y, cache: Grads(np.ones((2, 3)), np.ones((3, 4))))
    assert not report.passed and message in str(report) and isinstance(report.raised, TypeError)


def test_a_shape_that_changes_from_call_to_call():
    calls = []

    def shrinks(d_Y, cache):
        calls.append(1)
        d_X, d_W = product_backward(d_Y, cache)
        return Grads(d_X[:len(calls)], d_W)

    report = check(backward=shrinks)
    assert ("the backward gave a d_X that is of shape (1, 3) and, for inputs of the same shapes, one that is of shape (2, 3)"
            in str(report))
    calls.clear()

    def grows(X, W):
        calls.append(1)
        return np.resize(X @ W, (len(calls), 4)), (X, W)

    assert "the forward gave an output of shape (1, 4) and, for inputs of the same shapes, one of (2, 4)" in str(
        check(forward=grows, backward=lambda d_Y, cache: Grads(*cache)))


def test_a_missing_and_an_unknown_gradient():
    assert "W: the backward returns no d_W" in str(check(backward=lambda d_Y, cache: {"d_X": d_Y @ cache[1].T}))
    report = check(backward=lambda d_Y, cache: product_backward(d_Y, cache)._asdict() | {"d_b": d_Y.sum(axis=0)})
    assert "returns d_b, but b is not among the inputs" in str(report) and report.raised is None


def test_gradients_of_nothing_but_nan():
    report = check(backward=lambda d_Y, cache: Grads(*(np.full(x.shape, np.nan) for x in cache)))
    assert report.diagnosis == {"X": "not finite", "W": "not finite"}


# --- what counts as an answer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [Grads._asdict, tuple, list, lambda grads: (*grads, None)],
                         ids=["dict", "tuple", "list", "None for another input"])
def test_a_dict_or_a_tuple_will_do(form):
    assert check(backward=lambda d_Y, cache: form(product_backward(d_Y, cache))).passed
    assert not check(backward=lambda d_Y, cache: form(product_backward(2 * d_Y, cache))).passed


@pytest.mark.parametrize("name", CASES)
def test_a_tuple_has_the_order_of_the_grads_of_the_package(name):
    """The order of a case's inputs is that of the fields, so a plain tuple is taken as it is meant."""
    c = CASES[name]
    label, (inputs, options) = list(c.make(np.random.default_rng(0)).items())[-1]
    def plain(d_out, cache):
        return tuple(c.backward(d_out, cache))

    report = c.check(label, inputs, options, np.random.default_rng(1), backward=plain)
    assert report.passed, str(report)


# --- in the other checks, and in words -------------------------------------------------------------------------------------


def test_the_values_of_a_forward_that_raises():
    def attention_without_mask(Q, K, V):
        return attention(Q, K, V)

    values = list(check_values("attention", attention_without_mask))
    raised = [value for value in values if value.raised is not None]
    assert 0 < len(raised) < len(values) and all("unexpected keyword argument 'key_mask'" in str(value) for value in raised)
    first = next(check_values("softmax", lambda S, mask=None: ((S, S), None)))
    assert first.problem == "the output is a tuple of 2, the formula gives one array"


def test_what_a_pass_was_given_in_words():
    nested = Grads(Grads(Grads(1.0, None), np.zeros((2, 2))), {"a": np.ones(3, np.float32)})
    assert described(nested) == "Grads(d_X Grads(d_X Grads(…), d_W (2, 2) of zeros), d_W (a (3,) float32))"
    assert described([np.ones((4, 4))[::2, ::2], "x", object()]) == "((2, 2) with steps in memory, 'x', object)"
    assert described((np.float64(0.5), True, None)) == "(0.5, True, None)"
    assert len(described([np.ones(3)] * 1000)) < 400
