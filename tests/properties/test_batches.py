"""A batch is its items: each result is that of the item alone, and what several items share gets the sum of their gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnretrieval.backend import Array
from attnretrieval.course.cases import CASES
from tests.properties.calls import calls
from tests.properties.strategies import close, close_grads

# the axes of one item: of its inputs and of the output; an input that is not named here is shared by all items
ITEMS: dict[str, tuple[dict[str, int], int]] = {
    "softmax": ({"S": 1, "mask": 1}, 1),
    "linear": ({"X": 1}, 1),
    "attention": ({"Q": 2, "K": 2, "V": 2, "key_mask": 1}, 2),
    "split_heads": ({"X": 2}, 3),
    "join_heads": ({"X": 3}, 2),
    "multi_head_attention": ({"X": 2, "mask": 1}, 2),
    "feed_forward": ({"X": 1}, 1),
    "layer_norm": ({"X": 1}, 1),
    "position_code": ({"X": 2}, 2),
    "embedding": ({"ids": 1}, 2),
    "l2_normalise": ({"X": 1}, 1),
    "cosine_attention": ({"Q": 2, "K": 2, "V": 2, "key_mask": 1}, 2),
    "cross_attention": ({"H": 2, "H_other": 2, "key_mask": 1}, 2),
    "fuse_add": ({"H": 2, "C": 2}, 2),
    "fuse_concat": ({"H": 2, "C": 2}, 2),
    "fuse_gate": ({"H": 2, "C": 2}, 2),
    "pool_mean": ({"F": 2, "mask": 1}, 1),
    "pool_max": ({"F": 2, "mask": 1}, 1),
    "pool_weights": ({"F": 2, "mask": 1}, 1),
    "pool_attention": ({"F": 2, "mask": 1}, 1),
    "cosine_similarity": ({"G_t": 2, "G_v": 2}, 2),
    "token_cosine": ({"H": 2, "C": 2}, 1),
}


def test_every_equation_with_batches_is_listed():
    """Dropout is not: its mask is an option, element by element. The losses take one batch as a whole."""
    assert set(ITEMS) == set(CASES) - {"dropout", "triplet_loss", "info_nce"}


def place(x: Array, item: tuple[int, ...], own: int) -> tuple[int, ...]:
    """Where item `item` of the batch finds its part of x, whose leading axes broadcast."""
    leading = x.shape[:max(0, x.ndim - own)]
    return tuple(0 if size == 1 else i for size, i in zip(leading, item[len(item) - len(leading):], strict=True))


@pytest.mark.parametrize("name", ITEMS)
@given(data=st.data())
def test_a_batch_is_its_items(name, data):
    call = data.draw(calls(name, dtypes=(np.float64,)))
    axes, out_axes = ITEMS[name]
    d_out = call.upstream()
    out, grads = call.run(d_out)
    summed = {key: np.zeros_like(d_x) for key, d_x in grads.items()}
    for i in np.ndindex(out.shape[:out.ndim - out_axes]):
        where = {key: place(x, i, axes[key]) if key in axes else () for key, x in call.inputs.items() if x is not None}
        one_out, one_grads = call.run(d_out[i], **{key: np.asarray(call.inputs[key][at]) for key, at in where.items()})
        close(out[i], one_out)
        for key, d_x in one_grads.items():
            summed[key][where[key]] += d_x
    close_grads(grads, summed)
