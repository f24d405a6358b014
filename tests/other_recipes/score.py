"""Every recipe, and ours, over every wrong equation and over right ones.

    right       the true equations on all cases, for several draws, and the implementations in other styles of
                tests/test_right_styles.py; a rejection is a false alarm
    wrong       the mutants of attnretrieval.course.mutants. One is rejected when the recipe rejects it on a case on which,
                with the same draws, it accepts the true equation; drowned when it rejects the true equation as well
                wherever it rejects the mutant (an alarm that always rings says nothing); missed when accepted on every case

Cases that lie on a tie on purpose count only for a recipe that accepts the true equation there: there is no derivative, and no
other recipe claims to handle them. A recipe that raises has rejected: its user would look for the mistake. Seconds are
processor time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from attnretrieval.course.cases import CASES, Case
from attnretrieval.course.mutants import Mutant, all_mutants, first_wrong_value, load
from attnretrieval.gradcheck import check_gradient
from attnretrieval.gradcheck.run import is_float
from tests.other_recipes import RECIPES
from tests.other_recipes.call import Call
from tests.test_right_styles import STYLES

OURS = "`attnretrieval.gradcheck`"
WITH_VALUES = "… with the reference values"
DRAWS = 5                   # of the right equations' inputs
SHAPES = 10                 # random shapes of each implementation in another style


Key = tuple[str, str, str]  # the file, the kind and the fault of a mutant
Label = tuple[str, str]     # the equation and the name of a case


@dataclass
class Score:
    """What one recipe made of everything."""

    recipe: str
    mutants: Counter[str] = field(default_factory=Counter)          # kind → how many there are
    missed: Counter[Key] = field(default_factory=Counter)
    drowned: Counter[Key] = field(default_factory=Counter)
    cases: int = 0                                                  # right equations on a case …
    alarms: Counter[str] = field(default_factory=Counter)           # equation → … that were rejected
    styles: int = 0                                                 # right implementations of another style …
    style_alarms: Counter[str] = field(default_factory=Counter)     # equation → … that were rejected
    seconds: float = 0.0

    def rejected(self, kind: str) -> int:
        return self.mutants[kind] - sum(n for (_, of, _), n in (self.missed + self.drowned).items() if of == kind)

    def faults(self, kind: str) -> dict[str, int]:
        """Fault → how many were missed, the most frequent first."""
        counts: Counter[str] = Counter()
        for (_, of, fault), n in self.missed.items():
            counts[fault] += n if of == kind else 0
        return dict((+counts).most_common())


def run(name: str, seed: int) -> Score:
    """The score of one recipe; OURS is our gradient check."""
    started, score = time.process_time(), Score(name)
    for draw in range(DRAWS):
        for (equation, label), yes in verdicts(name, CASES, seed + draw):
            if label not in CASES[equation].ties:
                score.cases += 1
                score.alarms[equation] += not yes
    for style, yes in right_styles(name, seed):
        score.styles += 1
        score.style_alarms[style.partition(",")[0]] += not yes
    accepted = {label for label, yes in verdicts(name, CASES, seed) if yes}
    for mutant in all_mutants():
        score.mutants[mutant.kind] += 1
        outcome = judge(name, mutant, seed, accepted)
        if outcome != "rejected":
            (score.drowned if outcome == "drowned" else score.missed)[_key(mutant)] += 1
    score.alarms, score.style_alarms = +score.alarms, +score.style_alarms      # without the zeros
    score.seconds = time.process_time() - started
    return score


def judge(name: str, mutant: Mutant, seed: int, accepted: Collection[Label]) -> str:
    """rejected, drowned or missed; `accepted` are the cases on which the recipe accepts the true equation."""
    drowned = False
    for label, yes in verdicts(name, load(mutant), seed):
        if not yes and label in accepted:
            return "rejected"
        drowned = drowned or not (yes or label[1] in CASES[label[0]].ties)
    return "drowned" if drowned else "missed"


def with_values(ours: Score, seed: int) -> Score:
    """Our gradient check together with the comparison with the loops of the formulas."""
    started, missed = time.process_time(), Counter()
    for mutant in all_mutants():
        if _key(mutant) in ours.missed and not _wrong_value(load(mutant), seed):
            missed[_key(mutant)] += judge(OURS, mutant, seed, ()) == "missed"
    return replace(ours, recipe=WITH_VALUES, missed=+missed, seconds=ours.seconds + time.process_time() - started)


def _key(mutant: Mutant) -> Key:
    return mutant.file, mutant.kind, mutant.fault


def verdicts(name: str, cases: dict[str, Case], seed: int) -> Iterator[tuple[Label, bool]]:
    """Case by case, whether the recipe accepts."""
    for equation, c in cases.items():
        for label, (inputs, options) in c.make(np.random.default_rng(seed), np.float64).items():
            rng = np.random.default_rng([seed, *label.encode()])
            if name in RECIPES:
                inputs = {key: x if x is None or is_float(x) else x.copy() for key, x in inputs.items()}    # cases share masks
                true = CASES[equation]
                call = Call(c.forward, c.backward, inputs, options, (true.forward, true.backward))
                yield (equation, label), accepts(name, call, rng)
            else:
                with np.errstate(all="ignore"):
                    yield (equation, label), c.check(label, inputs, options, rng).passed


def accepts(name: str, call: Call, rng: np.random.Generator) -> bool:
    try:
        with np.errstate(all="ignore"):
            return RECIPES[name](call, rng)
    except Exception:  # whatever a wrong backward makes it raise
        return False


def _wrong_value(cases: dict[str, Case], seed: int) -> bool:
    with np.errstate(all="ignore"):
        return first_wrong_value(cases, np.random.default_rng(seed)) != ("", "")


def right_styles(name: str, seed: int) -> Iterator[tuple[str, bool]]:
    """Right implementations on random shapes, in float64; the closed form is the reference for recipes that want one."""
    for style, (forward, backward, make) in STYLES.items():
        rng = np.random.default_rng([seed, *style.encode()])
        truth = STYLES[f"{style.partition(',')[0]}, closed"][:2]
        for _ in range(SHAPES):
            inputs = make(rng)
            if name in RECIPES:
                yield style, accepts(name, Call(forward, backward, inputs, {}, truth), rng)
            else:
                yield style, check_gradient(forward, backward, inputs, rng=rng).passed
