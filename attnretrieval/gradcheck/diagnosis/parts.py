"""Right in places: under a mask, on a block, up to a factor that differs from row to row or element to element."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.diagnosis.wrong import (
    Diagnosis,
    Wrong,
    bad_elements,
    known_arrays,
    shown,
    spread_to,
    variants,
    within,
)


def mask_part(wrong: Wrong) -> Diagnosis | None:
    """Right exactly where a boolean array among the inputs, or in the cache, is True."""
    bad = bad_elements(wrong)
    for name, mask in _masks(wrong):
        here = spread_to(mask, bad.shape)
        if here is None or here.all() or not here.any():
            continue
        if not bad[here].any():
            inside = within(wrong, ~here)
            return Diagnosis("right only where the mask is True",
                             f"{wrong.d} is right where {name} is True and wrong where it is False{inside}"
                             + (": what is False influences nothing" if inside == " (0 is right there)" else ""))
    return None


def mask_complement(wrong: Wrong) -> Diagnosis | None:
    """Right exactly where a boolean array is False."""
    bad = bad_elements(wrong)
    for name, mask in _masks(wrong):
        here = spread_to(mask, bad.shape)
        if here is not None and not here.all() and here.any() and not bad[~here].any() and wrong.expected[~here].any():
            return Diagnosis("right only where the mask is False",
                             f"{wrong.d} is right where {name} is False and wrong where it is True{within(wrong, here)}")
    return None


def masked_rows(wrong: Wrong) -> Diagnosis | None:
    """Right in the rows of which nothing is masked, or wrong only where everything is."""
    bad = bad_elements(wrong)
    for name, mask in _masks(wrong):
        for code, rows, where in (("wrong only where nothing is left", mask.any(axis=-1), "nothing is True"),
                                  ("right only where nothing is masked", mask.all(axis=-1), "something is False")):
            axes = rows.shape + (1,) * (bad.ndim - rows.ndim)
            here = spread_to(rows.reshape(axes), bad.shape) if rows.ndim <= bad.ndim else None
            if here is not None and here.any() and not here.all() and not bad[here].any():
                return Diagnosis(code, f"{wrong.d} is wrong only in rows where {where} in {name}")
    return None


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


def block(wrong: Wrong) -> Diagnosis | None:
    """Wrong in one way on a block along one axis: 0 there, or with one factor."""
    return _along_one_axis(wrong, need_a_way=True)


def one_slice(wrong: Wrong) -> Diagnosis | None:
    """Wrong, in whatever way, on a part of one axis: the first token, one head's features, one item of the batch."""
    return _along_one_axis(wrong, need_a_way=False)


def _along_one_axis(wrong: Wrong, need_a_way: bool) -> Diagnosis | None:
    bad = bad_elements(wrong)
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
        inside = within(wrong, where)
        if bad[where].mean() < 0.5 or (need_a_way and not inside) or not wrong.expected[~where].any():
            continue                            # where 0 is right it says little that 0 came
        if len(right_at) < len(wrong_at) or (inside == " (0 there)" and len(right_at) == 1):
            kind = "zero on a block" if inside == " (0 there)" else "right on a block"
            return Diagnosis("right on one slice" if len(right_at) == 1 else kind,
                             f"{wrong.d} is right only at {shown(right_at)} of axis {axis}{inside}")
        kind = "wrong on one slice" if len(wrong_at) == 1 else "wrong on a block"
        kind = "zero on a block" if inside == " (0 there)" else kind
        return Diagnosis(kind, f"{wrong.d} is wrong only at {shown(wrong_at)} of axis {axis}{inside}")
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
    for u in wrong.run.d_out:
        F = spread_to(u, wrong.actual.shape)
        if F is not None and wrong.close(F * wrong.actual, wrong.expected):
            return Diagnosis("upstream ignored", "the upstream gradient is missing")
    for name, F in known_arrays(wrong):
        F = spread_to(F, wrong.actual.shape)
        if F is None or np.all(F == 1):
            continue
        for label, factor in variants(name, F):
            if wrong.close(factor * wrong.actual, wrong.expected) and factor.any():
                return Diagnosis("factor missing", f"the factor {label} is missing")
            if wrong.explains(factor * wrong.expected):
                return Diagnosis("factor there twice", f"a factor {label} too much")
            if np.all(factor != 0) and wrong.explains(wrong.expected / factor):
                return Diagnosis("factor missing", f"the factor {label} is missing")
    return None


def some_elements(wrong: Wrong) -> Diagnosis | None:
    """Most elements are right: a wrong index, an entry overwritten."""
    bad = bad_elements(wrong)
    if not 0 < bad.sum() <= bad.size // 4:
        return None
    places = ", ".join(str([int(i) for i in place]) for place in np.argwhere(bad)[:4])
    return Diagnosis("wrong on some elements", f"{wrong.d} is right but for {places}{within(wrong, bad)}")
