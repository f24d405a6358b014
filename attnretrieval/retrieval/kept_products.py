"""What a gate multiplies with its weights for an item of the gallery, kept from one search to the next.

A rerank by a gate needs X = -(H W_1 + b)/2 and Y = -(H W_2)/2 of every candidate (fast/pairs_gate_list.py): two products that
take most of its time and depend on the item and the weights alone. They are computed when an item is a candidate for the first
time. An item takes 2 · tokens · d numbers, twice what its tokens take. Beyond `limit` bytes those leave that were asked for
longest ago.

Products belong to the weights that made them: every call compares these with the model's, a copy of them number by number, and
forgets everything where one differs. So neither another model nor a step of training in place meets an old product.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import numpy as np

from attnretrieval.fast.pairs_gate_list import products_of_items, serves
from attnretrieval.fast.pairs_packed import lengths_of, pack, real_tokens
from attnretrieval.fast.pairs_sides import fusion_weights
from attnretrieval.model import Encoded, Model


class KeptProducts:
    """Those of one side of a gallery, "t" or "v"."""

    def __init__(self, side: str, limit: int) -> None:
        self.side = side
        self.limit = limit
        self.bytes = 0
        self._weights: list[np.ndarray] = []
        self._of: OrderedDict[int, np.ndarray] = OrderedDict()      # item to (2, tokens, d), the latest last
        self._lock = Lock()

    def of(self, model: Model, ids: np.ndarray, items: Encoded) -> dict[str, list[np.ndarray]] | None:
        """`products` of model.score_pairs for these items, `ids` in the gallery, each once; None where it needs none."""
        if not (self.limit and serves(model)):
            return None
        numbers = ids.tolist()
        with self._lock:
            self._forget_those_of_other_weights(model)
            new = [place for place, number in enumerate(numbers) if number not in self._of]
            if new:
                self._compute(model, [numbers[place] for place in new], items.take(new))
            for number in numbers:
                self._of.move_to_end(number)
            found = [self._of[number] for number in numbers]
            while self.bytes > self.limit:
                self.bytes -= self._of.popitem(last=False)[1].nbytes
        return {self.side: found}

    def forget(self) -> None:
        self._of.clear()
        self.bytes = 0

    def _compute(self, model: Model, numbers: list[int], items: Encoded) -> None:
        H = pack(items.H, real_tokens(items.mask))
        for number, products in zip(numbers, products_of_items(model, self.side, H, lengths_of(items.mask)), strict=True):
            self._of[number] = products.copy()                      # memory of its own, so that it can leave alone
            self.bytes += products.nbytes

    def _forget_those_of_other_weights(self, model: Model) -> None:
        weights = fusion_weights(model.parameters, self.side)
        if not (self._weights and all(map(np.array_equal, self._weights, weights))):
            self._weights = [w.copy() for w in weights]
            self.forget()
