"""The rules that every equation keeps, one function each, and the wrong backward that only this rule notices.

    fields       every floating input has a gradient, nothing else has        a weight that is never trained
    shapes       a gradient has the shape of its input                        a bias that was not summed over the batch
    dtypes       float32 stays float32                                        a constant of float64 that doubles the memory
    float32      float32 is right, to a stated bound                          exp without the maximum: right only in float64
    finite       no NaN, no infinity                                          0/0 in a row where nothing is left
    unchanged    nothing that came in is written to                           d_Y *= scale in place: the caller's array is lost
    aliases      no two arrays share memory                                   d_C is d_F: a later d_C += ... changes d_F as well
    repeats      same call, same bits; also with another call in between      a cache kept on the side, a += that is never reset
    zero         no upstream gradient, no gradient                            d_out forgotten, a weight decay added
    linear       twice the upstream, twice the gradient                       sign(d_out), a clipped or normalised d_out
    adjoint      <J v, u> = <v, Jᵀ u> for fresh u and v                       right for the first upstream gradient alone
    layout       strided and Fortran-ordered views count as their values      a reshape of memory where an axis was meant
    symmetry     for losses: d²L/dx_i dx_j = d²L/dx_j dx_i                    a part of the gradient held constant by mistake

A new check is a function from `Run` to problems, listed in CHECKS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.calls import Broken
from attnretrieval.gradcheck.derivatives import COMPLEX_STEP, units
from attnretrieval.gradcheck.report import Problem
from attnretrieval.gradcheck.run import Run, at_least, is_float, numbers, parts, relative, step

LINEAR = 1e-10              # what rounding may change when the upstream gradient is added and multiplied
ADJOINT = 1e-9
LAYOUT = 1e-10              # what another order of summation may change
SYMMETRY = 1e-9
HESSIAN_LIMIT = 200         # elements of all inputs together up to which a Hessian is taken
FLOAT32_ROUNDINGS = 64      # steps of an equation, each with a rounding of its own


def check_fields(run: Run) -> list[Problem]:
    """Every floating input has a gradient; what is None, a mask or an integer has none."""
    problems = [
        Problem(name, f"the backward returns no d_{name}; pass {name} in options if it has no gradient", "missing")
        for name in run.floats if run.grads.get(name) is None
    ]
    return problems + [
        Problem(None, f"the backward returns d_{name}, but {name} is "
                      + ("not among the inputs" if name not in run.inputs else "None or not floating-point"),
                "no such input")
        for name, d_x in run.grads.items() if d_x is not None and name not in run.floats
    ]


def check_shapes(run: Run) -> list[Problem]:
    """A gradient has the shape of its input."""
    return [
        Problem(name, f"d_{name} has shape {d_x.shape}, expected {run.inputs[name].shape}, that of {name}"
                      + ("; a broadcast input gets the sum over its copies" if _is_copied(d_x, run.inputs[name]) else ""),
                "batch sum missing" if _is_copied(d_x, run.inputs[name]) else "wrong shape")
        for name, d_x in run.present if d_x.shape != run.inputs[name].shape
    ]


def _is_copied(d_x: Array, x: Array) -> bool:
    """d_x has the shape that x was broadcast to."""
    pairs = zip(x.shape[::-1], d_x.shape[::-1], strict=False)
    return d_x.size > x.size and d_x.ndim >= x.ndim and all(own in (1, wide) for own, wide in pairs)


def check_dtypes(run: Run) -> list[Problem]:
    """dtype in = dtype out, for float64 and float32: outputs and gradients."""
    problems = []
    for dtype in (np.float64, np.float32):
        # an option that is a float array, such as a dropout mask, has the dtype of the inputs
        out, cache = run.forward(**{name: x.astype(dtype) if is_float(x) else x for name, x in run.arguments().items()})
        grads = run.backward([d.astype(dtype) for d in run.d_out], cache)
        wanted = np.dtype(dtype)
        problems += [
            Problem(None, f"with {wanted} inputs the output has dtype {y.dtype}", "wrong dtype")
            for y in parts(out) if y.dtype != wanted
        ]
        problems += [
            Problem(name, f"with {wanted} inputs d_{name} has dtype {d_x.dtype}", "wrong dtype")
            for name, d_x in grads.items() if d_x is not None and d_x.dtype != wanted
        ]
    return problems


def check_finite(run: Run) -> list[Problem]:
    """No NaN and no infinity."""
    problems = [Problem(None, "the output holds NaN or infinity") for y in run.out if not np.all(np.isfinite(y))]
    return problems + [
        Problem(name, f"d_{name} holds NaN or infinity, the first at {[int(i) for i in np.argwhere(~np.isfinite(d_x))[0]]}",
                "not finite")
        for name, d_x in run.present if not np.all(np.isfinite(d_x))
    ]


def check_unchanged(run: Run) -> list[Problem]:
    """Neither pass writes into an input, an option or the upstream gradient."""
    given, mine = run.arguments(), run.arguments()
    d_out = [d.copy() for d in run.d_out]
    problems = []

    def compare(who: str) -> None:
        for name, x in given.items():
            if isinstance(x, np.ndarray) and x.tobytes() != mine[name].tobytes():
                problems.append(Problem(name, f"the {who} writes into {name}; compute on a copy", "writes into its inputs"))
                mine[name][...] = x
        if any(d.tobytes() != kept.tobytes() for d, kept in zip(d_out, run.d_out, strict=True)):
            problems.append(Problem(None, f"the {who} writes into the upstream gradient; compute on a copy",
                                    "writes into its inputs"))

    _, cache = run.forward(**mine)
    compare("forward")
    run.backward(d_out, cache)
    compare("backward")
    return problems


def check_aliases(run: Run) -> list[Problem]:
    """No gradient shares memory with an input, the upstream gradient or another gradient; no output with an input."""
    arguments = run.arguments()
    arrays = [(name, x) for name, x in arguments.items() if isinstance(x, np.ndarray)]
    d_out = [d.copy() for d in run.d_out]
    out, cache = run.forward(**arguments)
    grads = [(name, d_x) for name, d_x in run.backward(d_out, cache).items() if d_x is not None]
    problems = [
        Problem(None, f"the output shares memory with {name}; a later in-place step would change both", "shares memory")
        for name, x in arrays for y in parts(out) if np.shares_memory(x, y)
    ]
    for i, (name, d_x) in enumerate(grads):
        others = [*arrays, *(("the upstream gradient", d) for d in d_out), *((f"d_{other}", g) for other, g in grads[:i])]
        problems += [
            Problem(name, f"d_{name} shares memory with {other}; return a copy", "shares memory")
            for other, x in others if np.shares_memory(d_x, x)
        ]
    return problems


def check_repeats(run: Run) -> list[Problem]:
    """Two calls give bit-equal results, with the same cache, with a new one, and with another call in between."""
    problems = []
    out, cache = run.forward(**run.arguments())
    if any(a.tobytes() != b.tobytes() for a, b in zip(parts(out), run.out, strict=True)):
        problems.append(Problem(None, "a second forward on the same inputs gives another output"))
    halved = {name: np.asarray(0.5 * x) for name, x in run.inputs.items() if is_float(x)}
    run.forward(**{**run.arguments(), **halved})                       # another call in flight
    for text in ("a second call gives another gradient: something is kept outside the cache",
                 "a second backward from one cache gives another gradient: the backward changes its cache"):
        again = run.gradients(cache)
        differ = [(name, d_x) for name, d_x in run.present if not _same_bits(again[name], d_x)]
        later = run.gradients(cache) if differ else {}
        for name, d_x in differ:
            grows = _grows_by(d_x, again[name], later[name])
            problems.append(Problem(name, text + ("; every call adds the same once more: start from zeros" if grows else ""),
                                    "accumulates over calls" if grows else "changes from call to call"))
        if differ:
            break
    return problems


def _same_bits(a: Array, b: Array) -> bool:
    return a.tobytes() == b.tobytes()


def _grows_by(d_x: Array, second: Array, third: Array) -> bool:
    """From one call to the next, d_x is added."""
    return bool(d_x.any()) and relative(third - second, d_x) < 1e-6


def check_zero_upstream(run: Run) -> list[Problem]:
    """An upstream gradient of zeros gives gradients of exactly zero."""
    _, cache = run.forward(**run.arguments())
    grads = run.backward([np.zeros_like(d) for d in run.d_out], cache)
    return [
        Problem(name, f"d_{name} is not 0 where the upstream gradient is 0: the chain rule multiplies by d_out",
                "not multiplied by the upstream gradient")
        for name, d_x in grads.items() if d_x is not None and np.any(d_x != 0)
    ]


def check_linear(run: Run) -> list[Problem]:
    """backward(a·u + b·w) = a·backward(u) + b·backward(w): a backward is linear in the upstream gradient."""
    a, b = -1.7, 0.6
    w = tuple(run.rng.normal(size=d.shape) for d in run.d_out)
    of_w, of_sum = (_of_new_cache(run, d) for d in (w, tuple(a * u + b * x for u, x in zip(run.d_out, w, strict=True))))
    problems = []
    for name, d_x in run.present:
        if not np.all(np.isfinite(d_x)):
            continue                                                   # check_finite says so
        parts_ = a * d_x, b * of_w[name]
        floor = max(*(np.linalg.norm(part) for part in parts_), 1e-3 * run.largest)
        if not relative(of_sum[name], parts_[0] + parts_[1], floor) <= LINEAR:
            problems.append(Problem(name, f"d_{name} is not linear in the upstream gradient: the chain rule multiplies by "
                                          "d_out and adds, it never clips, squares, normalises or takes a sign",
                                    "not linear in the upstream gradient"))
    return problems


def _of_new_cache(run: Run, d_out: tuple[Array, ...]) -> dict[str, Array | None]:
    _, cache = run.forward(**run.arguments())
    return run.gradients(cache, d_out)


def check_adjoint(run: Run) -> list[Problem]:
    """<J v, u> = <v, Jᵀ u> for fresh u and v, one input at a time: J v is a complex step, Jᵀ u the backward.

    It sees every element at once, whatever the size, and it asks for other upstream gradients than the comparison did.
    """
    if not run.exact:
        return []
    stepped = {name: x.astype(np.complex128) if is_float(x) else x for name, x in run.inputs.items()}
    u = tuple(run.rng.normal(size=d.shape) for d in run.d_out)
    grads = _of_new_cache(run, u)
    problems = []
    for name, d_x in run.present:
        x, mine = run.inputs[name], grads[name]
        if mine.shape != x.shape or not np.all(np.isfinite(d_x)):
            continue
        v = run.rng.normal(size=x.shape)
        Jv = run.outputs({**stepped, name: step(x, COMPLEX_STEP * 1j, v)})
        forwards = sum(float((a * np.imag(b)).sum()) / COMPLEX_STEP for a, b in zip(u, Jv, strict=True))
        backwards = float((mine * v).sum())
        size = max(np.linalg.norm(mine), np.linalg.norm(d_x), 1e-3 * run.largest) * np.linalg.norm(v)
        if not abs(forwards - backwards) <= ADJOINT * size:
            problems.append(Problem(name, f"another upstream gradient u, a random direction v: <J v, u> is {forwards:.6g} and "
                                          f"<v, Jᵀ u> is {backwards:.6g}, which must be equal",
                                    "right for one upstream gradient alone"))
    return problems


def check_layout(run: Run) -> list[Problem]:
    """The values count, not how they lie in memory: views with steps and in Fortran order give what copies give."""
    out, cache = run.forward(**{name: _spread(x) for name, x in run.arguments().items()})
    problems = [
        Problem(None, "with strided, Fortran-ordered inputs the output is another one: index axes, not memory")
        for same in run.same_outputs(parts(out), LAYOUT) if not same
    ]
    grads = numbers(run.backward([_spread(d) for d in run.d_out], cache))
    floor = 1e-3 * run.largest
    return problems + [
        Problem(name, f"with strided, Fortran-ordered arrays d_{name} is another one: index axes, not memory",
                "depends on the layout in memory")
        for name, d_x in run.present
        if relative(grads[name], d_x, floor) > LAYOUT
    ]


def _spread(x: Any) -> Any:
    """The same values as every second element of a larger array, in Fortran order."""
    if not isinstance(x, np.ndarray) or x.ndim == 0:
        return x
    every_second = tuple(slice(None, None, 2) for _ in x.shape)
    room = np.zeros([2 * size for size in x.shape], x.dtype, order="F")
    room[every_second] = x
    return room[every_second]


def check_float32(run: Run) -> list[Problem]:
    """float32 gives the float64 result to 64 ε √N plus what rounding the inputs alone can change; ε = 1.2e-7, N elements.

    The second part is measured: the float64 gradient at inputs and upstream gradients that are moved by ε. Where a softmax is
    steep or a vector short it is the larger part, and no implementation could do better. Where something is saturated the first
    part is 16 ε √N of the usual size (see saturation.py).
    """
    eps = float(np.finfo(np.float32).eps)
    arguments = {name: x.astype(np.float32) if is_float(x) else x for name, x in run.arguments().items()}
    d_out = [d.astype(np.float32) for d in run.d_out]
    exact_out, exact = _in_float64(run, arguments, d_out)
    moved = [_in_float64(run, *_nudged(run, arguments, d_out, eps)) for _ in range(3)]
    with np.errstate(all="ignore"):                                    # what overflows is found by its value
        out, cache = run.forward(**arguments)
        got = run.backward(d_out, cache)
    size = sum(x.size for x in arguments.values() if is_float(x)) + sum(d.size for d in d_out)
    steps = FLOAT32_ROUNDINGS * eps * np.sqrt(size)

    def too_far(value: Array, right: Array, others: list[Array], usual: float, floor: float = 0.0) -> str | None:
        unit = at_least(max(float(np.linalg.norm(right)), floor), usual / 4)
        bound = steps * unit + 8 * max(float(np.linalg.norm(other - right)) for other in others)
        off = np.linalg.norm(value.astype(np.float64) - right)
        if off <= bound:
            return None
        return f"off by {off / unit if unit else off:.1e}, more than the bound {bound / unit if unit else bound:.1e}"

    problems = []
    for i, y in enumerate(parts(out)):
        off = too_far(y, exact_out[i], [outs[i] for outs, _ in moved], run.usual_out[i])
        if off:
            problems.append(Problem(None, f"in float32 the output is {off}"))
    floor = max((float(np.linalg.norm(d)) for d in exact.values() if d is not None), default=0.0)
    for name, d_x in run.present:
        others = [exact[name], *(grads[name] for _, grads in moved)]
        if not np.all(np.isfinite(d_x)):
            continue                                                   # check_finite says so
        off = too_far(got[name], exact[name], others[1:], run.usual, floor)
        if off:
            problems.append(Problem(name, f"in float32 d_{name} is {off}", "inaccurate in float32"))
    return problems


def _in_float64(run: Run, arguments: dict[str, Any], d_out: list[Array]) -> tuple[tuple[Array, ...], dict]:
    out, cache = run.forward(**{name: x.astype(np.float64) if is_float(x) else x for name, x in arguments.items()})
    return parts(out), numbers(run.backward([d.astype(np.float64) for d in d_out], cache))


def _nudged(run: Run, arguments: dict[str, Any], d_out: list[Array], eps: float) -> tuple[dict[str, Any], list[Array]]:
    def nudge(x: Array) -> Array:
        return np.asarray(x * (1 + eps * run.rng.choice([-1.0, 1.0], size=x.shape)))

    moved = {name: nudge(x) if is_float(x) and name in run.inputs else x for name, x in arguments.items()}
    return moved, [nudge(d) for d in d_out]


def check_symmetry(run: Run) -> list[Problem]:
    """The Hessian of a loss is symmetric: H_ij = d/dx_i of gradient_j, by complex-stepping the backward."""
    sizes = [run.inputs[name].size for name in run.floats]
    whole = all(run.grads.get(name) is not None and run.grads[name].shape == run.inputs[name].shape for name in run.floats)
    if [y.size for y in run.out] != [1] or not whole or not 0 < sum(sizes) <= HESSIAN_LIMIT:
        return []
    stepped = {name: x.astype(np.complex128) if is_float(x) else x for name, x in run.inputs.items()}
    try:
        rows = [_stack(run, {**stepped, name: step(x, COMPLEX_STEP * 1j, v)}).imag / COMPLEX_STEP
                for name in run.floats for x in [run.inputs[name]] for _, v in units(x.shape)]
        if not _follows(run, np.array(rows)):
            return []                                                  # the backward is not complex-safe: no second derivative
    except Broken:  # a backward need not take complex numbers
        return []
    H = np.array(rows)
    if relative(H, H.T, 1e-3 * at_least(float(np.linalg.norm(H)), run.usual)) <= SYMMETRY:
        return []
    i, j = np.unravel_index(np.argmax(np.abs(H - H.T)), H.shape)
    elements = [f"{name}{list(map(int, k))}" for name in run.floats for k in np.ndindex(run.inputs[name].shape)]
    return [Problem(None, f"the Hessian is not symmetric: d/d{elements[i]} of the gradient of {elements[j]} is {H[i, j]:.6g}, "
                          f"the other way round it is {H[j, i]:.6g}: this is the gradient of no loss")]


def _stack(run: Run, inputs: dict[str, Any]) -> Array:
    """All gradients as one vector."""
    _, cache = run.forward(**inputs, **run.options)
    grads = run.gradients(cache)
    return np.concatenate([np.asarray(grads[name]).ravel() for name in run.floats])


def _follows(run: Run, H: Array) -> bool:
    """Along a random direction the gradient changes as H says: the backward is complex-safe."""
    h = 1e-6
    direction = {name: run.rng.normal(size=run.inputs[name].shape) for name in run.floats}
    flat = np.concatenate([v.ravel() for v in direction.values()])
    there, back = ({**run.inputs, **{name: step(run.inputs[name], s * h, v) for name, v in direction.items()}} for s in (1, -1))
    return relative((_stack(run, there) - _stack(run, back)) / (2 * h), flat @ H) < 1e-3


CHECKS: tuple[Callable[[Run], list[Problem]], ...] = (
    check_fields, check_shapes, check_dtypes, check_float32, check_finite, check_unchanged, check_aliases, check_repeats,
    check_zero_upstream, check_linear, check_adjoint, check_layout, check_symmetry,
)
