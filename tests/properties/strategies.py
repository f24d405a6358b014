"""What hypothesis draws for these tests: sizes, leading axes that broadcast, masks, dtypes, scales and layouts in memory.

`Draw` is one example in the making; calls.py builds the inputs of each equation from it. Hypothesis chooses everything but the
numbers in the arrays: these are normal draws from a seed that it chooses. They are in general position (no ties, no zeros), and
one seed is far cheaper than hundreds of floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from attnretrieval.backend import Array

DTYPES = (np.float64, np.float32)
EXTREME = (1.0, 1e4, 0.0, 1e-4)
SEEDS = st.integers(0, 2**32 - 1)


def _every_second(x: Array) -> Array:
    room = np.zeros([2 * size for size in x.shape], x.dtype)
    room[tuple(slice(None, None, 2) for _ in x.shape)] = x
    return room[tuple(slice(None, None, 2) for _ in x.shape)]


def _backwards(x: Array) -> Array:
    """A view with negative steps along every axis."""
    turn = tuple(slice(None, None, -1) for _ in x.shape)
    return np.ascontiguousarray(x[turn])[turn]


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": np.ascontiguousarray, "Fortran": np.asfortranarray, "strided": _every_second, "backwards": _backwards}


class Draw:
    """One example: each method draws one thing."""

    def __init__(self, draw: Callable, largest: int = 6, dtypes: Sequence[type] = DTYPES, scales: Sequence[float] = (1.0,)):
        self.draw, self.largest, self.scales = draw, largest, scales
        self.dtype = self.one_of(dtypes)
        self.rng = np.random.default_rng(draw(SEEDS))

    def one_of(self, choices: Sequence):
        return choices[0] if len(choices) == 1 else self.draw(st.sampled_from(choices))

    def size(self) -> int:
        return self.draw(st.integers(1, self.largest))

    def sizes(self, count: int) -> list[int]:
        return [self.size() for _ in range(count)]

    def leading(self, count: int = 1) -> list[tuple[int, ...]]:
        """Leading axes, at most two, of `count` arrays that broadcast against each other."""
        side = min(3, self.largest // 2)
        shapes = hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=2, max_side=side)
        return list(self.draw(shapes).input_shapes)

    def floats(self, *shape: int, scale: float | None = None) -> Array:
        """Normal numbers in the example's dtype, in some layout."""
        return self.laid_out(self._normal(shape, self.one_of(self.scales) if scale is None else scale))

    def vectors(self, *shape: int) -> Array:
        """As `floats`, for what is normalised: no row so short that the ε of the normalisation counts (it is 1e-12)."""
        x = self._normal(shape, 1.0)
        length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
        return self.laid_out(x * np.maximum(1, self.dtype(0.3) / length) * self.dtype(self.one_of(self.scales)))

    def _normal(self, shape: tuple[int, ...], scale: float) -> Array:
        return np.asarray(scale * self.rng.normal(size=shape), self.dtype)

    def laid_out(self, x: Array) -> Array:
        """The same values, somehow placed in memory."""
        return LAYOUTS[self.one_of(list(LAYOUTS))](x) if x.ndim else x

    def width(self) -> int:
        """The size of what is normalised, at least 2: one feature alone has a cosine of ±1, its gradient is rounding."""
        return self.draw(st.integers(2, max(2, self.largest)))

    def mask(self, leading: tuple[int, ...], n: int) -> Array | None:
        """None, or a mask that broadcasts to (*leading, n): fewer axes, axes of size 1, rows of False all occur."""
        if self.draw(st.booleans()):
            return None
        kept = leading[self.draw(st.integers(0, len(leading))):]
        shape = tuple(self.one_of((size, 1)) for size in kept) + (self.one_of((n, n, n, 1)),)
        return self.bools(*shape)

    def bools(self, *shape: int) -> Array:
        return self.laid_out(self.draw(hnp.arrays(bool, shape)))

    def positives(self) -> Array:
        """Which captions (rows) describe which images: any pattern with one right pair or more."""
        positives = self.bools(*self.sizes(2)).copy()
        if not positives.any():
            positives[0, -1] = True
        return positives

    def heads(self, least: int = 1) -> tuple[int, int]:
        """d and a number of heads that divides it, each of `least` features or more."""
        heads = self.draw(st.integers(1, 3))
        return heads * self.draw(st.integers(least, max(least, self.largest // heads))), heads


def close(actual: Array, expected: Array, tolerance: float = 1e-11, size: float = 0.0) -> None:
    """Equal but for rounding: relative to the largest value or to `size`, since sums in another order round by that."""
    size = max(size, np.abs(expected).max(initial=0), 1e-3)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * size)


def close_grads(actual: dict[str, Array], expected: dict[str, Array], tolerance: float = 1e-11) -> None:
    """The same of all gradients of a call, relative to the largest: some are 0 but for rounding, such as that of a key bias."""
    assert actual.keys() == expected.keys()
    size = max((np.abs(d_x).max(initial=0) for d_x in expected.values()), default=0.0)
    for key, d_x in expected.items():
        close(actual[key], d_x, tolerance, size)
