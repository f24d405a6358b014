"""The model: one set of weights, two entry points.

    alone     T → chain → H_t → fuse(H_t, nothing) → pool → g⁰_t              what an index stores
              V → chain → H_v → fuse(H_v, nothing) → pool → g⁰_v
    paired    H_t, H_v → C_t, C_v → fuse → pool → g_t, g_v → s(t, v)          the full equations, for a pair

The options are named in config.py. The backward of each function stands below it and undoes it upwards.

Two scores of a pair, by name:

    "fused"          s = cos(g_t, g_v)                                         from pooled fused vectors
    "token_cosine"   s = ½ Σ_i a_i cos(H_t,i , C_t,i) + ½ Σ_j b_j cos(H_v,j , C_v,j)
                     each token against its own context; a, b are the weights with which the tokens are pooled alone

and to either `alone_weight` · cos(g⁰_t, g⁰_v) can be added, so that s(t, v) also keeps what the index knew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from attnretrieval import all_pairs
from attnretrieval.all_pairs import PairedGrads
from attnretrieval.backend import Array, module_of, to_device
from attnretrieval.config import ModelConfig, image_chain, text_chain, wanted_parameters
from attnretrieval.equations.axes import sum_to
from attnretrieval.equations.cross_attention import CrossAttentionCache, cross_attention, cross_attention_backward
from attnretrieval.equations.fusion import FUSIONS
from attnretrieval.equations.pooling import POOLINGS, pool_weights, pool_weights_backward
from attnretrieval.equations.token_cosine import token_cosine, token_cosine_backward
from attnretrieval.fast.memory import keep_freed_memory
from attnretrieval.fast.steps import fast_chain
from attnretrieval.parameters import Parameters
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_mask, check_same_size
from attnretrieval.steps import run, run_backward

if TYPE_CHECKING:
    from attnretrieval.fast.pairs_gate_items import Source


class Encoded(NamedTuple):
    """A batch of texts or of images, each by itself."""

    H: Array                        # (N, n, d) tokens
    mask: Array                     # (N, n) True = a real token
    g: Array                        # (N, d) g⁰, not normalised

    def take(self, index: Any) -> Encoded:
        return Encoded(self.H[index], self.mask[index], self.g[index])


class Attention(NamedTuple):
    """How one text and one image look at each other."""

    A_t2v: Array                    # (heads, n, m)
    A_v2t: Array                    # (heads, m, n)
    score: float


class PairedCache(NamedTuple):
    t2v: CrossAttentionCache        # .A is A_t2v
    v2t: CrossAttentionCache        # .A is A_v2t
    steps: tuple                    # of the fused score or of the token cosines


class Model:
    """The weights and the two ways through them.

    `parameters` may be changed in place by an optimiser; everything else stays as the config says. `fast=False` computes with
    the plain equations alone; results agree to rounding. The fast forms (fast/) are for real numbers on a CPU.
    """

    def __init__(self, config: ModelConfig, parameters: Parameters, table: Array | None = None, fast: bool = True):
        if config.trained_words != (table is None):
            raise ShapeError("a word table is given exactly when trained_words is False")
        if table is not None and table.shape != (config.words, config.text.d_in):
            raise ShapeError(f"the word table has shape {table.shape}, expected {(config.words, config.text.d_in)}")
        self.config = config
        self.parameters = parameters
        self.table = table
        self.wants_fast = fast
        self.fast = fast and isinstance(parameters.flat, np.ndarray) and parameters.flat.dtype.kind == "f"
        self.text_chain, self.image_chain = text_chain(config), image_chain(config)
        if self.fast:
            keep_freed_memory()
            self.text_chain, self.image_chain = fast_chain(self.text_chain), fast_chain(self.image_chain)

    @classmethod
    def create(
        cls, config: ModelConfig, rng: np.random.Generator, table: Array | None = None, dtype: str = "float32",
        fast: bool = True,
    ) -> Model:
        """A model with fresh weights. `table` (R, d_t): the word vectors; the start of a trained table, or a frozen one."""
        parameters = Parameters.draw(wanted_parameters(config), rng, dtype)
        if config.trained_words and table is not None:
            check_same_size("table", table, 0, "the vocabulary", np.empty(config.words), 0)
            check_same_size("table", table, 1, "word vectors", np.empty(config.text.d_in), 0)
            parameters["words.E"][...] = table
            table = None
        return cls(config, parameters, None if table is None else table.astype(dtype), fast)

    def to(self, device: str) -> Model:
        """This model on "cpu" or "gpu"."""
        parameters = Parameters(self.parameters.shapes, to_device(self.parameters.flat, device))
        return Model(self.config, parameters, None if self.table is None else to_device(self.table, device), self.wants_fast)

    @property
    def d(self) -> int:
        return self.config.d

    # ---- alone -------------------------------------------------------------------------------------------------------

    def encode_text(self, ids: Array, mask: Array, rng: np.random.Generator | None = None) -> Encoded:
        """Texts (N, n) of word ids, `mask` (N, n) True = a real word, each by itself."""
        return self.forward_text(ids, mask, rng)[0]

    def encode_image(self, V: Array, mask: Array | None = None, rng: np.random.Generator | None = None) -> Encoded:
        """Images (N, m, d_v) of region features, each by itself."""
        return self.forward_image(V, mask, rng)[0]

    def forward_text(self, ids: Array, mask: Array, rng: np.random.Generator | None = None):
        """As `encode_text`, with the tape that `backward_text` reads."""
        check_mask("mask", mask, ids.shape)
        X = ids if self.table is None else self.table[ids]
        mask = module_of(mask).broadcast_to(mask, ids.shape)           # one entry a word: `Encoded.take` picks rows
        H, tape = run(self.text_chain, X, mask, self.parameters, rng)
        return self._alone("t", H, mask, tape)

    def forward_image(self, V: Array, mask: Array | None = None, rng: np.random.Generator | None = None):
        """As `encode_image`, with the tape that `backward_image` reads."""
        check_array("V", V, ndim=3)
        check_finite("V", V)
        if V.shape[-1] != self.config.image.d_in:
            raise ShapeError(f"regions have d_v={V.shape[-1]} features but the model was made for {self.config.image.d_in}; "
                             "use the extractor that the model was trained with")
        check_mask("mask", mask, V.shape[:2])
        xp = module_of(V)
        mask = xp.ones(V.shape[:2], bool) if mask is None else xp.broadcast_to(mask, V.shape[:2])
        H, tape = run(self.image_chain, V, mask, self.parameters, rng)
        return self._alone("v", H, mask, tape)

    def backward_text(self, d_H: Array | None, d_g: Array, tape, gradient: Parameters) -> None:
        """Add to `gradient` what the tokens H (None: unused) and the pooled vector g⁰ of these texts contribute."""
        self._alone_backward("t", d_H, d_g, tape, gradient)

    def backward_image(self, d_H: Array | None, d_g: Array, tape, gradient: Parameters) -> None:
        """As `backward_text`, for images."""
        self._alone_backward("v", d_H, d_g, tape, gradient)

    def _alone(self, side: str, H: Array, mask: Array, tape):
        F, fused = self._fuse(side, H, None)                           # attention over nothing: C = 0
        g, pooled = self._pool(side, F, mask)
        return Encoded(H, mask, g), (tape, fused, pooled)

    def _alone_backward(self, side: str, d_H: Array | None, d_g: Array, tape, gradient: Parameters) -> None:
        tape, fused, pooled = tape
        d_F = self._pool_backward(side, d_g, pooled, gradient)
        d_H_alone, _ = self._fuse_backward(side, d_F, fused, gradient)
        if d_H is not None:
            d_H_alone += d_H
        run_backward(tape, d_H_alone, gradient)

    # ---- paired ------------------------------------------------------------------------------------------------------

    def paired(self, texts: Encoded, images: Encoded) -> tuple[Array, PairedCache]:
        """The paired part of s(t, v), one score a pair; `score_matrix` and `score_pairs` add alone_weight · cos(g⁰_t, g⁰_v).

        The leading axes broadcast: texts (N_t, 1, ...) with images (N_v, ...) gives all pairs (N_t, N_v), and equal leading
        axes give a list of pairs. The blocks, and the fast form for many pairs, are in all_pairs.py.
        """
        H_t, mask_t, _ = texts
        H_v, mask_v, _ = images
        heads = self.config.cross_heads
        C_t, t2v = cross_attention(H_t, H_v, mask_v, **self.parameters.under("cross_t2v"), heads=heads)
        C_v, v2t = cross_attention(H_v, H_t, mask_t, **self.parameters.under("cross_v2t"), heads=heads)
        if self.config.paired_score == "fused":
            F_t, fused_t = self._fuse("t", H_t, C_t)
            F_v, fused_v = self._fuse("v", H_v, C_v)
            g_t, pooled_t = self._pool("t", F_t, mask_t)
            g_v, pooled_v = self._pool("v", F_v, mask_v)
            s, scored = token_cosine(g_t, g_v)                         # the cosine of vectors in the same place
            steps = (fused_t, fused_v, pooled_t, pooled_v, scored)
        else:
            a_t, weights_t = self.token_weights("t", H_t, mask_t)
            a_v, weights_v = self.token_weights("v", H_v, mask_v)
            c_t, cosines_t = token_cosine(H_t, C_t)
            c_v, cosines_v = token_cosine(H_v, C_v)
            s = ((a_t * c_t).sum(axis=-1) + (a_v * c_v).sum(axis=-1)) / 2
            steps = (weights_t, weights_v, cosines_t, cosines_v, a_t, a_v, c_t, c_v)
        return s, PairedCache(t2v, v2t, steps)

    def paired_backward(self, d_s: Array, cache: PairedCache, gradient: Parameters) -> PairedGrads:
        """The gradients of both sides' tokens; adds those of the parameters to `gradient`."""
        t2v, v2t, steps = cache
        if self.config.paired_score == "fused":
            fused_t, fused_v, pooled_t, pooled_v, scored = steps
            d_g_t, d_g_v = token_cosine_backward(d_s, scored)
            d_F_t = self._pool_backward("t", d_g_t, pooled_t, gradient)
            d_F_v = self._pool_backward("v", d_g_v, pooled_v, gradient)
            d_H_t, d_C_t = self._fuse_backward("t", d_F_t, fused_t, gradient)
            d_H_v, d_C_v = self._fuse_backward("v", d_F_v, fused_v, gradient)
        else:
            weights_t, weights_v, cosines_t, cosines_v, a_t, a_v, c_t, c_v = steps
            d_half = d_s[..., None] / 2
            d_H_t, d_C_t = token_cosine_backward(d_half * a_t, cosines_t)
            d_H_v, d_C_v = token_cosine_backward(d_half * a_v, cosines_v)
            d_H_t = d_H_t + self.token_weights_backward("t", sum_to(d_half * c_t, a_t.shape), weights_t, gradient)
            d_H_v = d_H_v + self.token_weights_backward("v", sum_to(d_half * c_v, a_v.shape), weights_v, gradient)
        from_v2t = cross_attention_backward(d_C_v, v2t)
        from_t2v = cross_attention_backward(d_C_t, t2v)
        gradient.add("cross_v2t", from_v2t)
        gradient.add("cross_t2v", from_t2v)
        # each side's tokens went three ways: into their own score, out to look, and to be looked at
        d_H_t = d_H_t + from_t2v.d_H + from_v2t.d_H_other
        d_H_v = d_H_v + from_v2t.d_H + from_t2v.d_H_other
        return PairedGrads(d_H_t, d_H_v)

    def attention(self, text: Encoded, image: Encoded) -> Attention:
        """The attention maps and the score of one text with one image, each a batch of one."""
        _, cache = self.paired(text, image)
        score = self.score_matrix(text, image)
        return Attention(cache.t2v.A[0], cache.v2t.A[0], float(score[0, 0]))

    def score_matrix(self, texts: Encoded, images: Encoded) -> Array:
        """s(t, v) of every text with every image: (C, I)."""
        return all_pairs.score_matrix(self, texts, images)

    def score_pairs(
        self, texts: Encoded, images: Encoded, t_index: Array, v_index: Array, kept: dict[str, Source] | None = None
    ) -> Array:
        """s(t, v) of texts[t_index[p]] with images[v_index[p]]: (P,). `kept`: from retrieval/kept_products.py."""
        return all_pairs.score_pairs(self, texts, images, t_index, v_index, kept)

    # ---- fusion and pooling by name ----------------------------------------------------------------------------------

    def _pooling(self, side: str) -> str:
        return (self.config.text if side == "t" else self.config.image).pooling

    def _fuse(self, side: str, H: Array, C: Array | None):
        return FUSIONS[self.config.fusion][0](H, C, **self.parameters.under(f"fuse_{side}"))

    def _fuse_backward(self, side: str, d_F: Array, cache, gradient: Parameters) -> tuple[Array, Array | None]:
        grads = FUSIONS[self.config.fusion][1](d_F, cache)
        gradient.add(f"fuse_{side}", grads)
        return grads.d_H, grads.d_C

    def _pool(self, side: str, F: Array, mask: Array):
        return POOLINGS[self._pooling(side)][0](F, mask=mask, **self.parameters.under(f"pool_{side}"))

    def _pool_backward(self, side: str, d_g: Array, cache, gradient: Parameters) -> Array:
        grads = POOLINGS[self._pooling(side)][1](d_g, cache)
        gradient.add(f"pool_{side}", grads)
        return grads.d_F

    def token_weights(self, side: str, H: Array, mask: Array):
        """The weights (..., n) with which tokens H are pooled alone, and what `token_weights_backward` needs."""
        if self._pooling(side) == "mean":
            xp = module_of(H)
            count = xp.maximum(mask.sum(axis=-1, keepdims=True), 1)
            return (mask / count).astype(H.real.dtype), None
        F, fused = self._fuse(side, H, None)
        a, weighed = pool_weights(F, self.parameters[f"pool_{side}.u"], mask)
        return a, (fused, weighed)

    def token_weights_backward(self, side: str, d_a: Array, cache, gradient: Parameters) -> Array | float:
        """The gradient of H; 0 for mean pooling, whose weights do not depend on H."""
        if cache is None:
            return 0.0
        fused, weighed = cache
        grads = pool_weights_backward(d_a, weighed)
        gradient.add(f"pool_{side}", grads)
        return self._fuse_backward(side, grads.d_F, fused, gradient)[0]
