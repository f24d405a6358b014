"""Does this forward compute its formula? Every equation on every case against the loops of reference.py.

    for value in check_values("attention"):
        print(value)
    assert all(value.passed for value in check_values("attention", my_attention))

A gradient check compares a backward with its own forward. Where both are wrong in the same way (1/d_k for 1/√d_k, a mean for a
sum, a mask that is forgotten) it has nothing to object, and this is the check that does. Besides the cases of cases.py it tries
inputs on which a forward may break although its formula is right: very large scores, whatever stands in the padding, zero
vectors, rows of equal values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course import confused_losses, reference
from attnretrieval.course.cases import CASES, NO_REGION, Draw, Inputs, Options
from attnretrieval.course.confusions import CONFUSIONS as FORMULAS
from attnretrieval.gradcheck.calls import Broken, call_forward
from attnretrieval.gradcheck.diagnosis import Diagnosis, Wrong, diagnose_output
from attnretrieval.gradcheck.run import Run, copy_of
from attnretrieval.shapes import check_choice

EPS = 1e-12                 # the ε of l2_normalise
CONFUSIONS = {**FORMULAS, "info_nce": confused_losses.info_nce, "triplet_loss": confused_losses.triplet_loss}
TOLERANCE = 1e-9            # of a value, relative to the largest of its case: loops and products round differently


class Value(NamedTuple):
    name: str               # the equation and the case
    error: float            # the largest difference, relative to the largest value
    problem: str            # "" where there is none
    diagnosis: str = ""     # a short name of the fault; "" where none explains it
    extreme: bool = False   # one of EXTREMES below
    raised: Exception | None = None     # as in a Report

    @property
    def passed(self) -> bool:
        return not self.problem

    def __str__(self) -> str:
        return f"{self.name}: {self.problem or f'the value of the formula, error {self.error:.1e}'}"


def check_values(
    name: str, forward: Callable | None = None, rng: np.random.Generator | None = None,
    cases: Mapping[str, tuple[Inputs, Options]] | None = None,
) -> Iterator[Value]:
    """The equation `name` case by case, small cases first; `forward` and `cases` stand in for ours."""
    check_choice("equation", name, CASES)
    draw, extreme = Draw(rng or np.random.default_rng(0), np.float64), {}
    if cases is None:
        ordinary, extreme = CASES[name].make(draw.rng, np.float64), EXTREMES.get(name, lambda draw: {})(draw)
        cases = dict(sorted({**ordinary, **extreme}.items(), key=lambda item: size(item[1][0])))
    for label, (inputs, options) in cases.items():
        expected = np.asarray(REFERENCES[name](**inputs, **options))
        with np.errstate(all="ignore"):
            try:
                mine = {key: copy_of(x) for key, x in inputs.items()}
                out, _ = call_forward(forward or CASES[name].forward, {**mine, **options})
            except Broken as broken:
                yield Value(f"{name}, {label}", np.nan, str(broken), raised=broken.error)
                continue
            # the equation itself says what it would give for other arguments
            call = Run(CASES[name].forward, CASES[name].backward, inputs, options, draw.rng)
            value = _compare(name, label, out, expected, call)
        yield value._replace(extreme=label in extreme)


def size(inputs: Inputs) -> int:
    """The number of values in these inputs."""
    return sum(x.size for x in inputs.values() if x is not None)


def _compare(equation: str, label: str, out: Array | tuple[Array, ...], expected: Array, call: Run) -> Value:
    name = f"{equation}, {label}"
    if isinstance(out, tuple):
        return Value(name, np.nan, f"the output is a tuple of {len(out)}, the formula gives one array", "wrong shape")
    actual = np.asarray(out)
    if actual.shape != expected.shape:
        return Value(name, np.inf, f"the output has shape {actual.shape}, the formula gives {expected.shape}", "wrong shape")
    if not expected.size:
        return Value(name, 0.0, "")
    difference = np.nan_to_num(np.abs(actual - expected), nan=np.inf, posinf=np.inf)
    error = float(difference.max() / max(float(np.abs(expected).max()), 1e-300)) if difference.any() else 0.0
    if error <= TOLERANCE:
        return Value(name, error, "")
    worst = np.unravel_index(int(difference.argmax()), difference.shape)
    where = f" at {[int(i) for i in worst]}" if worst else ""
    problem = f"the largest difference{where}: the formula gives {expected[worst]:.6g}, the forward gave {actual[worst]:.6g}"
    wrong = Wrong(call, "the output", actual, expected, {}, 10 * TOLERANCE, 1e-3 * float(np.linalg.norm(expected)))
    found = _confusion(equation, wrong)
    if found is None and np.all(np.isfinite(actual)):
        found = diagnose_output(wrong)
    if found is None:
        return Value(name, error, problem, "" if np.all(np.isfinite(actual)) else "not finite")
    return Value(name, error, f"{problem}; {found.text}", found.code)


def _confusion(equation: str, wrong: Wrong) -> Diagnosis | None:
    """A known formula that gives what the forward gave."""
    if equation not in CONFUSIONS:
        return None
    for code, text, supposed in CONFUSIONS[equation](**wrong.run.inputs, **wrong.run.options):
        if supposed.shape == wrong.expected.shape and not wrong.close(supposed, wrong.expected) and wrong.explains(supposed):
            return Diagnosis(code, f"it is {text}")
    return None


# --- the loops, laid over batches ------------------------------------------------------------------------------------


def _each(function: Callable, *arrays: tuple[Array | None, int]) -> Array:
    """`function` on every item of a batch. Each array comes with the number of axes of one item; the leading ones broadcast."""
    leading = np.broadcast_shapes(*(x.shape[:x.ndim - own] for x, own in arrays if x is not None))
    spread = [None if x is None else np.broadcast_to(x, leading + x.shape[x.ndim - own:]) for x, own in arrays]
    results = [np.asarray(function(*(None if x is None else x[i] for x in spread))) for i in np.ndindex(*leading)]
    return np.array(results).reshape(leading + results[0].shape)


def _tokens(mask: Array | None, X: Array) -> Array | None:
    """The mask, one entry a token of X: a mask (..., 1) speaks of whole sequences."""
    return None if mask is None else np.broadcast_to(mask, (*mask.shape[:-1], X.shape[-2]))


def _softmax(S, mask=None):
    return _each(reference.softmax, (S, 1), (None if mask is None else np.broadcast_to(mask, S.shape), 1))


def _linear(X, W, b):
    return _each(lambda x: reference.linear([x], W, b)[0], (X, 1))


def _attention(Q, K, V, key_mask=None):
    return _each(lambda *item: reference.attention(*item)[0], (Q, 2), (K, 2), (V, 2), (_tokens(key_mask, K), 1))


def _multi_head(X, mask=None, heads=1, **weights):
    return _each(lambda x, m: reference.multi_head(x, weights, m, heads), (X, 2), (_tokens(mask, X), 1))


def _feed_forward(X, **weights):
    return _each(lambda x: reference.feed_forward(x, **weights), (X, 1))


def _layer_norm(X, gain, bias, eps=1e-5):
    return _each(lambda x: reference.layer_norm(x, gain, bias, eps), (X, 1))


def _cosine_attention(Q, K, V, log_scale, key_mask=None):
    def loop(q, k, v, mask):
        return reference.cosine_attention(q, k, v, log_scale, mask, EPS)

    return _each(loop, (Q, 2), (K, 2), (V, 2), (_tokens(key_mask, K), 1))


def _cross_attention(H, H_other, key_mask=None, **options):
    mask = _tokens(key_mask, H_other)
    return _each(lambda h, o, m: reference.cross_attention(h, o, m, **options, eps=EPS), (H, 2), (H_other, 2), (mask, 1))


def _fuse(kind: str) -> Callable:
    return lambda H, C, **weights: _each(lambda h, c: reference.fuse(kind, h, c, **weights), (H, 2), (C, 2))


def _pool(loop: Callable) -> Callable:
    return lambda F, mask=None, **query: _each(lambda f, m: loop(f, mask=m, **query), (F, 2), (_tokens(mask, F), 1))


def _cosine_similarity(G_t, G_v):
    return _each(lambda t, v: [[reference.cosine(a, b, EPS) for b in v] for a in t], (G_t, 2), (G_v, 2))


def _info_nce(S, log_temperature, positives, temperature_range=(0.01, 1.0)):
    low, high = temperature_range
    return reference.info_nce(S, positives, min(max(float(np.exp(log_temperature)), low), high))


REFERENCES: dict[str, Callable] = {
    "softmax": _softmax,
    "linear": _linear,
    "attention": _attention,
    "split_heads": lambda X, heads: _each(lambda x: reference.split_heads(x, heads), (X, 2)),
    "join_heads": lambda X: _each(reference.join_heads, (X, 3)),
    "multi_head_attention": _multi_head,
    "feed_forward": _feed_forward,
    "layer_norm": _layer_norm,
    "position_code": lambda X, E: _each(lambda x: reference.position_code(x, E), (X, 2)),
    "embedding": lambda E, ids: _each(lambda one: reference.embedding(E, one), (ids, 1)),
    "dropout": lambda X, keep: _each(reference.dropout, (X, 1), (np.broadcast_to(keep, X.shape), 1)),
    "l2_normalise": lambda X: _each(lambda x: reference.normalised(x, EPS), (X, 1)),
    "cosine_attention": _cosine_attention,
    "cross_attention": _cross_attention,
    "fuse_add": _fuse("add"),
    "fuse_concat": _fuse("concat"),
    "fuse_gate": _fuse("gate"),
    "pool_mean": _pool(reference.pool_mean),
    "pool_max": _pool(reference.pool_max),
    "pool_weights": _pool(reference.pool_weights),
    "pool_attention": _pool(reference.pool_attention),
    "cosine_similarity": _cosine_similarity,
    "token_cosine": lambda H, C: _each(lambda h, c: reference.cosine(h, c, EPS), (H, 1), (C, 1)),
    "triplet_loss": lambda S, positives, margin=0.2, violations="sum": reference.triplet(S, positives, margin, violations),
    "info_nce": _info_nce,
}


# --- inputs on which a forward may break although its formula is right -----------------------------------------------

Extreme = dict[str, tuple[Inputs, Options]]


def _padded(X: Array, mask: Array, padding: float) -> Array:
    return np.where(mask.reshape(mask.shape + (1,) * (X.ndim - mask.ndim)), X, padding)


def _extreme_softmax(draw: Draw) -> Extreme:
    return {
        "rows far apart": ({"S": np.array([[1e4, 9999.0, 0.0], [-1e4, -9999.0, -1e4]])}, {}),
        "large scores, masked": ({"S": 1e4 + 100 * draw(*NO_REGION.shape), "mask": NO_REGION}, {}),
        "equal scores": ({"S": np.full((2, 3), 7.0)}, {}),
        **{f"{padding} in the padding": ({"S": _padded(draw(*NO_REGION.shape), NO_REGION, padding), "mask": NO_REGION}, {})
           for padding in (1e9, -1e9, np.inf, np.nan)},
    }


def _extreme_attention(draw: Draw) -> Extreme:
    Q, K, V = draw(3, 2, 4), draw(3, 5, 4), draw(3, 5, 2)
    return {"large numbers in the padding": (
        {"Q": Q, "K": _padded(K, NO_REGION, 1e6), "V": _padded(V, NO_REGION, -1e6), "key_mask": NO_REGION}, {})}


def _extreme_layer_norm(draw: Draw) -> Extreme:
    return {"a row of equal values": ({"X": np.array([[3.0] * 4, [1.0, 2.0, 3.0, 4.0]]), "gain": draw(4), "bias": draw(4)}, {}),
            "far from 0": ({"X": 1000 + draw(2, 4), "gain": draw(4), "bias": draw(4)}, {})}


def _extreme_pool(**extra: tuple[int, ...]) -> Callable[[Draw], Extreme]:
    def make(draw: Draw) -> Extreme:
        query = {name: draw(*shape) for name, shape in extra.items()}
        below_zero = -1 - np.abs(draw(*NO_REGION.shape, 4))
        padded = _padded(draw(*NO_REGION.shape, 4), NO_REGION, 1e6)
        return {
            "all below 0": ({"F": below_zero, "mask": NO_REGION, **query}, {}),
            "far below 0": ({"F": 1e4 * below_zero, "mask": NO_REGION, **query}, {}),
            "large numbers in the padding": ({"F": padded, "mask": NO_REGION, **query}, {}),
            "equal tokens": ({"F": np.ones((3, 4)), **query}, {}),
        }
    return make


def _zero_vector(*names: str) -> Callable[[Draw], Extreme]:
    def make(draw: Draw) -> Extreme:
        inputs = {name: draw(3, 4) for name in names}
        inputs[names[-1]][1] = 0
        inputs[names[-1]][2] *= 1e-6                                   # so short that ε shows
        return {"a zero vector and a short one": (inputs, {})}
    return make


def _extreme_info_nce(draw: Draw) -> Extreme:
    return {"confident scores": ({"S": 20 * draw(3, 3), "log_temperature": np.asarray(np.log(0.02)),
                                  "positives": np.eye(3, dtype=bool)}, {})}


EXTREMES: dict[str, Callable[[Draw], Extreme]] = {
    "softmax": _extreme_softmax,
    "attention": _extreme_attention,
    "layer_norm": _extreme_layer_norm,
    "pool_mean": _extreme_pool(),
    "pool_max": _extreme_pool(),
    "pool_weights": _extreme_pool(u=(4,)),
    "pool_attention": _extreme_pool(u=(4,)),
    "l2_normalise": _zero_vector("X"),
    "cosine_similarity": _zero_vector("G_t", "G_v"),
    "token_cosine": _zero_vector("H", "C"),
    "info_nce": _extreme_info_nce,
}
