"""Two things that several equations do to axes; no equation of its own."""

from __future__ import annotations

from attnretrieval.backend import Array


def swap(X: Array) -> Array:
    """Xᵀ of every matrix in a batch: the last two axes exchanged, as a view."""
    return X.swapaxes(-1, -2)


def sum_to(d_X: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of an input of this `shape` that was broadcast: summed over every axis along which it was repeated.

    Broadcasting copies one value to many places; by the chain rule its gradient is the sum over those places.
    """
    if d_X.shape == shape:
        return d_X
    extra = d_X.ndim - len(shape)
    repeated = tuple(range(extra)) + tuple(
        extra + i for i, size in enumerate(shape) if size == 1 and d_X.shape[extra + i] != 1
    )
    return d_X.sum(axis=repeated, keepdims=True).reshape(shape)
