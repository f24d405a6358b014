"""Keeping freed memory for the next step, where the C library would hand it back to the system.

A training step makes and frees the same arrays of some megabytes again and again. The GNU C library returns such memory at
once, and the next step pays for every page of it anew: at N = 64 images of 36 × 2048 some 6,500 page faults, 8 % of the time.
Its limits follow the program, though: when an array is freed that is larger than any before, arrays up to that size are kept
from then on, up to 32 MiB (mallopt(3), "dynamic mmap threshold"). So one array of that size, freed unused, is enough, and costs
nothing: its pages are never touched. With other C libraries nothing changes.
"""

from __future__ import annotations

import numpy as np

LARGEST = (32 << 20) - (64 << 10)   # a little below the limit, for what malloc and NumPy add


def keep_freed_memory() -> None:
    """Let this process keep what it frees, up to twice 32 MiB."""
    np.empty(LARGEST, np.uint8)     # freed at the end of this line
