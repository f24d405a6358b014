"""Tokens are a set: their order does not matter, and padding is not there.

Which inputs lie along the tokens is declared in course/cases.py. The gradient checker asks for the same identities; here they
are stated without it, for any reordering and any number of padded tokens.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnretrieval.backend import Array
from attnretrieval.course.cases import CASES
from tests.properties.calls import Call, calls
from tests.properties.strategies import close, close_grads

DOUBLE = (np.float64,)


def declared(rule: str) -> list[tuple]:
    """The equations that declare this rule, with its arguments."""
    return [(name, *arguments) for name, case in CASES.items() for kind, *arguments in case.algebra if kind == rule]


def taken(x: Array | None, order: list[int], axis: int) -> Array | None:
    """x in another order along the axis; what broadcasts there stays."""
    return x if x is None or x.shape[axis] == 1 else np.take(x, order, axis)


@pytest.mark.parametrize(("name", "axes", "out_axis"), [(*rule, None)[:3] for rule in declared("permutation")])
@given(data=st.data())
def test_another_order_reorders_the_gradients_alike(name, axes, out_axis, data):
    call = data.draw(calls(name, dtypes=DOUBLE))
    d_out = call.upstream()
    out, grads = call.run(d_out)
    size = max(call.inputs[key].shape[axis] for key, axis in axes.items() if call.inputs[key] is not None)
    order = data.draw(st.permutations(range(size)))

    def moved(y: Array) -> Array:
        return y if out_axis is None else taken(y, order, out_axis)

    other_out, other = call.run(moved(d_out), **{key: taken(call.inputs[key], order, axis) for key, axis in axes.items()})
    close(other_out, moved(out))
    close_grads(other, {key: taken(d_x, order, axes[key]) if key in axes else d_x for key, d_x in grads.items()})


# --- padding ---------------------------------------------------------------------------------------------------------


def spelt_out(call: Call, mask: str, axes: dict[str, int]) -> Array:
    """The mask with one entry a token, whatever it broadcast; True where there was none."""
    size = max(call.inputs[key].shape[axis] for key, axis in axes.items())
    given_ = call.inputs[mask]
    return np.ones(size, bool) if given_ is None else np.broadcast_to(given_, (*given_.shape[:-1], size))


def extended(x: Array, axis: int, values: Array | bool, count: int) -> Array:
    """x with `count` more entries along the axis."""
    shape = list(x.shape)
    shape[axis] = count
    return np.concatenate([x, np.broadcast_to(values, shape)], axis)


@pytest.mark.parametrize(("name", "mask", "axes"), declared("masked"))
@given(data=st.data(), count=st.integers(1, 4), padding=st.sampled_from([0.0, -1.0, 1e4, -1e4]))
def test_more_padding_changes_nothing(name, mask, axes, data, count, padding):
    call = data.draw(calls(name, dtypes=DOUBLE))
    whole, d_out = spelt_out(call, mask, axes), call.upstream()
    size = whole.shape[-1]
    out, grads = call.run(d_out, **{mask: whole})
    padded = {key: extended(call.inputs[key], axis, padding, count) for key, axis in axes.items()}
    by_token = name in ("softmax", "pool_weights")                      # one output a token: padding gets weight 0
    d_padded = extended(d_out, -1, 1.0, count) if by_token else d_out
    padded_out, padded_grads = call.run(d_padded, **padded, **{mask: extended(whole, -1, False, count)})
    assert not by_token or np.all(padded_out[..., size:] == 0)
    close(padded_out[..., :size] if by_token else padded_out, out)
    for key, axis in axes.items():
        padded_grads[key], rest = np.split(padded_grads[key], [size], axis)
        assert np.all(rest == 0), "padding has a gradient"
    close_grads(padded_grads, grads)


@pytest.mark.parametrize(("name", "mask", "axes"), declared("masked"))
@given(data=st.data())
def test_with_nothing_left_there_is_nothing(name, mask, axes, data):
    call = data.draw(calls(name, dtypes=DOUBLE))
    out, grads = call.run(call.upstream(), **{mask: np.zeros_like(spelt_out(call, mask, axes))})
    assert np.all(out == 0) and all(np.all(d_x == 0) for d_x in grads.values())


@given(data=st.data(), padding=st.sampled_from([0.0, -1.0, 1e4, -1e4]))
def test_in_self_attention_real_words_do_not_see_padding(data, padding):
    call = data.draw(calls("multi_head_attention", dtypes=DOUBLE))
    mask = np.broadcast_to(True if call.inputs["mask"] is None else call.inputs["mask"], call.inputs["X"].shape[:-1])
    d_out = np.where(mask[..., None], call.upstream(), 0)               # nobody asks a padded token for anything
    out, grads = call.run(d_out)
    padded_out, padded_grads = call.run(d_out, X=np.where(mask[..., None], call.inputs["X"], padding))
    close(padded_out[mask], out[mask])
    assert np.all(padded_grads["X"][~mask] == 0)
    close_grads(padded_grads, grads)
