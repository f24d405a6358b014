"""Diagnosis: a gradient is wrong; in what way?

Each diagnosis is one function. It supposes a fault, computes what a backward with that fault would give, and answers only where
this explains the whole error within the tolerance. The first in DIAGNOSES that answers wins, so the simplest stand first. A new
one is a function from `Wrong` to `Diagnosis | None`.

    actual     what the backward gave
    expected   the right value
    error      actual - expected
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from attnretrieval.gradcheck.diagnosis.other_calls import other_call
from attnretrieval.gradcheck.diagnosis.parts import (
    block,
    factor_by_element,
    factor_by_row,
    mask_complement,
    mask_part,
    masked_rows,
    one_slice,
    some_elements,
)
from attnretrieval.gradcheck.diagnosis.places import (
    along_another_axis,
    permuted,
    shape_reshaped,
    shape_swapped,
    shape_transposed,
    shape_unsummed,
    swapped,
    transposed,
)
from attnretrieval.gradcheck.diagnosis.scale import scaled, shifted, sign, zero
from attnretrieval.gradcheck.diagnosis.terms import recognised, row_terms, uncoupled, unnormalised
from attnretrieval.gradcheck.diagnosis.upstream import copies, inner_factor, upstream
from attnretrieval.gradcheck.diagnosis.uses import path, path_factor
from attnretrieval.gradcheck.diagnosis.wrong import Diagnosis, Wrong

SHAPE_DIAGNOSES: tuple[Callable[[Wrong], Diagnosis | None], ...] = (
    shape_unsummed, shape_swapped, shape_transposed, shape_reshaped,
)
DIAGNOSES: tuple[Callable[[Wrong], Diagnosis | None], ...] = (
    zero, sign, scaled, transposed, swapped, path, permuted, mask_part, block, factor_by_row, factor_by_element, inner_factor,
    copies, upstream, recognised, row_terms, uncoupled, unnormalised, path_factor, other_call, mask_complement, masked_rows,
    one_slice, some_elements,
)
OUTPUT_DIAGNOSES: tuple[Callable[[Wrong], Diagnosis | None], ...] = (
    zero, sign, other_call, scaled, shifted, transposed, along_another_axis, permuted, mask_part, masked_rows, block,
    factor_by_row, factor_by_element, recognised, mask_complement, one_slice, some_elements,
)


def diagnose(wrong: Wrong) -> Diagnosis | None:
    """The first diagnosis that explains the whole error."""
    if wrong.actual.shape != wrong.expected.shape:
        return next(filter(None, (look(wrong) for look in SHAPE_DIAGNOSES)), None)
    if not np.all(np.isfinite(wrong.actual)) or not np.all(np.isfinite(wrong.expected)):
        return None
    return next(filter(None, (look(wrong) for look in DIAGNOSES)), None)


def diagnose_output(wrong: Wrong) -> Diagnosis | None:
    """The same for a wrong output: what needs no upstream gradient, and first of all what another call would give."""
    if wrong.actual.shape != wrong.expected.shape:
        return None
    return next(filter(None, (look(wrong) for look in OUTPUT_DIAGNOSES)), None)


def diagnose_samples(wrong: Wrong) -> Diagnosis | None:
    """The same where only samples of a large gradient are known: what can be seen element by element."""
    return next(filter(None, (look(wrong) for look in (zero, sign, scaled))), None)
