"""Wrong equations on purpose: does the checker notice every one of them?

A mutant is a small patch on the source of a true equation. The patches stand in one file an equation, `attention.diff` for
attention.py, in the order of the source:

    == backward, scale: the 1/√d_k of (1) is missing
    -    d_S *= 1 / math.sqrt(Q.shape[-1])

    == forward, scale: divides by d_k, not by √d_k, in both passes
    -    S *= 1 / math.sqrt(Q.shape[-1])                                    # (1)
    +    S *= 1 / Q.shape[-1]
    @@
    -    d_S *= 1 / math.sqrt(Q.shape[-1])
    +    d_S *= 1 / Q.shape[-1]

The header says who must reject it, what sort of fault it is (FAULTS) and, for the reader, what is wrong. Below it, `-` is a
line of the source, `+` what takes its place, a space a line that stays; `@@` divides patches in different places. Lines that go
or stay must occur in the source exactly once.

    backward    the gradient check on the equation's cases (cases.py)
    forward     the comparison with the formula (values.py): both passes are wrong in the same way, or the fault shows only in
                values that a gradient check does not look at

    results = score()
    print(report(results))          # "459 of 459 mutants rejected, ... named", and those that were not

A mutant that raises is not counted as rejected: it would be noticed without any check.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import islice
from types import FunctionType, ModuleType
from typing import NamedTuple

import numpy as np

from attnretrieval.course.cases import CASES, Case
from attnretrieval.course.mutants.naming import names, verdict
from attnretrieval.course.values import check_values, size

KINDS = ("backward", "forward")
CASES_A_MUTANT = 3              # failing cases whose diagnoses are counted

FAULTS = {
    "scale": "a constant factor is missing or wrong",
    "sign": "the sign is wrong",
    "factor": "a factor that differs from element to element is missing or wrong",
    "row term": "the part is wrong that couples the elements of a row (softmax, normalisation)",
    "term": "one of several contributions is missing or counted twice",
    "zero": "a branch is treated as a constant: its gradient is 0",
    "sum": "a sum over a batch or over copies is missing, is a mean, or takes only a part",
    "axis": "the wrong axis",
    "transpose": "a transpose is missing, or a reshape stands where a transpose belongs",
    "place": "values go to, or come from, the wrong place",
    "mask": "a mask or a condition is forgotten or wrong",
    "upstream": "the upstream gradient is forgotten",
    "range": "right for ordinary inputs, wrong for large, zero or masked ones",
    "rule": "the values are right but a rule is broken: shape, dtype, aliasing, writing into inputs, a stale or changed cache",
}


class Patch(NamedTuple):
    old: str                    # whole lines of the source
    new: str


class Mutant(NamedTuple):
    file: str                   # of the equation, without .py
    kind: str                   # one of KINDS
    fault: str                  # one of FAULTS
    text: str                   # what is wrong
    patches: tuple[Patch, ...]

    def __str__(self) -> str:
        return f"{self.file}, {self.kind}, {self.fault}: {self.text}"


class Result(NamedTuple):
    mutant: Mutant
    by: str                     # "gradient", "values", "" if nothing rejects it, or the name of an exception
    case: str                   # the first case that failed
    text: str                   # what the check said
    diagnosis: str = ""         # the fault that it named most often, see naming.py

    @property
    def rejected(self) -> bool:
        return self.by in ("gradient", "values")

    @property
    def named(self) -> bool:
        return self.rejected and names(self.mutant.fault, self.diagnosis)


class Failure(NamedTuple):
    case: str
    text: str                   # what the check said
    codes: tuple[str, ...]      # the faults that it named
    raised: Exception | None    # what a pass raised


# --- reading the patches ----------------------------------------------------------------------------------------------


def all_mutants() -> list[Mutant]:
    """The corpus, equation by equation."""
    diffs = sorted((entry for entry in files(__name__).iterdir() if entry.name.endswith(".diff")), key=lambda entry: entry.name)
    return [mutant for entry in diffs for mutant in parse(entry.name.removesuffix(".diff"), entry.read_text("utf-8"))]


def parse(file: str, text: str) -> Iterator[Mutant]:
    """The mutants in the text of a .diff file; what stands before the first `==` is a comment."""
    for block in ("\n" + text).split("\n== ")[1:]:
        header, *lines = block.rstrip().split("\n")
        kinds, _, what = header.partition(": ")
        kind, _, fault = kinds.partition(", ")
        if kind not in KINDS or fault not in FAULTS or not what:
            raise ValueError(f"{file}.diff: {header!r} is not 'kind, fault: what is wrong'")
        patches = tuple(_patch(hunk.split("\n")) for hunk in "\n".join(lines).split("\n@@\n"))
        yield Mutant(file, kind, fault, what, patches)


def _patch(lines: list[str]) -> Patch:
    for line in lines:
        if line[:1] not in ("-", "+", " "):
            raise ValueError(f"{line!r} begins neither with -, + nor a space")
    return Patch("".join(line[1:] + "\n" for line in lines if line[0] != "+"),
                 "".join(line[1:] + "\n" for line in lines if line[0] != "-"))


def source_of(file: str) -> str:
    """The text of an equation's file."""
    return files("attnretrieval.equations").joinpath(f"{file}.py").read_text("utf-8")


def patched(mutant: Mutant) -> str:
    """The source of the equation with the mutant's patches."""
    source = "\n" + source_of(mutant.file)
    for old, new in mutant.patches:
        found = source.count("\n" + old)
        if found != 1:
            raise ValueError(f"{mutant}: these lines occur {found} times in {mutant.file}.py, not once:\n{old}")
        source = source.replace("\n" + old, "\n" + new)
    return source[1:]


# --- running them -----------------------------------------------------------------------------------------------------


def load(mutant: Mutant) -> dict[str, Case]:
    """The cases of the mutant's equations, with the mutated functions in the place of the true ones."""
    return cases_of(mutant.file, patched(mutant))


def cases_of(file: str, source: str) -> dict[str, Case]:
    """The cases of the equations in `file`, with functions made from `source`.

    The source becomes a module of its own, whose imports are the true ones: a wrong softmax is wrong in softmax and not in
    attention.
    """
    module = ModuleType(f"attnretrieval.equations.{file}")
    exec(compile(source, f"<a mutant of {file}.py>", "exec"), module.__dict__)

    def mutated(function: FunctionType) -> FunctionType:
        if function.__module__ == module.__name__:
            return getattr(module, function.__name__)
        # a wrapper in cases.py, such as _softmax: the same code, which finds the mutated functions under the names it uses
        names = {**function.__globals__, **{k: v for k, v in module.__dict__.items() if not k.startswith("__")}}
        return FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)

    return {name: c._replace(forward=mutated(c.forward), backward=mutated(c.backward))
            for name, c in CASES.items() if c.file == file}


def score(mutants: Sequence[Mutant] | None = None, seed: int = 0) -> list[Result]:
    """Runs the check that each mutant must fail, small cases first, up to the first case that fails."""
    return [judge(mutant, seed) for mutant in (all_mutants() if mutants is None else mutants)]


def judge(mutant: Mutant, seed: int = 0) -> Result:
    """What the check that this mutant must fail says about it; the diagnosis is that of its three largest failing cases."""
    failures = wrong_gradients if mutant.kind == "backward" else wrong_values
    with np.errstate(all="ignore"):
        try:
            cases, raised = load(mutant), None
            every = failures(cases, np.random.default_rng(seed), largest_first=True)
            found = list(islice((failure for failure in every if failure.raised is None), CASES_A_MUTANT))
            if not found:
                raised = next((failure.raised for failure in failures(cases, np.random.default_rng(seed))), None)
        except Exception as error:  # the module itself may raise
            found, raised = [], error
    if not found:       # a case that raises rejects nothing
        return Result(mutant, type(raised).__name__ if raised else "", "", str(raised or ""))
    by = {"backward": "gradient", "forward": "values"}[mutant.kind]
    return Result(mutant, by, found[0].case, found[0].text, verdict(code for failure in found for code in failure.codes))


def wrong_gradients(cases: dict[str, Case], rng: np.random.Generator, largest_first: bool = False) -> Iterator[Failure]:
    """The cases on which the gradient check fails, small ones first."""
    variants = [(name, label, c, inputs, options) for name, c in cases.items()
                for label, (inputs, options) in c.make(rng, np.float64).items()]
    for name, label, c, inputs, options in sorted(variants, key=lambda variant: size(variant[3]), reverse=largest_first):
        report = c.check(label, inputs, options, rng, name=name)
        if not report.passed:
            codes = (*report.diagnosis.values(), *report.codes)
            yield Failure(f"{name}, {label}", str(report), codes, report.raised)


def wrong_values(cases: dict[str, Case], rng: np.random.Generator, largest_first: bool = False) -> Iterator[Failure]:
    """The cases on which a forward differs from its formula, small ones first."""
    for name, c in cases.items():
        values = [value for value in check_values(name, c.forward, rng) if not value.passed]
        rare = all(value.extreme for value in values)
        for value in values[::-1] if largest_first else values:
            code = "only for extreme inputs" if rare else value.diagnosis
            yield Failure(value.name, str(value), (code,), value.raised)


def first_wrong_gradient(cases: dict[str, Case], rng: np.random.Generator) -> tuple[str, str]:
    """The first case on which the gradient check fails, and its report; ("", "") if none does. What a pass raises is raised."""
    return _first(wrong_gradients(cases, rng))


def first_wrong_value(cases: dict[str, Case], rng: np.random.Generator) -> tuple[str, str]:
    """The first case on which a forward differs from its formula, and how; ("", "") if none does. What it raises is raised."""
    return _first(wrong_values(cases, rng))


def _first(failures: Iterator[Failure]) -> tuple[str, str]:
    failure = next(failures, None)
    if failure is None:
        return "", ""
    if failure.raised is not None:
        raise failure.raised
    return failure.case, failure.text


def report(results: Sequence[Result]) -> str:
    """The score, how many faults the diagnosis names, and one line for every mutant that was not rejected."""
    survivors = [f"  {result.mutant}" + (f" (raises {result.by}: {result.text})" if result.by else "")
                 for result in results if not result.rejected]
    rejected, named = len(results) - len(survivors), sum(result.named for result in results)
    return "\n".join([f"{rejected} of {len(results)} mutants rejected; the diagnosis names the fault of {named}", *survivors])
