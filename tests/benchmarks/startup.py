"""How long one waits: for an import, in a fresh process each time, and for the demo."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.contest import ROOT, environment
from tests.benchmarks.goals import IMPORT_SECONDS
from tests.benchmarks.table import Row

MODULES = ("attnretrieval", "attnretrieval.model", "attnretrieval.retriever", "attnretrieval.training.loop")
SCRIPT = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"


def import_seconds(module: str) -> float:
    """CPU seconds of an import in a fresh process."""
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(module)], cwd=ROOT, env=environment(1, keep=False), check=True,
                          capture_output=True, text=True)
    return float(done.stdout)


def measure_imports(rounds: int) -> Iterator[Row]:
    times: dict[str, list[float]] = {module: [] for module in ("numpy", *MODULES)}
    for _ in range(rounds):
        for module, own in times.items():
            own.append(import_seconds(module))
    median = {module: statistics.median(own) for module, own in times.items()}
    for module in MODULES:
        yield Row(f"import {module} / limit", median[module], IMPORT_SECONDS, 1.0, "s CPU", "a fresh process")
    most = max(MODULES, key=median.get)
    yield Row(f"import {most} / import numpy", median[most], median["numpy"], None, "s CPU", "a fresh process")


def measure_demo() -> Iterator[Row]:
    """Training included; its CPU time against its time by the clock."""
    with tempfile.TemporaryDirectory() as folder:
        before, started = children_seconds(), time.perf_counter()
        subprocess.run([sys.executable, "-m", "attnretrieval", "demo", "--out", str(Path(folder) / "demo")], check=True,
                       cwd=ROOT, env=environment(1, keep=False), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall, cpu = time.perf_counter() - started, children_seconds() - before
    yield Row("demo / by the clock", cpu, wall, None, "s CPU", "the whole of `attnretrieval demo`, one thread")


def children_seconds() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
