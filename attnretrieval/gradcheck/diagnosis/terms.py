"""The error is a recognisable term: another gradient, the output, the row term of a softmax or a norm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.diagnosis.wrong import Diagnosis, Wrong, factor_of, nearly
from attnretrieval.gradcheck.run import relative


def recognised(wrong: Wrong) -> Diagnosis | None:
    """error = c · (something known of the same shape)."""
    for code, text, term in _known_terms(wrong):
        if term is None or term.shape != wrong.actual.shape or not term.any():
            continue
        c = factor_of(wrong.error, term)
        if c is None or abs(c) < 1e-12 or wrong.actual.size < 2 or not wrong.explains(wrong.expected + c * term):
            continue
        if nearly(c, -1):
            return Diagnosis(f"{code} missing", f"{wrong.d} misses {text}")
        return Diagnosis(f"{code} added", f"{wrong.d} has {c:.4g} times {text} too much")
    return None


def _known_terms(wrong: Wrong) -> Iterator[tuple[str, str, Array]]:
    run = wrong.run
    for y, u in zip(run.out, run.d_out, strict=True):
        yield "upstream", "the upstream gradient itself (a direct path, as in X + f(X))", u
        yield "upstream times output", "d_out ∘ out", u * y
        yield "output", "the output", y
    for other, d_other in wrong.others.items():
        if other != wrong.name:
            yield f"d_{other}", f"the gradient of {other}", d_other
    for other in run.floats:
        yield other, f"{other} itself (a weight decay?)", run.inputs[other]


def row_terms(wrong: Wrong) -> Diagnosis | None:
    """error = (one number a row) · (something): the terms that a softmax and a normalisation subtract row by row.

        softmax          d_S = A ∘ (d_A - Σ d_A A)       without its row term the error is r_i A_ij
        normalisation    d_X = r (d_X̂ - X̂ (X̂·d_X̂))       without it the error is r_i X_ij
        centring         d_X = d_X̄ - mean(d_X̄)           without it the error is r_i
    """
    x = wrong.run.inputs.get(wrong.name)
    if x is None or not x.ndim or x.shape[-1] < 3:
        return None
    for code, text, rows in _row_shapes(wrong, x):
        if rows.shape != x.shape:
            continue
        square = (rows * rows).sum(axis=-1, keepdims=True)
        r = (wrong.error * rows).sum(axis=-1, keepdims=True) / np.where(square == 0, 1, square)
        if r.any() and wrong.explains(wrong.expected + r * rows):
            return Diagnosis(code, f"{wrong.d} is off by {text} in each row")
    return None


def uncoupled(wrong: Wrong) -> Diagnosis | None:
    """Only the diagonal of the Jacobian: each element as if it acted on its own output alone."""
    J, u = wrong.jacobian, wrong.run.d_out[0] if wrong.run.d_out else None
    if J is None or u.shape != wrong.expected.shape or not u.size:
        return None
    diagonal = J.reshape(u.size, u.size).diagonal().reshape(u.shape)
    if wrong.explains(u * diagonal):
        return Diagnosis("row term missing", f"{wrong.d} is d_out ∘ the diagonal of the Jacobian: the part that couples the "
                                             "elements of a row is missing")
    return None


def unnormalised(wrong: Wrong) -> Diagnosis | None:
    """The length of x does not matter, so a right gradient has no part along x; take that part away and it is right.

        X̂ = X / ‖X‖,   d_X = (d_X̂ - X̂ (X̂·d_X̂)) / ‖X‖        d_X̂ itself is ‖X‖ d_X + r X, row by row
    """
    x = wrong.run.inputs.get(wrong.name)
    if x is None or not x.ndim or x.shape[-1] < 3 or x.shape != wrong.actual.shape:
        return None
    square = (x * x).sum(axis=-1, keepdims=True)
    along = (wrong.expected * x).sum(axis=-1, keepdims=True)
    if not np.all(square > 0) or relative(along, 0 * along, np.linalg.norm(wrong.expected)) > 1e-9:
        return None
    rest = wrong.actual - x * ((wrong.actual * x).sum(axis=-1, keepdims=True) / square)
    if wrong.close(rest / np.sqrt(square), wrong.expected):
        return Diagnosis("row term of norm missing", f"{wrong.d} is the gradient of the vector of length 1: it does not go "
                                                     "back through the normalisation")
    return None


def _row_shapes(wrong: Wrong, x: Array) -> Iterator[tuple[str, str, Array]]:
    sums = wrong.expected.sum(axis=-1)
    balanced = relative(sums, 0 * sums, np.linalg.norm(wrong.expected)) < 1e-9
    for y in wrong.run.out:
        if y.shape == x.shape and np.all(y >= 0) and relative(y.sum(axis=-1), np.ones(y.shape[:-1])) < 1e-9:
            yield "row term of softmax missing", "a multiple of the softmax output: is its row term, Σ d_A A, right", y
    yield "row term of norm missing", f"a multiple of {wrong.name}: is the part along {wrong.name} right", x
    if balanced:
        yield "row mean missing", "a constant; rows of the right gradient sum to 0: is their mean subtracted", np.ones_like(x)
    else:
        yield "off by a constant a row", "a constant", np.ones_like(x)
    for y in wrong.run.out:
        if y.shape == x.shape:
            yield "row term of norm missing", "a multiple of the output: is the part along it right", y
