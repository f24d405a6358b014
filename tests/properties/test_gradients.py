"""Every backward is the gradient of its forward, whatever the shapes, masks, options and dtype."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnretrieval.course.cases import CASES
from tests.properties.calls import CALLS, calls


def test_every_equation_is_drawn():
    assert set(CALLS) == set(CASES)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_the_gradient_check_passes(name, data):
    call = data.draw(calls(name, largest=4))
    report = CASES[name].check("drawn", call.inputs, call.options, call.rng)
    assert report.passed, str(report)
