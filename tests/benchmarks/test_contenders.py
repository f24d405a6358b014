"""All contenders compute the same loss and the same gradients, and the floor is made of the products that these need."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from tests.benchmarks import floor, ours
from tests.benchmarks.problem import SIZES, TASKS, draw_problem
from tests.benchmarks.qkv import join_qkv, split_qkv
from tests.benchmarks.steps import Case, disagreement, disagreements

ITEMS = 10


def gradients_of_ours(task: str) -> tuple[float, dict[str, np.ndarray]]:
    return ours.Step("tiny", task, ITEMS, "float64").gradients()


@pytest.mark.parametrize("form", ["textbook", "algebra", "checkpointed", "checkpointed, lean"])
@pytest.mark.parametrize("task", TASKS)
def test_torch_agrees(task, form):
    pytest.importorskip("torch", reason='needs torch: pip install "attnretrieval[oracle]"')
    from tests.benchmarks.torch_step import Step

    assert disagreement(gradients_of_ours(task), Step("tiny", task, ITEMS, form, "float64").gradients()) == ""


@pytest.mark.skipif(find_spec("jax") is None, reason="needs jax")
def test_jax_agrees():
    # in a process of its own: float64 in JAX is a setting of the whole process
    assert disagreements(Case("gate", "tiny", ITEMS), ["JAX"]) == {}


def test_a_wrong_gradient_is_found():
    loss, right = gradients_of_ours("gate")
    wrong = {name: g.copy() for name, g in right.items()}
    wrong["fuse_t.W"][3, 4] *= 1 + 1e-3
    assert "fuse_t.W" in disagreement((loss, right), (loss, wrong))
    assert "loss" in disagreement((loss, right), (loss * (1 + 1e-6), right))
    assert "fuse_t.W" in disagreement((loss, right), (loss, {name: g for name, g in right.items() if name != "fuse_t.W"}))
    nan = {**right, "fuse_t.b": right["fuse_t.b"] * np.nan}
    assert "fuse_t.b" in disagreement((loss, right), (loss, nan))


def test_rounding_is_no_disagreement():
    loss, right = gradients_of_ours("gate")
    rng = np.random.default_rng(0)
    top = max(np.abs(g).max() for g in right.values())
    assert np.abs(right["text.attention.b_K"]).max() < 1e-12 * top          # 0, but for rounding
    rounded = {name: g + 1e-15 * top * rng.standard_normal(g.shape) for name, g in right.items()}
    assert disagreement((loss, right), (loss, rounded)) == ""


def test_a_step_changes_the_weights_and_lowers_the_loss():
    step = ours.Step("tiny", "gate", ITEMS)
    before, _ = step.gradients()
    for _ in range(20):
        step.step()
    assert step.gradients()[0] < before


def test_qkv_there_and_back():
    parameters = draw_problem("tiny", "gate", ITEMS).parameters
    values = {name: parameters[name] for name in parameters}
    back = split_qkv(join_qkv(values))
    assert back.keys() == values.keys()
    assert all(np.array_equal(back[name], values[name]) for name in values)


@pytest.mark.parametrize("second_T", [False, True])
def test_the_products_of_a_backward_have_the_gradients_shapes(second_T):
    forward, d_first, d_second = floor.with_backward("", 3, 4, 5, batch=2, second_T=second_T)
    rng = np.random.default_rng(0)
    X, W, Y = floor.operands(forward, rng)
    assert (X.shape, W.shape, Y.shape) == ((2, 3, 4), (2, 4, 5), (2, 3, 5))
    assert floor.operands(d_first, rng)[2].shape == X.shape
    assert floor.operands(d_second, rng)[2].shape == ((2, 5, 4) if second_T else W.shape)
    assert forward.flop == d_first.flop == d_second.flop


@pytest.mark.parametrize("task", TASKS)
def test_the_floor_holds_every_weight(task):
    """Every weight matrix of the model is the second factor of a product, and gets a gradient of its size."""
    size = SIZES["small"]
    products = floor.step_products(size, task, 32)
    d = size.d
    wanted = {(size.d_t, 3 * d), (size.d_v, 3 * d), (d, d)}
    assert wanted <= {(p.inner, p.columns) for p in products}
    assert wanted <= {(p.rows, p.columns) for p in products if p.first_T}
