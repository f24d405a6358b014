"""NumPy or CuPy: the only file that knows one from the other.

Every equation asks once, at its top, which module its arrays belong to, and then writes `xp.exp`, `xp.sqrt`, …:

    xp = module_of(Q, K, V)

The arrays decide: NumPy arrays stay on the CPU, CuPy arrays on the GPU, and a call that mixes the two raises
`MixedArraysError` instead of copying behind the reader's back. `module("gpu")`, `to_device` and `to_host` are the only
ways from one side to the other.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray: the two share no base class

DEVICES = ("cpu", "gpu")
MANY = 100_000          # numbers from which on `scatter_add` takes its fast way; may be changed


class MixedArraysError(TypeError):
    """One call received NumPy and CuPy arrays together."""


class DeviceUnavailableError(RuntimeError):
    """The GPU was asked for on a machine that cannot give one."""


def _is_cupy(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] == "cupy"


def is_array(x: Any) -> bool:
    """True for a NumPy or CuPy array, False for everything else (None, numbers, lists)."""
    return isinstance(x, np.ndarray) or _is_cupy(x)


def module_of(*arrays: Any) -> ModuleType:
    """The module, `numpy` or `cupy`, that these arrays belong to.

    None and Python numbers belong to both and are passed over. Raises `MixedArraysError` when both kinds came.
    """
    if all([x is None or type(x) is np.ndarray for x in arrays]):
        return np                       # the usual case, at the door of every equation
    on_gpu = [_is_cupy(x) for x in arrays if is_array(x)]
    if not any(on_gpu):
        return np
    if not all(on_gpu):
        raise MixedArraysError(
            "this call mixes NumPy and CuPy arrays; move them all to one side first "
            '(backend.to_device(x, "gpu") or backend.to_host(x))'
        )
    return sys.modules["cupy"]


def module(device: str) -> ModuleType:
    """The array module for `device`: "cpu" gives numpy; "gpu" gives cupy, or says why there is none."""
    if device not in DEVICES:
        raise ValueError(f"device={device!r} is not one of {', '.join(DEVICES)}")
    if device == "cpu":
        return np
    try:
        import cupy
    except ImportError as error:
        raise DeviceUnavailableError(
            'device="gpu" needs CuPy, which is not installed: pip install "attnretrieval[gpu]", or use device="cpu"'
        ) from error
    # With CuPy installed and no driver the import works and only the first array fails, with a long CUDA trace.
    if not cupy.is_available():
        raise DeviceUnavailableError(
            'device="gpu": CuPy is installed but finds no CUDA device or driver here; use device="cpu"'
        )
    return cupy


def to_device(x: Array, device: str) -> Array:
    """`x` on `device`; the same object when it is there already."""
    xp = module(device)
    if xp is np:
        return to_host(x)
    return xp.asarray(x)


def to_host(x: Array) -> np.ndarray:
    """`x` as a NumPy array; the same object when it is one already."""
    return x.get() if _is_cupy(x) else x


def scatter_add(target: Array, index: Array, values: Array) -> None:
    """`target[index[i]] += values[i]` for every i, repeated indices adding up; changes `target` in place.

    A plain `target[index] += values` would keep only one of several contributions to a repeated index.
    `target` (R, …), `index` (M,) of integers, `values` (M, …).
    """
    xp = module_of(target, index, values)
    if xp is np and values.size >= max(MANY, 1) and 0 <= index.min() and index.max() < len(target):
        from scipy.sparse import csc_array  # late: its import takes as long as that of this package

        # a product with a sparse P, whose column i has its 1 in the row of index[i]
        rows, row = np.unique(index, return_inverse=True)
        P = csc_array((np.ones(len(index), values.dtype), row, np.arange(len(index) + 1)), shape=(len(rows), len(index)))
        target[rows] += (P @ values.reshape(len(index), -1)).reshape(len(rows), *values.shape[1:])
    else:
        xp.add.at(target, index, values)
