"""Fixtures for all tests."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from tests.standin_cupy import make


@pytest.fixture
def cupy_standin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The stand-in for CuPy, installed as `cupy` for one test."""
    module = make()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module
