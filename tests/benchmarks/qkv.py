"""Q, K and V in one product: their weights side by side, for the contenders that hold them so."""

from __future__ import annotations

import numpy as np

LAYERS = ("text.attention", "image.attention")


def join_qkv(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """W_Q, W_K and W_V side by side as W_QKV, their biases as b_QKV."""
    apart = {f"{layer}.{kind}_{letter}" for layer in LAYERS for kind in "Wb" for letter in "QKV"}
    joined = {name: x for name, x in values.items() if name not in apart}
    for layer in LAYERS:
        for kind in "Wb":
            joined[f"{layer}.{kind}_QKV"] = np.concatenate([values[f"{layer}.{kind}_{letter}"] for letter in "QKV"], axis=-1)
    return joined


def split_qkv(joined: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Back to the names of `Model.parameters`."""
    values = {name: x for name, x in joined.items() if not name.endswith("_QKV")}
    for name, x in joined.items():
        if name.endswith("_QKV"):
            for letter, part in zip("QKV", np.split(x, 3, axis=-1), strict=True):
                values[name.removesuffix("QKV") + letter] = part
    return values
