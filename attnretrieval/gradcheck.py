"""The gradient checker: does this backward undo this forward?

    report = check_gradient(attention, attention_backward, {"Q": Q, "K": K, "V": V}, rng=numpy.random.default_rng(0))
    print(report)
    assert report.passed

What it needs: `forward(**inputs, **options) -> (out, cache)` and `backward(d_out, cache) -> Grads`, a NamedTuple in which `d_Q`
is the gradient of `Q`. `out` is one array or a tuple of arrays; `d_out` then has the same form. Floating-point `inputs` are
differentiated, element by element; None, masks and integers pass through. Floats that have no gradient go to `options`.

With L = Σ d_out ∘ out for a random upstream gradient d_out (with ones instead, a softmax has gradient 0 and hides its errors):

    complex step          dL/dx = Im L(x + ih) / h, h = 1e-30      exact to rounding: nothing is subtracted
    central difference    dL/dx = (L(x + h) - L(x - h)) / 2h, h = 1e-5   right to about 1e-8: a witness that shares no idea with
                          the complex step, so it also notices a forward that is not complex-safe (abs, norm, conj)

    error = ‖actual - expected‖ / max(‖actual‖, ‖expected‖, 1e-3 · the largest gradient of the call)

The last term is for gradients that are 0 in theory and rounding in practice, such as that of a key bias in attention.

A new check is a function from `Run` to problems, listed in CHECKS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import Array

COMPLEX_STEP = 1e-30
DIFFERENCE_STEP = 1e-5
DIFFERENCE_TOLERANCE = 1e-6
SMALL_GRADIENT = 1e-3
ROUNDING = 1e-12


class Problem(NamedTuple):
    input: str | None           # None: it concerns the whole call
    text: str


@dataclass
class Row:
    """What the check found for one input."""

    name: str
    shape: tuple[int, ...]
    complex_error: float        # nan where there was no gradient to compare
    difference_error: float
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems


@dataclass
class Report:
    name: str
    rows: list[Row]
    problems: list[str]         # of the call as a whole; those of one input are in its row
    tolerance: float

    @property
    def passed(self) -> bool:
        return not self.problems and all(row.passed for row in self.rows)

    @property
    def worst_error(self) -> float:
        """The largest complex-step error of any input; nan where one could not be computed."""
        return float(np.max([row.complex_error for row in self.rows], initial=0.0))

    def __str__(self) -> str:
        width = max([len("input"), *(len(row.name) for row in self.rows)])
        shapes = [" × ".join(map(str, row.shape)) or "scalar" for row in self.rows]
        wide = max([len("shape"), *map(len, shapes)])
        lines = [f"{self.name}: {'passed' if self.passed else 'FAILED'} (tolerance {self.tolerance:.0e})",
                 f"  {'input':<{width}}  {'shape':<{wide}}  complex step  difference  verdict"]
        for row, shape in zip(self.rows, shapes, strict=True):
            verdict = "ok" if row.passed else "WRONG"
            lines.append(f"  {row.name:<{width}}  {shape:<{wide}}  {row.complex_error:12.1e}  {row.difference_error:10.1e}  "
                         + verdict)
        lines += [f"  - {text}" for text in self.problems]
        lines += [f"  - {row.name}: {text}" for row in self.rows for text in row.problems]
        return "\n".join(lines)


@dataclass
class Run:
    """One forward and one backward in float64, and everything a check needs to do more of them."""

    forward: Callable
    backward: Callable
    inputs: dict[str, Any]
    options: dict[str, Any]
    out: tuple[Array, ...]
    build: Callable             # puts a list of arrays into the form of out
    d_out: tuple[Array, ...]
    grads: dict[str, Array | None]
    complex_problem: str | None = None

    @property
    def floats(self) -> list[str]:
        return [name for name, x in self.inputs.items() if _is_float(x)]

    def outputs(self, inputs: Mapping[str, Any]) -> tuple[Array, ...]:
        return _parts(self.forward(**inputs, **self.options)[0])

    def arguments(self) -> dict[str, Any]:
        """The arguments of a forward, every array a copy: what a call does to them stays with that call."""
        return {name: _copy(x) for name, x in {**self.inputs, **self.options}.items()}

    def gradients(self, cache: Any) -> dict[str, Array | None]:
        return _by_name(self.backward(self.build([d.copy() for d in self.d_out]), cache))

    def loss(self, inputs: Mapping[str, Any]) -> complex | float:
        """L = Σ d_out ∘ out."""
        return sum((d * y).sum() for d, y in zip(self.d_out, self.outputs(inputs), strict=True))


def check_gradient(
    forward: Callable, backward: Callable, inputs: Mapping[str, Any], *, rng: np.random.Generator,
    options: Mapping[str, Any] | None = None, name: str = "", tolerance: float = 1e-10,
) -> Report:
    """Compare `backward` with two numerical derivatives of `forward` and hold it to the rules of an equation.

    Values are compared in float64, whatever the dtype of `inputs`; that float32 stays float32 is checked besides.
    """
    run = _start(forward, backward, inputs, dict(options or {}), rng)
    expected = _complex_step(run)
    witness = _central_difference(run)
    rows = _compare(run, expected, witness, tolerance)
    problems = [problem for check in CHECKS for problem in check(run)]
    for row in rows:
        row.problems += [text for name_, text in problems if name_ == row.name]
    names = {row.name for row in rows}
    general = [text if name_ is None else f"{name_}: {text}" for name_, text in problems if name_ not in names]
    return Report(name or getattr(forward, "__name__", "forward"), rows, general, tolerance)


def _start(forward: Callable, backward: Callable, inputs: Mapping[str, Any], options: dict, rng: np.random.Generator) -> Run:
    for name, x in inputs.items():
        if x is not None and not isinstance(x, np.ndarray):
            raise TypeError(f"inputs[{name!r}] is a {type(x).__name__}, expected a NumPy array or None; "
                            "numbers and names go to options, CuPy arrays come back with backend.to_host")
    inputs = {name: x.astype(np.float64) if _is_float(x) else x for name, x in inputs.items()}
    answer = forward(**{name: _copy(x) for name, x in {**inputs, **options}.items()})
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise TypeError(f"forward returned {type(answer).__name__}, expected the pair (out, cache)")
    out, cache = answer
    parts = _parts(out)
    d_out = tuple(rng.normal(size=y.shape) for y in parts)
    run = Run(forward, backward, inputs, options, tuple(y.copy() for y in parts), _builder(out), d_out, {})
    run.grads = {name: _copy(d_x) for name, d_x in run.gradients(cache).items()}
    return run


def _copy(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _parts(out: Any) -> tuple[Array, ...]:
    """The arrays of an output, whether it is one array or a tuple of them."""
    return tuple(np.asarray(y) for y in out) if isinstance(out, tuple) else (np.asarray(out),)


def _builder(out: Any) -> Callable:
    if not isinstance(out, tuple):
        return lambda parts: parts[0]
    return type(out)._make if hasattr(out, "_make") else tuple


def _by_name(grads: Any) -> dict[str, Array | None]:
    if not hasattr(grads, "_asdict") or not all(name.startswith("d_") for name in grads._fields):
        raise TypeError(f"backward returned {type(grads).__name__}, expected a NamedTuple with fields d_<input>")
    return {name[2:]: None if g is None else np.asarray(g) for name, g in grads._asdict().items()}


# --- the numerical derivatives ---------------------------------------------------------------------------------------


def _complex_step(run: Run) -> dict[str, Array] | None:
    """Im L(x + ih) / h for every element of every floating input; None where the forward cannot take complex numbers."""
    # all floating inputs become complex together: a real Y += b would otherwise refuse a complex b
    stepped = {name: x.astype(np.complex128) if _is_float(x) else x for name, x in run.inputs.items()}
    try:
        at_x = run.outputs(stepped)
    except Exception as error:  # whatever it raises is the finding
        run.complex_problem = f"the forward fails on complex inputs ({type(error).__name__}: {error}); make it complex-safe"
        return None
    for y, real in zip(at_x, run.out, strict=True):
        if _relative(y.real, real) > ROUNDING:
            run.complex_problem = ("forward(complex x).real differs from forward(x); a maximum or a comparison must look at "
                                   "the real part, and abs and norm must be x * x and sqrt")
    expected = {}
    for name in run.floats:
        x, d_x = stepped[name], np.empty(run.inputs[name].shape)
        for i in np.ndindex(x.shape):
            value = x[i]
            x[i] = value + COMPLEX_STEP * 1j
            d_x[i] = run.loss(stepped).imag / COMPLEX_STEP
            x[i] = value
        expected[name] = d_x
    return expected


def _central_difference(run: Run) -> dict[str, Array]:
    moved = {name: _copy(x) for name, x in run.inputs.items()}
    expected = {}
    for name in run.floats:
        x, d_x = moved[name], np.empty(run.inputs[name].shape)
        for i in np.ndindex(x.shape):
            value = x[i]
            x[i] = value + DIFFERENCE_STEP
            above = run.loss(moved)
            x[i] = value - DIFFERENCE_STEP
            below = run.loss(moved)
            x[i] = value
            d_x[i] = (above - below) / (2 * DIFFERENCE_STEP)
        expected[name] = d_x
    return expected


# --- the comparison --------------------------------------------------------------------------------------------------


def _relative(actual: Array, expected: Array, floor: float = 0.0) -> float:
    """The norm-wise relative error; nan where a value is not finite."""
    size = max(np.linalg.norm(actual), np.linalg.norm(expected), floor)
    return float(np.linalg.norm(actual - expected) / size) if size != 0 else 0.0


def _compare(run: Run, expected: dict[str, Array] | None, witness: dict[str, Array], tolerance: float) -> list[Row]:
    exact = witness if expected is None else expected
    floor = SMALL_GRADIENT * max((np.linalg.norm(d) for d in exact.values()), default=0.0)
    rows = []
    for name in run.floats:
        d_x, shape = run.grads.get(name), run.inputs[name].shape
        row = Row(name, shape, np.nan, np.nan)
        rows.append(row)
        if d_x is None or d_x.shape != shape:
            continue                                                   # check_fields and check_shapes say so
        row.difference_error = _relative(d_x, witness[name], floor)
        if expected is not None:
            row.complex_error = _relative(d_x, expected[name], floor)
        if not np.all(np.isfinite(d_x)):
            continue                                                   # check_finite says so
        if expected is not None and not row.complex_error <= tolerance:
            row.problems.append(_first_wrong(d_x, expected[name], tolerance, floor))
            if row.difference_error <= DIFFERENCE_TOLERANCE:
                row.problems.append("the central difference agrees with the backward: the forward is not complex-safe")
        elif not row.difference_error <= DIFFERENCE_TOLERANCE:
            row.problems.append("against the central difference: "
                                + _first_wrong(d_x, witness[name], DIFFERENCE_TOLERANCE, floor)
                                + ("; the complex step agrees with the backward, so either the forward is not complex-safe or "
                                   "x lies on a kink" if expected is not None else ""))
    return rows


def _first_wrong(actual: Array, expected: Array, tolerance: float, floor: float) -> str:
    """The first element that carries its share of the error, and how many do."""
    difference = np.abs(actual - expected)
    share = tolerance * max(np.linalg.norm(expected), np.linalg.norm(actual), floor) / np.sqrt(max(actual.size, 1))
    wrong = difference > share
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f" at {list(first)}" if first else ""
    return (f"{int(wrong.sum())} of {actual.size} elements are wrong; the first{where}: "
            f"expected {expected[first]:.6g}, the backward gave {actual[first]:.6g}")


# --- the rules, one function each ------------------------------------------------------------------------------------


def check_complex_safe(run: Run) -> list[Problem]:
    """The forward takes complex inputs, and their real part gives what the real input gives."""
    return [] if run.complex_problem is None else [Problem(None, run.complex_problem)]


def check_fields(run: Run) -> list[Problem]:
    """Every floating input has a gradient; what is None, a mask or an integer has none."""
    problems = [
        Problem(name, f"the backward returns no d_{name}; pass {name} in options if it has no gradient")
        for name in run.floats if run.grads.get(name) is None
    ]
    return problems + [
        Problem(None, f"the backward returns d_{name}, but {name} is "
                      + ("not among the inputs" if name not in run.inputs else "None or not floating-point"))
        for name, d_x in run.grads.items() if d_x is not None and name not in run.floats
    ]


def check_shapes(run: Run) -> list[Problem]:
    """A gradient has the shape of its input."""
    return [
        Problem(name, f"d_{name} has shape {d_x.shape}, expected {run.inputs[name].shape}, that of {name}"
                      + ("; a broadcast input gets the sum over its copies" if d_x.ndim >= run.inputs[name].ndim else ""))
        for name, d_x in _present(run) if d_x.shape != run.inputs[name].shape
    ]


def check_dtypes(run: Run) -> list[Problem]:
    """dtype in = dtype out, for float64 and float32: outputs and gradients."""
    problems = []
    for dtype in (np.float64, np.float32):
        # an option that is a float array, such as a dropout mask, has the dtype of the inputs
        out, cache = run.forward(**{name: x.astype(dtype) if _is_float(x) else x for name, x in run.arguments().items()})
        grads = _by_name(run.backward(run.build([d.astype(dtype) for d in run.d_out]), cache))
        wanted = np.dtype(dtype)
        problems += [
            Problem(None, f"with {wanted} inputs the output has dtype {y.dtype}") for y in _parts(out) if y.dtype != wanted
        ]
        problems += [
            Problem(name, f"with {wanted} inputs d_{name} has dtype {d_x.dtype}")
            for name, d_x in grads.items() if d_x is not None and d_x.dtype != wanted
        ]
    return problems


def check_finite(run: Run) -> list[Problem]:
    """No NaN and no infinity."""
    problems = [Problem(None, "the output holds NaN or infinity") for y in run.out if not np.all(np.isfinite(y))]
    return problems + [
        Problem(name, f"d_{name} holds NaN or infinity, the first at {[int(i) for i in np.argwhere(~np.isfinite(d_x))[0]]}")
        for name, d_x in _present(run) if not np.all(np.isfinite(d_x))
    ]


def check_unchanged(run: Run) -> list[Problem]:
    """Neither pass writes into an input, an option or the upstream gradient."""
    given, mine = run.arguments(), run.arguments()
    d_out = [d.copy() for d in run.d_out]
    problems = []

    def compare(who: str) -> None:
        for name, x in given.items():
            if isinstance(x, np.ndarray) and x.tobytes() != mine[name].tobytes():
                problems.append(Problem(name, f"the {who} writes into {name}; compute on a copy"))
                mine[name][...] = x
        if any(d.tobytes() != kept.tobytes() for d, kept in zip(d_out, run.d_out, strict=True)):
            problems.append(Problem(None, f"the {who} writes into the upstream gradient; compute on a copy"))

    _, cache = run.forward(**mine)
    compare("forward")
    run.backward(run.build(d_out), cache)
    compare("backward")
    return problems


def check_aliases(run: Run) -> list[Problem]:
    """No gradient shares memory with an input, the upstream gradient or another gradient; no output with an input."""
    arguments = run.arguments()
    arrays = [(name, x) for name, x in arguments.items() if isinstance(x, np.ndarray)]
    d_out = [d.copy() for d in run.d_out]
    out, cache = run.forward(**arguments)
    grads = [(name, d_x) for name, d_x in _by_name(run.backward(run.build(d_out), cache)).items() if d_x is not None]
    problems = [
        Problem(None, f"the output shares memory with {name}; a later in-place step would change both")
        for name, x in arrays for y in _parts(out) if np.shares_memory(x, y)
    ]
    for i, (name, d_x) in enumerate(grads):
        others = [*arrays, *(("the upstream gradient", d) for d in d_out), *((f"d_{other}", g) for other, g in grads[:i])]
        problems += [
            Problem(name, f"d_{name} shares memory with {other}; return a copy")
            for other, x in others if np.shares_memory(d_x, x)
        ]
    return problems


def check_repeats(run: Run) -> list[Problem]:
    """Two calls give bit-equal results, with the same cache, with a new one, and with another call in between."""
    problems = []
    out, cache = run.forward(**run.arguments())
    if any(a.tobytes() != b.tobytes() for a, b in zip(_parts(out), run.out, strict=True)):
        problems.append(Problem(None, "a second forward on the same inputs gives another output"))
    halved = {name: np.asarray(0.5 * x) for name, x in run.inputs.items() if _is_float(x)}
    run.forward(**{**run.arguments(), **halved})                       # another call in flight
    for text in ("a second call gives another gradient: something is kept outside the cache",
                 "a second backward from one cache gives another gradient: the backward changes its cache"):
        again = run.gradients(cache)
        differ = [name for name, d_x in _present(run) if again[name] is None or again[name].tobytes() != d_x.tobytes()]
        problems += [Problem(name, text) for name in differ]
        if differ:
            break
    return problems


def check_zero_upstream(run: Run) -> list[Problem]:
    """An upstream gradient of zeros gives gradients of exactly zero."""
    _, cache = run.forward(**run.arguments())
    grads = _by_name(run.backward(run.build([np.zeros_like(d) for d in run.d_out]), cache))
    return [
        Problem(name, f"d_{name} is not 0 where the upstream gradient is 0: the chain rule multiplies by d_out")
        for name, d_x in grads.items() if d_x is not None and np.any(d_x != 0)
    ]


def _present(run: Run) -> list[tuple[str, Array]]:
    return [(name, run.grads[name]) for name in run.floats if run.grads.get(name) is not None]


CHECKS: tuple[Callable[[Run], list[Problem]], ...] = (
    check_complex_safe, check_fields, check_shapes, check_dtypes, check_finite, check_unchanged, check_aliases, check_repeats,
    check_zero_upstream,
)
