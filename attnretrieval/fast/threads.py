"""Threads, as one setting: the work of a step shared out over the items of its batch.

    set_threads(2)
    results = share(function, [slice(0, 32), slice(32, 64)])

NumPy lets go of the interpreter's lock inside matrix products and elementwise functions, so Python threads do run side by side.
Each takes items of its own from beginning to end, with one BLAS thread: there is one meeting at the end instead of one in every
product, and a product never waits for a core that another program holds. Results depend on the number of threads only through
the order in which sums over items are added up, that is, to rounding. Few large operations share better than many small ones:
after each of these the threads wait for the lock.

With several threads here, BLAS itself must keep to one, or the two multiply. threadpoolctl sees to that where it is installed
(`pip install "attnretrieval[threads]"`); without it, the environment variables of attnretrieval/threads.py must be set before
NumPy is imported, and `set_threads` warns where they are not.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, TypeVar

from attnretrieval.backend import Array
from attnretrieval.shapes import check_range
from attnretrieval.threads import VARIABLES

Item = TypeVar("Item")
Result = TypeVar("Result")

LEAST = 1 << 16                     # numbers of an array that a thread is worth

_count = 1
_pool: ThreadPoolExecutor | None = None
_limits: Any = None                 # threadpoolctl's, while BLAS is kept to one thread
_here = threading.local()           # .shared is True while a thread is at work in `share`


def set_threads(count: int) -> None:
    """Let `share` use this many threads from now on, in the whole process; 1 = none but the caller's."""
    global _count, _pool
    check_range("threads", count, 1)
    _keep_blas_to_one_thread(count > 1)
    if _pool is not None and count != _count:
        _pool.shutdown()
        _pool = None
    _count = count


def threads() -> int:
    """The number that `set_threads` set; 1 inside a thread of `share`, which has its part already."""
    return 1 if getattr(_here, "shared", False) else _count


def share(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """[function(item) for item in items], on as many threads as are set, the caller's among them.

    An error in one of them is raised here, when all have stopped.
    """
    global _pool
    if threads() == 1 or len(items := list(items)) < 2:
        return [function(item) for item in items]
    if _pool is None:
        _pool = ThreadPoolExecutor(_count - 1, "attnretrieval")
    waiting, results = deque(enumerate(items)), [None] * len(items)

    def work() -> None:
        _here.shared = True
        try:
            while True:
                try:
                    i, item = waiting.popleft()
                except IndexError:
                    return
                results[i] = function(item)
        except BaseException:
            waiting.clear()
            raise
        finally:
            _here.shared = False

    # a copy of the context each, so that numpy.errstate of the caller holds there too
    jobs = [_pool.submit(copy_context().run, work) for _ in range(min(_count, len(items)) - 1)]
    try:
        work()
    finally:
        wait([job for job in jobs if not job.cancel()])     # one that has not begun would find nothing left to do
    for job in jobs:
        if not job.cancelled():
            job.result()
    return results


def parts(count: int, least: int = 1) -> list[slice]:
    """`count` items cut into one slice a thread, of nearly one size; fewer where a part would hold less than `least` items."""
    number = max(1, min(threads(), count // max(least, 1)))
    cuts = [count * i // number for i in range(number + 1)]
    return [slice(start, end) for start, end in zip(cuts, cuts[1:], strict=False)]


def parts_of(X: Array, axis: int = 0) -> list[slice]:
    """`parts` along an axis of X, where each thread gets work that is worth the call."""
    count = X.shape[axis]
    if threads() == 1:
        return [slice(0, count)]
    return parts(count, -(-LEAST * count // max(X.size, 1)))


def rows_together(*arrays: Array) -> list[tuple[Array, ...]]:
    """The same rows of arrays of one length, a piece for each thread that has enough to do."""
    return [tuple(X[rows] for X in arrays) for rows in parts_of(arrays[0])]


def _keep_blas_to_one_thread(keep: bool) -> None:
    """Or give it back the threads that it had."""
    global _limits
    if not keep and _limits is not None:
        _limits.restore_original_limits()
        _limits = None
    if not keep or _limits is not None:
        return
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        if {os.environ.get(name) for name in VARIABLES} - {None} != {"1"}:
            warnings.warn('several threads here need one thread in BLAS: pip install "attnretrieval[threads]", or set '
                          f"{VARIABLES[0]}=1 before Python starts", stacklevel=3)
        return
    _limits = threadpool_limits(1, user_api="blas")
