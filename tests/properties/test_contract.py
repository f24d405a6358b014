"""What every equation owes its caller: the formula's value, dtypes and shapes, finite numbers, inputs left as they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnretrieval.course.cases import CASES
from attnretrieval.course.values import REFERENCES
from tests.properties.calls import calls
from tests.properties.strategies import EXTREME, close, close_grads

DOUBLE = (np.float64,)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_the_value_is_that_of_the_formula(name, data):
    call = data.draw(calls(name, dtypes=DOUBLE))
    out, expected = call.out(), np.asarray(REFERENCES[name](**call.inputs, **call.options))
    assert out.shape == expected.shape
    close(out, expected, 1e-9)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_a_gradient_has_the_shape_and_dtype_of_its_input(name, data):
    call = data.draw(calls(name))
    d_out = call.upstream()
    out, grads = call.run(d_out)
    inputs = {key: x for key, x in call.inputs.items() if x is not None and x.dtype.kind == "f"}
    assert {x.dtype for x in inputs.values()} == {out.dtype}
    assert {key: (d_x.shape, d_x.dtype) for key, d_x in grads.items()} == {
        key: (x.shape, x.dtype) for key, x in inputs.items()}


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_nothing_that_came_in_is_changed(name, data):
    call = data.draw(calls(name))
    d_out = call.upstream()
    given_ = [x for x in (*call.inputs.values(), *call.options.values(), d_out) if isinstance(x, np.ndarray)]
    before = [x.copy() for x in given_]
    call.run(d_out)
    for x, kept in zip(given_, before, strict=True):
        np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_the_layout_in_memory_does_not_matter(name, data):
    call = data.draw(calls(name, dtypes=DOUBLE))
    d_out = call.upstream()
    plain = {key: None if x is None else x.copy("C") for key, x in call.inputs.items()}
    (out, grads), (out_plain, grads_plain) = call.run(d_out), call.run(d_out, **plain)
    close(out, out_plain)
    close_grads(grads, grads_plain)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_extreme_numbers_give_finite_ones(name, data):
    """All zeros, a ten-thousandth, ten thousand, each input by itself: no overflow, no 0/0, not even on the way."""
    call = data.draw(calls(name, scales=EXTREME))
    d_out = call.upstream()
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        out, grads = call.run(d_out)
    assert all(np.isfinite(x).all() for x in (out, *grads.values()))
