"""The losses: what they may not depend on, and how small or large they can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnretrieval.equations.triplet import VIOLATIONS, triplet_loss, triplet_loss_backward
from tests.properties.calls import Call, calls
from tests.properties.strategies import close, close_grads

DOUBLE = (np.float64,)
LOSSES = ["info_nce", "triplet_loss"]
ONE = np.asarray(1.0)


@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data())
def test_captions_and_images_may_change_places(name, data):
    """Both directions count alike: transposed scores and pairs give the same loss and the transposed gradient."""
    call = data.draw(calls(name, dtypes=DOUBLE))
    loss, grads = call.run(ONE)
    other, turned = call.run(ONE, S=call.inputs["S"].T, positives=call.inputs["positives"].T)
    close(other, loss)
    close_grads({**turned, "S": turned["S"].T}, grads)


@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data(), c=st.floats(-10, 10))
def test_a_number_added_to_all_scores_changes_nothing(name, data, c):
    call = data.draw(calls(name, dtypes=DOUBLE))
    if name == "info_nce":
        c *= np.abs(call.inputs["S"]).max()                             # of the size of the scores
    (loss, grads), (shifted, _) = call.run(ONE), call.run(ONE, S=call.inputs["S"] + c)
    close(shifted, loss, 1e-9)
    np.testing.assert_allclose(grads["S"].sum(), 0, atol=1e-11 * max(1, np.abs(grads["S"]).max()))


@given(calls("info_nce", dtypes=DOUBLE), st.floats(0.1, 10))
def test_info_nce_sees_scores_in_units_of_the_temperature(call, c):
    call = call._replace(options={"temperature_range": (1e-9, 1e9)})
    log_temperature = np.asarray(call.inputs["log_temperature"] + np.log(c))
    close(call.changed(S=c * call.inputs["S"], log_temperature=log_temperature).out(), call.out(), 1e-9)


@given(calls("info_nce", dtypes=DOUBLE))
def test_info_nce_is_no_smaller_than_sharing_the_target_allows(call):
    """A row with k right answers costs log k at least: the best softmax gives each of them 1 / k."""
    positives = call.inputs["positives"]
    least = [np.log(count[count > 0]).mean() for count in (positives.sum(axis=1), positives.sum(axis=0))]
    assert call.out() >= np.mean(least) - 1e-12


@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data())
def test_no_wrong_pair_is_pushed_up(name, data):
    call = data.draw(calls(name, dtypes=DOUBLE))
    _, grads = call.run(ONE)
    assert np.all(grads["S"][~call.inputs["positives"]] >= 0)


@given(calls("triplet_loss", dtypes=DOUBLE), st.floats(0.1, 10))
def test_triplets_scale_with_scores_and_margin(call, c):
    scaled, _ = triplet_loss(c * call.inputs["S"], call.inputs["positives"], c * call.options["margin"],
                             call.options["violations"])
    close(scaled, c * call.out())


def _by_violations(call: Call) -> dict[str, np.ndarray]:
    options = {"margin": call.options["margin"], "positives": call.inputs["positives"]}
    return {kind: triplet_loss(call.inputs["S"], violations=kind, **options)[0] for kind in VIOLATIONS}


@given(calls("triplet_loss", dtypes=DOUBLE))
def test_no_mean_is_above_the_hardest_and_no_hardest_above_the_sum(call):
    loss = _by_violations(call)
    assert 0 <= loss["mean"] <= loss["hardest"] + 1e-12 <= loss["sum"] + 2e-12


@given(calls("triplet_loss", dtypes=DOUBLE))
def test_a_wider_margin_violates_more(call):
    wider = call._replace(options={**call.options, "margin": call.options["margin"] + 0.5})
    assert wider.out() >= call.out()


@given(calls("triplet_loss", dtypes=DOUBLE))
def test_right_pairs_ahead_by_the_margin_cost_nothing(call):
    S, positives, margin = call.inputs["S"], call.inputs["positives"], call.options["margin"]
    ahead = np.where(positives, np.abs(S).max() + margin + 1e-9, S)
    loss, cache = triplet_loss(ahead, positives, margin, call.options["violations"])
    assert loss == 0 and np.all(triplet_loss_backward(ONE, cache).d_S == 0)


@given(calls("triplet_loss", dtypes=DOUBLE))
def test_no_right_pair_is_pushed_down(call):
    """InfoNCE may: of several right answers to a row it levels the scores."""
    _, grads = call.run(ONE)
    assert np.all(grads["S"][call.inputs["positives"]] <= 0)
