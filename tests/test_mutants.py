"""Every mutant of every equation is rejected, and by the check that it is meant for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from attnretrieval.course.cases import CASES
from attnretrieval.course.mutants import (
    FAULTS,
    KINDS,
    Mutant,
    Patch,
    Result,
    all_mutants,
    first_wrong_gradient,
    first_wrong_value,
    judge,
    load,
    parse,
    patched,
    report,
    score,
)
from attnretrieval.course.mutants.naming import CODES, names, verdict

MUTANTS = all_mutants()
FILES = sorted({c.file for c in CASES.values()})


@pytest.fixture(scope="module")
def results() -> dict[str, list[Result]]:
    """Every mutant, judged once: file → results."""
    return {file: score([mutant for mutant in MUTANTS if mutant.file == file]) for file in FILES}


def test_the_diagnosis_names_the_true_fault_of_four_in_five(results):
    judged = [result for of_file in results.values() for result in of_file]
    for kind in KINDS:
        named = [result.named for result in judged if result.mutant.kind == kind]
        assert sum(named) >= 0.8 * len(named), f"{kind}: {sum(named)} of {len(named)}"


@pytest.mark.parametrize("file", FILES)
def test_every_mutant_is_rejected_and_none_by_an_exception(file, results):
    mutants, results = [mutant for mutant in MUTANTS if mutant.file == file], results[file]
    assert all(result.rejected for result in results), report(results)
    assert report(results).startswith(f"{len(mutants)} of {len(mutants)} mutants rejected; ")
    assert all(result.case and result.text for result in results)


def test_the_corpus_is_large_and_holds_each_fault_once():
    assert len(MUTANTS) >= 150
    assert {mutant.file for mutant in MUTANTS} == set(FILES)
    assert {mutant.kind for mutant in MUTANTS} == set(KINDS)
    for twice in ((m.file, m.kind, m.text) for m in MUTANTS), ((m.file, m.patches) for m in MUTANTS):
        assert [key for key, count in Counter(twice).items() if count > 1] == []


@pytest.mark.parametrize("file", FILES)
def test_each_equation_has_wrong_backwards_and_wrong_forwards(file):
    kinds = Counter(mutant.kind for mutant in MUTANTS if mutant.file == file)
    assert kinds["backward"] >= 4 and kinds["forward"] >= 3


@pytest.mark.parametrize("file", FILES)
def test_without_a_patch_the_same_machinery_accepts(file):
    """What rejects a mutant is its patch, not the way it is loaded."""
    cases = load(Mutant(file, "backward", "rule", "nothing is wrong", ()))
    assert first_wrong_gradient(cases, np.random.default_rng(0)) == ("", "")
    assert first_wrong_value(cases, np.random.default_rng(0)) == ("", "")


def test_another_seed_rejects_them_too():
    few = MUTANTS[::7]
    assert report(score(few, seed=99)).startswith(f"{len(few)} of {len(few)} mutants rejected; ")


def test_the_gradient_check_alone_cannot_see_a_consistent_mistake():
    """This is what the comparison of values is for."""
    mutant = next(m for m in MUTANTS if m.text == "divides by d_k, not by √d_k, in both passes")
    assert first_wrong_gradient(load(mutant), np.random.default_rng(0)) == ("", "")
    assert judge(mutant).by == "values"


def softmax_mutant(kind: str, old: str, new: str) -> Mutant:
    return Mutant("softmax", kind, "rule", "for this test", (Patch(old, new),))


def test_a_survivor_is_named():
    harmless = softmax_mutant("backward", "    d_S = d_A * A\n", "    d_S = A * d_A\n")
    assert report(score([harmless])) == ("0 of 1 mutants rejected; the diagnosis names the fault of 0\n"
                                         "  softmax, backward, rule: for this test")


def test_a_mutant_that_raises_does_not_count():
    result = judge(softmax_mutant("forward", "    return E\n", "    return missing\n"))
    assert not result.rejected and result.by == "NameError"
    assert "(raises NameError: name 'missing' is not defined)" in report([result])


def test_a_mutant_changes_its_equation_only():
    mutant = softmax_mutant("forward", "    return E\n", "    return 2 * E\n")
    assert judge(mutant).by == "values"
    for name in ("attention", "softmax"):
        assert first_wrong_value({name: CASES[name]}, np.random.default_rng(0)) == ("", "")


@pytest.mark.parametrize("old, times", [("    d_S = d_A / A\n", "0"), ("from __future__\n", "0"), ("\n", "[0-9]+")])
def test_a_patch_fits_in_one_place(old, times):
    with pytest.raises(ValueError, match=f"these lines occur {times} times in softmax.py, not once"):
        patched(softmax_mutant("backward", old, ""))


def test_a_diff_is_read():
    text = ("a comment\n\n== backward, scale: half\n-    a = b\n     c = d\n+    a = b / 2\n@@\n+e\n-f\n\n"
            "== forward, mask: none\n-g\n")
    one, two = parse("linear", text)
    assert one == Mutant("linear", "backward", "scale", "half", (
        Patch("    a = b\n    c = d\n", "    c = d\n    a = b / 2\n"), Patch("f\n", "e\n")))
    assert two == Mutant("linear", "forward", "mask", "none", (Patch("g\n", ""),))


@pytest.mark.parametrize("text, message", [
    ("== sideways, scale: half\n-a\n", "linear.diff: 'sideways, scale: half' is not 'kind, fault: what is wrong'"),
    ("== backward, odd: half\n-a\n", "is not 'kind, fault: what is wrong'"),
    ("== backward, scale: half\na = b\n", "'a = b' begins neither with -, \\+ nor a space"),
])
def test_a_bad_diff_is_explained(text, message):
    with pytest.raises(ValueError, match=message):
        list(parse("linear", text))


@pytest.mark.parametrize("fault, code, yes", [
    ("scale", "scaled", True), ("scale", "gate scaled", True), ("scale", "sign", False), ("sign", "sign of the values", True),
    ("term", "values missing", True), ("zero", "values missing", True), ("sum", "batch sum missing", True),
    ("place", "swapped with d_K", True), ("place", "unexplained", False), ("row term", "identity broken", False),
])
def test_a_code_names_a_fault_or_not(fault, code, yes):
    assert names(fault, code) is yes


def test_the_verdict_is_what_is_said_most_often():
    assert verdict(["sign", "scaled", "unexplained", "scaled", "unexplained", "unexplained", ""]) == "scaled"
    assert verdict(["unexplained", ""]) == "" and verdict([]) == ""


def test_every_fault_has_its_names():
    assert set(CODES) == set(FAULTS)
