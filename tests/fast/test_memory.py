"""Freed memory is kept: with the GNU C library an array of 8 MB costs its page faults once."""

from __future__ import annotations

import platform
import subprocess
import sys

SCRIPT = """
import resource
import numpy as np
from attnretrieval.fast.memory import keep_freed_memory
keep_freed_memory()
np.ones(2_000_000, "float32")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(2_000_000, "float32")
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_the_second_array_costs_no_page_fault():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100 or platform.libc_ver()[0] != "glibc"
