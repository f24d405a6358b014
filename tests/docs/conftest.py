"""The documentation's generator, which is no part of the package, and both sites, built once for all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LANGUAGES = ("en", "zh")
sys.path.insert(0, str(DOCS))


class Built(NamedTuple):
    folder: Path
    errors: str
    code: int

    def pages(self, language: str) -> dict[str, str]:
        """docname → HTML. The pages of source code that belong to the API reference are left out."""
        home = self.folder / language
        return {path.relative_to(home).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
                for path in sorted(home.rglob("*.html")) if path.relative_to(home).parts[0] not in ("_modules", "_downloads")}


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    for package in ("sphinx", "myst_nb", "furo", "sphinx-mathjax-offline", "jieba"):
        pytest.importorskip(package, reason='the documentation needs pip install -e ".[docs]"')
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, DOCS / "build.py", "--out", folder], env=os.environ | {"PYTHONUTF8": "1"},
                          capture_output=True, text=True, encoding="utf-8")
    return Built(folder, done.stderr, done.returncode)
