"""The recipes that need no derivative: they compare with another implementation, which must be right and must exist.

Both compare outputs as well, so they can see a wrong forward. The other implementation is here the true equation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from attnretrieval.backend import Array
from tests.other_recipes.call import Call, have_shapes, upstream

Near = Callable[[Array], Array]     # |a - reference| → where that is near enough


def llm_c(call: Call, rng: np.random.Generator) -> bool:
    """llm.c: test_gpt2.c, which reads the logits, the loss and the gradients that PyTorch gave for one batch, in float32.

    |a - reference| below 1e-2 for the output and at most 2e-2 for every gradient, both absolute. llm.c checks a whole network
    whose loss is a mean over tokens; one equation alone gets a random upstream gradient of size 1 (1 for a loss). In the
    network the gradients are smaller and the same 2e-2 lets more through.
    """
    mine, reference = call.in_dtype(np.float32), call.in_dtype(np.float32).by_truth()
    d_out = upstream(reference.run()[0], rng).astype(np.float32)
    return _agree(mine, reference, d_out, lambda error: error < 1e-2, lambda error: error <= 2e-2)


def numpy_ml(call: Call, rng: np.random.Generator) -> bool:
    """numpy-ml: numpy_ml/tests/test_nn.py, a layer in float64 against PyTorch in float32.

    `assert_almost_equal(mine, gold, decimal=4)`, |a - reference| < 1.5e-4, for the output and every gradient of the sum of the
    outputs: the upstream gradient is all ones. (3 decimals for dense layers, 4 for attention; here 4 for all.)
    """
    reference = call.in_dtype(np.float32).by_truth()
    return _agree(call, reference, np.ones(reference.run()[0].shape), *[lambda error: error < 1.5e-4] * 2)


def _agree(mine: Call, reference: Call, d_out: Array, near_out: Near, near_gradient: Near) -> bool:
    (out, cache), (right_out, right_cache) = mine.run(), reference.run()
    grads = mine.gradients(d_out, cache)
    expected = reference.gradients(d_out.astype(right_out.dtype), right_cache)
    if out.shape != right_out.shape or not have_shapes(mine, grads):
        return False
    return bool(np.all(near_out(np.abs(out - right_out)))) and all(
        np.all(near_gradient(np.abs(grads[name] - d_x))) for name, d_x in expected.items())
