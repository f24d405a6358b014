"""The gradient checker itself, on functions whose right gradient is known beforehand: it accepts it, and nothing beside it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from attnretrieval.backend import Array
from attnretrieval.gradcheck import Report, check_gradient
from tests.properties.strategies import DTYPES, SEEDS

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)


class Grads(NamedTuple):
    d_X: Array


class TwoGrads(NamedTuple):
    d_X: Array
    d_Z: Array


class Linear(NamedTuple):
    """Y = M x, x any array laid out flat, Y of any shape. Its backward is d_x = Mᵀ d_Y."""

    M: Array
    X: Array
    out_shape: tuple[int, ...]
    seed: int

    def forward(self, X: Array) -> tuple[Array, tuple[int, ...]]:
        return (self.M.astype(X.dtype) @ X.reshape(-1)).reshape(self.out_shape), X.shape

    def check(self, M: Array | None = None, limit: int = 1000) -> Report:
        """The report on this forward with the backward of another matrix, or with its own."""
        return check_gradient(self.forward, lambda *given: Grads(transposed(self.M if M is None else M, *given)), {"X": self.X},
                              limit=limit, rng=np.random.default_rng(self.seed))


def transposed(M: Array, d_Y: Array, shape: tuple[int, ...]) -> Array:
    """The backward of Y = M x."""
    return (M.T.astype(d_Y.dtype) @ d_Y.reshape(-1)).reshape(shape)


@st.composite
def linear_maps(draw, least: int = 1) -> Linear:
    shape, out_shape, seed = draw(SHAPES.filter(lambda s: np.prod(s) >= least)), draw(SHAPES), draw(SEEDS)
    rng = np.random.default_rng(seed)
    M = rng.normal(size=(int(np.prod(out_shape)), int(np.prod(shape))))
    return Linear(M, rng.normal(size=shape).astype(draw(st.sampled_from(DTYPES))), out_shape, seed)


def away_from_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.uniform(0.3, 1.5, shape) * rng.choice([-1, 1], shape))


# --- right backwards -------------------------------------------------------------------------------------------------


@given(linear_maps(), st.sampled_from([1000, 3]))
def test_any_linear_map_with_its_transpose_passes(linear, limit):
    """Element by element, or (above `limit`) along random directions."""
    report = linear.check(limit=limit)
    assert report.passed, str(report)


@given(linear_maps(), st.floats(-4, 4))
def test_a_gradient_right_but_for_rounding_passes(linear, roundings):
    eps = np.finfo(np.float64).eps
    nudged = linear.M * (1 + roundings * eps * np.sign(linear.M))
    assert linear.check(nudged).passed


FUNCTIONS = {
    "exp": (np.exp, np.exp), "sin": (np.sin, np.cos), "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "square": (lambda x: x * x, lambda x: 2 * x), "cube": (lambda x: x * x * x, lambda x: 3 * x * x)}


@pytest.mark.parametrize("outer", FUNCTIONS)
@given(inner=st.sampled_from(sorted(FUNCTIONS)), shape=SHAPES, seed=SEEDS)
def test_the_chain_rule_passes_and_half_of_it_does_not(outer, inner, shape, seed):
    (f, f_slope), (g, g_slope) = FUNCTIONS[outer], FUNCTIONS[inner]
    rng = np.random.default_rng(seed)
    X = away_from_zero(rng, shape)

    def forward(X):
        return np.asarray(f(g(X))), X

    def right(d_Y, X):
        return Grads(np.asarray(d_Y * f_slope(g(X)) * g_slope(X)))

    def half(d_Y, X):
        return Grads(np.asarray(d_Y * f_slope(g(X))))

    report = check_gradient(forward, right, {"X": X}, rng=rng)
    assert report.passed, str(report)
    assert not check_gradient(forward, half, {"X": X}, rng=rng).passed


@given(SHAPES, SEEDS, st.booleans())
def test_a_forward_that_is_not_complex_safe_is_judged_by_the_difference(shape, seed, is_right):
    rng = np.random.default_rng(seed)
    X = away_from_zero(rng, shape)

    def backward(d_Y, X):
        return Grads(np.asarray(d_Y * (np.sign(X) if is_right else 1.001 * np.sign(X))))

    report = check_gradient(lambda X: (np.asarray(np.abs(X)), X), backward, {"X": X}, rng=rng)
    assert report.passed == is_right and "complex" in str(report)


# --- wrong backwards -------------------------------------------------------------------------------------------------


@given(linear_maps(), st.data())
def test_one_element_off_by_a_thousandth_is_found_and_named(linear, data):
    out, at = (data.draw(st.integers(0, size - 1)) for size in linear.M.shape)
    wrong = linear.M.copy()
    wrong[out, at] *= 1 + 1e-3
    report = linear.check(wrong)
    place = [int(i) for i in np.unravel_index(at, linear.X.shape)]
    assert not report.passed
    assert f"1 of {linear.X.size} elements are wrong; the first{f' at {place}' if place else ''}: expected" in str(report)


@given(linear_maps(least=4), st.data())
def test_one_element_off_in_a_large_input_is_found_too(linear, data):
    """Above `limit`, most elements are seen along random directions alone."""
    wrong = linear.M.copy()
    wrong[0, data.draw(st.integers(0, linear.X.size - 1))] *= 1 + 1e-3
    assert not linear.check(wrong, limit=3).passed


@given(linear_maps(least=2), st.integers(-5000, 5000).map(lambda k: k / 1000).filter(lambda c: c not in (-1, 0, 1)))
def test_a_factor_is_told(linear, c):
    report = linear.check(c * linear.M)
    assert f"d_X is {c:.4g} times the right value everywhere" in str(report)
    assert report.diagnosis["X"] in ("scaled", "mean for sum", "sum for mean")


@given(linear_maps(), st.sampled_from([(0, "zero"), (-1, "sign")]))
def test_a_cut_off_gradient_and_a_lost_sign_are_told(linear, fault):
    c, code = fault
    assert linear.check(c * linear.M).diagnosis == {"X": code}


@given(linear_maps(), linear_maps(), st.booleans())
def test_the_input_with_the_wrong_gradient_is_blamed_alone(one, two, first):
    """Y is a pair of outputs, each from an input of its own."""
    def forward(X, Z):
        (Y_1, shape_1), (Y_2, shape_2) = one.forward(X), two.forward(Z)
        return (Y_1, Y_2), (shape_1, shape_2)

    def backward(d_Y, shapes):
        factors = (1.25, 1) if first else (1, 1.25)
        return TwoGrads(*(transposed(c * linear.M, d, shape)
                          for c, linear, d, shape in zip(factors, (one, two), d_Y, shapes, strict=True)))

    report = check_gradient(forward, backward, {"X": one.X, "Z": two.X}, rng=np.random.default_rng(one.seed))
    assert [row.passed for row in report.rows] == [not first, first]


# --- the checker as a function ---------------------------------------------------------------------------------------


@given(linear_maps(), st.booleans())
def test_a_seed_gives_one_report_and_the_inputs_stay(linear, is_right):
    before = linear.X.tobytes()
    M = linear.M if is_right else linear.M + 1
    assert str(linear.check(M)) == str(linear.check(M))
    assert linear.X.tobytes() == before
