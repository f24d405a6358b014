"""What a rerank by a gate needs of the gallery's items, kept from one search to the next.

Two products of every candidate take most of the time of such a rerank, and depend on the item and the weights alone. They are
computed when an item is a candidate for the first time, and kept with its tokens (fast/pairs_gate_items.py) for as many items
as fit `limit` bytes; each takes three times what the tokens of the longest take.

Products belong to the weights that made them: every call compares these with the model's, a copy of them number by number, and
forgets everything where one differs. So neither another model nor a step of training between two searches meets an old product.
"""

from __future__ import annotations

from threading import Lock

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.fast.pairs_gate_items import GateItems, Source
from attnretrieval.fast.pairs_gate_list import serves
from attnretrieval.fast.pairs_sides import fusion_weights
from attnretrieval.model import Encoded, Model


class KeptProducts:
    """Those of one side of a gallery, "t" or "v", whose items are `items`."""

    def __init__(self, side: str, items: Encoded, limit: int) -> None:
        count, tokens, d = (0, 0, 0) if items.H is None else items.H.shape
        self._of_each = max(1, 3 * tokens * d * items.g.dtype.itemsize)
        self.side, self._items, self._room = side, items, min(count, limit // self._of_each)
        self._weights: list[np.ndarray] = []
        self._lock = Lock()
        self.forget()

    def of(self, model: Model, ids: np.ndarray) -> Source | None:
        """For items that are `ids` in the gallery, each once. None where the model needs none, or where these are too many.

        (Each query would drive out what the next one needs. What is computed for one call alone is computed once an item.)
        """
        if len(ids) > self._room or not serves(model):
            return None
        with self._lock:
            self._forget_those_of_other_weights(model)
            source = self._kept.source(model)

        def of_these(items: np.ndarray) -> Array:
            return source(ids[items])

        return of_these

    def forget(self) -> None:
        self._kept = GateItems(self.side, self._items, self._room)

    @property
    def bytes(self) -> int:
        return len(self._kept) * self._of_each

    def _forget_those_of_other_weights(self, model: Model) -> None:
        weights = fusion_weights(model.parameters, self.side)
        if not (self._weights and all(map(np.array_equal, self._weights, weights))):
            self._weights = [w.copy() for w in weights]
            self.forget()
