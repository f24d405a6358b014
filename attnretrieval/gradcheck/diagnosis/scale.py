"""Wrong in the same way everywhere: zero, the wrong sign, one factor; and what the factor may be."""

from __future__ import annotations

import math

import numpy as np

from attnretrieval.gradcheck.diagnosis.wrong import Diagnosis, Wrong, all_products, factor_of, nearly
from attnretrieval.gradcheck.run import Run


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
    c = factor_of(wrong.actual, wrong.expected)
    if c is None or c == 0 or wrong.expected.size < 1 or not wrong.explains(c * wrong.expected):
        return None
    if _upstream_forgotten(c, wrong):
        return Diagnosis("upstream ignored", f"{wrong.d} is what an upstream gradient of 1 gives: is d_out not used?")
    begin = f"{wrong.d} is {c:.4g} times the right value everywhere"
    for k in _copies(wrong):
        if nearly(c * k, 1):
            return Diagnosis("mean for sum", f"{begin}: a mean over {k} values where a sum belongs?")
    guesses = what_factor(c, wrong)
    if not guesses:
        for k in _contracted(wrong):
            if nearly(c, k):
                return Diagnosis("sum for mean", f"{begin}: a sum over {k} values where a mean belongs?")
            if nearly(c * k, 1):
                return Diagnosis("mean for sum", f"{begin}: a mean over {k} values where a sum belongs?")
    if not guesses and np.count_nonzero(wrong.expected) < 2:
        return None                                                    # one number is always some multiple of another
    return Diagnosis("scaled", begin + (": " + ", or ".join(guesses[:3]) + "?" if guesses else ""))


def shifted(wrong: Wrong) -> Diagnosis | None:
    """A number added everywhere, with or without a factor."""
    x, y = wrong.expected.ravel(), wrong.actual.ravel()
    if x.size < 3 or np.ptp(x) == 0:
        return None
    c = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    b = float(y.mean() - c * x.mean())
    if c == 0 or not wrong.explains(c * wrong.expected + b):
        return None
    return Diagnosis("scaled and shifted", f"{wrong.d} is {c:.4g} times the right value, plus {b:.4g}, everywhere")


def _upstream_forgotten(c: float, wrong: Wrong) -> bool:
    """The output is one number, and so is the upstream gradient."""
    d_out = wrong.run.d_out
    return len(d_out) == 1 and d_out[0].size == 1 and nearly(c * d_out[0].item(), 1) and not nearly(c, 1)


def what_factor(c: float, wrong: Wrong) -> list[str]:
    """What a factor c may be, from the sizes and numbers of the call; the likeliest first."""
    run, x = wrong.run, wrong.expected
    heads = [run.options["heads"]] if isinstance(run.options.get("heads"), int) else []
    widths = {y.shape[-1] for y in (x, *(run.inputs[name] for name in run.floats)) if y.ndim}
    widths |= {d // h for d in widths for h in heads if h and d % h == 0}
    guesses = []
    for d in sorted(widths, key=lambda d: (d != (x.shape[-1] if x.ndim else 0), d)):
        if d > 1 and nearly(c, math.sqrt(d)):
            guesses.append(f"is the 1/√{d} missing ({_where(d, wrong)})")
        if d > 1 and nearly(c, 1 / math.sqrt(d)):
            guesses.append(f"is 1/√{d} there twice ({_where(d, wrong)})")
    for name, value in numbers(run):
        for word, at in ((name, value), (f"exp({name})", math.exp(min(value, 700)))):
            if at not in (0, 1, -1) and nearly(c, at):
                guesses.append(f"is the 1/{word} missing, or {word} there twice")
            elif at not in (0, 1, -1) and nearly(c * at, 1):
                guesses.append(f"is the factor {word} missing, or 1/{word} there twice")
    if nearly(c, 2):
        guesses.append("is it counted twice, or a 1/2 missing")
    if nearly(c, 0.5):
        guesses.append("is one of two equal parts missing, or a 1/2 there twice")
    return guesses


def _where(d: int, wrong: Wrong) -> str:
    x = wrong.expected
    return f"{d} is the last axis of {wrong.name}" if x.ndim and x.shape[-1] == d else f"{d} is the size of one head or vector"


def numbers(run: Run) -> list[tuple[str, float]]:
    """Numbers among the arguments: options, and inputs of no axes."""
    options = [(name, float(v)) for name, v in run.options.items() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return options + [(name, float(run.inputs[name])) for name in run.floats if run.inputs[name].ndim == 0]


def _copies(wrong: Wrong) -> list[int]:
    """How often a broadcast input is repeated: the axes that the output, or another input, has and x has not."""
    x = wrong.expected
    shapes = [y.shape for y in wrong.run.out] + [wrong.run.inputs[name].shape for name in wrong.run.floats]
    products: set[int] = set()
    for shape in shapes:
        if len(shape) <= x.ndim and not any(a == 1 < b for a, b in zip(x.shape, shape[-x.ndim:], strict=False) if x.ndim):
            continue
        mine = (1,) * (len(shape) - x.ndim) + x.shape
        products |= set(all_products([b for a, b in zip(mine[-len(shape):], shape, strict=False) if a == 1 < b]))
    return sorted(products, reverse=True)


def _contracted(wrong: Wrong) -> list[int]:
    """Sizes over which an equation may take a mean: any axes of x or of the inputs, and the number of True in a mask."""
    run, x = wrong.run, wrong.expected
    counts = {int(m.sum()) for m in run.inputs.values() if isinstance(m, np.ndarray) and m.dtype == bool}
    return sorted({*all_products(list(x.shape)), *(k for k in counts if k > 1),
                   *(size for y in run.out for size in all_products(list(y.shape)))})
