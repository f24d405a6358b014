"""One use of an equation, and the few steps that several recipes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.run import is_float

Grads = dict[str, Array | None]


class Call(NamedTuple):
    """A forward, a backward and their arguments. A recipe may write into `inputs`: make a new Call for each."""

    forward: Callable
    backward: Callable
    inputs: dict[str, Any]
    options: dict[str, Any]
    truth: tuple[Callable, Callable]    # a right forward and backward, for recipes that compare with another implementation

    @property
    def floats(self) -> list[str]:
        """The inputs that have a gradient."""
        return [name for name, x in self.inputs.items() if is_float(x)]

    def run(self) -> tuple[Array, Any]:
        """The output and the cache."""
        out, cache = self.forward(**self.inputs, **self.options)
        return np.array(out), cache

    def out(self, **moved: Array) -> Array:
        """The output, with other values for some inputs."""
        return np.array(self.forward(**{**self.inputs, **moved}, **self.options)[0])

    def gradients(self, d_out: Array, cache: Any) -> Grads:
        grads = self.backward(d_out.copy(), cache)
        return {name: None if (d_x := getattr(grads, f"d_{name}", None)) is None else np.array(d_x) for name in self.floats}

    def in_dtype(self, dtype: type) -> Call:
        """The same call with all floating-point arrays in this dtype."""
        inputs, options = ({name: x.astype(dtype) if is_float(x) else x for name, x in given.items()}
                           for given in (self.inputs, self.options))
        return self._replace(inputs=inputs, options=options)

    def by_truth(self) -> Call:
        forward, backward = self.truth
        return self._replace(forward=forward, backward=backward)


def upstream(out: Array, rng: np.random.Generator) -> Array:
    """Normal draws; 1 for a loss, which is where backpropagation starts."""
    return rng.normal(size=out.shape) if out.ndim else np.ones(())


def moved(call: Call, name: str, i: tuple[int, ...], h: float) -> tuple[Array, Array]:
    """The outputs with one element of an input moved up and down by h, in place; it is put back afterwards."""
    x = call.inputs[name]
    kept = x[i]
    x[i] = kept + h
    above = call.out()
    x[i] = kept - h
    below = call.out()
    x[i] = kept
    return above, below


def central_difference(call: Call, name: str, d_out: Array, h: float) -> Array:
    """dL/dx of L = Σ d_out ∘ out, element by element, with two points."""
    slopes = np.zeros(call.inputs[name].shape)
    for i in np.ndindex(slopes.shape):
        above, below = moved(call, name, i, h)
        slopes[i] = ((above - below) * d_out).sum() / (2 * h)
    return slopes


def have_shapes(call: Call, grads: Grads) -> bool:
    """Every input has a gradient, of its own shape."""
    return all(d_x is not None and d_x.shape == call.inputs[name].shape for name, d_x in grads.items())


def summed_to(d_x: Array, shape: tuple[int, ...]) -> Array:
    """A gradient of the shape to which x broadcasts, summed down to the shape of x: an unsummed bias gradient becomes right."""
    lead = d_x.ndim - len(shape)
    wide = [axis for axis in range(d_x.ndim) if axis < lead or shape[axis - lead] != d_x.shape[axis]]
    if lead < 0 or any(shape[axis - lead] != 1 for axis in wide if axis >= lead):
        raise ValueError(f"a gradient of shape {d_x.shape} cannot be summed down to {shape}")
    return d_x.sum(axis=tuple(wide)).reshape(shape)


def close(actual: Array, expected: Array, *, atol: float, rtol: float, equal_nan: bool = False) -> bool:
    """|actual - expected| <= atol + rtol |expected| everywhere; `equal_nan` as NumPy's assert_allclose has it."""
    return bool(np.allclose(actual, expected, atol=atol, rtol=rtol, equal_nan=equal_nan))
