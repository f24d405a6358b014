"""The contender `ours`: a training step as training/loop.py takes it."""

from __future__ import annotations

import numpy as np

from attnretrieval.fast.threads import set_threads
from attnretrieval.training.objective import objective_backward, objective_forward
from attnretrieval.training.optimisers import Adam
from tests.benchmarks.problem import LEARNING_RATE, draw_problem


class Step:
    def __init__(self, size: str | dict[str, int], task: str, N: int, dtype: str = "float32", threads: int = 1):
        set_threads(threads)
        self.problem = draw_problem(size, task, N, dtype)
        self.optimiser = Adam(self.problem.model.parameters.flat)

    def step(self) -> None:
        _, gradient = self._backward()
        self.optimiser.step(self.problem.model.parameters.flat, gradient.flat, LEARNING_RATE)

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss, gradient = self._backward()
        return float(loss), {name: gradient[name] for name in gradient}

    def _backward(self):
        model, objective = self.problem.model, self.problem.objective
        losses, cache = objective_forward(model, self.problem.batch, objective)
        gradient = model.parameters.zeros_like()
        objective_backward(model, cache, objective, gradient)
        return losses.total, gradient
