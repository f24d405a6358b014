"""Every equation passes the checker, and the checker rejects every wrong backward that we could think of."""

from __future__ import annotations

import pkgutil
from typing import NamedTuple

import numpy as np
import pytest

from attnretrieval import equations
from attnretrieval.backend import Array
from attnretrieval.course.cases import CASES, run_cases
from attnretrieval.equations.attention import AttentionGrads, attention, attention_backward
from attnretrieval.equations.axes import swap
from attnretrieval.equations.linear import LinearGrads, linear, linear_backward
from attnretrieval.equations.softmax import softmax, softmax_backward
from attnretrieval.gradcheck import check_gradient


class Grads(NamedTuple):
    d_X: Array


class TwoGrads(NamedTuple):
    d_X: Array
    d_Z: Array


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def check(forward, backward, **inputs):
    return check_gradient(forward, backward, inputs, rng=rng())


def text(report) -> str:
    assert not report.passed
    return str(report)


# --- every equation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_every_variant_of_every_equation_passes(name):
    reports = run_cases([name])
    assert reports
    for report in reports:
        assert report.passed, str(report)
        assert report.worst_error <= 1e-10
        assert report.rows, "nothing was differentiated"


def test_every_equation_in_the_package_has_a_case():
    files = {module.name for module in pkgutil.iter_modules(equations.__path__)} - {"axes"}
    assert files == {c.file for c in CASES.values()}


def test_cases_are_chosen_by_equation_or_by_file():
    def equations_of(*names):
        return {report.name.partition(",")[0] for report in run_cases(names)}

    assert equations_of("pooling") == {"pool_mean", "pool_max", "pool_weights", "pool_attention"}
    assert equations_of("pool_max", "linear") == {"pool_max", "linear"}
    with pytest.raises(ValueError, match="'sofmax' is not one of .*softmax"):
        run_cases(["sofmax"])


def test_another_seed_passes_too():
    assert all(report.passed for report in run_cases(["attention", "fuse_gate", "info_nce"], np.random.default_rng(99)))


# --- wrong values --------------------------------------------------------------------------------------------------------


def softmax_pair(X):
    A = softmax(X)
    return A, A


def test_softmax_without_its_row_term():
    report = check(softmax_pair, lambda d_A, A: Grads(d_A * A), X=rng().normal(size=(3, 4)))
    assert "12 of 12 elements are wrong; the first at [0, 0]: expected" in text(report)


def test_softmax_whose_row_term_ignores_the_upstream_gradient():
    """With an upstream gradient of ones this is right: Σ A = 1. A checker that draws ones would be blind to it."""
    def wrong(d_A, A):
        return Grads(d_A * A - A * A.sum(axis=-1, keepdims=True))

    def right(d_A, A):
        return Grads(softmax_backward(d_A, A))

    X = rng().normal(size=(3, 4))
    ones = np.ones((3, 4))
    np.testing.assert_allclose(wrong(ones, softmax(X)).d_X, right(ones, softmax(X)).d_X, atol=1e-15)
    assert not check(softmax_pair, wrong, X=X).passed
    assert check(softmax_pair, right, X=X).passed


def attention_inputs() -> dict:
    draw = rng().normal
    return {"Q": draw(size=(2, 3, 4)), "K": draw(size=(2, 5, 4)), "V": draw(size=(2, 5, 3))}


def test_attention_that_forgets_the_scale():
    def wrong(d_Y, cache):
        Q, K, V, A = cache
        d_S = softmax_backward(d_Y @ swap(V), A)
        return AttentionGrads(d_S @ K, swap(d_S) @ Q, swap(A) @ d_Y)

    report = check(attention, wrong, **attention_inputs())
    assert [row.passed for row in report.rows] == [False, False, True]
    assert report.rows[0].complex_error == pytest.approx(0.5)          # √d_k = 2: twice too large


def test_attention_with_queries_and_keys_exchanged():
    def wrong(d_Y, cache):
        right = attention_backward(d_Y, cache)
        return right._replace(d_Q=right.d_K, d_K=right.d_Q)

    assert "d_Q has shape (2, 5, 4), expected (2, 3, 4)" in text(check(attention, wrong, **attention_inputs()))


def test_one_wrong_element_in_many():
    def wrong(d_Y, cache):
        right = attention_backward(d_Y, cache)
        right.d_K[1, 2, 3] *= 1 + 1e-7
        return right

    report = check(attention, wrong, **attention_inputs())
    assert "K: 1 of 40 elements are wrong; the first at [1, 2, 3]" in text(report)


def linear_inputs() -> dict:
    draw = rng().normal
    return {"X": draw(size=(2, 3, 4)), "W": draw(size=(4, 5)), "b": draw(size=5)}


def test_a_bias_summed_over_too_few_axes():
    def wrong(d_Y, cache):
        return linear_backward(d_Y, cache)._replace(d_b=d_Y.sum(axis=0))

    assert "d_b has shape (3, 5), expected (5,), that of b; a broadcast input" in text(check(linear, wrong, **linear_inputs()))


def test_a_mean_where_a_sum_belongs():
    def wrong(d_Y, cache):
        return linear_backward(d_Y, cache)._replace(d_b=d_Y.mean(axis=(0, 1)))

    assert "5 of 5 elements are wrong" in text(check(linear, wrong, **linear_inputs()))


def test_a_gradient_that_ignores_the_upstream():
    def wrong(d_Y, cache):
        X, W, _ = cache
        d_W = np.repeat(X.sum(axis=(0, 1))[:, None], 5, axis=1)
        return LinearGrads(np.broadcast_to(W.sum(axis=1), X.shape).copy(), d_W, np.full(5, 6.0))

    assert "d_X is not 0 where the upstream gradient is 0" in text(check(linear, wrong, **linear_inputs()))


def test_a_missing_gradient():
    def wrong(d_Y, cache):
        return linear_backward(d_Y, cache)._replace(d_W=None)

    assert "the backward returns no d_W" in text(check(linear, wrong, **linear_inputs()))


def test_a_gradient_of_something_that_is_no_input():
    inputs = {**linear_inputs(), "b": None}

    def wrong(d_Y, cache):
        return linear_backward(d_Y, cache)._replace(d_b=d_Y.sum(axis=(0, 1)))

    assert "returns d_b, but b is None" in text(check(linear, wrong, **inputs))


def test_a_gradient_with_nan():
    def wrong(d_Y, cache):
        right = linear_backward(d_Y, cache)
        right.d_W[1, 2] = np.nan
        return right

    assert "d_W holds NaN or infinity, the first at [1, 2]" in text(check(linear, wrong, **linear_inputs()))


# --- the rules of an equation ----------------------------------------------------------------------------------------------


def twice(X):
    return 2 * X, None


def test_a_gradient_that_is_the_upstream_gradient():
    report = check(lambda X: (X + 0, None), lambda d_Y, cache: Grads(d_Y), X=rng().normal(size=3))
    assert "d_X shares memory with the upstream gradient" in text(report)


def test_two_gradients_that_are_one_array():
    report = check(lambda X, Z: (X + Z, None), lambda d_Y, cache: TwoGrads(*[d_Y.copy()] * 2),
                   X=rng().normal(size=3), Z=rng().normal(size=3))
    assert "d_Z shares memory with d_X" in text(report)


def test_a_gradient_that_is_an_input():
    report = check(lambda X: (0.5 * X * X, X), lambda d_Y, X: Grads(np.multiply(X, d_Y, out=X)), X=rng().normal(size=3))
    assert "the backward writes into X" in str(report) and "d_X shares memory with X" in text(report)


def test_an_output_that_is_a_view_of_an_input():
    report = check(lambda X: (X[::-1], None), lambda d_Y, cache: Grads(d_Y[::-1].copy()), X=rng().normal(size=3))
    assert "the output shares memory with X" in text(report)


def test_a_forward_that_writes_into_its_input():
    def forward(X):
        X *= 2
        return X.copy(), None

    assert "the forward writes into X" in text(check(forward, lambda d_Y, cache: Grads(2 * d_Y), X=rng().normal(size=3)))


def test_a_backward_that_writes_into_the_upstream_gradient():
    def backward(d_Y, cache):
        d_Y *= 2
        return Grads(d_Y.copy())

    assert "the backward writes into the upstream gradient" in text(check(twice, backward, X=rng().normal(size=3)))


def test_a_backward_that_writes_into_its_cache():
    def forward(X):
        E = np.exp(X)
        return E.copy(), E

    def backward(d_Y, E):
        E *= d_Y
        return Grads(E.copy())

    assert "the backward changes its cache" in text(check(forward, backward, X=rng().normal(size=3)))


def test_a_cache_kept_on_the_side():
    kept = []

    def forward(X):
        kept[:] = [np.exp(X)]
        return kept[0].copy(), None

    assert "something is kept outside the cache" in text(
        check(forward, lambda d_Y, cache: Grads(d_Y * kept[0]), X=rng().normal(size=3)))


def test_a_forward_that_draws_random_numbers_by_itself():
    noise = rng()
    report = check(lambda X: (X * noise.random(3), None), lambda d_Y, cache: Grads(d_Y.copy()), X=rng().normal(size=3))
    assert "a second forward on the same inputs gives another output" in text(report)


def test_float32_that_becomes_float64():
    factor = np.full(3, 2.0)
    report = check(lambda X: (X * factor, None), lambda d_Y, cache: Grads(d_Y * factor), X=rng().normal(size=3))
    assert "with float32 inputs the output has dtype float64" in text(report)
    assert "with float32 inputs d_X has dtype float64" in text(report)
    assert report.worst_error < 1e-10                                  # the values are right; only the dtype is not


def test_float32_inputs_are_compared_in_float64():
    inputs = {name: x.astype(np.float32) for name, x in attention_inputs().items()}
    report = check(attention, attention_backward, **inputs)
    assert report.passed and report.worst_error < 1e-14


# --- forwards that are not complex-safe --------------------------------------------------------------------------------


def test_a_norm_that_drops_the_imaginary_part():
    def forward(X):
        return np.linalg.norm(X), X

    def backward(d_Y, X):
        return Grads(d_Y * X / np.linalg.norm(X))

    report = check(forward, backward, X=rng().normal(size=4))
    assert "note: the forward is not complex-safe" in str(report)
    assert report.passed and report.rows[0].difference_error < 1e-6 and np.isnan(report.worst_error)
    assert not check(forward, lambda d_Y, X: Grads(1.0001 * backward(d_Y, X).d_X), X=rng().normal(size=4)).passed


def test_a_forward_that_refuses_complex_numbers():
    report = check(lambda X: (np.cbrt(X), X), lambda d_Y, X: Grads(d_Y / (3 * np.cbrt(X) ** 2)), X=rng().normal(size=4))
    assert "note: on complex inputs the forward raised TypeError in test_gradcheck.py line " in str(report)
    assert report.passed and report.rows[0].difference_error < 1e-6 and np.isnan(report.worst_error)


def test_a_complex_step_that_is_fooled_is_caught_by_the_difference():
    """The real part loses a factor that the imaginary part keeps: complex step and backward agree, and both are wrong."""
    report = check(lambda X: (X.real + 2j * X.imag if np.iscomplexobj(X) else X + 0, None),
                   lambda d_Y, cache: Grads(2 * d_Y), X=rng().normal(size=4))
    assert "against the central difference" in text(report)


# --- its own interface ---------------------------------------------------------------------------------------------------


def test_several_outputs_in_a_tuple():
    class Pair(NamedTuple):
        sine: Array
        square: Array

    def forward(X):
        return Pair(np.sin(X), X * X), X

    def backward(d_out: Pair, X):
        return Grads(d_out.sine * np.cos(X) + 2 * X * d_out.square)

    assert check(forward, backward, X=rng().normal(size=(2, 3))).passed
    assert not check(forward, lambda d_out, X: Grads(d_out.sine * np.cos(X)), X=rng().normal(size=(2, 3))).passed


def test_scalars_masks_and_integers():
    def forward(X, mask, ids, power):
        return (X[ids] * mask).sum() ** power, (X, mask, ids, power)

    def backward(d_L, cache):
        X, mask, ids, power = cache
        d_X = np.zeros_like(X)
        np.add.at(d_X, ids, d_L * power * (X[ids] * mask).sum() ** (power - 1) * mask)
        return Grads(d_X)

    inputs = {"X": rng().normal(size=4), "mask": np.array([True, False, True]), "ids": np.array([3, 1, 3])}
    report = check_gradient(forward, backward, inputs, rng=rng(), options={"power": 2}, name="power")
    assert report.passed, str(report)
    assert [row.name for row in report.rows] == ["X"]


def test_a_gradient_that_is_zero_in_theory():
    """A key bias shifts all logits of a row alike: its gradient is rounding, and no reason to fail."""
    report = run_cases(["multi_head_attention"])[0]
    row = next(row for row in report.rows if row.name == "b_K")
    assert row.passed and row.complex_error < 1e-10


def test_the_report_is_a_table():
    report = check_gradient(attention, attention_backward, attention_inputs(), rng=rng(), name="attention, a batch")
    lines = str(report).splitlines()
    assert lines[0] == "attention, a batch: passed (tolerance 2e-11 = 1e4 ε √112)"
    assert lines[1].split() == ["input", "shape", "complex", "step", "difference", "verdict"]
    assert lines[2].startswith("  Q      2 × 3 × 4") and lines[2].endswith("ok")
    assert len({len(line.rpartition("  ")[0]) for line in lines[2:]}) == 1


def test_a_misuse_is_explained():
    with pytest.raises(TypeError, match=r"inputs\['X'\] is a list, expected a NumPy array"):
        check_gradient(twice, lambda d, c: Grads(2 * d), {"X": [1.0, 2.0]}, rng=rng())
