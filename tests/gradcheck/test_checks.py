"""Each check notices a wrong backward, or a wrong forward, that all the others let through."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from attnretrieval.backend import Array
from attnretrieval.course.cases import CASES
from attnretrieval.equations.attention import attention, attention_backward
from attnretrieval.equations.pooling import PoolGrads, pool_max, pool_max_backward
from attnretrieval.equations.softmax import softmax, softmax_backward
from attnretrieval.gradcheck import check_gradient
from attnretrieval.gradcheck.derivatives import steady_slope


class Grads(NamedTuple):
    d_X: Array


class Three(NamedTuple):
    d_X: Array
    d_W: Array
    d_b: Array


def rng(seed: int = 21) -> np.random.Generator:
    return np.random.default_rng(seed)


def check(forward, backward, X=None, **others):
    X = rng(1).normal(size=(3, 4)) if X is None else X
    return check_gradient(forward, backward, {"X": X}, rng=rng(2), **others)


def only(report, *texts: str) -> None:
    """The report fails, and every one of its problems is one of these."""
    problems = report.problems + [text for row in report.rows for text in row.problems]
    assert problems
    for problem in problems:
        assert any(text in problem for text in texts), problem
    for text in texts:
        assert any(text in problem for problem in problems), text


def square(X):
    return X * X, X


# --- linearity, layout, float32 ----------------------------------------------------------------------------------------


def test_a_backward_that_clips_what_the_first_draw_did_not_reach():
    """Right for every upstream gradient below 3; the draw of the comparison has none above."""
    def clipped(u, X):
        return Grads(2 * X * np.clip(u, -3, 3))

    only(check(square, clipped), "d_X is not linear in the upstream gradient")


def test_an_index_into_memory():
    """Right as long as X lies row by row: as_strided trusts the steps of a fresh array."""
    def forward(X):
        rows = np.lib.stride_tricks.as_strided(X, X.shape, (X.shape[1] * X.itemsize, X.itemsize))
        return rows * X, (rows.copy(), X)

    only(check(forward, lambda u, cache: Grads((cache[0] + cache[1]) * u)), "strided, Fortran-ordered")


def test_a_backward_that_is_right_in_float64_alone():
    def forward(X):
        return X * X, X

    def backward(u, X):
        big = X.dtype.type(1e6)
        return Grads((2 * X * u + big) - big)                        # 6 digits lost: 10 of 16 remain, or 1 of 7

    report = check(forward, backward, tolerance=1e-8)
    assert "in float32 d_X is off by" in str(report) and "more than the bound" in str(report)


def test_float32_is_not_blamed_for_what_the_inputs_cannot_tell():
    """At scores of 10⁴ a float32 score has no digits behind the point: the measured bound knows that."""
    inputs = {"X": np.round(rng(3).normal(size=(3, 5))) * 1e4 + rng(4).normal(size=(3, 5))}
    report = check_gradient(lambda X: (softmax(X),) * 2, lambda u, A: Grads(softmax_backward(u, A)), inputs, rng=rng())
    assert not any("float32" in text for row in report.rows for text in row.problems)


# --- the adjoint test --------------------------------------------------------------------------------------------------


def test_a_backward_that_is_right_for_the_first_upstream_gradient_alone():
    """It is linear, and its error is orthogonal to the upstream gradient of the comparison."""
    first = []

    def backward(u, X):
        first.append(u.copy())
        w = np.ones(u.shape) - first[0] * first[0].sum() / (first[0] * first[0]).sum()
        return Grads(2 * X * u + (w * u).sum().astype(X.dtype) * X)

    report = check(square, backward)
    assert report.rows[0].complex_error < 1e-12
    assert "<J v, u> is" in str(report) and report.diagnosis == {"X": "right for one upstream gradient alone"}


# --- losses ------------------------------------------------------------------------------------------------------------


def test_the_hessian_of_a_gradient_that_is_right_at_this_point_alone():
    """A part held constant: the value is right here, its derivative is not. Nothing but the second derivative can see it."""
    X = rng(5).normal(size=3)
    at = X.copy()

    def forward(X):
        return np.asarray((X * X).sum() * X[0]), X

    def backward(u, X):
        d_X = 2 * X * X[0]
        d_X[0] = d_X[0] + (at * at).sum()                              # should be (X * X).sum()
        return Grads((u * d_X).astype(np.result_type(u, X)))

    report = check(forward, backward, X)
    assert "the Hessian is not symmetric" in str(report) and report.rows[0].complex_error < 1e-12


@pytest.mark.parametrize("name", ["info_nce", "triplet_loss"])
def test_the_hessians_of_the_losses_are_taken(name, monkeypatch):
    from attnretrieval.gradcheck import checks

    seen = []
    monkeypatch.setattr(checks, "relative", lambda a, b, floor=0.0: seen.append(np.shape(a)) or 0.0)
    label, (inputs, options) = next(iter(CASES[name].make(rng()).items()))
    CASES[name].check(label, inputs, options, rng())
    size = sum(x.size for x in inputs.values() if x.dtype.kind == "f")
    assert (size, size) in seen


def test_a_backward_that_takes_no_complex_numbers_is_no_reason_to_fail():
    assert check(lambda X: (np.asarray((X**4).sum()), X), lambda u, X: Grads(u * 4 * X.real**3)).passed
    assert check(lambda X: (np.asarray((X**4).sum()), X), lambda u, X: Grads(u * 4 * X**2 * X.real)).passed


# --- large inputs ------------------------------------------------------------------------------------------------------


def large() -> dict:
    draw = rng(6).normal
    return {"X": draw(size=(40, 50)), "W": draw(size=(50, 30)), "b": draw(size=30)}


def linear(X, W, b):
    return X @ W + b, (X, W)


def linear_back(u, cache):
    X, W = cache
    return Three(u @ W.T, X.T @ u, u.sum(axis=0))


def test_a_large_input_is_checked_by_samples():
    report = check_gradient(linear, linear_back, large(), rng=rng())
    assert report.passed, str(report)
    assert report.worst_error < 1e-12


def test_one_wrong_element_of_a_large_input():
    def wrong(u, cache):
        right = linear_back(u, cache)
        right.d_W[17, 3] += 1e-3
        return right

    report = check_gradient(linear, wrong, large(), rng=rng())
    assert [row.passed for row in report.rows] == [True, False, True]
    assert "wrong along random directions" in str(report)


def test_a_wrong_part_of_a_large_input_is_found_by_its_elements_too():
    def wrong(u, cache):
        right = linear_back(u, cache)
        right.d_X[20:] *= 1.001
        return right

    report = check_gradient(linear, wrong, large(), rng=rng())
    assert "sampled elements are wrong; the first at [2" in str(report)


def test_the_limit_decides_what_is_large():
    report = check_gradient(linear, linear_back, large(), rng=rng(), limit=5)
    assert report.passed, str(report)


# --- kinks -------------------------------------------------------------------------------------------------------------


def tied() -> Array:
    return np.array([[1.0, 2.0], [1.0, 0.0], [0.0, 3.0]])              # the first feature ties in tokens 0 and 1


def shared(weights) -> object:
    """Max pooling whose gradient goes to the two tied tokens with these weights."""
    def backward(d_g, cache):
        d_F = pool_max_backward(d_g, cache).d_F
        d_F[:2, 0] = np.array(weights) * d_g[0]
        return PoolGrads(d_F)
    return backward


def pool_check(backward, **others):
    return check_gradient(pool_max, backward, {"F": tied()}, rng=rng(), **others)


@pytest.mark.parametrize("weights", [(1, 0), (0, 1), (0.5, 0.5), (0.3, 0.7)])
def test_at_a_tie_all_between_the_one_sided_derivatives_is_right(weights):
    assert pool_check(shared(weights), kinks="between").passed, str(pool_check(shared(weights), kinks="between"))


@pytest.mark.parametrize("weights", [(1.1, -0.1), (2, 0), (-1, 2)])
def test_at_a_tie_what_is_outside_is_wrong(weights):
    assert "elements are wrong" in str(pool_check(shared(weights), kinks="between"))


@pytest.mark.parametrize("weights", [(1, 1), (0, 0), (0.5, 0.6)])
def test_at_a_tie_the_gradient_is_shared_and_not_doubled_or_lost(weights):
    """Each element lies between its own one-sided derivatives; together they do not."""
    only(pool_check(shared(weights), kinks="between"), "not between its one-sided slopes")


def test_away_from_the_tie_the_comparison_stays_exact():
    def wrong(d_g, cache):
        d_F = pool_max_backward(d_g, cache).d_F
        d_F[2, 1] *= 1 + 1e-8
        return PoolGrads(d_F)

    assert not pool_check(wrong, kinks="between").passed


def test_an_undeclared_tie_is_called_one():
    report = pool_check(pool_max_backward)
    assert "x lies on a kink at [1, 0]" in str(report) and report.diagnosis["F"] == "on a kink"


def test_the_checker_moves_away_from_a_declared_tie():
    def distances(F):
        return np.abs(F[0] - F[1])

    report = pool_check(pool_max_backward, kinks=distances)
    assert report.passed and "the inputs were moved away from a tie" in str(report)
    assert not pool_check(shared((0.5, 0.5)), kinks=distances).passed


def test_kinks_are_a_function_or_between():
    with pytest.raises(ValueError, match="kinks='yes' is neither"):
        pool_check(pool_max_backward, kinks="yes")


# --- the difference ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function, slope", [
    (np.sin, 1.0),
    (lambda t: np.tanh(1e4 * t), 1e4),                                 # steep
    (lambda t: (t + 1e-7) / np.sqrt((t + 1e-7) ** 2 + 1e-12), 985185.3288),   # bends within 1e-6
    (lambda t: max(t, 2e-4) + 3 * t, 3.0),                             # a kink 2e-4 away
    (lambda t: 1e4 + t, 1.0),
    (lambda t: 7.0, 0.0),
])
def test_the_difference_finds_its_step(function, slope):
    assert steady_slope(function, abs(function(0.0))) == pytest.approx(slope, rel=1e-6, abs=1e-8)


# --- algebra -----------------------------------------------------------------------------------------------------------


def test_a_softmax_that_is_not_one():
    """exp without the division: forward and backward agree, so no derivative test can object."""
    def forward(X):
        return np.exp(X), np.exp(X)

    def backward(u, E):
        return Grads(u * E)

    assert check(forward, backward).passed
    only(check(forward, backward, algebra=[("rows sum to 0", "X"), ("shift invariant", "X")]),
         "the rows of d_X do not sum to 0", "adding a number to each row of X changes")


def test_a_cosine_that_depends_on_the_length():
    only(check(square, lambda u, X: Grads(2 * X * u), algebra=[("scale invariant", "X")]),
         "d_X has a part along X", "3 · X gives another output")


def attention_inputs(mask: bool = True) -> dict:
    draw = rng(7).normal
    inputs = {"Q": draw(size=(2, 3, 4)), "K": draw(size=(2, 5, 4)), "V": draw(size=(2, 5, 3))}
    return {**inputs, "key_mask": np.array([[True, True, False, True, False], [True] * 5])} if mask else inputs


ATTENTION_ALGEBRA = [("masked", "key_mask", {"K": -2, "V": -2}), ("permutation", {"K": -2, "V": -2, "key_mask": -1}),
                     ("permutation", {"Q": -2}, -2)]


def test_attention_that_lets_padding_in():
    """A mask of -10 where -∞ belongs, forward and backward alike."""
    def forward(Q, K, V, key_mask):
        A = softmax(Q @ K.swapaxes(-1, -2) / 2 + np.where(key_mask, 0, -10).astype(Q.real.dtype)[..., None, :])
        return A @ V, (Q, K, V, A)

    def backward(u, cache):
        return attention_backward(u, type("Cache", (tuple,), {})(cache))

    inputs = attention_inputs()
    assert check_gradient(forward, backward, inputs, rng=rng()).passed
    report = check_gradient(forward, backward, inputs, rng=rng(), algebra=ATTENTION_ALGEBRA)
    assert "d_K is not exactly 0 where key_mask is False" in str(report)
    assert "another V where key_mask is False changes the output" in str(report)


def test_attention_that_looks_at_places():
    """A bonus for the first key, forward and backward alike: no function of a set of keys."""
    bonus = np.array([1.0, 0, 0, 0, 0])

    def forward(Q, K, V, key_mask):
        A = softmax(Q @ K.swapaxes(-1, -2) / 2 + bonus.astype(Q.real.dtype), key_mask[..., None, :])
        return A @ V, (Q, K, V, A)

    inputs = attention_inputs()
    assert check_gradient(forward, attention_backward, inputs, rng=rng()).passed
    only(check_gradient(forward, attention_backward, inputs, rng=rng(), algebra=ATTENTION_ALGEBRA),
         "another order along axis -2 of K and axis -2 of V and axis -1 of key_mask changes")


def test_right_attention_keeps_all_identities():
    for mask in (True, False):
        report = check_gradient(attention, attention_backward, attention_inputs(mask), rng=rng(), algebra=ATTENTION_ALGEBRA)
        assert report.passed, str(report)


def test_an_unknown_identity_is_named():
    with pytest.raises(ValueError, match="algebra 'cosine' is not one of rows sum to 0"):
        check(square, lambda u, X: Grads(2 * X * u), algebra=[("cosine", "X")])


# --- the report --------------------------------------------------------------------------------------------------------


def test_the_tolerance_is_stated_and_grows_with_the_root_of_the_size():
    small = check(square, lambda u, X: Grads(2 * X * u), rng(8).normal(size=2))
    wide = check(square, lambda u, X: Grads(2 * X * u), rng(8).normal(size=200))
    assert wide.tolerance == pytest.approx(10 * small.tolerance)
    assert "(tolerance 4e-12 = 1e4 ε √4)" in str(small)
    assert "(tolerance 1e-07)" in str(check(square, lambda u, X: Grads(2 * X * u), tolerance=1e-7))


@pytest.mark.parametrize("name", CASES)
def test_whatever_a_backward_returns_the_checker_answers(name):
    """Gradients of a wrong shape, of NaN, missing, of no axes: a report, never an exception."""
    c = CASES[name]
    changes = [lambda d: d[..., None], lambda d: d.T.copy(), lambda d: d * np.nan, lambda d: None, lambda d: d > 0]
    for label, (inputs, options) in list(c.make(rng()).items())[:4]:
        for change in changes:
            def wrong(d_out, cache, change=change):
                right = c.backward(d_out, cache)
                return right._make(None if d is None else change(d) for d in right)

            str(c.check(label, inputs, options, rng(), backward=wrong))
