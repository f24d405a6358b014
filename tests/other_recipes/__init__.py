"""Gradient checks of other people, one small function each, to be run on the same wrong equations as ours.

    python -m tests.other_recipes               # the table of docs/gradient_check.md

A recipe takes a `Call` (a forward, a backward and what they are given) and a Generator, and says whether it accepts them. Each
was written from the published source that its docstring names, with that source's steps, tolerances and upstream gradient. What
a framework does around its recipe (PyTorch sums a gradient that is too large, Chainer refuses it) belongs to the recipe. Where
a source leaves a choice, the one was taken that serves it best; all get float64 and every case of
`attnretrieval.course.cases`, although most are used with one.

    frameworks      PyTorch, JAX, Chainer
    courses         CS231n, needle, minitorch
    references      llm.c, numpy-ml: they compare with another implementation
    score           runs them all over the wrong and the right equations
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.other_recipes.call import Call
from tests.other_recipes.courses import cs231n, cs231n_sparse, minitorch, needle, needle_random
from tests.other_recipes.frameworks import chainer, jax, pytorch, pytorch_fast
from tests.other_recipes.references import llm_c, numpy_ml

__all__ = ["RECIPES", "Call"]

RECIPES: dict[str, Callable] = {
    "CS231n, every element, below 1e-7": cs231n,
    "CS231n, every element, below 1e-4": partial(cs231n, limit=1e-4),
    "CS231n, 10 random elements, below 1e-7": cs231n_sparse,
    "PyTorch `gradcheck`": pytorch,
    "PyTorch `gradcheck`, `fast_mode`": pytorch_fast,
    "JAX `check_grads`": jax,
    "Chainer `check_backward`": chainer,
    "needle `gradient_check`": needle,
    "needle `backward_check`": needle_random,
    "minitorch `grad_check`": minitorch,
    "llm.c `test_gpt2`": llm_c,
    "numpy-ml `test_nn`": numpy_ml,
}
