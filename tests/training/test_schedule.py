"""The learning rate against its closed form, and at its corners."""

from __future__ import annotations

import math

import pytest

from attnretrieval.training.schedule import SCHEDULES, learning_rate


def test_cosine_with_warm_up():
    rates = [learning_rate(t, 100, 2.0, 10) for t in range(100)]
    assert rates[0] == 0.2 and rates[9] == 2.0 and rates[10] == 2.0
    assert rates[:10] == pytest.approx([0.2 * (t + 1) for t in range(10)])
    assert rates[10:] == pytest.approx([2 * math.cos(math.pi / 2 * t / 90) ** 2 for t in range(90)])
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False)) and 0 < rates[-1] < 0.01


def test_constant_keeps_the_peak():
    assert [learning_rate(t, 20, 2.0, 4, "constant") for t in range(20)] == [0.5, 1.0, 1.5] + 17 * [2.0]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_warm_up_it_begins_at_the_peak(schedule):
    assert learning_rate(0, 10, 3.0, 0, schedule) == 3.0
    assert learning_rate(0, 1, 3.0, 100, schedule) == 3.0      # a stage of one step has no room to warm up


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_short_stage_warms_up_for_half_of_it(schedule):
    rates = [learning_rate(t, 4, 1.0, 100, schedule) for t in range(4)]
    assert rates[:3] == [0.5, 1.0, 1.0] and 0 < rates[3] <= 1.0
