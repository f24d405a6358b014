"""The cases on which every equation is checked: all its options, masks, a row with nothing left, batches, broadcasting.

`CASES` maps the name of an equation to its forward, its backward and `make(rng, dtype)`, which draws a dict of variants:
label → (inputs, options) for `check_gradient`. Sizes differ from each other (n ≠ m ≠ d), so that a wrong transpose cannot fit
by accident. To add a case, add a function decorated with `@case(forward, backward)` that yields label, inputs, options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course import known
from attnretrieval.equations.attention import attention, attention_backward
from attnretrieval.equations.cosine import cosine_similarity, cosine_similarity_backward, l2_normalise, l2_normalise_backward
from attnretrieval.equations.cross_attention import (
    cosine_attention,
    cosine_attention_backward,
    cross_attention,
    cross_attention_backward,
)
from attnretrieval.equations.dropout import draw_dropout, dropout, dropout_backward
from attnretrieval.equations.embedding import embedding, embedding_backward
from attnretrieval.equations.feed_forward import feed_forward, feed_forward_backward
from attnretrieval.equations.fusion import (
    fuse_add,
    fuse_add_backward,
    fuse_concat,
    fuse_concat_backward,
    fuse_gate,
    fuse_gate_backward,
)
from attnretrieval.equations.heads import join_heads, split_heads
from attnretrieval.equations.info_nce import info_nce, info_nce_backward
from attnretrieval.equations.layer_norm import layer_norm, layer_norm_backward
from attnretrieval.equations.linear import linear, linear_backward
from attnretrieval.equations.multi_head import multi_head_attention, multi_head_attention_backward
from attnretrieval.equations.pooling import (
    pool_attention,
    pool_attention_backward,
    pool_max,
    pool_max_backward,
    pool_mean,
    pool_mean_backward,
    pool_weights,
    pool_weights_backward,
)
from attnretrieval.equations.positions import position_code, position_code_backward
from attnretrieval.equations.softmax import softmax, softmax_backward
from attnretrieval.equations.token_cosine import token_cosine, token_cosine_backward
from attnretrieval.equations.triplet import VIOLATIONS, triplet_loss, triplet_loss_backward
from attnretrieval.gradcheck import Report, check_gradient
from attnretrieval.gradcheck.run import is_float
from attnretrieval.shapes import check_choice

Inputs = dict[str, Array | None]
Options = dict[str, object]

N_T, N_V, N, M, D = 2, 3, 3, 5, 4      # texts, images, words, regions, model size
WORDS = np.array([[True, True, False], [True, False, False]])
REGIONS = np.array([[True, True, False, True, True], [False, False, True, False, False], [True] * 5])
NOTHING = np.array([[True, False, True], [False, False, False]])                 # the second text has no word
NO_REGION = np.array([[True, True, False, True, True], [False] * 5, [True] * 5])  # the second image has no region


class Case(NamedTuple):
    forward: Callable
    backward: Callable
    make: Callable[[np.random.Generator, type], dict[str, tuple[Inputs, Options]]]
    file: str                   # the file of the equation, without .py
    algebra: tuple[tuple, ...] = ()         # identities that hold for it
    paths: Callable | None = None           # the equation with every use of an input marked
    kinks: Callable | None = None           # the distances of its comparisons from their ties
    ties: tuple[str, ...] = ()              # variants that lie on a tie on purpose

    def check(self, label: str, inputs: Inputs, options: Options, rng: np.random.Generator, *, name: str = "",
              forward: Callable | None = None, backward: Callable | None = None, tolerance: float | None = None) -> Report:
        """Check this equation, or another `forward` and `backward` of it, with all that is known of it."""
        tied = label in self.ties       # there the gradient is a choice, and a choice need not keep the identities
        return check_gradient(
            forward or self.forward, backward or self.backward, inputs, rng=rng, options=options, tolerance=tolerance,
            name=f"{name or self.forward.__name__}, {label}", paths=self.paths, algebra=() if tied else self.algebra,
            kinks="between" if tied else self.kinks)


CASES: dict[str, Case] = {}


class Draw:
    """Normal draws of a shape, in one dtype."""

    def __init__(self, rng: np.random.Generator, dtype: type) -> None:
        self.rng, self.dtype = rng, dtype

    def __call__(self, *shape: int, scale: float = 1.0) -> Array:
        return np.asarray(scale * self.rng.normal(size=shape), self.dtype)


def case(forward: Callable, backward: Callable, name: str = "", file: str = "", algebra: tuple[tuple, ...] = (),
         paths: Callable | None = None, kinks: Callable | None = None, ties: tuple[str, ...] = ()) -> Callable:
    """Enters the variants that the decorated function yields in CASES under the equation's name.

    `algebra`, `paths` and `kinks` are what `check_gradient` takes; `ties` names the variants that lie on a tie.
    """

    def enter(variants: Callable[[Draw], Iterator[tuple[str, Inputs, Options]]]) -> Callable:
        def make(rng: np.random.Generator, dtype: type = np.float64) -> dict[str, tuple[Inputs, Options]]:
            return {label: (inputs, options) for label, inputs, options in variants(Draw(rng, dtype))}

        file_ = file or forward.__module__.rpartition(".")[2]
        CASES[name or forward.__name__] = Case(forward, backward, make, file_, algebra, paths, kinks, ties)
        return variants

    return enter


def run_cases(
    names: Sequence[str] | None = None, rng: np.random.Generator | None = None, tolerance: float | None = None
) -> list[Report]:
    """One report a variant. `names` are equations ("pool_max") or their files ("pooling"); None takes all."""
    rng = rng or np.random.default_rng(0)
    return [report for name in chosen(names) for report in run_case(name, rng, tolerance=tolerance)]


def run_case(name: str, rng: np.random.Generator, **others: Any) -> list[Report]:
    """One report a variant of the equation `name`; `others` are arguments of `Case.check`, such as another `backward`."""
    c = CASES[name]
    return [c.check(label, inputs, options, rng, name=name, **others)
            for label, (inputs, options) in c.make(rng, np.float64).items()]


def inputs_of(name: str) -> list[str]:
    """The inputs of an equation that have a gradient, in the order of its formula."""
    variants = CASES[name].make(np.random.default_rng(0)).values()
    return list(dict.fromkeys(key for inputs, _ in variants for key, x in inputs.items() if is_float(x)))


def chosen(names: Sequence[str] | None = None) -> dict[str, Case]:
    """The cases of these equations or files; all of them without names."""
    for wanted in names or ():
        check_choice("equation", wanted, sorted({*CASES, *(c.file for c in CASES.values())}))
    return {name: c for name, c in CASES.items() if not names or name in names or c.file in names}


# --- equations whose functions are not (forward → out, cache): put into that form -------------------------------------


class SoftmaxGrads(NamedTuple):
    d_S: Array


class HeadsGrads(NamedTuple):
    d_X: Array


def _softmax(S: Array, mask: Array | None = None) -> tuple[Array, Array]:
    A = softmax(S, mask)
    return A, A


def _softmax_backward(d_A: Array, A: Array) -> SoftmaxGrads:
    return SoftmaxGrads(softmax_backward(d_A, A))


# the two views are copied: sharing memory with X is what they are for, and an error anywhere else


def _split_heads(X: Array, heads: int) -> tuple[Array, None]:
    return split_heads(X, heads).copy(), None


def _split_heads_backward(d_Y: Array, cache: None) -> HeadsGrads:
    return HeadsGrads(join_heads(d_Y).copy())


def _join_heads(X: Array) -> tuple[Array, int]:
    return join_heads(X).copy(), X.shape[-3]


def _join_heads_backward(d_Y: Array, heads: int) -> HeadsGrads:
    return HeadsGrads(split_heads(d_Y, heads).copy())


# --- steps inside a modality -----------------------------------------------------------------------------------------


@case(_softmax, _softmax_backward, "softmax", "softmax", paths=known.softmax_paths, algebra=(
    ("rows sum to 0", "S"), ("shift invariant", "S"), ("masked", "mask", {"S": -1}),
    ("permutation", {"S": -1, "mask": -1}, -1)))
def _(draw):
    yield "one row", {"S": draw(M)}, {}
    yield "batch", {"S": draw(N_T, N, M)}, {}
    yield "masked", {"S": draw(N_V, M), "mask": REGIONS}, {}
    yield "one mask for all rows", {"S": draw(N_T, N, M), "mask": REGIONS[0]}, {}
    yield "a row with no key", {"S": draw(N_V, M), "mask": NO_REGION}, {}
    yield "large scores", {"S": 1000 + draw(N, M)}, {}
    yield "scores of ±10⁴", {"S": np.round(draw(N, M)) * 1e4 + draw(N, M)}, {}
    yield "one key", {"S": draw(N, 1)}, {}
    yield "equal scores", {"S": np.zeros((N, M), draw.dtype)}, {}


@case(linear, linear_backward)
def _(draw):
    yield "one vector", {"X": draw(M), "W": draw(M, D), "b": draw(D)}, {}
    yield "batch", {"X": draw(N_T, N, M), "W": draw(M, D), "b": draw(D)}, {}
    yield "no bias", {"X": draw(N_T, N, M), "W": draw(M, D), "b": None}, {}


@case(attention, attention_backward, paths=known.attention_paths, algebra=(
    ("permutation", {"K": -2, "V": -2, "key_mask": -1}), ("permutation", {"Q": -2}, -2),
    ("permutation", {"V": -1}, -1), ("masked", "key_mask", {"K": -2, "V": -2})))
def _(draw):
    yield "one sequence", {"Q": draw(N, D), "K": draw(M, D), "V": draw(M, 2)}, {}
    yield "batch", {"Q": draw(N_V, N, D), "K": draw(N_V, M, D), "V": draw(N_V, M, 2)}, {}
    yield "masked", {"Q": draw(N_V, N, D), "K": draw(N_V, M, D), "V": draw(N_V, M, 2), "key_mask": REGIONS}, {}
    yield "no key left", {"Q": draw(N_V, N, D), "K": draw(N_V, M, D), "V": draw(N_V, M, 2), "key_mask": NO_REGION}, {}
    yield "no keys at all", {"Q": draw(N, D), "K": draw(0, D), "V": draw(0, 2)}, {}
    yield "every text, every image", {
        "Q": draw(N_T, 1, N, D), "K": draw(1, N_V, M, D), "V": draw(N_V, M, 2), "key_mask": NO_REGION}, {}
    yield "logits of ±10⁴", {"Q": draw(N, D, scale=100), "K": draw(M, D, scale=100), "V": draw(M, 2)}, {}
    yield "one query, one key, one item", {"Q": draw(1, 1, D), "K": draw(1, 1, D), "V": draw(1, 1, 2)}, {}
    yield "strided and Fortran-ordered", {
        "Q": draw(D, N).T, "K": draw(M, 2 * D)[:, ::2], "V": np.asfortranarray(draw(M, 2))}, {}


@case(_split_heads, _split_heads_backward, "split_heads", "heads")
def _(draw):
    yield "one head", {"X": draw(N, D)}, {"heads": 1}
    yield "batch, 2 heads", {"X": draw(N_T, N, D)}, {"heads": 2}


@case(_join_heads, _join_heads_backward, "join_heads", "heads")
def _(draw):
    yield "one head", {"X": draw(1, N, D)}, {}
    yield "batch, 2 heads", {"X": draw(N_T, 2, N, D)}, {}


@case(multi_head_attention, multi_head_attention_backward, paths=known.multi_head_paths, algebra=(
    ("permutation", {"X": -2, "mask": -1}, -2),))
def _(draw):
    def weights(d: int, d_out: int) -> Inputs:
        sizes = {"Q": (M, d), "K": (M, d), "V": (M, d), "O": (d, d_out)}
        return {f"{kind}_{name}": draw(*(size if kind == "W" else size[1:])) for name, size in sizes.items() for kind in "Wb"}

    yield "1 head", {"X": draw(N, M), **weights(D, D)}, {}
    yield "2 heads, masked", {"X": draw(N_T, N, M), **weights(D, 3), "mask": WORDS}, {"heads": 2}
    yield "4 heads", {"X": draw(N_T, N, M), **weights(D, D)}, {"heads": 4}
    yield "a text with no word", {"X": draw(N_T, N, M), **weights(D, D), "mask": NOTHING}, {"heads": 2}


@case(feed_forward, feed_forward_backward, paths=known.feed_forward_paths, kinks=known.feed_forward_kinks,
      ties=("a tie of the ReLU",), algebra=(("permutation", {"W_1": -1, "b_1": -1, "W_2": -2}),))
def _(draw):
    sizes = {"W_1": (D, M), "b_1": (M,), "W_2": (M, 3), "b_2": (3,)}
    yield "one vector", {"X": draw(D), **{name: draw(*size) for name, size in sizes.items()}}, {}
    yield "batch", {"X": draw(N_T, N, D), **{name: draw(*size) for name, size in sizes.items()}}, {}
    at_zero = {name: draw(*size) for name, size in sizes.items()}
    at_zero["b_1"][0], X = 0, draw(D)
    at_zero["W_1"][:, 0] = 0                                           # the first hidden feature is exactly 0
    yield "a tie of the ReLU", {"X": X, **at_zero}, {}


@case(layer_norm, layer_norm_backward, paths=known.layer_norm_paths, algebra=(
    ("rows sum to 0", "X"), ("shift invariant", "X"), ("permutation", {"X": -1, "gain": -1, "bias": -1}, -1)))
def _(draw):
    yield "one vector", {"X": draw(M), "gain": draw(M), "bias": draw(M)}, {}
    yield "batch", {"X": draw(N_T, N, D), "gain": draw(D), "bias": draw(D)}, {}
    yield "a row of equal features", {"X": np.ones((N, D), draw.dtype), "gain": draw(D), "bias": draw(D)}, {}
    yield "large ε", {"X": draw(N, D), "gain": draw(D), "bias": draw(D)}, {"eps": 0.5}


@case(position_code, position_code_backward)
def _(draw):
    yield "one sequence", {"X": draw(N, D), "E": draw(N, D)}, {}
    yield "batch, shorter than the codes", {"X": draw(N_T, N, D), "E": draw(M, D)}, {}


@case(embedding, embedding_backward, paths=known.embedding_paths)
def _(draw):
    yield "one sentence", {"E": draw(6, D), "ids": np.array([4, 0, 4])}, {}
    yield "batch, repeated words", {"E": draw(6, D), "ids": np.array([[1, 1, 1], [5, 0, 1]])}, {}


@case(dropout, dropout_backward)
def _(draw):
    for p in (0.0, 0.5):
        X = draw(N_T, N, D)
        yield f"p = {p}", {"X": X}, {"keep": draw_dropout(draw.rng, X.shape, p, X)}
    X = draw(N_T, N, D)
    yield "one draw for all tokens", {"X": X}, {"keep": draw_dropout(draw.rng, (N_T, 1, D), 0.5, X)}


# --- steps across modalities -----------------------------------------------------------------------------------------


@case(l2_normalise, l2_normalise_backward, paths=known.l2_paths, algebra=(
    ("scale invariant", "X"), ("permutation", {"X": -1}, -1)))
def _(draw):
    yield "one vector", {"X": draw(D)}, {}
    yield "batch", {"X": draw(N_T, N, D)}, {}
    yield "a zero vector", {"X": draw(N, D) * np.array([[1], [0], [1]], draw.dtype)}, {}


@case(cosine_attention, cosine_attention_backward, paths=known.cosine_attention_paths, algebra=(
    ("scale invariant", "Q", "K"), ("permutation", {"K": -2, "V": -2, "key_mask": -1}), ("permutation", {"Q": -2}, -2),
    ("masked", "key_mask", {"K": -2, "V": -2})))
def _(draw):
    yield "one sequence", {"Q": draw(N, D), "K": draw(M, D), "V": draw(M, 2), "log_scale": draw()}, {}
    yield "every text, every image, masked", {
        "Q": draw(N_T, 1, N, D), "K": draw(N_V, M, D), "V": draw(N_V, M, 2), "log_scale": draw(), "key_mask": NO_REGION}, {}


@case(cross_attention, cross_attention_backward, paths=known.cross_attention_paths, algebra=(
    ("permutation", {"H_other": -2, "key_mask": -1}), ("permutation", {"H": -2}, -2), ("masked", "key_mask", {"H_other": -2})))
def _(draw):
    def tokens(every_pair: bool = False) -> Inputs:
        return {"H": draw(*((N_T, 1) if every_pair else (N_V,)), N, D), "H_other": draw(N_V, M, D)}

    def projections() -> Inputs:
        return {name: draw(D, D) for name in ("W_Q", "W_K", "W_V")}

    yield "plain", {"H": draw(N, D), "H_other": draw(M, D)}, {}
    yield "masked", {**tokens(), "key_mask": REGIONS}, {}
    yield "an image with no region", {**tokens(), "key_mask": NO_REGION}, {}
    yield "an empty set of keys", {"H": draw(N, D), "H_other": draw(0, D)}, {}
    yield "every text, every image", {**tokens(True), "key_mask": NO_REGION}, {}
    yield "projections", {**tokens(), "key_mask": REGIONS, **projections()}, {}
    yield "one projection", {**tokens(), "W_V": draw(D, D)}, {}
    yield "2 heads", {**tokens(), "key_mask": REGIONS}, {"heads": 2}
    yield "projections, 2 heads, every pair", {**tokens(True), "key_mask": REGIONS, **projections()}, {"heads": 2}
    yield "cosine logits", {**tokens(), "log_scale": draw()}, {}
    yield "cosine logits, projections, 2 heads, every pair", {
        **tokens(True), "key_mask": NO_REGION, **projections(), "log_scale": draw()}, {"heads": 2}


def _pairs(draw: Draw) -> Iterator[tuple[str, Array, Array | None]]:
    """Tokens and contexts that every fusion must take."""
    yield "one sequence", draw(N, D), draw(N, D)
    yield "batch", draw(N_T, N, D), draw(N_T, N, D)
    yield "no other modality", draw(N_T, N, D), None
    yield "one text, contexts from many images", draw(N_T, 1, N, D), draw(N_T, N_V, N, D)
    yield "one context, many texts", draw(N_T, N_V, N, D), draw(N_V, N, D)
    yield "each broadcasts", draw(N_T, 1, N, D), draw(1, N_V, N, D)


@case(fuse_add, fuse_add_backward, algebra=(("permutation", {"H": -2, "C": -2}, -2),))
def _(draw):
    for label, H, C in _pairs(draw):
        yield label, {"H": H, "C": C}, {}


@case(fuse_concat, fuse_concat_backward, algebra=(
    ("permutation", {"H": -2, "C": -2}, -2), ("permutation", {"W": -1, "b": -1}, -1)))
def _(draw):
    for label, H, C in _pairs(draw):
        yield label, {"H": H, "C": C, "W": draw(2 * D, D), "b": draw(D)}, {}
    yield "another output size", {"H": draw(N, D), "C": draw(N, D), "W": draw(2 * D, M), "b": draw(M)}, {}


@case(fuse_gate, fuse_gate_backward, paths=known.fuse_gate_paths, algebra=(("permutation", {"H": -2, "C": -2}, -2),))
def _(draw):
    for label, H, C in _pairs(draw):
        yield label, {"H": H, "C": C, "W": draw(2 * D, D), "b": draw(D)}, {}


def _sequences(draw: Draw) -> Iterator[tuple[str, Inputs]]:
    """Sequences and masks that every pooling must take."""
    yield "one sequence", {"F": draw(N, D)}
    yield "one token", {"F": draw(1, 1, D)}
    yield "batch", {"F": draw(N_T, N, D)}
    yield "masked", {"F": draw(N_V, M, D), "mask": REGIONS}
    yield "a sequence with no token", {"F": draw(N_V, M, D), "mask": NO_REGION}
    yield "every pair, one mask an image", {"F": draw(N_T, N_V, M, D), "mask": NO_REGION}
    yield "one mask for all", {"F": draw(N_T, M, D), "mask": REGIONS[0]}
    yield "whole sequences masked", {"F": draw(N_T, M, D), "mask": np.array([[True], [False]])}


@case(pool_mean, pool_mean_backward, paths=known.pool_mean_paths, algebra=(
    ("permutation", {"F": -2, "mask": -1}, None), ("masked", "mask", {"F": -2})))
def _(draw):
    for label, inputs in _sequences(draw):
        yield label, inputs, {}


@case(pool_max, pool_max_backward, paths=known.pool_max_paths, kinks=known.pool_max_kinks,
      ties=("a tie of two tokens",), algebra=(
    ("permutation", {"F": -2, "mask": -1}, None), ("masked", "mask", {"F": -2})))
def _(draw):
    for label, inputs in _sequences(draw):
        yield label, inputs, {}
    tied = draw(N, D)
    tied[1] = tied[0] = np.maximum(tied[0], tied[2] + 1)
    yield "a tie of two tokens", {"F": tied}, {}


@case(pool_weights, pool_weights_backward, paths=known.pool_weights_paths, algebra=(
    ("permutation", {"F": -2, "mask": -1}, -1), ("masked", "mask", {"F": -2})))
def _(draw):
    for label, inputs in _sequences(draw):
        yield label, {**inputs, "u": draw(D)}, {}


@case(pool_attention, pool_attention_backward, paths=known.pool_attention_paths, algebra=(
    ("permutation", {"F": -2, "mask": -1}, None), ("masked", "mask", {"F": -2})))
def _(draw):
    for label, inputs in _sequences(draw):
        yield label, {**inputs, "u": draw(D)}, {}


# --- objective -------------------------------------------------------------------------------------------------------


@case(cosine_similarity, cosine_similarity_backward, paths=known.cosine_paths, algebra=(
    ("scale invariant", "G_t", "G_v"), ("permutation", {"G_t": -2}, -2), ("permutation", {"G_v": -2}, -1)))
def _(draw):
    yield "one of each", {"G_t": draw(1, D), "G_v": draw(1, D)}, {}
    yield "batch", {"G_t": draw(M, D), "G_v": draw(N, D)}, {}
    yield "leading axes", {"G_t": draw(N_T, M, D), "G_v": draw(N_T, N, D)}, {}
    yield "a zero vector", {"G_t": draw(N, D) * np.array([[1], [0], [1]], draw.dtype), "G_v": draw(M, D)}, {}
    yield "leading axes broadcast", {"G_t": draw(N_T, 1, M, D), "G_v": draw(N_V, N, D)}, {}


@case(token_cosine, token_cosine_backward, paths=known.token_cosine_paths, algebra=(
    ("scale invariant", "H", "C"), ("permutation", {"H": -2, "C": -2}, -1)))
def _(draw):
    yield "one sequence", {"H": draw(N, D), "C": draw(N, D)}, {}
    yield "batch", {"H": draw(N_T, N, D), "C": draw(N_T, N, D)}, {}
    yield "one text, contexts from many images", {"H": draw(N_T, 1, N, D), "C": draw(N_T, N_V, N, D)}, {}
    yield "one context, many texts", {"H": draw(N_T, N_V, N, D), "C": draw(N_V, N, D)}, {}
    yield "a zero vector", {"H": draw(N, D) * np.array([[1], [0], [1]], draw.dtype), "C": draw(N, D)}, {}


def _positives() -> dict[str, Array]:
    """Which of the captions (rows) describes which of the images (columns)."""
    several = np.zeros((5, 3), bool)
    several[np.arange(5), [0, 0, 1, 1, 2]] = True                      # more captions than images
    shared = several.copy()
    shared[1, 2] = True                                                # a caption that describes two images
    lonely = several.copy()
    lonely[4] = False                                                  # a caption and an image without partner
    return {"one caption an image": np.eye(4, dtype=bool), "several captions": several, "a shared caption": shared,
            "a caption without image": lonely, "no negatives": np.ones((2, 3), bool)}


@case(triplet_loss, triplet_loss_backward, paths=known.triplet_paths, kinks=known.triplet_kinks,
      ties=("a tie of the hinge", "a tie of two hardest negatives"), algebra=(
    ("permutation", {"S": -1, "positives": -1}), ("permutation", {"S": -2, "positives": -2})))
def _(draw):
    for violations in VIOLATIONS:
        for label, positives in _positives().items():
            yield f"{violations}, {label}", {"S": draw(*positives.shape, scale=0.3), "positives": positives}, {
                "violations": violations, "margin": 0.3}
    yield "margin 0", {"S": draw(4, 4), "positives": np.eye(4, dtype=bool)}, {"margin": 0.0}
    apart = 5 * np.eye(3, dtype=draw.dtype) + draw(3, 3, scale=0.1)
    yield "nothing violates", {"S": apart, "positives": np.eye(3, dtype=bool)}, {}
    one = np.ones((1, 1), bool)
    yield "one pair", {"S": draw(1, 1), "positives": one}, {}
    scores = np.array([[0.5, 0.25, 0.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]], draw.dtype)
    yield "a tie of the hinge", {"S": scores, "positives": np.eye(3, dtype=bool)}, {"margin": 0.25}
    scores = np.array([[0.5, 0.75, 0.75], [-1.0, 1.0, -2.0], [-1.5, -2.0, 1.0]], draw.dtype)
    yield "a tie of two hardest negatives", {"S": scores, "positives": np.eye(3, dtype=bool)}, {
        "margin": 0.125, "violations": "hardest"}


@case(info_nce, info_nce_backward, paths=known.info_nce_paths, kinks=known.info_nce_kinks, algebra=(
    ("permutation", {"S": -1, "positives": -1}), ("permutation", {"S": -2, "positives": -2})))
def _(draw):
    def at(tau: float) -> Array:
        return np.asarray(np.log(tau), draw.dtype)

    for label, positives in _positives().items():
        yield label, {"S": draw(*positives.shape), "log_temperature": at(0.3), "positives": positives}, {}
    one_each = np.eye(4, dtype=bool)
    for label, tau in (("temperature held at its lowest", 0.001), ("temperature held at its highest", 5.0)):
        yield label, {"S": draw(4, 4, scale=0.1), "log_temperature": at(tau), "positives": one_each}, {}
    yield "another range", {"S": draw(4, 4), "log_temperature": at(2), "positives": one_each}, {"temperature_range": (0.1, 9)}
    yield "one pair", {"S": draw(1, 1), "log_temperature": at(0.3), "positives": np.ones((1, 1), bool)}, {}
    yield "a low temperature, logits of ±100", {"S": draw(4, 4), "log_temperature": at(0.011), "positives": one_each}, {}
