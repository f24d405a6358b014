"""Inputs and options of every equation, drawn: `calls("attention")` is a strategy of what `attention` may be called with.

CALLS holds one function an equation, named as in course/cases.py, from a `Draw` to (inputs, options).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from attnretrieval.backend import Array
from attnretrieval.course.cases import CASES, Inputs, Options
from attnretrieval.equations.dropout import draw_dropout
from attnretrieval.equations.triplet import VIOLATIONS
from tests.properties.strategies import Draw

CALLS: dict[str, Callable[[Draw], tuple[Inputs, Options]]] = {}


class Call(NamedTuple):
    """One call of an equation, ready to be made."""

    name: str
    inputs: Inputs
    options: Options
    rng: np.random.Generator        # for what a test still draws, such as the upstream gradient

    def changed(self, **inputs: Array | None) -> Call:
        return self._replace(inputs={**self.inputs, **inputs})

    def out(self) -> Array:
        return CASES[self.name].forward(**self.inputs, **self.options)[0]

    def upstream(self) -> Array:
        """A random upstream gradient."""
        out = self.out()
        return np.asarray(self.rng.normal(size=out.shape), out.dtype)

    def run(self, d_out: Array, **changed: Array | None) -> tuple[Array, dict[str, Array]]:
        """The output and the gradients by name ("Q", not "d_Q"), with some inputs changed."""
        case = CASES[self.name]
        out, cache = case.forward(**self.changed(**changed).inputs, **self.options)
        grads = case.backward(d_out, cache)._asdict()
        return out, {name.removeprefix("d_"): d_x for name, d_x in grads.items() if d_x is not None}


@st.composite
def calls(draw: Callable, name: str, **limits) -> Call:
    """A call of this equation; `limits` go to `Draw`."""
    drawn = Draw(draw, **limits)
    return Call(name, *CALLS[name](drawn), drawn.rng)


def call(*names: str) -> Callable:
    """Enters the decorated function in CALLS."""

    def enter(make: Callable[[Draw], tuple[Inputs, Options]]) -> Callable:
        CALLS.update(dict.fromkeys(names, make))
        return make

    return enter


# --- steps inside a modality -----------------------------------------------------------------------------------------


@call("softmax")
def _(d):
    (leading,), m = d.leading(), d.size()
    return {"S": d.floats(*leading, m), "mask": d.mask(leading, m)}, {}


@call("linear")
def _(d):
    (leading,), d_in, d_out = d.leading(), *d.sizes(2)
    return {"X": d.floats(*leading, d_in), "W": d.floats(d_in, d_out), "b": d.one_of((d.floats(d_out), None))}, {}


@call("attention")
def _(d):
    (Q, K, V), (n, m, d_k, d_v) = d.leading(3), d.sizes(4)
    mask = d.mask(np.broadcast_shapes(Q, K), m)
    return {"Q": d.floats(*Q, n, d_k), "K": d.floats(*K, m, d_k), "V": d.floats(*V, m, d_v), "key_mask": mask}, {}


@call("cosine_attention")
def _(d):
    (Q, K, V), (n, m, d_v), d_k = d.leading(3), d.sizes(3), d.width()
    mask = d.mask(np.broadcast_shapes(Q, K), m)
    return {"Q": d.vectors(*Q, n, d_k), "K": d.vectors(*K, m, d_k), "V": d.floats(*V, m, d_v),
            "log_scale": d.floats(scale=1.0), "key_mask": mask}, {}


@call("split_heads")
def _(d):
    (leading,), n, (width, heads) = d.leading(), d.size(), d.heads()
    return {"X": d.floats(*leading, n, width)}, {"heads": heads}


@call("join_heads")
def _(d):
    (leading,), n, (width, heads) = d.leading(), d.size(), d.heads()
    return {"X": d.floats(*leading, heads, n, width // heads)}, {}


@call("multi_head_attention")
def _(d):
    (leading,), (n, d_in, d_out), (width, heads) = d.leading(), d.sizes(3), d.heads()
    weights = {}
    for letter in "QKV":
        weights |= {f"W_{letter}": d.floats(d_in, width), f"b_{letter}": d.floats(width)}
    weights |= {"W_O": d.floats(width, d_out), "b_O": d.floats(d_out)}
    return {"X": d.floats(*leading, n, d_in), **weights, "mask": d.mask(leading, n)}, {"heads": heads}


@call("feed_forward")
def _(d):
    (leading,), (d_in, hidden, d_out) = d.leading(), d.sizes(3)
    return {"X": d.floats(*leading, d_in), "W_1": d.floats(d_in, hidden), "b_1": d.floats(hidden),
            "W_2": d.floats(hidden, d_out), "b_2": d.floats(d_out)}, {}


@call("layer_norm")
def _(d):
    (leading,), width = d.leading(), d.size()
    eps = d.one_of((1e-5, 1e-3, 0.5))
    return {"X": d.floats(*leading, width), "gain": d.floats(width), "bias": d.floats(width)}, {"eps": eps}


@call("position_code")
def _(d):
    (leading,), n, width, more = d.leading(), *d.sizes(2), d.draw(st.integers(0, 3))
    return {"X": d.floats(*leading, n, width), "E": d.floats(n + more, width)}, {}


@call("embedding")
def _(d):
    (leading,), n, rows, width = d.leading(), *d.sizes(3)
    return {"E": d.floats(rows, width), "ids": d.rng.integers(0, rows, (*leading, n))}, {}


@call("dropout")
def _(d):
    (leading,), n, width = d.leading(), *d.sizes(2)
    X = d.floats(*leading, n, width)
    shape = tuple(d.one_of((size, 1)) for size in X.shape)
    return {"X": X}, {"keep": draw_dropout(d.rng, shape, d.draw(st.floats(0, 0.99)), X)}


# --- steps across modalities -----------------------------------------------------------------------------------------


@call("l2_normalise")
def _(d):
    (leading,) = d.leading()
    return {"X": d.vectors(*leading, d.width())}, {}


@call("cross_attention")
def _(d):
    cosine = d.draw(st.booleans())
    (H, other), (n, m), (width, heads) = d.leading(2), d.sizes(2), d.heads(2 if cosine else 1)
    weights = {name: d.floats(width, width) if d.draw(st.booleans()) else None for name in ("W_Q", "W_K", "W_V")}
    return {"H": d.floats(*H, n, width), "H_other": d.floats(*other, m, width), "key_mask": d.mask(other, m), **weights,
            "log_scale": d.floats(scale=1.0) if cosine else None}, {"heads": heads}


def _token_and_context(d: Draw) -> Inputs:
    """C is None, "no other modality", one time in three."""
    (H, C), n, width = d.leading(2), *d.sizes(2)
    return {"H": d.floats(*H, n, width), "C": d.floats(*C, n, width) if d.one_of((True, True, False)) else None}


@call("fuse_add")
def _(d):
    return _token_and_context(d), {}


@call("fuse_concat")
def _(d):
    pair, d_out = _token_and_context(d), d.size()
    return {**pair, "W": d.floats(2 * pair["H"].shape[-1], d_out), "b": d.floats(d_out)}, {}


@call("fuse_gate")
def _(d):
    pair = _token_and_context(d)
    width = pair["H"].shape[-1]
    return {**pair, "W": d.floats(2 * width, width), "b": d.floats(width)}, {}


@call("pool_mean", "pool_max")
def _(d):
    (leading,), n, width = d.leading(), *d.sizes(2)
    return {"F": d.floats(*leading, n, width), "mask": d.mask(leading, n)}, {}


@call("pool_weights", "pool_attention")
def _(d):
    (leading,), n, width = d.leading(), *d.sizes(2)
    return {"F": d.floats(*leading, n, width), "u": d.floats(width), "mask": d.mask(leading, n)}, {}


# --- objective -------------------------------------------------------------------------------------------------------


@call("cosine_similarity")
def _(d):
    (t, v), (C, I), width = d.leading(2), d.sizes(2), d.width()
    return {"G_t": d.vectors(*t, C, width), "G_v": d.vectors(*v, I, width)}, {}


@call("token_cosine")
def _(d):
    (H, C), n, width = d.leading(2), d.size(), d.width()
    return {"H": d.vectors(*H, n, width), "C": d.vectors(*C, n, width)}, {}


@call("triplet_loss")
def _(d):
    positives = d.positives()
    options = {"margin": d.draw(st.floats(0, 2)), "violations": d.one_of(VIOLATIONS)}
    return {"S": d.floats(*positives.shape), "positives": positives}, options


@call("info_nce")
def _(d):
    """Logits S / τ of ordinary size: where every row is sure of its right answer the gradient is nothing but rounding."""
    positives, (low, high) = d.positives(), d.one_of(((0.01, 1.0), (0.1, 1.5)))
    tau = d.draw(st.floats(low / 2, 2 * high))                         # also beyond both ends of the range
    S = d.floats(*positives.shape, scale=min(max(tau, low), high) * d.one_of(d.scales))
    inputs = {"S": S, "log_temperature": np.asarray(np.log(tau), d.dtype), "positives": positives}
    return inputs, {"temperature_range": (low, high)}
