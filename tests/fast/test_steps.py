"""A model on fast forms is the same model: scores, losses and the gradient of every parameter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attnretrieval import parameters as parameters_module
from attnretrieval.config import image_chain, text_chain
from attnretrieval.fast import threads as fast_threads
from attnretrieval.fast.steps import FORMS, fast_chain
from attnretrieval.fast.threads import set_threads
from attnretrieval.model import Model
from attnretrieval.parameters import Parameters
from attnretrieval.steps import Residual
from attnretrieval.training.objective import Objective, objective_backward, objective_forward
from tests.fast.forms import TOLERANCE
from tests.test_model import CONFIGS, build, draw_batch


def step(model: Model, paired_weight: float, rng: np.random.Generator | None):
    batch, objective = draw_batch(np.random.default_rng(1)), Objective(paired_weight=paired_weight)
    batch = batch._replace(regions=batch.regions.astype(model.parameters.flat.dtype))
    losses, cache = objective_forward(model, batch, objective, rng)
    gradient = model.parameters.zeros_like()
    objective_backward(model, cache, objective, gradient)
    return float(losses.total), gradient.flat


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("paired_weight", [0.0, 0.7])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_gradient_of_a_step_is_the_plain_one(name, paired_weight, dtype):
    made = build(CONFIGS[name])
    config = replace(made.config, text=replace(made.config.text, drop_hidden=0.2))
    parameters = Parameters(made.parameters.shapes, made.parameters.flat.astype(dtype))
    table = None if made.table is None else made.table.astype(dtype)
    (loss, gradient), (plain_loss, plain_gradient) = (
        step(Model(config, parameters, table, fast), paired_weight, np.random.default_rng(2)) for fast in (True, False))
    assert loss == pytest.approx(plain_loss, rel=TOLERANCE[dtype])
    scale = max(1.0, np.abs(plain_gradient).max())
    np.testing.assert_allclose(gradient, plain_gradient, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("large", [parameters_module.LARGE, 2])                # 2: queries, keys and values are one matrix
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", ["add, mean", "every option", "layer norm without residual"])
def test_the_number_of_threads_changes_nothing_beyond_rounding(name, threads, large, monkeypatch):
    monkeypatch.setattr(fast_threads, "LEAST", 1)                      # or nothing so small would be shared
    made = build(CONFIGS[name])
    config = replace(made.config, text=replace(made.config.text, drop_hidden=0.2))
    one, several = [], []
    for got, count in ((one, 1), (several, threads)):
        set_threads(count)
        if count == threads:
            monkeypatch.setattr(parameters_module, "LARGE", large)
        try:
            got += step(Model(config, made.parameters, made.table), 0.7, np.random.default_rng(2))
        finally:
            set_threads(1)
    np.testing.assert_allclose(several[0], one[0], rtol=1e-12)
    np.testing.assert_allclose(several[1], one[1], rtol=0, atol=1e-12 * max(1.0, np.abs(one[1]).max()))


def test_every_step_that_has_a_fast_form_gets_it():
    used = set()
    for config in (build(options).config for options in CONFIGS.values()):
        for chain in (text_chain(config), image_chain(config)):
            for plain, fast in zip(chain, fast_chain(chain), strict=True):
                if isinstance(plain, Residual):
                    assert fast.dropout.p == plain.dropout.p
                    plain, fast = plain.step, fast.step
                assert type(fast) is FORMS.get(type(plain), type(plain))
                assert (fast.name, fast.wants) == (plain.name, plain.wants)
                used.add(type(plain))
    assert set(FORMS) <= used


def test_the_switch_stays_with_a_model_that_moves():
    model = build(CONFIGS["add, mean"])
    assert model.fast and model.to("cpu").fast
    slow = Model(model.config, model.parameters, model.table, fast=False)
    assert not slow.fast and not slow.to("cpu").fast


def test_complex_numbers_and_other_devices_use_the_plain_equations(cupy_standin):
    model = build(CONFIGS["add, mean"])
    shapes, flat = model.parameters.shapes, model.parameters.flat
    assert not Model(model.config, Parameters(shapes, flat.astype(complex)), model.table).fast
    table = None if model.table is None else cupy_standin.asarray(model.table)
    assert not Model(model.config, Parameters(shapes, cupy_standin.asarray(flat)), table).fast
