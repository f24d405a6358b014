"""EfficientNet-Lite0 in PyTorch, eager, from the same file of weights."""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch
import torch.nn.functional as F

from attnretrieval.inputs.efficientnet import BATCH_NORM_EPS, PACKAGE, STAGES
from tests.benchmarks.cnn import draw_images


class TorchNet:
    """`folded`: batch norm is in the weights of the convolution before it, as in ours. `last`: channels last in memory."""

    def __init__(self, batch: int, folded: bool, last: bool, threads: int = 1):
        torch.set_num_threads(threads)
        self.folded = folded
        self.order = torch.channels_last if last else torch.contiguous_format
        weights = next(f for f in resources.files(PACKAGE).joinpath("models").iterdir() if f.name.endswith(".pth"))
        with resources.as_file(weights) as path:
            self.state = torch.load(path, weights_only=True)
        self.layers = {}
        names = [("_conv_stem", "_bn0"), ("_conv_head", "_bn1")]
        for block in range(sum(repeats for repeats, *_ in STAGES)):
            layers = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
            names += [(f"_blocks.{block}.{conv}", f"_blocks.{block}.{norm}") for conv, norm in layers]
        for conv, norm in names:
            if f"{conv}.weight" in self.state:
                self.layers[conv] = self._layer(conv, norm)
        self.images = torch.from_numpy(draw_images(batch)).permute(0, 3, 1, 2).contiguous(memory_format=self.order)

    def _layer(self, conv: str, norm: str):
        """W, b, and the batch norm that is still to come."""
        W = self.state[f"{conv}.weight"]
        stored = tuple(self.state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        if not self.folded:
            return W.contiguous(memory_format=self.order), None, stored
        mean, variance, gain, bias = stored
        scale = gain / torch.sqrt(variance + BATCH_NORM_EPS)
        return (W * scale[:, None, None, None]).contiguous(memory_format=self.order), bias - mean * scale, None

    @torch.inference_mode()
    def step(self) -> None:
        X = self._convolve((self.images - 127) / 128, "_conv_stem", 2).clamp_(0, 6)
        block = 0
        for repeats, _, stride, _, _ in STAGES:
            for repeat in range(repeats):
                name, s = f"_blocks.{block}", stride if repeat == 0 else 1
                Y = X
                if f"{name}._expand_conv" in self.layers:
                    Y = self._convolve(Y, f"{name}._expand_conv").clamp_(0, 6)
                Y = self._convolve(Y, f"{name}._depthwise_conv", s, groups=Y.shape[1]).clamp_(0, 6)
                Y = self._convolve(Y, f"{name}._project_conv")
                X = X + Y if s == 1 and X.shape == Y.shape else Y
                block += 1
        self.maps = self._convolve(X, "_conv_head").clamp_(0, 6)

    def _convolve(self, X, name: str, stride: int = 1, groups: int = 1):
        W, b, norm = self.layers[name]
        k = W.shape[-1]
        # TensorFlow's SAME; even sides, so with stride 2 one row less before than after
        more = k - stride
        if more > 0 and more % 2:
            X = F.pad(X, (more // 2, more - more // 2) * 2)
        X = F.conv2d(X, W, b, stride, padding=more // 2 if more > 0 and not more % 2 else 0, groups=groups)
        return X if norm is None else F.batch_norm(X, *norm, eps=BATCH_NORM_EPS)

    def features(self) -> list:
        """Those of the first image, (7, 7, 1280), as nested lists."""
        self.step()
        return np.asarray(self.maps[0].permute(1, 2, 0)).tolist()
