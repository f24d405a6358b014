"""Contenders against each other: a process each, started once, then asked in turn for some steps, round after round.

A slow minute of the machine meets all of them, and the median over the rounds forgets it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
# Tuning of OpenBLAS that a reader's machine does not have.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
# glibc keeps what is freed, however large, instead of handing it back and faulting every page in again.
KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}


@dataclass(frozen=True)
class Spec:
    """What a worker builds: `make` is "module:name", called with `arguments`."""

    make: str
    arguments: dict[str, Any] = field(default_factory=dict)
    keep: bool = False              # large allocations kept
    blas_threads: int | None = None     # None: as many as the contest


class Timing(NamedTuple):
    """Median seconds a step."""

    cpu: float
    wall: float
    rounds: int


class WorkerError(RuntimeError):
    """A worker ended before it answered."""


class Missing(RuntimeError):
    """A contender needs a package that is not installed."""


def environment(threads: int, keep: bool) -> dict[str, str]:
    """That of this process, with this number of threads in every library, and default malloc unless `keep`."""
    names = {*UNSET, *KEEP, "XLA_FLAGS", "GLIBC_TUNABLES"}
    env = {name: value for name, value in os.environ.items() if name not in names}
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NPROC"):
        env[name] = str(threads)            # NPROC is XLA's
    if threads == 1:
        env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    env["JAX_PLATFORMS"] = "cpu"
    return env | (KEEP if keep else {})


class Worker:
    """A contender in its own process; use it in a `with`."""

    def __init__(self, spec: Spec, threads: int = 1):
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, text=True, encoding="utf-8", cwd=ROOT, env=environment(spec.blas_threads or threads, spec.keep))
        self.spec = spec

    def __enter__(self) -> Worker:
        try:
            answer = self.ask(make=self.spec.make, arguments=self.spec.arguments)
            if "missing" in answer:
                raise Missing(answer["missing"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.errors.close()

    def ask(self, **message: Any) -> dict[str, Any]:
        try:
            print(json.dumps(message), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait()
            self.errors.seek(0)
            last = (self.errors.read().strip().splitlines() or ["it said nothing"])[-1]
            raise WorkerError(f"{self.spec.make} {self.spec.arguments} ended with code {self.process.returncode}: {last}")
        return json.loads(line)


def ask_once(spec: Spec, threads: int = 1, **message: Any) -> dict[str, Any]:
    """One question to a worker that ends with its answer."""
    with Worker(spec, threads) as worker:
        return worker.ask(**message)


@contextmanager
def workers(specs: Mapping[str, Spec], threads: int = 1) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """Those that could be started, and for each of the others why not."""
    started, failed = {}, {}
    with ExitStack() as stack:
        for name, spec in specs.items():
            try:
                started[name] = stack.enter_context(Worker(spec, threads))
            except (Missing, WorkerError) as error:
                failed[name] = str(error)
        yield started, failed


def contest(started: Mapping[str, Worker], rounds: int = 7, seconds: float = 0.3) -> dict[str, Timing]:
    """The medians of `rounds` turns. A turn takes as many steps as fill `seconds`, and at least one."""
    steps = {}
    for name, worker in started.items():
        worker.ask(steps=1)                             # the first step compiles, or fills its memory
        once = worker.ask(steps=1)["wall"]
        once = min(once, worker.ask(steps=3)["wall"]) if once < seconds else once
        steps[name] = max(1, round(seconds / once))
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in started}
    for _ in range(rounds):
        for name, worker in started.items():
            turns[name].append(worker.ask(steps=steps[name]))
    return {name: Timing(*(statistics.median(turn[what] for turn in own) for what in ("cpu", "wall")), rounds)
            for name, own in turns.items()}
