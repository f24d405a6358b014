"""One thread by default: before NumPy is imported, and never against what the user has set."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from attnretrieval.threads import VARIABLES, one_thread_by_default

SCRIPT = """
import os, sys
{first}
from attnretrieval import cli
try:
    cli.main([*{verb!r}.split(), "--help"])
except SystemExit:
    print([os.environ.get(name) for name in {names!r}])
"""


@pytest.mark.parametrize(("verb", "first", "given", "expected"), [
    ("demo", "", {}, ["1", "1"]),
    ("demo", "", {VARIABLES[0]: "4"}, ["4", "1"]),
    ("demo", "import numpy", {}, [None, None]),
    ("train", "", {}, [None, None]),
    ("train --threads 2", "", {}, ["1", "1"]),
    ("train --threads=2", "", {VARIABLES[0]: "4"}, ["4", "1"]),
], ids=["demo", "the user has set one", "NumPy is there already", "another verb", "threads", "threads and the user's own"])
def test_what_a_new_process_sets(verb, first, given, expected):
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | given
    script = SCRIPT.format(verb=verb, first=first, names=VARIABLES[:2])
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(expected)


def test_this_process_is_left_alone(monkeypatch):
    monkeypatch.delenv(VARIABLES[0], raising=False)
    one_thread_by_default()
    assert VARIABLES[0] not in os.environ
