"""The chain rule with something else than the upstream gradient, or a sum over the output that is incomplete."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.diagnosis.wrong import Diagnosis, Wrong, combination, known_arrays, nearly, shown, spread_to


def copies(wrong: Wrong) -> Diagnosis | None:
    """x acts on many places of the output; the gradient holds only some of them, or weighs them."""
    if wrong.jacobian is None or not wrong.run.out[0].ndim:
        return None
    y, u = wrong.run.out[0], wrong.run.d_out[0]
    through = u.reshape(u.shape + (1,) * wrong.actual.ndim) * wrong.jacobian          # (*y.shape, *x.shape)
    for label, terms in _slices(through, y.ndim):
        if not _overlap(terms):
            continue
        c = _one_alone(terms, wrong)
        if c is None:
            c = combination(wrong.actual, list(terms), wrong)
        if c is None:
            continue
        there = [i for i, value in enumerate(c) if abs(value) > 1e-6]
        if all(nearly(c[i], 1) for i in there) and there:
            some = "index" if len(there) == 1 else "indexes"
            return Diagnosis("batch sum missing", f"{wrong.d} holds only what comes from {some} {shown(there)} of {label}: "
                                                  f"is the sum over it missing?")
        return Diagnosis("sum weighted", f"{wrong.d} adds up {label} with the weights "
                                         f"{', '.join(f'{value:.3g}' for value in c[:6])} instead of 1")
    return None


def _one_alone(terms: Array, wrong: Wrong) -> Array | None:
    """1 for the one slice that is the whole gradient, 0 for the others."""
    alone = [i for i, term in enumerate(terms) if wrong.explains(term)]
    return (np.arange(len(terms)) == alone[0]).astype(float) if alone else None


def _slices(through: Array, ndim: int) -> Iterator[tuple[str, Array]]:
    """The gradient, split by index along one axis of the output, or along all but the last at once."""
    for axis in range(ndim):
        if through.shape[axis] > 1:
            others = tuple(a for a in range(ndim) if a != axis)
            yield f"axis {axis} of the output", through.sum(axis=others)
    if ndim > 2:
        together = through.sum(axis=ndim - 1)
        yield "all leading axes of the output", together.reshape(-1, *through.shape[ndim:])


def _overlap(terms: Array) -> bool:
    """Two slices act on one element: there is a sum."""
    return bool(np.any((np.abs(terms) > 0).sum(axis=0) > 1))


def upstream(wrong: Wrong) -> Diagnosis | None:
    """The chain rule with something else than d_out."""
    if wrong.jacobian is None:
        return None
    y, u = wrong.run.out[0], wrong.run.d_out[0]
    for code, text, other in _other_upstreams(y, u):
        if wrong.explains(wrong.back(other)):
            return Diagnosis(code, f"{wrong.d} is what {text} would give")
    return None


def _other_upstreams(y: Array, u: Array) -> Iterator[tuple[str, str, Array]]:
    yield "upstream ignored", "an upstream gradient of ones (d_out is not used)", np.ones_like(u)
    if u.size == 1:
        return
    yield "upstream ignored", "the mean of the upstream gradient", np.full_like(u, u.mean())
    yield "upstream ignored", "the sum of the upstream gradient", np.full_like(u, u.sum())
    for axis in range(u.ndim):
        if u.shape[axis] > 1:
            yield "upstream summed", f"the upstream gradient summed over axis {axis}", u.sum(axis, keepdims=True) + 0 * u
            yield "upstream averaged", f"the upstream gradient averaged over axis {axis}", u.mean(axis, keepdims=True) + 0 * u
            yield "upstream reversed", f"the upstream gradient, reversed along axis {axis}", np.flip(u, axis)
    for a, b in itertools.combinations(range(u.ndim), 2):
        if min(u.shape[a], u.shape[b]) > 1:
            turned = u.swapaxes(a, b)
            yield "upstream reshaped", f"a reshape of d_out where axes {a} and {b} must be exchanged", _scrambled(u, a, b)
            if turned.shape != u.shape:
                continue
            yield "upstream transposed", f"the upstream gradient with axes {a} and {b} exchanged", turned
    yield "upstream times output", "d_out ∘ out in place of d_out", u * y
    yield "upstream absolute", "|d_out| in place of d_out", np.abs(u)


def _scrambled(u: Array, a: int, b: int) -> Array:
    """The array whose axes a and b exchanged are a reshape of u."""
    shape = list(u.shape)
    shape[a], shape[b] = shape[b], shape[a]
    return u.reshape(shape).swapaxes(a, b)


def inner_factor(wrong: Wrong) -> Diagnosis | None:
    """An array of the call multiplies the output and was forgotten on the way back (a gain, a dropout), or came twice."""
    if wrong.jacobian is None:
        return None
    u = wrong.run.d_out[0]
    for name, F in known_arrays(wrong):
        F = spread_to(F, u.shape)
        if F is None or np.all(F == 1):
            continue
        if np.all(F != 0) and wrong.explains(wrong.back(u / F)):
            return Diagnosis("factor missing", f"{wrong.d} is what remains when d_out is not multiplied by {name}")
        if wrong.explains(wrong.back(u * F)):
            return Diagnosis("factor there twice", f"{wrong.d} has the factor {name} too much: d_out is multiplied by it twice")
    return None
