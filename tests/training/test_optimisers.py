"""Optimisers against the formulas written out number by number."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnretrieval.training.optimisers import OPTIMISERS, clip_gradient


def by_hand(name: str, theta: float, gradients: list[float], lr: float, rate: float, shrink: float) -> float:
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        if name == "sgd":
            m = 0.9 * m + g
            change = m
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            change = (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        theta -= lr * rate * (change + shrink * theta)
    return theta


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_equal_the_formulas(name, dtype):
    rng = np.random.default_rng(0)
    theta = rng.normal(size=5).astype(dtype)
    rate, decay = np.array([1, 1, 0.3, 0.3, 0], dtype), np.array([1, 0, 1, 0, 1], dtype)
    weight_decay = 0.0 if name == "adam" else 0.1
    gradients = rng.normal(size=(7, 5)).astype(dtype)
    expected = [by_hand(name, float(theta[i]), gradients[:, i].tolist(), 0.01, float(rate[i]), weight_decay * float(decay[i]))
                for i in range(5)]
    optimiser = OPTIMISERS[name](theta, rate, decay, weight_decay)
    kept = gradients.copy()
    for g in gradients:
        optimiser.step(theta, g, 0.01)
    np.testing.assert_allclose(theta, expected, rtol=1e-5 if dtype == "float32" else 1e-13)
    np.testing.assert_array_equal(gradients, kept)
    assert theta.dtype == dtype


def test_adam_refuses_weight_decay():
    with pytest.raises(ValueError, match="adamw"):
        OPTIMISERS["adam"](np.zeros(2), weight_decay=0.1)


def test_clipping():
    g = np.array([3.0, 4.0])
    assert clip_gradient(g, 0) == 5.0 and g[0] == 3.0
    assert clip_gradient(g, 10.0) == 5.0 and g[0] == 3.0
    assert clip_gradient(g, 1.0) == 5.0
    np.testing.assert_allclose(g, [0.6, 0.8])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_copy_of_the_state_goes_on_bit_for_bit(name):
    gradients = np.random.default_rng(0).normal(size=(9, 6)).astype("float32")
    theta = np.ones(6, "float32")
    whole = OPTIMISERS[name](theta)
    for t, g in enumerate(gradients):
        if t == 4:
            resumed_theta, resumed = theta.copy(), OPTIMISERS[name](theta)
            resumed.steps = whole.steps
            for slot, vector in whole.vectors.items():
                resumed.vectors[slot][...] = vector
        whole.step(theta, g, 0.01)
        if t >= 4:
            resumed.step(resumed_theta, g, 0.01)
    np.testing.assert_array_equal(resumed_theta, theta)
    assert all(np.array_equal(resumed.vectors[slot], vector) for slot, vector in whole.vectors.items())


@pytest.mark.parametrize("name", OPTIMISERS)
def test_theta_changes_in_its_own_memory(name):
    theta = np.ones(4, "float32")
    view = theta[1:3]
    OPTIMISERS[name](theta).step(theta, np.ones(4, "float32"), 0.1)
    np.testing.assert_allclose(view, 0.9, rtol=1e-6)       # the first step of each, along a gradient of ones


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_decay_may_be_a_mask(name):
    theta = np.full(2, 2.0)
    OPTIMISERS[name](theta, decay=np.array([True, False]), weight_decay=0.1).step(theta, np.zeros(2), 0.5)
    np.testing.assert_allclose(theta, [2 - 0.5 * 0.1 * 2, 2], rtol=1e-15)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_on_the_stand_in_for_cupy(name, cupy_standin):
    rng = np.random.default_rng(0)
    start, g = rng.normal(size=(2, 5))
    here, there = start.copy(), cupy_standin.asarray(start)
    clip_gradient(g, 1.0)
    on_there = cupy_standin.asarray(g)
    assert clip_gradient(on_there, 1.0) == pytest.approx(1.0)
    ours, theirs = OPTIMISERS[name](here), OPTIMISERS[name](there)
    for _ in range(3):
        ours.step(here, g, 0.1)
        theirs.step(there, on_there, 0.1)
    np.testing.assert_allclose(there.get(), here, rtol=1e-12)
