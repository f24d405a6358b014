"""What a test of a message holds: an InputError of one line that says each of these parts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from attnretrieval.inputs.files import InputError


def refused(call: Callable[[], object], *parts: object) -> None:
    with pytest.raises(InputError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message
