"""Each diagnosis names its fault: wrong backwards of the equations, and what the checker must say of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from attnretrieval.backend import Array
from attnretrieval.course.cases import CASES, REGIONS
from attnretrieval.equations.axes import swap
from attnretrieval.equations.softmax import softmax
from attnretrieval.gradcheck import check_gradient


class Grads(NamedTuple):
    d_X: Array


class TwoGrads(NamedTuple):
    d_X: Array
    d_Z: Array


class Fault(NamedTuple):
    equation: str
    variant: str
    change: Callable            # (right gradients, upstream gradient, cache) → wrong gradients
    input: str
    code: str
    words: str = ""


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def change(name: str, function: Callable) -> Callable:
    """A change of one gradient; the others stay right."""
    return lambda g, u, cache: g._replace(**{f"d_{name}": np.asarray(function(getattr(g, f"d_{name}"), u, cache))})


def attention_without_row_term(g, d_Y, cache):
    Q, K, V, A = cache
    d_S = A * (d_Y @ swap(V)) / np.sqrt(Q.shape[-1])
    return g._replace(d_Q=d_S @ K, d_K=swap(d_S) @ Q)


def reshaped_heads(d_X, u, cache):
    return u.reshape(d_X.shape)


def relu_forgotten(g, d_Y, cache):
    X, W_1, _ = cache.to_U
    return g._replace(d_X=(d_Y @ cache.to_Y.W.T) @ W_1.T)


def last_one_wins(d_E, d_X, cache):
    d_E = np.zeros_like(d_E)
    d_E[cache.ids.reshape(-1)] = d_X.reshape(-1, d_X.shape[-1])
    return d_E


def one_direction(d_S, d_L, cache):
    """InfoNCE of the captions alone, halved."""
    P = softmax(cache.S / cache.tau)
    Y = np.eye(len(P))
    return d_L * (P - Y) / len(P) / cache.tau / 2


def triplet_one_direction(d_S, d_L, cache):
    S = CASES["triplet_loss"].make(rng())["sum, one caption an image"][0]["S"]
    active = (0.3 + S - np.diag(S)[:, None] > 0) & ~np.eye(4, dtype=bool)
    return d_L * (active - np.diag(active.sum(axis=1))) / 4


def gate_without_its_slope(d_H, d_F, cache):
    """σ' = G instead of G (1 - G)."""
    H, C, G, to_G = cache
    return d_F * G + (d_F * (H - C) * G) @ to_G.from_H.W.T


def unit_without_length(d_X, d_Y, cache):
    return cache.r * d_Y


def norm_without(term: str) -> Callable:
    def wrong(d_X, d_Y, cache):
        Z, r, gain = cache
        d_Z = gain * d_Y
        mean = d_Z.mean(axis=-1, keepdims=True)
        along = Z * (d_Z * Z).mean(axis=-1, keepdims=True)
        return r * (d_Z - (0 if term == "mean" else mean) - (0 if term == "deviation" else along))
    return wrong


def norm_without_gain(g, d_Y, cache):
    return CASES["layer_norm"].backward(d_Y / cache.gain, cache)._replace(d_gain=g.d_gain, d_bias=g.d_bias)


FAULTS = [
    Fault("attention", "batch", change("Q", lambda d, u, c: 0 * d), "Q", "zero", "is Q cut off"),
    Fault("attention", "batch", change("K", lambda d, u, c: -d), "K", "sign"),
    Fault("attention", "batch", change("Q", lambda d, u, c: 2 * d), "Q", "scaled",
          "2 times the right value everywhere: is the 1/√4 missing (4 is the last axis of Q)"),
    Fault("attention", "batch", change("Q", lambda d, u, c: d / 2), "Q", "scaled", "is 1/√4 there twice"),
    Fault("attention", "batch", change("V", lambda d, u, c: d[::-1].copy()), "V", "permuted", "2, 1, 0"),
    Fault("attention", "batch", attention_without_row_term, "Q", "row term of softmax missing"),
    Fault("attention", "batch", attention_without_row_term, "K", "row term of softmax missing"),
    Fault("attention", "masked", change("K", lambda d, u, c: d + ~REGIONS[..., None]), "K", "right only where the mask is True",
          "(0 is right there)"),
    Fault("attention", "batch", change("Q", lambda d, u, c: d * (np.arange(3) == 0)[:, None, None]), "Q", "right on one slice",
          "right only at 0 of axis 0 (0 there)"),
    Fault("softmax", "batch", change("S", lambda d, u, A: u * A), "S", "row term of softmax missing"),
    Fault("softmax", "batch", change("S", lambda d, u, A: np.sin(d)), "S", "not linear in the upstream gradient"),
    Fault("linear", "batch", change("b", lambda d, u, c: u.mean(axis=(0, 1))), "b", "mean for sum", "over 6 values"),
    Fault("linear", "batch", change("b", lambda d, u, c: u.sum(axis=0)[0]), "b", "batch sum missing", "index 0 of axis 1"),
    Fault("linear", "batch", change("b", lambda d, u, c: u[0, 0]), "b", "batch sum missing"),
    Fault("linear", "batch", change("b", lambda d, u, c: u.sum(axis=0)), "b", "batch sum missing",
          "not summed over its axis 0"),
    Fault("linear", "batch", change("W", lambda d, u, c: d.T.copy()), "W", "transposed", "return its transpose"),
    Fault("linear", "batch", change("W", lambda d, u, c: np.tensordot(c.X, np.ones_like(u), ((0, 1), (0, 1)))), "W",
          "upstream ignored"),
    Fault("multi_head_attention", "4 heads", lambda g, u, c: g._replace(d_W_O=g.d_W_O.T.copy()), "W_O", "transposed"),
    Fault("multi_head_attention", "4 heads", lambda g, u, c: g._replace(d_W_Q=g.d_W_K, d_W_K=g.d_W_Q), "W_Q",
          "swapped with d_W_K"),
    Fault("split_heads", "batch, 2 heads", change("X", reshaped_heads), "X", "permuted", "reshape"),
    Fault("feed_forward", "batch", relu_forgotten, "X", "closed ReLU let in"),
    Fault("layer_norm", "batch", change("X", norm_without("mean")), "X", "mean missing"),
    Fault("layer_norm", "batch", change("X", norm_without("deviation")), "X", "deviation missing"),
    Fault("layer_norm", "batch", norm_without_gain, "X", "factor missing", "not multiplied by gain"),
    Fault("embedding", "one sentence", change("E", last_one_wins), "E", "earlier occurrences of a word missing"),
    Fault("dropout", "p = 0.5", change("X", lambda d, u, c: u), "X", "factor missing", "the factor keep is missing"),
    Fault("l2_normalise", "batch", change("X", unit_without_length), "X", "length missing"),
    Fault("fuse_gate", "batch", change("H", lambda d, u, c: u * c.G), "H", "gate missing"),
    Fault("fuse_gate", "batch", change("C", lambda d, u, c: d - u * (1 - c.G)), "C", "direct use missing"),
    Fault("fuse_concat", "batch", change("W", lambda d, u, c: d * (np.arange(8) < 4)[:, None]), "W", "zero on a block",
          "4, 5, 6, 7 of axis 0 (0 there)"),
    Fault("pool_mean", "batch", change("F", lambda d, u, c: 3 * d), "F", "sum for mean", "over 3 values"),
    Fault("pool_max", "masked", change("F", lambda d, u, c: u[..., None, :] + 0 * d), "F",
          "masked tokens and tokens that are not the largest let in"),
    Fault("pool_max", "one sequence", change("F", lambda d, u, c: u[..., None, :] + 0 * d), "F",
          "tokens that are not the largest let in"),
    Fault("pool_max", "one sequence", change("F", lambda d, u, c: np.roll(d, 1, axis=0)), "F", "permuted"),
    Fault("pool_attention", "batch", change("F", lambda d, u, c: c.a[..., None] * u[..., None, :]), "F", "weights missing"),
    Fault("info_nce", "one caption an image", change("S", one_direction), "S", "image to text missing"),
    Fault("info_nce", "one caption an image", change("log_temperature", lambda d, u, c: -(one_direction(0, u, c) * c.S).sum()),
          "log_temperature", "image to text missing"),
    Fault("info_nce", "one caption an image", change("log_temperature", lambda d, u, c: -d), "log_temperature", "sign"),
    Fault("triplet_loss", "sum, one caption an image", change("S", lambda d, u, c: d * (1 - np.eye(4))), "S",
          "right pairs missing"),
    Fault("triplet_loss", "sum, one caption an image", change("S", triplet_one_direction), "S", "image to text missing"),
    Fault("triplet_loss", "sum, one caption an image", change("S", lambda d, u, c: d.T.copy()), "S", "transposed"),
    Fault("fuse_gate", "batch", change("H", gate_without_its_slope), "H", "factor missing", "misses the factor"),
    Fault("token_cosine", "batch", change("H", lambda d, u, c: d + 0.1 * c.token.X_hat / c.token.r), "H", "H added",
          "weight decay"),
]


def check(fault: Fault):
    case = CASES[fault.equation]
    inputs, options = case.make(rng())[fault.variant]

    def wrong(d_out, cache):
        return fault.change(case.backward(d_out, cache), d_out, cache)

    return case.check(fault.variant, inputs, options, np.random.default_rng(12), backward=wrong)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.equation}, {f.input}, {f.code}")
def test_the_diagnosis_names_the_fault(fault):
    report = check(fault)
    assert not report.passed
    assert report.diagnosis[fault.input] == fault.code, str(report)
    assert fault.words in str(report)


# --- without declared paths: a student's own pair ----------------------------------------------------------------------


def diagnosis(forward: Callable, backward: Callable, inputs: dict | None = None, **others) -> str:
    inputs = {"X": np.random.default_rng(13).normal(size=(3, 4))} if inputs is None else inputs
    report = check_gradient(forward, backward, inputs, rng=rng(), **others)
    assert not report.passed
    return report.diagnosis["X"]


def square(X):
    return X * X, X


@pytest.mark.parametrize("backward, code", [
    (lambda u, X: Grads(2 * X * u + u), "upstream added"),
    (lambda u, X: Grads(2 * X * np.flip(u, 0)), "upstream reversed"),
    (lambda u, X: Grads(2 * X * u.mean(0)), "upstream averaged"),
    (lambda u, X: Grads(2 * X + 0 * u), "upstream ignored"),
    (lambda u, X: Grads(2 * np.abs(u) * X), "upstream absolute"),
    (lambda u, X: Grads(2 * u), "factor missing"),
    (lambda u, X: Grads(2 * X * X * u), "factor there twice"),
    (lambda u, X: Grads(2 * X * u * np.array([[1], [3], [5]])), "scaled by row"),
    (lambda u, X: Grads(2 * X * u + np.array([[1], [3], [5]])), "off by a constant a row"),
    (lambda u, X: Grads(2 * X * u * (np.arange(12) != 5).reshape(3, 4)), "wrong on some elements"),
    (lambda u, X: Grads(2 * X * np.clip(u, -0.5, 0.5)), "not linear in the upstream gradient"),
    (lambda u, X: Grads(np.where(np.arange(3)[:, None] == 1, np.sin(u), 2 * X * u)), "wrong on one slice"),
    (lambda u, X: Grads(np.sin(u) * X), "not linear in the upstream gradient"),
    (lambda u, X: Grads((2 * X * u).T.copy()), "transposed"),
    (lambda u, X: Grads((2 * X * u).reshape(12)), "wrong shape"),
    (lambda u, X: Grads(2 * X * u / 0), "not finite"),
    (lambda u, X: Grads(None), "missing"),
])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_pair_of_which_nothing_is_declared(backward, code):
    assert diagnosis(square, backward) == code


def test_what_no_diagnosis_fits_is_unexplained():
    R = np.random.default_rng(14).normal(size=(3, 4))
    assert diagnosis(square, lambda u, X: Grads(2 * X * u + R * R.T[0, 0] * u * X**3)) == "unexplained"


def test_a_residual_that_is_forgotten():
    assert diagnosis(lambda X: (X + np.sin(X), X), lambda u, X: Grads(np.cos(X) * u)) == "upstream missing"


def test_the_sum_of_two_gradients():
    def forward(X, Z):
        return np.sin(X) * np.cos(Z), (X, Z)

    def backward(u, cache):
        X, Z = cache
        d_X, d_Z = u * np.cos(X) * np.cos(Z), -u * np.sin(X) * np.sin(Z)
        return TwoGrads(d_X + d_Z, d_Z.copy())

    draw = np.random.default_rng(15).normal
    assert diagnosis(forward, backward, {"X": draw(size=(2, 3)), "Z": draw(size=(2, 3))}) == "d_Z added"


def test_a_gradient_that_is_added_to_over_calls():
    kept = {}

    def backward(u, X):
        kept["d_X"] = kept.get("d_X", 0) + 2 * X * u
        return Grads(kept["d_X"].copy())

    assert diagnosis(square, backward) == "accumulates over calls"


def test_a_factor_that_is_an_option():
    def forward(X, temperature):
        return np.sin(X / temperature), (X, temperature)

    def backward(u, cache):
        X, temperature = cache
        return Grads(u * np.cos(X / temperature))

    X = {"X": np.random.default_rng(16).normal(size=(3, 4))}
    report = check_gradient(forward, backward, X, rng=rng(), options={"temperature": 0.3})
    assert report.diagnosis == {"X": "scaled"}
    assert "0.3 times the right value everywhere: is the 1/temperature missing" in str(report)


def test_a_large_input_is_diagnosed_from_samples():
    X = np.random.default_rng(17).normal(size=(60, 50))
    report = check_gradient(square, lambda u, X: Grads(-2 * X * u), {"X": X}, rng=rng())
    assert report.diagnosis == {"X": "sign"} and "48 of 48 sampled elements are wrong" in str(report)


# --- the picture -------------------------------------------------------------------------------------------------------


def test_the_picture_shows_expected_actual_and_difference_of_each_wrong_input(tmp_path):
    report = check(FAULTS[0])
    figure = report.plot()
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["expected", "actual: zero", "actual - expected: 36 of 36 differ"]
    assert figure.axes[0].get_ylabel().startswith("d_Q  3 × 3 × 4")
    figure.savefig(tmp_path / "wrong.png")
    assert (tmp_path / "wrong.png").stat().st_size > 1000


def test_the_picture_of_a_wrong_shape_says_so():
    report = check_gradient(square, lambda u, X: Grads((2 * X * u).T.copy()), {"X": np.ones((2, 3)) + 1}, rng=rng())
    figure = report.plot()
    assert any("the shape is wrong" in text.get_text() for ax in figure.axes for text in ax.texts)


def test_the_picture_of_a_right_gradient_and_of_nothing_to_draw():
    right = check_gradient(square, lambda u, X: Grads(2 * X * u), {"X": np.ones((2, 3))}, rng=rng())
    assert "every gradient is right" in right.plot().texts[0].get_text()
    missing = check_gradient(square, lambda u, X: Grads(None), {"X": np.ones((2, 3))}, rng=rng())
    assert "nothing to draw" in missing.plot().texts[0].get_text()
