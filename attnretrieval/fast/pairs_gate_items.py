"""What a gate needs of an item: its tokens, and what the gate's weights make of them. Kept while there is room.

    X = -(H W_1 + b)/2,   Y = -(H W_2)/2,   H            (m, d) each, of the m real tokens

X and Y take most of the time of a pair, and depend on the item and the weights alone: they are computed when the item is first
asked for. All three lie in one array with a place for each of `room` items; where every place is taken, that item leaves which
was asked for longest ago. A place that nothing has come to costs no memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from attnretrieval.backend import Array, module_of
from attnretrieval.fast.pairs_sides import gate_products

if TYPE_CHECKING:
    from attnretrieval.model import Encoded, Model

Source: TypeAlias = Callable[[np.ndarray], Array]
"""Gives X, Y and H (3, k, m, d) of k items, all with m real tokens; not views, they may be overwritten."""


class GateItems:
    """Those of one side, "t" or "v", for one set of weights."""

    def __init__(self, side: str, items: Encoded, room: int) -> None:
        self.side, self.items, self.room = side, items, room
        self._kept: Array | None = None                             # (room, 3, most tokens, d) X, Y and H
        self._places: OrderedDict[int, int] = OrderedDict()         # of each item, the latest last
        self._free = list(range(room))[::-1]
        self._lock = Lock()

    def __len__(self) -> int:
        """How many items are kept."""
        return len(self._places)

    def source(self, model: Model) -> Source:
        """With the weights of this model. Every call of one object must bring the same: none here asks whose a product is."""
        return partial(self._of, model)

    def _of(self, model: Model, items: np.ndarray) -> Array:
        numbers = items.tolist()
        with self._lock:
            known = [k for k, number in enumerate(numbers) if number in self._places]
            for k in known:
                self._places.move_to_end(numbers[k])
            # a copy, made while no other thread can give these places away
            old = self._at([self._places[numbers[k]] for k in known], int(self.items.mask[numbers[0]].sum())) if known else None
        if len(known) == len(numbers):
            return old
        new = sorted(set(range(len(numbers))).difference(known))
        fresh = self._computed(model, items[new])
        self._keep(items[new].tolist(), fresh)
        if not known:
            return fresh
        xp = module_of(fresh)
        found = xp.empty((3, len(numbers), *fresh.shape[2:]), fresh.dtype)
        found[:, xp.asarray(known)], found[:, xp.asarray(new)] = old, fresh
        return found

    def _at(self, places: list[int], m: int) -> Array:
        return self._kept[module_of(self._kept).asarray(places), :, :m].swapaxes(0, 1)

    def _computed(self, model: Model, items: np.ndarray) -> Array:
        xp = module_of(self.items.g)
        here = xp.asarray(items)
        H, mask = self.items.H[here], self.items.mask[here]
        if not mask.all():
            H = H[mask].reshape(len(items), -1, H.shape[-1])
        found = xp.empty((3, *H.shape), self.items.g.dtype)
        found[2] = H                                                # a gallery may store them as float16
        X, Y, H = found.reshape(3, -1, H.shape[-1])
        gate_products(model, self.side, -0.5 * H, out=(X, Y))
        return found

    def _keep(self, numbers: list[int], fresh: Array) -> None:
        xp, m = module_of(fresh), fresh.shape[2]
        with self._lock:
            # another thread may have been faster, and an item may be listed twice
            new = {number: k for k, number in enumerate(numbers) if number not in self._places}
            which = list(new.values())[: self.room]
            if not which:
                return
            if self._kept is None:
                self._kept = xp.empty((self.room, 3, *self.items.H.shape[1:]), fresh.dtype)
            while len(self._free) < len(which):
                self._free.append(self._places.popitem(last=False)[1])
            places = [self._free.pop() for _ in which]
            self._kept[xp.asarray(places), :, :m] = fresh.swapaxes(0, 1)[xp.asarray(which)]
            self._places.update((numbers[k], place) for k, place in zip(which, places, strict=True))    # when all is there
