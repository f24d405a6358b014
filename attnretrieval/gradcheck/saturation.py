"""Saturation: where little is left of a gradient, rounding is a large part of it.

A tanh at 5, a softmax that is sure of its choice, an InfoNCE whose right pairs are far ahead: the gradient is 1 - t² or P - 1,
a small difference of numbers near 1, and as inexact as they are. Measured against itself, this rounding looks like an error:
t = 0.9998 in float32 leaves 1 - t² three digits. Measured against what the gradient is where nothing is saturated, it is
rounding.

So the size of the gradient and of the outputs is also taken at smaller inputs: one input, or all of them, times 1/2, 1/4, 1/8,
1/16. A size is all that is needed: one slope along one random direction for each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.calls import Broken, NoAnswer
from attnretrieval.gradcheck.run import MOST, Run, step

SHRINK = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
STEP = 1e-6


def measure_usual(run: Run) -> None:
    """Fill in `run.usual` and `run.usual_out`: the largest at any of the smaller inputs, 0 where none is finite."""
    (rng,) = run.rng.spawn(1)                                          # the draws of the checks stay as they are
    gradient, outputs = 0.0, np.zeros(len(run.out))
    for inputs in _smaller(run):
        directions = {name: rng.normal(size=inputs[name].shape) for name in run.floats}
        try:
            with np.errstate(all="ignore"):
                ahead, back = ({**inputs, **{name: step(inputs[name], s * STEP, v) for name, v in directions.items()}}
                               for s in (1, -1))
                slope = abs(run.loss(ahead) - run.loss(back)) / (2 * STEP)
                sizes = np.array([np.linalg.norm(y) for y in run.outputs(inputs)])
        except Broken as broken:
            if isinstance(broken.error, NoAnswer):
                raise
            continue                                                   # no fault: these inputs are not the caller's
        if np.isfinite(slope) and np.all(np.isfinite(sizes)):
            gradient, outputs = max(gradient, float(slope)), np.maximum(outputs, sizes)
    run.usual, run.usual_out = gradient, tuple(map(float, outputs))
    if 0 < MOST * run.here < run.usual:
        run.notes.append(f"the gradient, of size {run.here:.1e}, is saturated: at smaller inputs its size is {run.usual:.1e}; "
                         "little but rounding may be left of it: draw smaller inputs")


def _smaller(run: Run) -> Iterator[dict[str, Array | None]]:
    """All inputs made smaller, and each by itself."""
    names = run.floats
    for group in [names, *([name] for name in names if len(names) > 1)]:
        for t in SHRINK:
            yield {**run.inputs, **{name: np.asarray(t * run.inputs[name]) for name in group}}
