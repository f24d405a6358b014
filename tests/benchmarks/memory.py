"""Peak memory of a paired gated step: how far the resident set ever rose above what it was after the imports.

Weights, gradient, both moments of Adam and the batch are part of it. Linux counts the high-water mark (VmHWM), a fresh process
for every number.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from tests.benchmarks.contest import Missing, Spec, WorkerError, ask_once
from tests.benchmarks.goals import MEMORY_MIB
from tests.benchmarks.table import Row

STEPS = 2                       # in the second the first one's leftovers are there as well


class Peak:
    """A contender, built and run under observation."""

    def __init__(self, make: str, arguments: dict[str, Any]):
        module, name = make.split(":")
        build = getattr(import_module(module), name)
        self.before = resident("VmRSS")
        self.contender = build(**arguments)

    def mebibytes(self) -> float:
        for _ in range(STEPS):
            self.contender.step()
        return resident("VmHWM") - self.before


def resident(what: str) -> float:
    """VmRSS (now) or VmHWM (the most ever) of this process, in MiB."""
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(what))


def peak(make: str, **arguments: Any) -> float:
    """MiB above imports."""
    return ask_once(Spec("tests.benchmarks.memory:Peak", {"make": make, "arguments": arguments}), call="mebibytes")["result"]


def measure(N: int) -> Iterator[Row]:
    step = {"size": "large", "task": "gate", "N": N}
    ours = peak("tests.benchmarks.ours:Step", **step)
    yield Row(f"memory-gate-large-{N} / limit", ours, MEMORY_MIB[N], 1.0, "MiB",
              "above imports; with weights, Adam and batch")
    reference, note = None, "computes blocks of 8 × 8 pairs again in the backward"
    try:
        reference = peak("tests.benchmarks.torch_step:Step", form="checkpointed, lean", **step)
    except (Missing, WorkerError) as error:
        note = str(error)
    yield Row(f"memory-gate-large-{N} / PyTorch checkpointed", ours, reference, None, "MiB", note)
