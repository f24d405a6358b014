"""Read a state dict from PyTorch's legacy file format, without PyTorch and without running code from the file.

The file is five pickles and then the raw numbers, all little-endian:

    magic number | protocol 1001 | machine facts | state dict | storage keys | for each key: int64 count, then the elements

In the state dict a tensor is a call `_rebuild_tensor_v2(storage, offset, size, stride, ...)`, and `storage` a "persistent id"
that names one of the storages behind. A pickle may name any function of any module; `_Unpickler` answers to the few names in
`_GLOBALS` and refuses all others, so a hostile file cannot call anything. Counts, offsets, sizes and strides come from the
file too: all are checked before they are used.

Format: `torch/serialization.py`, `_legacy_save` and `_legacy_load`.
"""

from __future__ import annotations

import math
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from attnretrieval.inputs.files import InputError, need_file

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


class TorchFileError(InputError):
    """The file is not a legacy PyTorch state dict, is damaged, or asks for more than numbers."""


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    count: int  # elements


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int               # all three in elements of the storage
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _StorageType(NamedTuple):
    dtype: np.dtype


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
    """What stands in for `torch._utils._rebuild_tensor_v2`: notes the request, and reads nothing yet."""
    numbers = [offset, *size, *stride]
    if not isinstance(storage, _Storage) or len(size) != len(stride):
        raise TorchFileError("it holds a tensor without a storage, or with as many strides as axes missing")
    if not all(type(i) is int and i >= 0 for i in numbers):
        raise TorchFileError(f"it holds a tensor whose offset, size or stride is no count: {numbers}")
    tensor = _Tensor(storage, offset, tuple(size), tuple(stride))
    count = math.prod(tensor.size)
    last = offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True))
    if count > storage.count or (count and last >= storage.count):
        raise TorchFileError(f"it holds a tensor of size {tensor.size} that reaches outside its storage of "
                             f"{storage.count} elements (offset {offset}, stride {tensor.stride})")
    return tensor


_GLOBALS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): _StorageType(np.dtype("<f4")),
    ("torch", "LongStorage"): _StorageType(np.dtype("<i8")),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _GLOBALS[module, name]
        except KeyError:
            raise TorchFileError(f"it asks for {module}.{name}, which a file of weights has no use for; not loaded") from None

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", _StorageType(dtype=dtype), str(key), _, int(count), None) if count >= 0:
                return _Storage(key, dtype, count)
        raise TorchFileError(f"it holds a storage in an unknown form: {pid!r:.80}")


def _unpickle(file: BinaryIO) -> Any:
    try:
        return _Unpickler(file).load()
    except TorchFileError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to provoke
        raise TorchFileError(f"it is cut off or damaged ({type(error).__name__}: {error})") from error


def _read_storage(file: BinaryIO, storage: _Storage) -> np.ndarray:
    (count,) = np.frombuffer(_read(file, 8), dtype="<i8")
    if count != storage.count:
        raise TorchFileError(f"storage {storage.key} holds {count} elements, its tensors expect {storage.count}")
    return np.frombuffer(_read(file, storage.count * storage.dtype.itemsize), dtype=storage.dtype)


def _read(file: BinaryIO, size: int) -> bytes:
    left = os.fstat(file.fileno()).st_size - file.tell()
    if size > left:
        raise TorchFileError(f"it is cut off: {size} bytes expected at byte {file.tell()}, {left} are left")
    return file.read(size)


def _tensors(state: Any) -> dict[str, _Tensor]:
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(t, _Tensor) for k, t in state.items()):
        raise TorchFileError("it is no state dict, a mapping from names to tensors")
    return dict(state)


def _read_state(file: BinaryIO) -> dict[str, np.ndarray]:
    if file.peek(2)[:2] == b"PK":
        raise TorchFileError("it is in the zip format of PyTorch 1.6 and later; save it with "
                             "torch.save(..., _use_new_zipfile_serialization=False)")
    if _unpickle(file) != _MAGIC or _unpickle(file) != _PROTOCOL:
        raise TorchFileError("it is no PyTorch file in the legacy format (wrong magic number or protocol)")
    _unpickle(file)  # sizes of short, int and long where it was written: no storage here depends on them
    tensors = _tensors(_unpickle(file))
    storages: dict[str, _Storage] = {}
    for storage in (tensor.storage for tensor in tensors.values()):
        # a tensor was checked against what it says of its storage: all must say the same
        if storages.setdefault(storage.key, storage) != storage:
            raise TorchFileError(f"two of its tensors describe the storage {storage.key} differently")
    keys = _unpickle(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise TorchFileError("its list of storages does not match its tensors")
    numbers = {key: _read_storage(file, storages[key]) for key in keys}
    return {name: _strided(numbers[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _strided(numbers: np.ndarray, tensor: _Tensor) -> np.ndarray:
    """A contiguous copy of the elements that the tensor's offset, size and stride pick out of its storage."""
    steps = tuple(step * numbers.itemsize for step in tensor.stride)
    try:
        view = np.lib.stride_tricks.as_strided(numbers[tensor.offset:], tensor.size, steps, writeable=False)
    except (ValueError, OverflowError) as error:    # an axis of length 0 lets the other axes be as long as they like
        raise TorchFileError(f"it holds a tensor of size {tensor.size} and stride {tensor.stride}: {error}") from error
    return view.copy(order="C")


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Names and arrays of a legacy PyTorch state dict of float32 and int64 tensors, in the order of the file.

    Raises `TorchFileError` for anything that is not such a file.
    """
    with open(need_file(path, "the file of weights"), "rb") as file:
        try:
            return _read_state(file)
        except TorchFileError as error:
            raise TorchFileError(f"{path}: {error}") from error.__cause__
