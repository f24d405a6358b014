"""The contender `ours`: a training step as training/loop.py takes it."""

from __future__ import annotations

import numpy as np

from attnretrieval.fast.threads import set_threads
from attnretrieval.model import Model
from attnretrieval.training.objective import objective_backward, objective_forward
from attnretrieval.training.optimisers import Adam
from tests.benchmarks.problem import LEARNING_RATE, draw_problem


class Step:
    def __init__(self, size: str | dict[str, int], task: str, N: int, dtype: str = "float32", threads: int = 1):
        set_threads(threads)
        problem = draw_problem(size, task, N, dtype)
        self.model = Model(problem.config, problem.parameters, problem.table)
        self.batch, self.objective = problem.batch, problem.objective
        self.optimiser = Adam(self.model.parameters.flat)

    def step(self) -> None:
        _, gradient = self._backward()
        self.optimiser.step(self.model.parameters.flat, gradient.flat, LEARNING_RATE)

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss, gradient = self._backward()
        return float(loss), {name: gradient[name] for name in gradient}

    def _backward(self):
        losses, cache = objective_forward(self.model, self.batch, self.objective)
        gradient = self.model.parameters.zeros_like()
        objective_backward(self.model, cache, self.objective, gradient)
        return losses.total, gradient
