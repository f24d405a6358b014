"""How many threads a matrix product takes: environment variables that the library behind NumPy reads when it is imported.

Products that are small gain nothing from a second thread, and lose much where another program holds the second core: each
product then waits for it. A number that the user has set is left alone by `one_thread_by_default`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def one_thread_by_default() -> None:
    """One thread for this process, where NumPy is not imported yet and nobody asked for more."""
    if "numpy" not in sys.modules:
        for name in VARIABLES:
            os.environ.setdefault(name, "1")


@contextmanager
def one_thread_each() -> Iterator[None]:
    """One thread for each process started inside; this one's settings are put back."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
