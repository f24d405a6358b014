"""Optimisers against the formulas written out number by number, and the schedule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnretrieval.training.optimisers import OPTIMISERS, clip_gradient
from attnretrieval.training.schedule import learning_rate


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
    theta, rate, decay = rng.normal(size=5).astype(dtype), np.array([1, 1, 0.3, 0.3, 0], dtype), np.array([1, 0, 1, 0, 1], dtype)
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


def test_schedule():
    rates = [learning_rate(t, 100, 2.0, 10) for t in range(100)]
    assert rates[0] == 0.2 and rates[9] == 2.0 and rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False)) and 0 < rates[-1] < 0.01
    assert learning_rate(50, 100, 2.0, 10, "constant") == 2.0
    assert learning_rate(0, 4, 1.0, 100) == 0.5
