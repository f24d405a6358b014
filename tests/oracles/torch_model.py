"""The whole objective once more in PyTorch, from the formulas of model.py and training/objective.py.

Written for one item at a time: a sequence goes in without its padding, and every pair of a caption and an image is scored by
itself. So masks, broadcasting, blocks and the fast form of the token cosines are compared with something that has none of them.
Dropout alone is drawn for the whole batch, since the draws must be those of the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from attnretrieval.config import ModelConfig, Side
from attnretrieval.equations.dropout import draw_dropout
from attnretrieval.training.objective import Batch, Objective
from tests.oracles import torch_equations as E

FUSE = {"add": E.fuse_add, "concat": E.fuse_concat, "gate": E.fuse_gate}
POOL = {"mean": E.pool_mean, "max": E.pool_max, "attention": E.pool_attention}

Keeps = list[Tensor]                # the dropout masks of one item, in the order in which its chain meets them


class TorchModel(NamedTuple):
    config: ModelConfig
    p: dict[str, Tensor]            # the parameters, by the names of the package
    table: Tensor | None            # frozen word vectors

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix + "."): x for name, x in self.p.items() if name.startswith(prefix + ".")}

    # ---- one item ----------------------------------------------------------------------------------------------------

    def text(self, ids: Tensor, places: Tensor, keeps: Keeps) -> Tensor:
        words = self.p["words.E"] if self.table is None else self.table
        return self.chain("text", self.config.text, E.embedding(words, ids), places, keeps)

    def image(self, regions: Tensor, places: Tensor, keeps: Keeps) -> Tensor:
        return self.chain("image", self.config.image, regions, places, keeps)

    def chain(self, name: str, side: Side, X: Tensor, places: Tensor, keeps: Keeps) -> Tensor:
        """H (n, d) of the tokens X (n, d_in) that stand at these places of the padded sequence."""
        keeps = list(keeps)
        if side.drop_inputs:
            X = drop(X, places, keeps)
        if side.project:
            X = E.linear(X, **self.under(f"{name}.project"))
        if side.positions:
            X = X + self.p[f"{name}.positions.E"][places]
        if side.self_attention:
            X = self.sublayer(f"{name}.attention", side, X, places, keeps, E.multi_head_attention, heads=self.config.heads)
        if side.feed_forward:
            X = self.sublayer(f"{name}.feed_forward", side, X, places, keeps, E.feed_forward)
        return X

    def sublayer(self, name: str, side: Side, X: Tensor, places: Tensor, keeps: Keeps, equation: Callable, **options) -> Tensor:
        Y = equation(X, **self.under(name), **options)
        if side.drop_hidden:
            Y = drop(Y, places, keeps)
        if side.residual:
            Y = X + Y
        return E.layer_norm(Y, **self.under(f"{name}_norm")) if side.layer_norm else Y

    def pooled(self, side: str, H: Tensor, C: Tensor | None = None) -> Tensor:
        """g (d,): fuse, then pool."""
        return POOL[self.pooling(side)](self.fused(side, H, C), **self.under(f"pool_{side}"))

    def fused(self, side: str, H: Tensor, C: Tensor | None) -> Tensor:
        return FUSE[self.config.fusion](H, C, **self.under(f"fuse_{side}"))

    def pooling(self, side: str) -> str:
        return {"t": self.config.text, "v": self.config.image}[side].pooling

    # ---- one pair ----------------------------------------------------------------------------------------------------

    def score(self, H_t: Tensor, H_v: Tensor) -> Tensor:
        """s(t, v)."""
        heads = self.config.cross_heads
        C_t = E.cross_attention(H_t, H_v, **self.under("cross_t2v"), heads=heads)
        C_v = E.cross_attention(H_v, H_t, **self.under("cross_v2t"), heads=heads)
        if self.config.paired_score == "fused":
            s = E.token_cosine(self.pooled("t", H_t, C_t), self.pooled("v", H_v, C_v))
        else:
            s = (self.rebuilt("t", H_t, C_t) + self.rebuilt("v", H_v, C_v)) / 2
        return s + self.config.alone_weight * E.token_cosine(self.pooled("t", H_t), self.pooled("v", H_v))

    def rebuilt(self, side: str, H: Tensor, C: Tensor) -> Tensor:
        """Σ_i a_i cos(H_i , C_i), with the weights a of pooling alone."""
        cosines = E.token_cosine(H, C)
        if self.pooling(side) == "mean":
            return cosines.mean()
        return cosines @ E.pool_weights(self.fused(side, H, None), **self.under(f"pool_{side}"))

    # ---- a batch -----------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, objective: Objective, rng: np.random.Generator | None = None) -> Tensor:
        """L = L_alone + λ · L_paired."""
        C, n = batch.ids.shape
        I, m, _ = batch.regions.shape
        text_keeps = self.draw(self.config.text, C, n, rng)
        image_keeps = self.draw(self.config.image, I, m, rng)
        texts = [self.text(torch.tensor(batch.ids[c, places]), torch.tensor(places), [k[c] for k in text_keeps])
                 for c, places in enumerate(map(np.flatnonzero, batch.word_mask))]
        region_mask = np.ones((I, m), bool) if batch.region_mask is None else batch.region_mask
        images = [self.image(torch.tensor(batch.regions[i, places]), torch.tensor(places), [k[i] for k in image_keeps])
                  for i, places in enumerate(map(np.flatnonzero, region_mask))]

        S = E.cosine_similarity(torch.stack([self.pooled("t", H) for H in texts]),
                                torch.stack([self.pooled("v", H) for H in images]))
        positives = torch.tensor(batch.positives)
        alone = self.contrast("loss_alone", S, positives, objective)
        if not objective.paired_weight:
            return alone
        captions = range(C) if batch.paired is None else batch.paired.tolist()
        S = torch.stack([torch.stack([self.score(texts[c], H_v) for H_v in images]) for c in captions])
        return alone + objective.paired_weight * self.contrast("loss_paired", S, positives[list(captions)], objective)

    def contrast(self, name: str, S: Tensor, positives: Tensor, objective: Objective) -> Tensor:
        if objective.loss == "info_nce":
            return E.info_nce(S, self.p[f"{name}.log_temperature"], positives)
        return E.triplet_loss(S, positives, objective.margin, objective.violations)

    def draw(self, side: Side, items: int, tokens: int, rng: np.random.Generator | None) -> Keeps:
        """The dropout masks of a batch: of the inputs, then one a sublayer."""
        if rng is None:
            return []
        sublayers = side.self_attention + bool(side.feed_forward)
        wanted = [(side.d_in, side.drop_inputs)] + [(self.config.d, side.drop_hidden)] * sublayers
        return [torch.tensor(draw_dropout(rng, (items, tokens, d), p, np.zeros(0))) for d, p in wanted if p]


def drop(X: Tensor, places: Tensor, keeps: Keeps) -> Tensor:
    return E.dropout(X, keeps.pop(0)[places]) if keeps else X
