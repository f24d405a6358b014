"""When two arrays of one quantity, ours and torch's, are called equal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

VALUE, GRADIENT = 1e-12, 1e-10      # largest relative errors
NOTHING = 1e-3                      # of the largest gradient: a gradient below this is measured by it


def check_value(ours: np.ndarray, theirs: np.ndarray, where: str = "") -> None:
    """Norm-wise relative error of a forward pass."""
    check_one(ours, theirs, VALUE, 0.0, where or "value")


def check_gradients(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], where: str = "") -> None:
    """Norm-wise relative error of the gradient of every input.

    Some gradients are 0 but for rounding: that of a bias of all keys, which a softmax does not feel, or of a key on which no
    query rests. They are measured by the gradients beside them.
    """
    assert set(ours) == set(theirs)
    least = NOTHING * max((np.linalg.norm(d) for d in theirs.values()), default=0.0)
    for name, d in ours.items():
        check_one(d, theirs[name], GRADIENT, least, f"{where}: gradient of {name}")


def check_one(ours: np.ndarray, theirs: np.ndarray, tolerance: float, least: float, where: str) -> None:
    assert ours.shape == theirs.shape, where
    error, scale = np.linalg.norm(ours - theirs), max(np.linalg.norm(theirs), least)
    assert error <= tolerance * scale, f"{where}: relative error {error / scale if scale else error:.1e}, at most {tolerance}"
