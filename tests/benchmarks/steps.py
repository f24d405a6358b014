"""The benchmark of a training step: forward, backward and Adam, against PyTorch, JAX and the matrix products alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.contest import Missing, Spec, Timing, WorkerError, ask_once, contest, workers
from tests.benchmarks.goals import ALONE_TWO_AGAINST_ONE, STEPS, TWO_THREADS
from tests.benchmarks.problem import TASKS
from tests.benchmarks.table import Row

BATCHES = {"large": (32, 64), "small": (32,), "tiny": (16,)}
FORMS = ("textbook", "apart", "algebra", "checkpointed", "compiled", "JAX")     # all but the last in PyTorch
SLOW_TO_START = ("compiled", "JAX")
EAGER = ("textbook", "apart", "algebra", "checkpointed")
CHECKED_ITEMS = 24              # sentences and images of the comparison in float64: more than one block of all_pairs.py
TOLERANCE = 1e-8                # of a parameter's largest gradient
SMALLEST = 1e-5                 # but of no less than this share of the largest of all: b_K has gradient 0 but for rounding


@dataclass(frozen=True)
class Case:
    task: str
    size: str
    N: int

    @property
    def name(self) -> str:
        return f"{self.task}-{self.size}-{self.N}"


def cases() -> list[Case]:
    return [Case(task, size, N) for size, batches in BATCHES.items() for N in batches for task in TASKS]


def forms(case: Case, eager: bool) -> list[str]:
    """The forms in PyTorch and JAX that take part."""
    return [form for form in FORMS
            if not (eager and form in SLOW_TO_START) and not (form == "checkpointed" and case.task == "alone")]


def spec(case: Case, contender: str, threads: int = 1, keep: bool = False, N: int | None = None, **arguments) -> Spec:
    arguments = {"size": case.size, "task": case.task, "N": N or case.N, **arguments}
    if contender == "floor":
        return Spec("tests.benchmarks.floor:Floor", arguments)
    arguments["threads"] = threads
    if contender == "ours":
        # its own threads take whole items; BLAS keeps to one
        return Spec("tests.benchmarks.ours:Step", arguments, blas_threads=1)
    if contender == "JAX":
        return Spec("tests.benchmarks.jax_step:Step", arguments, keep)
    return Spec("tests.benchmarks.torch_step:Step", {**arguments, "form": contender}, keep)


def disagreements(case: Case, contenders: list[str]) -> dict[str, str]:
    """For each contender whose loss or gradients differ from ours in float64, where and by how much."""
    found = {}
    N = min(case.N, CHECKED_ITEMS)
    with tempfile.TemporaryDirectory() as folder:
        def result(contender: str) -> tuple[float, dict[str, np.ndarray]]:
            file = str(Path(folder) / f"{contender}.npz")
            loss = ask_once(spec(case, contender, N=N, dtype="float64"), gradients=file)["loss"]
            with np.load(file) as gradients:
                return loss, dict(gradients)

        ours = result("ours")
        for contender in contenders:
            try:
                difference = disagreement(ours, result(contender))
            except (Missing, WorkerError) as error:
                difference = str(error)
            if difference:
                found[contender] = difference
    return found


def disagreement(ours: tuple[float, Mapping[str, np.ndarray]], theirs: tuple[float, Mapping[str, np.ndarray]]) -> str:
    """Empty where loss and gradients agree."""
    (loss, gradients), (their_loss, their_gradients) = ours, theirs
    if abs(loss - their_loss) > TOLERANCE * abs(loss):
        return f"not the same loss: {loss!r} and {their_loss!r}"
    if gradients.keys() != their_gradients.keys():
        return f"not the same parameters: {sorted(gradients.keys() ^ their_gradients.keys())}"
    top = max(np.abs(g).max() for g in gradients.values())
    for name, g in gradients.items():
        scale = max(np.abs(g).max(), SMALLEST * top)
        error = np.abs(g - their_gradients[name]).max() / scale
        if not error <= TOLERANCE:
            return f"not the same gradient of {name}: {error:.1e} of its largest value"
    return ""


def measure(case: Case, threads: int = 1, rounds: int = 7, seconds: float = 0.3, eager: bool = False) -> Iterator[Row]:
    """The rows of one case. Contenders that do not agree with ours are not timed."""
    entrants = forms(case, eager)
    wrong = disagreements(case, entrants)
    specs = {"ours": spec(case, "ours", threads), "floor": spec(case, "floor")}
    if threads > 1 and case == Case("alone", "large", 64):
        specs["ours, one thread"] = spec(case, "ours")
    for form in entrants:
        if form not in wrong:
            specs |= {form: spec(case, form, threads), f"{form}, kept": spec(case, form, threads, keep=True)}
    with workers(specs, threads) as (started, failed):
        timings = contest(started, rounds, seconds)
    yield from rows(case, timings, {**wrong, **failed}, threads)


def rows(case: Case, timings: Mapping[str, Timing], absent: Mapping[str, str], threads: int) -> Iterator[Row]:
    time = {name: 1000 * (timing.cpu if threads == 1 else timing.wall) for name, timing in timings.items()}
    unit = "ms CPU" if threads == 1 else "ms wall"
    goals = STEPS[case.task, case.size] if threads == 1 else TWO_THREADS

    def row(reference: str, contenders: list[str], goal: float | None = None) -> Row:
        best = min((name for name in contenders if name in time), key=time.get, default=None)
        note = best or "; ".join(f"{name}: {absent[name]}" for name in contenders if name in absent)
        return Row(f"{case.name} / {reference}", time["ours"], time.get(best), goal or goals.get(reference), unit, note)

    both = {form: [form, f"{form}, kept"] for form in FORMS}
    yield row("PyTorch strongest", [name for form in EAGER for name in both[form]])
    yield row("PyTorch default", list(EAGER))
    yield row("PyTorch, Q K V apart", both["apart"])
    yield row("PyTorch textbook", ["textbook"])
    if threads == 1:
        yield row("floor", ["floor"])
    for reference, form in (("torch.compile", "compiled"), ("JAX jit", "JAX")):
        if any(name in time or name in absent for name in both[form]):
            yield row(reference, both[form])
    if "ours, one thread" in time:
        yield row("ours with one thread", ["ours, one thread"], ALONE_TWO_AGAINST_ONE)
