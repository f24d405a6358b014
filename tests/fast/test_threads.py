"""Sharing work out over threads: the order, the errors, no thread inside a thread."""

from __future__ import annotations

import builtins
import threading

import numpy as np
import pytest

from attnretrieval.fast.threads import parts, parts_of, rows_together, set_threads, share, threads
from attnretrieval.threads import VARIABLES


@pytest.fixture(autouse=True)
def put_back():
    yield
    set_threads(1)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_results_come_in_order(count):
    set_threads(count)
    assert share(lambda x: x * x, range(20)) == [x * x for x in range(20)]
    assert share(lambda x: x, []) == []


def test_two_threads_run_side_by_side():
    set_threads(2)
    both = threading.Barrier(2, timeout=10)
    share(lambda _: both.wait(), range(2))                             # one alone would wait for ever


def test_a_thread_does_not_share_again():
    set_threads(2)
    assert threads() == 2
    assert share(lambda _: (threads(), share(lambda x: x, range(3))), range(2)) == [(1, [0, 1, 2])] * 2


def test_an_error_reaches_the_caller():
    set_threads(2)
    with pytest.raises(ZeroDivisionError):
        share(lambda x: 1 / x, [1, 0, 1])
    assert share(lambda x: x, [1, 2]) == [1, 2]


@pytest.mark.parametrize("mine", [True, False])
def test_an_error_in_either_thread(mine):
    set_threads(2)
    caller, both = threading.get_ident(), threading.Barrier(2, timeout=10)

    def fail(_):
        both.wait()
        if (threading.get_ident() == caller) == mine:
            raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        share(fail, range(2))
    assert threads() == 2


def test_rows_together(monkeypatch):
    set_threads(2)
    monkeypatch.setattr("attnretrieval.fast.threads.LEAST", 4)
    X = np.arange(12).reshape(6, 2)
    assert [len(x) for x, _ in rows_together(X, X)] == [3, 3]
    assert parts_of(X, 1) == [slice(0, 1), slice(1, 2)]
    assert parts_of(X[:2]) == [slice(0, 2)] and parts_of(X[:0]) == [slice(0, 0)]       # not worth two


def test_the_callers_errstate_holds_in_every_thread():
    set_threads(2)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        share(lambda x: np.ones(1) / x, [1, 0])


def test_blas_keeps_to_one_thread_while_there_are_several():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def blas():
        return [lib["num_threads"] for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas()
        set_threads(2)
        set_threads(3)
        assert blas() == [1] * len(before)
        set_threads(1)
        assert blas() == before


def test_parts_cover_all_items_once():
    set_threads(3)
    for count in range(20):
        items = np.concatenate([np.arange(count)[part] for part in parts(count)])
        np.testing.assert_array_equal(items, np.arange(count))
    assert len(parts(20)) == 3 and len(parts(20, least=8)) == 2 and parts(5, least=8) == [slice(0, 5)]


def test_fewer_than_one_is_refused():
    with pytest.raises(ValueError, match="threads=0"):
        set_threads(0)


@pytest.mark.parametrize("told", [False, True])
def test_without_threadpoolctl_it_says_what_to_set(monkeypatch, told, recwarn):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "threadpoolctl":
            raise ImportError(name)
        return real(name, *args, **kwargs)
    monkeypatch.setattr(builtins, "__import__", without)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if told:
        monkeypatch.setenv(VARIABLES[0], "1")
    set_threads(2)
    assert [VARIABLES[0] in str(w.message) for w in recwarn] == ([] if told else [True])
