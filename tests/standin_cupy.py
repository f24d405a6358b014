"""A stand-in for CuPy on machines without a GPU: NumPy inside, and CuPy's refusals outside.

An equation that passes on it uses only names that CuPy has, mixes nothing with NumPy, and leaves no value to NumPy on the way.
It follows CuPy 14 where CuPy is stricter than NumPy, and is stricter still where CuPy would quietly copy between the sides:

- `numpy.asarray(x)`, `numpy.exp(x)` and `x + numpy_array` raise TypeError; `x.get()` and `cupy.asnumpy(x)` are the ways back;
- a NumPy array as an index or as the value of an assignment raises TypeError;
- reductions give arrays of no axes, never NumPy scalars; Python numbers and NumPy scalars may be operands;
- a function or method not listed here raises AttributeError, and so does `cupy.random`: random numbers are drawn on the host;
- `where=`, `initial=` and other arguments that CuPy lacks raise TypeError.

It says nothing about speed, kernels or rounding on a GPU. `make()` gives a fresh module to put in sys.modules["cupy"].
"""

from __future__ import annotations

import operator
from types import ModuleType
from typing import Any

import numpy as np

NUMBERS = (bool, int, float, complex, np.generic)

# names of CuPy 14 that take and give arrays: the part of its reference that a chain of equations may need
UFUNCS = """add subtract multiply divide true_divide floor_divide remainder power negative positive absolute abs sign reciprocal
    sqrt square cbrt exp expm1 exp2 log log1p log2 log10 sin cos tan sinh cosh tanh arctan arcsin arccos arctan2 maximum minimum
    fmax fmin equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not logical_xor bitwise_and
    bitwise_or bitwise_xor invert isfinite isinf isnan floor ceil rint trunc conj conjugate hypot signbit""".split()
FUNCTIONS = """sum prod mean var std max min amax amin argmax argmin any all cumsum cumprod where reshape ravel transpose
    swapaxes moveaxis expand_dims squeeze broadcast_to broadcast_arrays concatenate stack vstack hstack split tile repeat flip
    roll zeros_like ones_like empty_like full_like copy ascontiguousarray matmul dot inner outer tensordot einsum take
    take_along_axis nonzero flatnonzero argwhere count_nonzero sort argsort argpartition partition searchsorted unique bincount
    clip isclose allclose array_equal triu tril diag diagonal trace pad real imag angle around round isin""".split()
CREATION = "zeros ones empty full arange linspace eye identity tri".split()
CONSTANTS = """inf nan pi e newaxis float16 float32 float64 complex64 complex128 int8 int16 int32 int64 uint8 uint16 uint32
    uint64 bool_ intp dtype floating complexfloating integer finfo iinfo result_type promote_types""".split()
METHODS = """sum prod mean var std max min argmax argmin any all cumsum cumprod reshape ravel flatten transpose swapaxes
    squeeze repeat take nonzero argsort argpartition searchsorted diagonal trace clip round astype copy view conj conjugate
    dot""".split()
WITH_AT = {"add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"}
NO_ARGUMENTS = {"where", "initial", "subok", "order", "signature", "axes", "sorter", "like", "device"}


def _refuse(x: Any, what: str) -> None:
    raise TypeError(f"Unsupported type {type(x)}: CuPy does not take a NumPy array as {what}")


def _bare(x: Any, what: str = "an operand") -> Any:
    """The NumPy array inside, of every stand-in in `x`; raises where `x` holds a NumPy array."""
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, np.ndarray):
        _refuse(x, what)
    if isinstance(x, (tuple, list)):
        return type(x)(_bare(y, what) for y in x)
    return x


def _wrap(y: Any) -> Any:
    """A result as CuPy gives it: an array, also where NumPy gives a scalar."""
    if isinstance(y, (np.ndarray, np.generic)):
        return ndarray(np.asarray(y))
    if isinstance(y, (tuple, list)):
        return type(y)(_wrap(z) for z in y)
    return y


def _call(function: Any, args: tuple, kwargs: dict) -> Any:
    unknown = NO_ARGUMENTS & set(kwargs)
    if unknown:
        raise TypeError(f"Wrong arguments {sorted(unknown)}")
    if kwargs.get("kind", "stable") not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")
    out = kwargs.get("out")
    result = function(*_bare(args), **{name: _bare(x) for name, x in kwargs.items()})
    return out if isinstance(out, ndarray) else _wrap(result)


class ndarray:
    __module__ = "cupy"
    __array_ufunc__ = None      # numpy_array + x then asks x, which refuses
    __hash__ = None

    def __init__(self, host: np.ndarray) -> None:
        self._host = host

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    T = property(lambda self: ndarray(self._host.T))
    real = property(lambda self: ndarray(self._host.real))
    imag = property(lambda self: ndarray(self._host.imag))

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} got a CuPy array; write xp.{function.__name__}")

    def get(self) -> np.ndarray:
        return self._host.copy()

    def item(self, *args: int) -> Any:
        return self._host.item(*args)

    def tolist(self) -> Any:
        return self._host.tolist()

    def fill(self, value: Any) -> None:
        self._host.fill(_bare(value))

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return (ndarray(np.asarray(self._host[i, ...])) for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._host)

    def __int__(self) -> int:
        return int(self._host)

    def __float__(self) -> float:
        return float(self._host)

    def __complex__(self) -> complex:
        return complex(self._host)

    def __repr__(self) -> str:
        return repr(self._host)

    def __getitem__(self, index: Any) -> ndarray:
        y = self._host[_bare(index, "an index")]
        return ndarray(np.asarray(y))

    def __setitem__(self, index: Any, value: Any) -> None:
        self._host[_bare(index, "an index")] = _bare(value, "the value of an assignment")

    def __neg__(self) -> ndarray:
        return _wrap(-self._host)

    def __pos__(self) -> ndarray:
        return _wrap(+self._host)

    def __abs__(self) -> ndarray:
        return _wrap(abs(self._host))

    def __invert__(self) -> ndarray:
        return _wrap(~self._host)


def _operand(x: Any) -> Any:
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, NUMBERS):
        return x
    _refuse(x, "an operand")


def _add_operators() -> None:
    arithmetic = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
    for name in arithmetic:
        plain = getattr(operator, f"__{name}__")
        in_place = getattr(operator, f"__i{name}__")

        def forward(self, other, plain=plain):
            return _wrap(plain(self._host, _operand(other)))

        def reflected(self, other, plain=plain):
            return _wrap(plain(_operand(other), self._host))

        def changing(self, other, in_place=in_place):
            host = self._host
            changed = in_place(host, _operand(other))
            if changed is not host:                                    # NumPy turns 0-d results into scalars
                host[...] = changed
            return self

        setattr(ndarray, f"__{name}__", forward)
        setattr(ndarray, f"__r{name}__", reflected)
        setattr(ndarray, f"__i{name}__", changing)
    for name in "lt le eq ne gt ge".split():
        compare = getattr(operator, f"__{name}__")
        setattr(ndarray, f"__{name}__", lambda self, other, compare=compare: _wrap(compare(self._host, _operand(other))))
    for name in METHODS:
        method = getattr(np.ndarray, name)
        setattr(ndarray, name, lambda self, *args, method=method, **kwargs: _call(method, (self, *args), kwargs))


_add_operators()
ndarray.__hash__ = None


class Ufunc:
    """A ufunc that takes stand-ins and numbers; `at` where CuPy has it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        unknown = set(kwargs) - {"out", "dtype", "casting"}
        if unknown:
            raise TypeError(f"Wrong arguments {sorted(unknown)}")
        hosts = tuple(_operand(x) for x in args)
        out = kwargs.get("out")
        result = getattr(np, self.name)(*hosts, **{key: _bare(x) for key, x in kwargs.items()})
        return out if out is not None else _wrap(result)

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "at" and self.name in WITH_AT:
            return self._at
        raise AttributeError(f"cupy.{self.name} has no {attribute} in this stand-in")

    def _at(self, a: ndarray, indices: Any, b: Any) -> None:
        if not isinstance(a, ndarray):
            _refuse(a, "the array that ufunc.at changes")
        getattr(np, self.name).at(a._host, _bare(indices, "an index"), _operand(b))


def _function(name: str) -> Any:
    function = getattr(np, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        if name == "where" and not isinstance(args[0], ndarray):
            raise AttributeError(f"{type(args[0]).__name__!r} object has no attribute 'astype'")
        joined = args[0] if name in ("concatenate", "stack") else args if name in ("matmul", "dot") else ()
        if not all(isinstance(x, ndarray) for x in joined):
            raise TypeError(f"cupy.{name} takes CuPy arrays only")
        return _call(function, args, kwargs)

    return call


def _asarray(x: Any, dtype: Any = None, *, copy: bool | None = None) -> ndarray:
    """The way to the device: takes NumPy arrays, numbers and lists."""
    if isinstance(x, ndarray):
        return x if dtype in (None, x.dtype) and not copy else ndarray(x._host.astype(dtype or x.dtype))
    return ndarray(np.array(x, dtype=dtype))


def _asnumpy(x: Any) -> np.ndarray:
    return x.get() if isinstance(x, ndarray) else np.asarray(x)


class Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name == "random":
            raise AttributeError("cupy.random: draw random numbers on the host, so that a seed gives one run on every device")
        raise AttributeError(f"module 'cupy' has no attribute {name!r}, or tests/standin_cupy.py does not list it")


def make(available: bool = True) -> ModuleType:
    """A fresh module; `available=False` is CuPy on a machine without a driver."""
    cupy = Module("cupy")
    cupy.__dict__.update({name: Ufunc(name) for name in UFUNCS})
    cupy.__dict__.update({name: _function(name) for name in FUNCTIONS + CREATION})
    cupy.__dict__.update({name: getattr(np, name) for name in CONSTANTS})
    cupy.ndarray = ndarray
    cupy.asarray = _asarray
    cupy.array = lambda x, dtype=None: _asarray(x, dtype, copy=True)
    cupy.asnumpy = _asnumpy
    cupy.is_available = lambda: available
    return cupy
