"""The recipes that three courses give to their students: CS231n, needle (10-714) and minitorch."""

from __future__ import annotations

import numpy as np

from attnretrieval.backend import Array
from tests.other_recipes.call import Call, Grads, central_difference, close, moved, summed_to, upstream


def cs231n(call: Call, rng: np.random.Generator, limit: float = 1e-7) -> bool:
    """Stanford CS231n: `eval_numerical_gradient_array` of cs231n/gradient_check.py and `rel_error` of the notebooks.

    Central difference with step 1e-5 on every element, for a random upstream gradient (1 for a loss), and
    max |a - n| / max(1e-8, |a| + |n|) over the elements. The course notes (neural-networks-3, "Gradient Checks"): 1e-7 and less
    "you should be happy", 1e-4 is "usually okay for objectives with kinks" and too high without.
    """
    d_out = upstream(call.run()[0], rng)
    numerical = {name: central_difference(call, name, d_out, 1e-5) for name in call.floats}
    grads = call.gradients(d_out, call.run()[1])              # a new cache, as in the notebooks
    return all(_relative_error(grads[name], numerical[name]) < limit for name in call.floats)


def _relative_error(x: Array, y: Array) -> float:
    return float(np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y)), initial=0.0))


def cs231n_sparse(call: Call, rng: np.random.Generator, limit: float = 1e-7) -> bool:
    """Stanford CS231n: `grad_check_sparse` of cs231n/gradient_check.py, 10 random elements an input.

    |n - a| / (|n| + |a|) below the limit of the notes; two zeros agree, as the notes ask. The course checks a loss; where the
    equation is none, L = Σ d_out ∘ out with a random d_out.
    """
    out, cache = call.run()
    d_out = upstream(out, rng)
    grads = call.gradients(d_out, cache)
    for name in call.floats:
        shape = call.inputs[name].shape
        for _ in range(10 if call.inputs[name].size else 0):
            i = tuple(int(rng.integers(n)) for n in shape)
            above, below = ((d_out * y).sum() for y in moved(call, name, i, 1e-5))
            numerical, mine = (above - below) / 2e-5, grads[name][i]
            size = abs(numerical) + abs(mine)
            if size != 0 and not abs(numerical - mine) / size < limit:
                return False
    return True


def needle(call: Call, rng: np.random.Generator) -> bool:
    """CMU 10-714, homework 1: `gradient_check` of tests/hw1/test_autograd_hw.py in dlsyscourse/hw1.

    Central difference of out.sum() with step 1e-4 on every element, so the upstream gradient is all ones; the norms of the
    errors of all inputs, added up, below 1e-6.
    """
    ones = np.ones(call.run()[0].shape)
    numerical = {name: central_difference(call, name, ones, 1e-4) for name in call.floats}
    return _added_error(call.gradients(ones, call.run()[1]), numerical) < 1e-6


def needle_random(call: Call, rng: np.random.Generator) -> bool:
    """CMU 10-714, homework 4: `backward_check` of tests/hw4/test_conv.py in dlsyscourse/hw4.

    A random upstream gradient, step 1e-3, the norms of the errors added up below 1e-2. (The homework computes in float32; here
    as everywhere float64.)
    """
    out, cache = call.run()
    d_out = rng.normal(size=out.shape)
    numerical = {name: central_difference(call, name, d_out, 1e-3) for name in call.floats}
    return _added_error(call.gradients(d_out, cache), numerical) < 1e-2


def _added_error(grads: Grads, numerical: Grads) -> float:
    return sum(float(np.linalg.norm(grads[name] - slopes)) for name, slopes in numerical.items())


def minitorch(call: Call, rng: np.random.Generator) -> bool:
    """minitorch: `grad_check` of minitorch/tensor_functions.py.

    One random element an input; central difference of out.sum() with step 1e-6, so the upstream gradient is all ones;
    |a - n| <= 1e-2 + 1e-2 |n|. `Tensor.expand` sums a gradient that is too large and broadcasts one that is too small.
    """
    out, cache = call.run()
    grads = call.gradients(np.ones(out.shape), cache)
    for name in call.floats:
        shape = call.inputs[name].shape
        if call.inputs[name].size:
            i = tuple(int(rng.integers(n)) for n in shape)
            above, below = (y.sum() for y in moved(call, name, i, 1e-6))
            d_x = grads[name]
            mine = summed_to(np.broadcast_to(d_x, np.broadcast_shapes(d_x.shape, shape)), shape)[i]
            if not close(mine, (above - below) / 2e-6, atol=1e-2, rtol=1e-2, equal_nan=True):
                return False
    return True
