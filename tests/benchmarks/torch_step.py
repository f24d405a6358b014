"""The contenders in PyTorch: which form of the objective, compiled or not, and the optimiser."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from tests.benchmarks import torch_algebra, torch_textbook
from tests.benchmarks.problem import LEARNING_RATE, draw_problem
from tests.benchmarks.qkv import join_qkv, split_qkv

FORMS = {
    "textbook": torch_textbook.loss,
    "apart": torch_algebra.loss,                                               # Q, K and V by three layers, as most code has it
    "algebra": torch_algebra.loss,
    "checkpointed": partial(torch_algebra.loss, block=(32, 16)),               # the fastest of those tried ...
    "checkpointed, lean": partial(torch_algebra.loss, block=(8, 8)),           # ... and the one that needs the least memory
    "compiled": partial(torch_algebra.loss, packed=False),                     # shapes must not depend on the mask
}


class Batch(NamedTuple):
    T: torch.Tensor
    mask: torch.Tensor
    V: torch.Tensor


class Step:
    def __init__(self, size: str, task: str, N: int, form: str, dtype: str = "float32", threads: int = 1):
        torch.set_num_threads(threads)
        problem = draw_problem(size, task, N, dtype)
        values = {name: problem.parameters[name] for name in problem.parameters}
        self.joined = form not in ("textbook", "apart")
        if self.joined:
            values = join_qkv(values)
        self.p = {name: torch.from_numpy(np.array(value)).requires_grad_() for name, value in values.items()}
        self.table, self.ids = torch.from_numpy(problem.table), torch.from_numpy(problem.batch.ids)
        self.mask, self.V = torch.from_numpy(problem.batch.word_mask), torch.from_numpy(problem.batch.regions)
        loss = partial(FORMS[form], size=problem.size, paired=problem.paired, gated=task == "gate")
        self.loss = torch.compile(loss) if form == "compiled" else loss
        fused = {"fused": True} if self.joined else {}
        self.optimiser = torch.optim.Adam(self.p.values(), lr=LEARNING_RATE, **fused)

    def step(self) -> None:
        self._backward()
        self.optimiser.step()

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss = self._backward()
        grads = {name: (torch.zeros_like(x) if x.grad is None else x.grad).numpy() for name, x in self.p.items()}
        return float(loss.detach()), split_qkv(grads) if self.joined else grads

    def _backward(self) -> torch.Tensor:
        self.optimiser.zero_grad()
        loss = self.loss(self.p, Batch(self.table[self.ids], self.mask, self.V))
        loss.backward()
        return loss
