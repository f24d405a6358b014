"""The recipes of PyTorch, JAX and Chainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from attnretrieval.backend import Array
from tests.other_recipes.call import Call, Grads, close, have_shapes, moved, summed_to, upstream


def pytorch(call: Call, rng: np.random.Generator) -> bool:
    """`torch.autograd.gradcheck(f, inputs)`: torch/autograd/gradcheck.py, `_slow_gradcheck`.

    The whole Jacobian by central difference with step 1e-6, downwards first, against the rows that the backward gives for
    one-hot upstream gradients; |a - n| <= 1e-5 + 1e-3 |n|. The rows are computed twice from one cache and must be bit-equal;
    zeros upstream must give exact zeros. The autograd engine sums a gradient that is too large, before the check sees it.
    """
    out, cache = call.run()
    numerical = {}
    for name in call.floats:
        columns = [np.subtract(*moved(call, name, i, -1e-6)).ravel() / -2e-6 for i in np.ndindex(call.inputs[name].shape)]
        numerical[name] = np.array(columns).reshape(-1, out.size)

    def rows() -> list[Grads]:
        one_hot = np.eye(out.size).reshape(out.size, *out.shape)
        return [_engine(call, call.gradients(row, cache)) for row in one_hot]

    first, second = rows(), rows()
    for name in call.floats:
        once, again = (np.array([row[name].ravel() for row in rows_]).reshape(out.size, -1) for rows_ in (first, second))
        if not np.array_equal(once, again) or not close(once.T, numerical[name], atol=1e-5, rtol=1e-3):
            return False
    return _zeros_give_zeros(call, out, cache)


def pytorch_fast(call: Call, rng: np.random.Generator) -> bool:
    """`gradcheck(..., fast_mode=True)`: torch/autograd/gradcheck.py, `_fast_gradcheck`.

    vᵀ J u for one positive random u an input and one v for the output, both of length 1; the tolerance grows by Σu Σv. The rest
    is as in the slow mode.
    """
    out, cache = call.run()

    def positive(shape: tuple[int, ...]) -> Array:
        v = rng.random(shape)
        return v / np.linalg.norm(v) if v.size else v

    directions, v = {name: positive(call.inputs[name].shape) for name in call.floats}, positive(out.shape)
    numerical = {name: (v * _along(call, {name: u}, 1e-6)).sum() for name, u in directions.items()}
    first, second = (_engine(call, call.gradients(v, cache)) for _ in range(2))
    for name, u in directions.items():
        tolerance = 1e-5 * u.sum() * v.sum()
        same = np.array_equal(first[name], second[name])
        if not same or not close((first[name] * u).sum(), numerical[name], atol=tolerance, rtol=1e-3):
            return False
    return _zeros_give_zeros(call, out, cache)


def _engine(call: Call, grads: Grads) -> Grads:
    """What PyTorch's engine makes of the gradients of a Function: None is 0, too large is summed."""
    shapes = {name: call.inputs[name].shape for name in grads}
    return {name: np.zeros(shapes[name]) if d_x is None else summed_to(d_x, shapes[name]) for name, d_x in grads.items()}


def _zeros_give_zeros(call: Call, out: Array, cache: Any) -> bool:
    """Once with the cache of the run and once with a new one."""
    return not any(np.any(d_x != 0) for kept in (cache, call.run()[1])
                   for d_x in _engine(call, call.gradients(np.zeros(out.shape), kept)).values())


def jax(call: Call, rng: np.random.Generator) -> bool:
    """`jax.test_util.check_grads(f, args, order=1, modes=["rev"])`: jax/_src/public_test_util.py, `check_vjp`.

    <v, Jᵀ u> against <u, J v> for one normal v over all inputs together and one normal u; J v by central difference with step
    1e-4; |a - n| <= 1e-5 + 1e-5 |n| in float64. Forward mode does not exist for a hand-written backward (`custom_vjp`). JAX
    refuses a gradient of another shape. Its arrays cannot be written into, so every call gets copies.
    """
    call = call._replace(forward=_with_copies(call.forward))
    out, cache = call.run()
    v = {name: rng.normal(size=call.inputs[name].shape) for name in call.floats}
    u = rng.normal(size=out.shape)
    forwards = (u * _along(call, v, 1e-4)).sum()
    grads = {name: np.zeros_like(v[name]) if d_x is None else d_x for name, d_x in call.gradients(u, cache).items()}
    if not have_shapes(call, grads):
        return False
    backwards = sum((v[name] * d_x).sum() for name, d_x in grads.items())
    return close(backwards, forwards, atol=1e-5, rtol=1e-5, equal_nan=True)


def chainer(call: Call, rng: np.random.Generator) -> bool:
    """`chainer.gradient_check.check_backward(f, x_data, y_grad)`: chainer/gradient_check.py.

    The slope along one random direction of length 1 over all inputs together, with step 1e-3, for a random upstream gradient
    (1 for a loss); |n - a| <= 1e-5 + 1e-4 |a|. A Variable refuses a gradient of another shape or dtype.
    """
    out, cache = call.run()
    d_out = upstream(out, rng)
    grads = call.gradients(d_out, cache)
    if not have_shapes(call, grads) or any(d_x.dtype != call.inputs[name].dtype for name, d_x in grads.items()):
        return False
    direction = {name: rng.normal(size=call.inputs[name].shape) for name in call.floats}
    length = np.sqrt(sum((v * v).sum() for v in direction.values()))
    direction = {name: v / length for name, v in direction.items()}
    backwards = sum((grads[name] * v).sum() for name, v in direction.items())
    return close((d_out * _along(call, direction, 1e-3)).sum(), backwards, atol=1e-5, rtol=1e-4, equal_nan=True)


def _along(call: Call, direction: dict[str, Array], h: float) -> Array:
    """J v by central difference."""
    above, below = (call.out(**{name: np.asarray(call.inputs[name] + sign * v) for name, v in direction.items()})
                    for sign in (h, -h))
    return (above - below) / (2 * h)


def _with_copies(forward: Callable) -> Callable:
    return lambda **given: forward(**{name: x.copy() if isinstance(x, np.ndarray) else x for name, x in given.items()})
