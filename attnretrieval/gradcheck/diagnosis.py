"""Diagnosis: a gradient is wrong; in what way?

Each diagnosis is one function. It supposes a fault, computes what a backward with that fault would give, and answers only where
this explains the whole error within the tolerance. The first in DIAGNOSES that answers wins, so the simplest stand first. A new
one is a function from `Wrong` to `Diagnosis | None`.

    actual     what the backward gave
    expected   the right value
    error      actual - expected
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.derivatives import jacobian
from attnretrieval.gradcheck.paths import path_gradients, path_jacobians
from attnretrieval.gradcheck.run import Run, relative


class Diagnosis(NamedTuple):
    code: str       # short, for programs
    text: str       # a sentence, for people


@dataclass
class Wrong:
    """One wrong gradient and what a diagnosis may look at."""

    run: Run
    name: str
    actual: Array
    expected: Array
    others: dict[str, Array]            # the right gradients of all inputs
    tolerance: float
    floor: float
    paths: Callable | None = None

    @property
    def d(self) -> str:
        return f"d_{self.name}"

    @property
    def error(self) -> Array:
        return self.actual - self.expected

    def explains(self, supposed: Array) -> bool:
        """What a backward with the supposed fault would give is what this one gave."""
        return supposed.shape == self.actual.shape and self.close(self.actual, supposed)

    def close(self, a: Array, b: Array) -> bool:
        return relative(a, b, self.floor) <= self.tolerance

    @cached_property
    def jacobian(self) -> Array | None:
        """d out / d x, (*out.shape, *x.shape), where there is one output and all of it is small."""
        J = jacobian(self.run, self.name) if len(self.run.out) == 1 else None
        return None if J is None else J.reshape(self.run.out[0].shape + self.run.inputs[self.name].shape)

    def back(self, d_out: Array) -> Array:
        """Jᵀ d_out: the right gradient of x for another upstream gradient."""
        return np.tensordot(d_out, self.jacobian, axes=d_out.ndim)

    @cached_property
    def shares(self) -> dict[str, Array]:
        """The right gradient, path by path; empty where no paths are declared."""
        return path_gradients(self.run, self.by_path)

    @cached_property
    def by_path(self) -> dict[str, Array]:
        """d out / d x, path by path."""
        return {} if self.paths is None else path_jacobians(self.run, self.paths, self.name)


def diagnose(wrong: Wrong) -> Diagnosis | None:
    """The first diagnosis that explains the whole error."""
    if wrong.actual.shape != wrong.expected.shape:
        return next(filter(None, (look(wrong) for look in SHAPE_DIAGNOSES)), None)
    if not np.all(np.isfinite(wrong.actual)) or not np.all(np.isfinite(wrong.expected)):
        return None
    return next(filter(None, (look(wrong) for look in DIAGNOSES)), None)


def diagnose_samples(wrong: Wrong) -> Diagnosis | None:
    """The same where only samples of a large gradient are known: what can be seen element by element."""
    return next(filter(None, (look(wrong) for look in (zero, sign, scaled))), None)


# --- everywhere the same ---------------------------------------------------------------------------------------------


def zero(wrong: Wrong) -> Diagnosis | None:
    if wrong.actual.size and not wrong.actual.any():
        return Diagnosis("zero", f"{wrong.d} is 0 everywhere: is {wrong.name} cut off, or its gradient never filled in?")
    return None


def sign(wrong: Wrong) -> Diagnosis | None:
    if wrong.explains(-wrong.expected):
        return Diagnosis("sign", f"{wrong.d} has the wrong sign everywhere: is a minus lost, or one too many?")
    return None


def scaled(wrong: Wrong) -> Diagnosis | None:
    """One factor everywhere, and what the factor may be."""
    c = _factor(wrong.actual, wrong.expected)
    if c is None or c == 0 or wrong.expected.size < 1 or not wrong.explains(c * wrong.expected):
        return None
    copies = _copies(wrong)
    begin = f"{wrong.d} is {c:.4g} times the right value everywhere"
    for k in copies:
        if _close(c * k, 1):
            return Diagnosis("mean for sum", f"{begin}: a mean over {k} values where a sum belongs?")
    guesses = _guesses(c, wrong)
    if not guesses:
        for k in _contracted(wrong):
            if _close(c, k):
                return Diagnosis("sum for mean", f"{begin}: a sum over {k} values where a mean belongs?")
            if _close(c * k, 1):
                return Diagnosis("mean for sum", f"{begin}: a mean over {k} values where a sum belongs?")
    if not guesses and np.count_nonzero(wrong.expected) < 2:
        return None                                                    # one number is always some multiple of another
    return Diagnosis("scaled", begin + (": " + ", or ".join(guesses[:3]) + "?" if guesses else ""))


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b))


def _factor(actual: Array, expected: Array) -> float | None:
    """The c for which c · expected is nearest to actual."""
    square = float((expected * expected).sum())
    return float((actual * expected).sum()) / square if square else None


def _guesses(c: float, wrong: Wrong) -> list[str]:
    """What a factor c may be, from the sizes and numbers of the call; the likeliest first."""
    run, x = wrong.run, wrong.run.inputs[wrong.name]
    heads = [run.options["heads"]] if isinstance(run.options.get("heads"), int) else []
    widths = {y.shape[-1] for y in (x, *(run.inputs[name] for name in run.floats)) if y.ndim}
    widths |= {d // h for d in widths for h in heads if h and d % h == 0}
    guesses = []
    for d in sorted(widths, key=lambda d: (d != (x.shape[-1] if x.ndim else 0), d)):
        if d > 1 and _close(c, math.sqrt(d)):
            guesses.append(f"is the 1/√{d} missing ({_where(d, wrong)})")
        if d > 1 and _close(c, 1 / math.sqrt(d)):
            guesses.append(f"is 1/√{d} there twice ({_where(d, wrong)})")
    for name, value in _numbers(run):
        for word, at in ((name, value), (f"exp({name})", math.exp(min(value, 700)))):
            if at not in (0, 1, -1) and _close(c, at):
                guesses.append(f"is the 1/{word} missing, or {word} there twice")
            elif at not in (0, 1, -1) and _close(c * at, 1):
                guesses.append(f"is the factor {word} missing, or 1/{word} there twice")
    if _close(c, 2):
        guesses.append("is it counted twice, or a 1/2 missing")
    if _close(c, 0.5):
        guesses.append("is one of two equal parts missing, or a 1/2 there twice")
    return guesses


def _where(d: int, wrong: Wrong) -> str:
    x = wrong.run.inputs[wrong.name]
    return f"{d} is the last axis of {wrong.name}" if x.ndim and x.shape[-1] == d else f"{d} is the size of one head or vector"


def _numbers(run: Run) -> list[tuple[str, float]]:
    """Numbers among the arguments: options, and inputs of no axes."""
    options = [(name, float(v)) for name, v in run.options.items() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return options + [(name, float(run.inputs[name])) for name in run.floats if run.inputs[name].ndim == 0]


def _products(sizes: list[int]) -> list[int]:
    found = {math.prod(chosen) for r in range(1, len(sizes) + 1) for chosen in itertools.combinations(sizes, r)}
    return sorted(k for k in found if k > 1)


def _copies(wrong: Wrong) -> list[int]:
    """How often a broadcast input is repeated: the axes that the output, or another input, has and x has not."""
    x = wrong.run.inputs[wrong.name]
    shapes = [y.shape for y in wrong.run.out] + [wrong.run.inputs[name].shape for name in wrong.run.floats]
    products: set[int] = set()
    for shape in shapes:
        if len(shape) <= x.ndim and not any(a == 1 < b for a, b in zip(x.shape, shape[-x.ndim:], strict=False) if x.ndim):
            continue
        mine = (1,) * (len(shape) - x.ndim) + x.shape
        products |= set(_products([b for a, b in zip(mine[-len(shape):], shape, strict=False) if a == 1 < b]))
    return sorted(products, reverse=True)


def _contracted(wrong: Wrong) -> list[int]:
    """Sizes over which an equation may take a mean: any axes of x or of the inputs, and the number of True in a mask."""
    run, x = wrong.run, wrong.run.inputs[wrong.name]
    counts = {int(m.sum()) for m in run.inputs.values() if isinstance(m, np.ndarray) and m.dtype == bool}
    return sorted({*_products(list(x.shape)), *(k for k in counts if k > 1),
                   *(size for y in run.out for size in _products(list(y.shape)))})


# --- the right numbers in the wrong place ----------------------------------------------------------------------------


def transposed(wrong: Wrong) -> Diagnosis | None:
    shape = wrong.actual.shape
    for a, b in itertools.combinations(range(wrong.actual.ndim)[::-1], 2):
        if shape[a] == shape[b] > 1 and wrong.explains(wrong.expected.swapaxes(a, b)):
            return Diagnosis("transposed", f"{wrong.d} is transposed: its axes {b} and {a} are exchanged")
    return None


def swapped(wrong: Wrong) -> Diagnosis | None:
    for other, d_other in wrong.others.items():
        if other != wrong.name and d_other.any() and wrong.explains(d_other):
            return Diagnosis(f"swapped with d_{other}", f"{wrong.d} is the gradient of {other}: are the two exchanged?")
    return None


def permuted(wrong: Wrong) -> Diagnosis | None:
    """The same values in another order: along one axis, or all mixed (a reshape where an axis was to be moved)."""
    actual, expected = wrong.actual, wrong.expected
    for axis in range(actual.ndim):
        order = _order(np.moveaxis(actual, axis, 0), np.moveaxis(expected, axis, 0))
        if order is not None and wrong.explains(np.take(expected, order, axis)):
            return Diagnosis("permuted", f"{wrong.d} is permuted along axis {axis}: {_shown(order)} stand at 0, 1, 2, …")
    if actual.size > 3 and wrong.close(np.sort(actual.ravel()), np.sort(expected.ravel())):
        return Diagnosis("permuted", f"{wrong.d} has the right values in the wrong places: is a reshape used where axes "
                                     "must be moved, or an index wrong?")
    return None


def _order(actual: Array, expected: Array) -> list[int] | None:
    """For each slice of actual the slice of expected that is nearest; None unless it is a permutation."""
    n = len(actual)
    if not 1 < n <= 100:
        return None
    far = np.linalg.norm(actual.reshape(n, 1, -1) - expected.reshape(1, n, -1), axis=-1)
    order = [int(i) for i in far.argmin(axis=1)]
    return order if sorted(order) == list(range(n)) else None


def _shown(indexes: list[int]) -> str:
    return ", ".join(map(str, indexes[:6])) + (", …" if len(indexes) > 6 else "")


# --- the sum over paths and over copies ------------------------------------------------------------------------------


def path(wrong: Wrong) -> Diagnosis | None:
    """The declared paths with a wrong number in front: 0 (missing), -1, 2, or 1 before one that must not exist."""
    shares = {name: share for name, share in wrong.shares.items() if relative(share, 0 * share, wrong.floor) > 1e-9}
    if not shares or (len(shares) < 2 and not _forbidden(*shares)):
        return None
    found = _combination(wrong.actual, list(shares.values()), wrong)
    c = _simple_combination(wrong, shares) if found is None else found
    if c is None:
        return None
    factor = dict(zip(shares, c, strict=True))
    odd = [name for name in shares if not abs(factor[name] - (not _forbidden(name))) < 1e-6]
    name = _common_name(odd, list(shares))
    values = [factor[path] for path in odd]
    if not odd or name is None or not np.allclose(values, values[0], rtol=1e-6, atol=1e-6):
        return _mixed(wrong, factor, odd)
    if _forbidden(*odd):
        return Diagnosis(f"{name} let in", f"{wrong.d} holds a part that must not be there: {name}")
    if abs(values[0]) < 1e-6:
        return Diagnosis(f"{name} missing", f"{wrong.d} misses the part through the {name}")
    if _close(values[0], -1):
        return Diagnosis(f"sign of the {name}", f"in {wrong.d} the part through the {name} has the wrong sign")
    guesses = _guesses(values[0], wrong)
    return Diagnosis(f"{name} scaled", f"in {wrong.d} the part through the {name} is {values[0]:.4g} times the right one"
                                       + (": " + ", or ".join(guesses[:3]) + "?" if guesses else ""))


def _forbidden(*paths: str) -> bool:
    """Paths that must not exist are declared in parentheses."""
    return bool(paths) and all(path.startswith("(") for path in paths)


def _tags(path: str) -> list[str]:
    return path.strip("()").split(", ")


def _common_name(odd: list[str], paths: list[str]) -> str | None:
    """The tag that these paths have and no other; the path itself where it is one alone."""
    alike = [path for path in paths if odd and _forbidden(path) == _forbidden(odd[0])]
    for tag in dict.fromkeys(tag for path in odd for tag in _tags(path)):
        if {path for path in alike if tag in _tags(path)} == set(odd):
            return tag
    return " of ".join(_tags(odd[0])[::-1]) if len(odd) == 1 else None


def _mixed(wrong: Wrong, factor: dict[str, float], odd: list[str]) -> Diagnosis | None:
    """Several paths are wrong, and no one name covers them."""
    if not odd:
        return None
    if _forbidden(*odd):
        names = " and ".join(path.strip("()") for path in odd)
        return Diagnosis(f"{names} let in", f"{wrong.d} holds parts that must not be there: {names}")
    missing = [path for path in odd if abs(factor[path]) < 1e-6]
    left = [path for path in factor if path not in odd and not _forbidden(path)]
    if missing == odd and len(left) == 1:
        return Diagnosis("only one of several paths", f"{wrong.d} holds only the part through the {left[0]}; missing: "
                                                      + "; ".join(missing))
    told = "; ".join(f"{value:.4g} times the {path}" for path, value in factor.items() if path in odd)
    return Diagnosis("paths missing" if missing == odd else "paths mixed", f"{wrong.d} holds {told}")


def _simple_combination(wrong: Wrong, shares: dict[str, Array]) -> Array | None:
    """For a gradient of too few numbers to solve for the factors: each path there, missing, negative or doubled, one at a time
    or several missing."""
    right = np.array([0.0 if _forbidden(path) else 1.0 for path in shares])
    terms = np.stack([share for share in shares.values()])
    trials = [np.where(chosen, 1 - right, right) for chosen in itertools.product((False, True), repeat=min(len(right), 8))
              if len(right) <= 8 and any(chosen)]
    trials += [np.where(np.arange(len(right)) == k, value, right) for k in range(len(right)) for value in (-1.0, 2.0, 0.5)]
    trials.sort(key=lambda c: int((c != right).sum()))
    return next((c for c in trials if wrong.explains(np.tensordot(c, terms, axes=1))), None)


def _combination(actual: Array, terms: list[Array], wrong: Wrong) -> Array | None:
    """The c with actual = Σ c_k term_k, where it exists and is the only one."""
    if not terms or actual.size <= len(terms):
        return None
    columns = np.stack([term.ravel() for term in terms], axis=1)
    sizes = np.linalg.norm(columns, axis=0)
    if not np.all(sizes > 0):
        return None
    c, _, rank, _ = np.linalg.lstsq(columns / sizes, actual.ravel(), rcond=1e-9)
    if rank < len(terms):
        return None
    c = c / sizes
    return c if wrong.explains((columns @ c).reshape(actual.shape)) else None


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
            c = _combination(wrong.actual, list(terms), wrong)
        if c is None:
            continue
        there = [i for i, value in enumerate(c) if abs(value) > 1e-6]
        if all(_close(c[i], 1) for i in there) and there:
            some = "index" if len(there) == 1 else "indexes"
            return Diagnosis("batch sum missing", f"{wrong.d} holds only what comes from {some} {_shown(there)} of {label}: "
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
        if u.shape[a] == u.shape[b] > 1:
            yield "upstream transposed", f"the upstream gradient with axes {a} and {b} exchanged", u.swapaxes(a, b)
    yield "upstream times output", "d_out ∘ out in place of d_out", u * y
    yield "upstream absolute", "|d_out| in place of d_out", np.abs(u)


def inner_factor(wrong: Wrong) -> Diagnosis | None:
    """An array of the call multiplies the output and was forgotten on the way back (a gain, a dropout), or came twice."""
    if wrong.jacobian is None:
        return None
    u = wrong.run.d_out[0]
    for name, F in _known_arrays(wrong):
        F = _spread_to(F, u.shape)
        if F is None or np.all(F == 1):
            continue
        if np.all(F != 0) and wrong.explains(wrong.back(u / F)):
            return Diagnosis("factor missing", f"{wrong.d} is what remains when d_out is not multiplied by {name}")
        if wrong.explains(wrong.back(u * F)):
            return Diagnosis("factor there twice", f"{wrong.d} has the factor {name} too much: d_out is multiplied by it twice")
    return None


# --- something recognisable added or left out ------------------------------------------------------------------------


def recognised(wrong: Wrong) -> Diagnosis | None:
    """error = c · (something known of the same shape)."""
    for code, text, term in _known_terms(wrong):
        if term.shape != wrong.actual.shape or not term.any():
            continue
        c = _factor(wrong.error, term)
        if c is None or abs(c) < 1e-12 or wrong.actual.size < 2 or not wrong.explains(wrong.expected + c * term):
            continue
        if _close(c, -1):
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
    x = wrong.run.inputs[wrong.name]
    if not x.ndim or x.shape[-1] < 3:
        return None
    for code, text, rows in _row_shapes(wrong, x):
        if rows.shape != x.shape:
            continue
        square = (rows * rows).sum(axis=-1, keepdims=True)
        r = (wrong.error * rows).sum(axis=-1, keepdims=True) / np.where(square == 0, 1, square)
        if r.any() and wrong.explains(wrong.expected + r * rows):
            return Diagnosis(code, f"{wrong.d} is off by {text} in each row")
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


# --- right in places -------------------------------------------------------------------------------------------------


def mask_part(wrong: Wrong) -> Diagnosis | None:
    """Right exactly where a boolean array among the inputs, or in the cache, is True."""
    bad = _bad(wrong)
    for name, mask in _masks(wrong):
        here = _spread_to(mask, bad.shape)
        if here is None or here.all() or not here.any():
            continue
        if not bad[here].any():
            inside = _within(wrong, ~here)
            return Diagnosis("right only where the mask is True",
                             f"{wrong.d} is right where {name} is True and wrong where it is False{inside}"
                             + (": what is False influences nothing" if inside == " (0 is right there)" else ""))
    return None


def mask_complement(wrong: Wrong) -> Diagnosis | None:
    """Right exactly where a boolean array is False."""
    bad = _bad(wrong)
    for name, mask in _masks(wrong):
        here = _spread_to(mask, bad.shape)
        if here is not None and not here.all() and here.any() and not bad[~here].any():
            return Diagnosis("right only where the mask is False",
                             f"{wrong.d} is right where {name} is False and wrong where it is True{_within(wrong, here)}")
    return None


def _bad(wrong: Wrong) -> Array:
    """Which elements carry more than their share of the tolerance."""
    size = max(np.linalg.norm(wrong.expected), np.linalg.norm(wrong.actual), wrong.floor)
    return np.abs(wrong.error) > wrong.tolerance * size / math.sqrt(max(wrong.actual.size, 1))


def _masks(wrong: Wrong) -> Iterator[tuple[str, Array]]:
    run = wrong.run
    arguments = {**run.inputs, **run.options}
    for name, mask in arguments.items():
        if isinstance(mask, np.ndarray) and mask.dtype == bool:
            yield name, mask
    if hasattr(run.cache, "_asdict"):
        for name, mask in run.cache._asdict().items():
            if isinstance(mask, np.ndarray) and mask.dtype == bool:
                yield f"{name} (of the cache)", mask


def _spread_to(x: Array, shape: tuple[int, ...]) -> Array | None:
    """An array (..., n), a mask or factors, over elements (..., n) or features (..., n, d)."""
    for candidate in (x, x[..., None]):
        try:
            if np.broadcast_shapes(candidate.shape, shape) == shape:
                return np.broadcast_to(candidate, shape)
        except ValueError:
            pass
    return None


def _within(wrong: Wrong, here: Array) -> str:
    """What is wrong on a part: zero, a sign, a factor."""
    actual, expected = wrong.actual[here], wrong.expected[here]
    if not actual.any():
        return " (0 there)"
    if not expected.any():
        return " (0 is right there)"
    c = _factor(actual, expected)
    part = replace(wrong, actual=actual, expected=expected)
    return f" ({c:.4g} times the right value there)" if c is not None and part.explains(c * expected) else ""


def block(wrong: Wrong) -> Diagnosis | None:
    """Wrong in one way on a block along one axis: 0 there, or with one factor."""
    return _along_one_axis(wrong, need_a_way=True)


def one_slice(wrong: Wrong) -> Diagnosis | None:
    """Wrong, in whatever way, on a part of one axis: the first token, one head's features, one item of the batch."""
    return _along_one_axis(wrong, need_a_way=False)


def _along_one_axis(wrong: Wrong, need_a_way: bool) -> Diagnosis | None:
    bad = _bad(wrong)
    if bad.all():
        return None
    for axis in range(bad.ndim):
        n = bad.shape[axis]
        others = tuple(a for a in range(bad.ndim) if a != axis)
        wrong_at = [int(i) for i in np.flatnonzero(bad.any(axis=others))]
        right_at = [i for i in range(n) if i not in wrong_at]
        if not right_at or n < 2:
            continue
        where = np.zeros(bad.shape, bool)
        np.moveaxis(where, axis, 0)[wrong_at] = True
        inside = _within(wrong, where)
        if bad[where].mean() < 0.5 or (need_a_way and not inside):
            continue
        if len(right_at) < len(wrong_at) or (inside == " (0 there)" and len(right_at) == 1):
            return Diagnosis("right on one slice" if len(right_at) == 1 else "right on a block",
                             f"{wrong.d} is right only at {_shown(right_at)} of axis {axis}{inside}")
        kind = "wrong on one slice" if len(wrong_at) == 1 else "wrong on a block"
        return Diagnosis(kind, f"{wrong.d} is wrong only at {_shown(wrong_at)} of axis {axis}{inside}")
    return None


def factor_by_row(wrong: Wrong) -> Diagnosis | None:
    """actual = c_i · expected with one factor for each index of an axis, or for each row."""
    ndim = wrong.actual.ndim
    groups = [(f"each index of axis {axis}", tuple(a for a in range(ndim) if a != axis)) for axis in range(ndim)]
    groups += [("each row", (ndim - 1,)), ("each matrix", (ndim - 2, ndim - 1))][:max(ndim - 1, 0)]
    for label, over in groups:
        if not over or math.prod(wrong.actual.shape[a] for a in over) < 2:
            continue
        square = (wrong.expected**2).sum(axis=over, keepdims=True)
        c = (wrong.actual * wrong.expected).sum(axis=over, keepdims=True) / np.where(square == 0, 1, square)
        if wrong.explains(c * wrong.expected):
            known = _known_factor(np.broadcast_to(c, wrong.actual.shape), wrong)
            shown = ", ".join(f"{value:.3g}" for value in c.ravel()[:6])
            return Diagnosis(known[0] if known else "scaled by row",
                             f"{wrong.d} is the right value times {shown}, one factor for {label}"
                             + (f": {known[1]}" if known else ""))
    return None


def factor_by_element(wrong: Wrong) -> Diagnosis | None:
    """actual = F ∘ expected, or expected / F, with an F that the call holds."""
    known = _known_factor(None, wrong)
    return known and Diagnosis(known[0], f"{wrong.d}: {known[1]}")


def _known_factor(c: Array | None, wrong: Wrong) -> Diagnosis | None:
    """The array of the call that is this factor; with None, that explains actual / expected."""
    for name, F in _known_arrays(wrong):
        F = _spread_to(F, wrong.actual.shape)
        if F is None or np.all(F == 1):
            continue
        for label, factor in _variants(name, F):
            if wrong.close(factor * wrong.actual, wrong.expected) and factor.any():
                return Diagnosis("factor missing", f"the factor {label} is missing")
            if wrong.explains(factor * wrong.expected):
                return Diagnosis("factor there twice", f"a factor {label} too much")
            if np.all(factor != 0) and wrong.explains(wrong.expected / factor):
                return Diagnosis("factor missing", f"the factor {label} is missing")
    return None


def _known_arrays(wrong: Wrong) -> Iterator[tuple[str, Array]]:
    run = wrong.run
    for name, x in {**run.inputs, **run.options}.items():
        if isinstance(x, np.ndarray) and x.ndim and x.dtype.kind in "fb":
            yield name, x.astype(float)
            if x.dtype == bool:
                yield f"the number of True in {name}", x.sum(axis=-1, keepdims=True).astype(float)
    floats = [(name, run.inputs[name]) for name in run.floats if run.inputs[name].ndim]
    for (a, x), (b, z) in itertools.combinations(floats, 2):
        if x.shape == z.shape:
            yield f"({a} - {b})", x - z
    for y in run.out:
        yield "out", y
    if hasattr(run.cache, "_asdict"):
        for name, x in run.cache._asdict().items():
            if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.ndim:
                yield f"{name} (of the cache)", x


def path_factor(wrong: Wrong) -> Diagnosis | None:
    """As inner_factor, in the part through one path alone: σ' without its 1 - G, a gate forgotten in the direct part."""
    if len(wrong.by_path) < 1 or len(wrong.run.out) > 1:
        return None
    u = wrong.run.d_out[0]
    groups = _groups(wrong.by_path)
    for name, F in _known_arrays(wrong):
        F = _spread_to(F, u.shape)
        if F is None or np.all(F == 1):
            continue
        for label, factor in _variants(name, F):
            for path, J in groups.items():
                rest = wrong.expected - np.tensordot(u.ravel(), J, axes=1)
                if np.all(factor != 0) and wrong.explains(rest + np.tensordot((u / factor).ravel(), J, axes=1)):
                    return Diagnosis("factor missing", f"in {wrong.d} the part through the {path} misses the factor {label}")
                if wrong.explains(rest + np.tensordot((u * factor).ravel(), J, axes=1)):
                    return Diagnosis("factor there twice", f"in {wrong.d} the part through the {path} has {label} too often")
    return None


def _groups(by_path: dict[str, Array]) -> dict[str, Array]:
    """Each path by itself, and all paths with a tag together."""
    groups = {path: J for path, J in by_path.items() if not _forbidden(path)}
    for tag in dict.fromkeys(tag for path in groups for tag in _tags(path)):
        same = [J for path, J in by_path.items() if tag in _tags(path) and not _forbidden(path)]
        groups.setdefault(tag, np.sum(same, axis=0))
    return groups


def _variants(name: str, F: Array) -> list[tuple[str, Array]]:
    """A factor, and what the derivatives of σ, tanh and a square make of it."""
    return [(name, F), (f"(1 - {name})", 1 - F), (f"{name}²", F * F), (f"(1 - {name}²)", 1 - F * F),
            (f"{name} (1 - {name})", F * (1 - F)), (f"{name} / (1 - {name})", F / np.where(F == 1, np.nan, 1 - F))]


def some_elements(wrong: Wrong) -> Diagnosis | None:
    """Most elements are right: a wrong index, an entry overwritten."""
    bad = _bad(wrong)
    if not 0 < bad.sum() <= max(1, bad.size // 4):
        return None
    places = ", ".join(str([int(i) for i in place]) for place in np.argwhere(bad)[:4])
    return Diagnosis("wrong on some elements", f"{wrong.d} is right but for {places}{_within(wrong, bad)}")


# --- a wrong shape ---------------------------------------------------------------------------------------------------


def shape_swapped(wrong: Wrong) -> Diagnosis | None:
    return swapped(wrong)


def shape_transposed(wrong: Wrong) -> Diagnosis | None:
    if wrong.actual.ndim == wrong.expected.ndim >= 2 and wrong.explains(wrong.expected.swapaxes(-1, -2)):
        return Diagnosis("transposed", f"{wrong.d} is transposed: return its transpose")
    return None


def shape_unsummed(wrong: Wrong) -> Diagnosis | None:
    """Summed over some of its axes it would be right: the missing sum over the copies of a broadcast input."""
    actual, expected = wrong.actual, wrong.expected
    for r in range(1, actual.ndim + 1):
        for axes in itertools.combinations(range(actual.ndim), r):
            total = actual.sum(axis=axes)
            if total.size == expected.size and wrong.close(total.reshape(expected.shape), expected):
                return Diagnosis("batch sum missing",
                                 f"{wrong.d} is not summed over its axes {', '.join(map(str, axes))}; summed it would be right")
    return None


def shape_reshaped(wrong: Wrong) -> Diagnosis | None:
    if wrong.actual.size == wrong.expected.size and wrong.close(wrong.actual.reshape(wrong.expected.shape), wrong.expected):
        return Diagnosis("wrong shape", f"{wrong.d} has the right values; reshape it to the shape of {wrong.name}")
    return None


SHAPE_DIAGNOSES: tuple[Callable[[Wrong], Diagnosis | None], ...] = (
    shape_swapped, shape_transposed, shape_reshaped, shape_unsummed,
)
DIAGNOSES: tuple[Callable[[Wrong], Diagnosis | None], ...] = (
    zero, sign, scaled, transposed, swapped, path, permuted, mask_part, block, factor_by_row, factor_by_element, inner_factor,
    copies, upstream, recognised, row_terms, path_factor, mask_complement, one_slice, some_elements,
)
