"""What docs/gradient_check.md says of other people's gradient checks, and of ours beside them, is so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from attnretrieval.course.cases import CASES
from attnretrieval.course.mutants import Mutant, all_mutants, load
from attnretrieval.equations.linear import LinearGrads, linear, linear_backward
from tests.other_recipes import RECIPES
from tests.other_recipes.call import Call, summed_to
from tests.other_recipes.score import OURS, WITH_VALUES, accepts, judge, verdicts
from tests.other_recipes.table import from_json, what_gets_through, who_rejects_what

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "gradient_check.md").read_text("utf-8")
SCORES = from_json((Path(__file__).parent / "other_recipes" / "measured.json").read_text("utf-8"))
BY_NAME = {score.recipe: score for score in SCORES}
ONES = ["needle `gradient_check`", "minitorch `grad_check`", "numpy-ml `test_nn`"]     # their upstream gradient is all ones


def mutant(text: str, file: str = "") -> Mutant:
    (found,) = [mutant for mutant in all_mutants() if mutant.text == text and mutant.file.startswith(file)]
    return found


def rejected(recipe: str, text: str, file: str = "") -> bool:
    found = mutant(text, file)
    true = {equation: c for equation, c in CASES.items() if c.file == found.file}
    return judge(recipe, found, 0, {label for label, yes in verdicts(recipe, true, 0) if yes}) == "rejected"


def linear_call(backward: Callable = linear_backward, scale: float = 1.0) -> Call:
    draw = np.random.default_rng(0)
    inputs = {"X": scale * draw.normal(size=(2, 3, 5)), "W": draw.normal(size=(5, 4)), "b": draw.normal(size=4)}
    return Call(linear, backward, inputs, {}, (linear, linear_backward))


# --- each recipe works -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_accepts_a_right_layer_and_rejects_a_wrong_sign(recipe):
    def minus(d_Y, cache):
        return LinearGrads(*(-d for d in linear_backward(d_Y, cache)))

    assert accepts(recipe, linear_call(), np.random.default_rng(0))
    assert not accepts(recipe, linear_call(minus), np.random.default_rng(0))


def test_a_recipe_that_raises_has_rejected():
    def broken(d_Y, cache):
        raise ValueError("no gradient today")

    assert not any(accepts(recipe, linear_call(broken), np.random.default_rng(0)) for recipe in RECIPES)


def test_a_gradient_that_is_too_large_is_summed_down():
    d = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(summed_to(d, (4,)), d.sum(axis=(0, 1)))
    np.testing.assert_array_equal(summed_to(d, (3, 1)), d.sum(axis=(0, 2))[:, None])
    with pytest.raises(ValueError, match=r"of shape \(2, 3, 4\) cannot be summed down to \(2,\)"):
        summed_to(d, (2,))


# --- what the page says of them --------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [*ONES, OURS])
@pytest.mark.parametrize("text, file", [
    ("all zeros, which a check with an upstream gradient of ones takes for right", "softmax"),
    ("minus the gradient", "softmax"), ("d_b counts the vectors", "linear")])
def test_ones_upstream_let_a_softmax_backward_of_zeros_through(recipe, text, file):
    assert rejected(recipe, text, file) == (recipe == OURS)


@pytest.mark.parametrize("recipe", [*RECIPES, OURS])
def test_with_ones_upstream_every_place_is_the_same(recipe):
    blind = recipe in ("needle `gradient_check`", "minitorch `grad_check`")      # numpy-ml compares outputs as well
    assert rejected(recipe, "split by a reshape alone, without the exchange of axes; join is right") == (not blind)


@pytest.mark.parametrize("recipe", [*RECIPES, OURS])
def test_two_frameworks_sum_an_unsummed_bias_gradient_themselves(recipe):
    forgiving = recipe.startswith(("PyTorch", "minitorch"))
    assert rejected(recipe, "d_b is not summed at all") == (not forgiving)


def test_a_product_with_a_random_direction_hides_that_the_sum_is_missing():
    draw = np.random.default_rng(0)
    d_Y, v = draw.normal(size=(6, 4)), draw.normal(size=4)
    assert (d_Y * v).sum() == pytest.approx((d_Y.sum(axis=0) * v).sum())


def test_an_error_relative_to_each_element_rejects_a_right_info_nce():
    alarms = {recipe: score.alarms["info_nce"] for recipe, score in BY_NAME.items()}
    assert all(alarms[recipe] > 0 for recipe in alarms if recipe.startswith("CS231n")) and alarms[OURS] == 0
    assert not all(yes for _, yes in verdicts("CS231n, every element, below 1e-4", {"info_nce": CASES["info_nce"]}, 0))


def test_an_error_relative_to_each_element_always_rings_for_a_key_bias():
    """In theory its gradient is 0, in practice it is a rounding, and two roundings have no digit in common."""
    for recipe in ("CS231n, every element, below 1e-7", "CS231n, every element, below 1e-4"):
        cases = {"multi_head_attention": CASES["multi_head_attention"]}
        assert sum(not yes for seed in range(3) for _, yes in verdicts(recipe, cases, seed)) >= 6


@pytest.mark.parametrize("recipe", [*RECIPES, OURS])
def test_a_loss_has_an_upstream_gradient_of_1_which_hides_that_it_is_forgotten(recipe):
    seen = recipe.startswith(("PyTorch", "JAX")) or recipe in ("needle `backward_check`", OURS)
    assert rejected(recipe, "the upstream gradient is forgotten", "triplet") == seen


def test_an_absolute_tolerance_takes_a_small_gradient_for_zero():
    def no_d_W(d_Y, cache):
        d = linear_backward(d_Y, cache)
        return d._replace(d_W=0 * d.d_W)

    assert accepts("llm.c `test_gpt2`", linear_call(no_d_W, 1e-3), np.random.default_rng(0))
    assert not accepts("llm.c `test_gpt2`", linear_call(no_d_W), np.random.default_rng(0))


@pytest.mark.parametrize("recipe", [*RECIPES, OURS])
@pytest.mark.parametrize("text", ["d_C and d_H are one array", "a NumPy scalar makes the gradients float64"])
def test_what_only_ours_sees(recipe, text):
    assert rejected(recipe, text) == (recipe == OURS)


@pytest.mark.parametrize("recipe", [*RECIPES, OURS])
def test_a_consistent_mistake_is_seen_by_a_second_implementation_alone(recipe):
    seen = recipe.startswith(("llm.c", "numpy-ml"))
    assert rejected(recipe, "divides by d_k, not by √d_k, in both passes") == seen


def test_one_random_element_can_miss_a_wrong_sign():
    assert not rejected("minitorch `grad_check`", "minus the gradient", "embedding")


def test_pytorch_sees_a_cache_that_changes_and_an_upstream_gradient_that_does_not_matter():
    for text in ("computed in the weights, which are the cache", "d_b counts the vectors"):
        assert rejected("PyTorch `gradcheck`", text)


# --- the tables ------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_was_measured():
    again = "python -m tests.other_recipes --json tests/other_recipes/measured.json"
    assert again in PAGE
    assert who_rejects_what(SCORES) in PAGE, f"the table is not that of measured.json; measure with {again} and paste it"
    assert what_gets_through(SCORES) in PAGE, f"the table is not that of measured.json; measure with {again} and paste it"


def test_the_numbers_in_the_text_are_those_of_the_table():
    others = [score for score in SCORES if score.recipe in RECIPES]
    cs231n, pytorch = BY_NAME["CS231n, every element, below 1e-7"], BY_NAME["PyTorch `gradcheck`"]
    forgetful = [BY_NAME[recipe].faults("backward")["upstream"] for recipe in ONES]
    rules = [mutant for mutant in all_mutants() if mutant.fault == "rule"]
    drowned = sum(n for (_, kind, _), n in cs231n.drowned.items() if kind == "backward")
    values = Counter(pytorch.faults("backward"))
    del values["rule"]
    assert set(values) == {"sum"}
    for text in (f"{min(forgetful)} to {max(forgetful)} backwards that forget d_out",
                 f"in {cs231n.alarms['info_nce']} of 50 draws",
                 f"cannot tell {drowned} wrong", f"{len(rules)} of the {pytorch.mutants['backward']} have the right values",
                 f"at least {min(score.faults('backward')['rule'] for score in others)} of them",
                 f"{sum('float64' in mutant.text for mutant in rules)} of the {len(rules)} are float64",
                 f"misses {values.total()} of {pytorch.mutants['backward'] - len(rules)}"):
        assert text in PAGE, f"not on the page: {text}"


def test_what_was_measured_is_of_this_corpus():
    kinds = Counter(mutant.kind for mutant in all_mutants())
    assert [score.recipe for score in SCORES] == [*RECIPES, OURS, WITH_VALUES]
    assert all(score.mutants == kinds for score in SCORES)


def test_ours_misses_nothing_and_never_rings_falsely():
    assert BY_NAME[WITH_VALUES].missed.total() == 0 and BY_NAME[OURS].rejected("backward") == BY_NAME[OURS].mutants["backward"]
    for name in (OURS, WITH_VALUES):
        assert not BY_NAME[name].alarms and not BY_NAME[name].style_alarms and not BY_NAME[name].drowned


@pytest.mark.parametrize("recipe", [*RECIPES, OURS])
@pytest.mark.parametrize("file", ["linear", "positions"])
def test_measured_again_the_counts_are_the_same(recipe, file):
    accepted = {label for label, yes in verdicts(recipe, {e: c for e, c in CASES.items() if c.file == file}, 0) if yes}
    found = {"missed": Counter(), "drowned": Counter(), "rejected": Counter()}
    for one in all_mutants():
        if one.file == file:
            found[judge(recipe, one, 0, accepted)][file, one.kind, one.fault] += 1
    for name in ("missed", "drowned"):
        stored = getattr(BY_NAME[recipe], name)
        assert found[name] == Counter({key: n for key, n in stored.items() if key[0] == file}), name


# --- what else the page shows ----------------------------------------------------------------------------------------


def shown() -> Iterator[tuple[str, str]]:
    """The reports on the page: what is said to be wrong, and what the checker says."""
    for block in PAGE.split("```text\n")[1:]:
        report = block.partition("```")[0]
        yield report.partition(":")[0], report


SHOWN = {"attention, one sequence": "only d_K gets the 1/√d_k", "softmax, masked": "the row term is missing",
         "linear, batch": "d_b is not summed at all"}


@pytest.mark.parametrize("title", SHOWN)
def test_the_reports_on_the_page_are_real(title):
    found = mutant(SHOWN[title])
    equation, _, label = title.partition(", ")
    rng = np.random.default_rng(0)
    c = load(found)[equation]
    report = str(c.check(label, *c.make(rng, np.float64)[label], rng, name=equation))
    page = dict(shown())[title]
    said = [[line for line in text.splitlines() if not line.endswith(("ok", "WRONG"))] for text in (page, report)]
    assert said[0] == said[1], f"paste this into the page:\n{report}"
