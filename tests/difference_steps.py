"""The figure of docs/gradient_check.md: how wrong a numerical derivative is, by the size of its step.

    python -m tests.difference_steps docs/gradient_check_steps.png

The derivative is that of L = Σ d_out ∘ softmax(s) along a direction v, at five scores. What is right is computed from the
formula in NumPy's longdouble, which has three digits more than float64 on most machines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from attnretrieval.backend import Array
from attnretrieval.figures.style import BLUE, GREEN, RED, new_figure, save

STEPS = 10.0 ** np.arange(-20, 0.01, 0.5)
SCORES, DIRECTION, UPSTREAM = np.random.default_rng(0).normal(size=(3, 5))


def softmax(s: Array) -> Array:
    E = np.exp(s - s.real.max())
    return E / E.sum()


def loss(t: complex) -> complex:
    return (UPSTREAM * softmax(SCORES + t * DIRECTION)).sum()


def exact() -> np.longdouble:
    s, v, u = (x.astype(np.longdouble) for x in (SCORES, DIRECTION, UPSTREAM))
    A = softmax(s)
    return (A * (u - (u * A).sum()) * v).sum()


METHODS: dict[str, tuple[str, str, Callable]] = {
    "2 points": (BLUE, "o-", lambda h: (loss(h) - loss(-h)) / (2 * h)),
    "5 points": (GREEN, "s--", lambda h: (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h)),
    "complex step": (RED, "^:", lambda h: loss(1j * h).imag / h),
}


def errors(method: str) -> Array:
    """The relative error for each of STEPS."""
    right = exact()
    return np.array([abs(METHODS[method][2](h) - right) / abs(right) for h in STEPS], dtype=float)


def draw() -> Figure:
    figure = new_figure(8, 4.6)
    figure.set_layout_engine("constrained")
    ax = figure.subplots()
    for name, (color, dash, _) in METHODS.items():
        ax.loglog(STEPS, np.maximum(errors(name), 1e-18), dash, color=color, markersize=4, linewidth=1.4, label=name)
    ax.axhline(np.finfo(float).eps, color="black", linewidth=0.8)
    ax.text(STEPS[-1], 1.4 * np.finfo(float).eps, "ε = 2.2e-16", ha="right", va="bottom", fontsize=9)
    ax.set_xlabel("step h")
    ax.set_ylabel("relative error of the derivative")
    ax.set_ylim(1e-18, 10)
    ax.grid(alpha=0.3)
    ax.legend(loc="upper center")
    return figure


if __name__ == "__main__":
    save(draw(), sys.argv[1])
