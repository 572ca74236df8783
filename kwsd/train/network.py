"""The network in torch, for training only; `to_float_net` hands it to the exporter.

Phrases that are trained together share everything but the last layer; each becomes a package of
its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from kwsd.dsp.features import BANDS
from kwsd.train.layers import STRIDE, BandFilter, Block, FloatNet

FloatArray = NDArray[np.float32]

START_RMS = 0.28
"""Of the weights of a filter that was trained before. The normalisation behind it takes any size
out again, so size only says how fast a filter turns at a learning rate; this is what AdamW makes of
one in 6 000 steps of `kwsd.train.fit`, whose steps are of equal size whatever the gradient is."""


@dataclass(frozen=True)
class Shape:
    """Size of the network."""

    channels: int = 80
    """Width of every block."""

    stem_frames: int = 5
    """Feature frames that the stem sees."""

    filters: tuple[tuple[int, int, int], ...] = ((16, 6, 2), (24, 4, 2))
    """Stem before all bands are joined: filters, bands that each spans, bands to the next place."""

    kernels: tuple[int, ...] = (5, 9, 9, 13, 13)
    """Taps of each block."""

    dilations: tuple[int, ...] = (1, 1, 1, 1, 2)
    """Steps between taps: the defaults give 1.2 s of memory."""


class SeparableBlock(nn.Module):
    """``relu(x + pointwise(depthwise(x)))``, causal.

    In two dimensions, one of them empty: only so can channels stand last in memory.
    """

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.memory = (kernel - 1) * dilation
        self.depthwise = nn.Conv2d(
            channels, channels, (1, kernel), dilation=(1, dilation), groups=channels, bias=False
        )
        self.depthwise_norm = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, channels, 1, steps], same shape out."""
        y = self.depthwise_norm(self.depthwise(functional.pad(x, (self.memory, 0))))
        return functional.relu(x + self.pointwise_norm(self.pointwise(y)))


class Stem(nn.Module):
    """From features to one value a channel and step; see `kwsd.train.layers.BandFilter`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.past = shape.stem_frames - STRIDE
        layers, norms = [], []
        source, bands, frames, step = 1, BANDS, shape.stem_frames, STRIDE
        for count, span, stride in (*shape.filters, (shape.channels, 0, 1)):
            span = span or bands  # the last one joins all that are left
            layers.append(nn.Conv2d(source, count, (span, frames), (stride, step), bias=False))
            norms.append(nn.BatchNorm2d(count))
            source, bands, frames, step = count, (bands - span) // stride + 1, 1, 1
        self.layers, self.norms = nn.ModuleList(layers), nn.ModuleList(norms)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[batch, BANDS, frames] to [batch, channels, 1, frames // STRIDE]."""
        x = functional.pad(features, (self.past, 0))[:, None]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = functional.relu(norm(layer(x)))
        return x


class Network(nn.Module):
    """Features to one logit a step and phrase."""

    def __init__(self, shape: Shape, phrases: int = 1) -> None:
        super().__init__()
        self.stem = Stem(shape)
        self.blocks = nn.ModuleList(
            SeparableBlock(shape.channels, kernel, dilation)
            for kernel, dilation in zip(shape.kernels, shape.dilations, strict=True)
        )
        self.head = nn.Linear(shape.channels, phrases)
        # With the channels last in memory a step of the training takes two thirds of the time.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[batch, BANDS, frames] to logits [batch, frames // STRIDE, phrases]."""
        logits: torch.Tensor = self.head(self.trunk(features))
        return logits

    def trunk(self, features: torch.Tensor) -> torch.Tensor:
        """[batch, BANDS, frames] to the last layer's input [batch, frames // STRIDE, channels]."""
        x: torch.Tensor = self.stem(features)
        for block in self.blocks:
            x = block(x)
        return x[:, :, 0].transpose(1, 2)


def _folded(conv: Any, norm: Any) -> tuple[FloatArray, FloatArray]:
    """Weights and bias of a convolution with its batch normalisation folded in."""
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = conv.weight * gain.reshape(-1, *[1] * (conv.weight.ndim - 1))
    bias = norm.bias - norm.running_mean * gain
    return weight.detach().cpu().numpy().copy(), bias.detach().cpu().numpy().copy()


def to_float_net(network: Network, phrase: int = 0) -> FloatNet:
    """One phrase's network with the normalisations folded in, as it computes in evaluation mode."""
    stem = []
    for layer, norm in zip(network.stem.layers, network.stem.norms, strict=True):
        assert isinstance(layer, nn.Conv2d)
        weights, bias = _folded(layer, norm)
        over_time = np.ascontiguousarray(weights.transpose(0, 1, 3, 2))
        stem.append(BandFilter(over_time, bias, layer.stride[0]))
    blocks = []
    for module in network.blocks:
        assert isinstance(module, SeparableBlock)
        depthwise, depthwise_bias = _folded(module.depthwise, module.depthwise_norm)
        pointwise, pointwise_bias = _folded(module.pointwise, module.pointwise_norm)
        dilation = module.depthwise.dilation[1]
        over_steps, mixing = depthwise[:, 0, 0], pointwise[:, :, 0, 0]
        blocks.append(Block(over_steps, depthwise_bias, dilation, mixing, pointwise_bias))
    only = slice(phrase, phrase + 1)
    head = network.head.weight[only].detach().cpu().numpy().copy()
    head_bias = network.head.bias[only].detach().cpu().numpy().copy()
    return FloatNet(tuple(stem), tuple(blocks), head, head_bias)


def shape_of(net: FloatNet) -> Shape:
    """Sizes of a network that was trained before."""
    spans = [(len(layer.bias), layer.weights.shape[3], layer.stride) for layer in net.stem[:-1]]
    return Shape(
        channels=net.channels,
        stem_frames=net.stem_frames,
        filters=tuple(spans),
        kernels=tuple(block.kernel for block in net.blocks),
        dilations=tuple(block.dilation for block in net.blocks),
    )


def start_from(network: Network, net: FloatNet, features: torch.Tensor) -> None:
    """Give a network the layers of one that was trained before, all but the last.

    Behind it the trunk computes what that one computes, in training as well: normalisations learn
    their statistics from `features`, layer by layer, and undo them.

    Parameters
    ----------
    network : Network
        Of the shape that `shape_of` says; is written to.
    net : FloatNet
        With its normalisations folded in.
    features : Tensor, float32 [batch, BANDS, frames]
        Like those that it will be trained on.
    """
    pairs: list[tuple[Any, Any, FloatArray, FloatArray]] = []
    for conv, norm, layer in zip(network.stem.layers, network.stem.norms, net.stem, strict=True):
        pairs.append((conv, norm, layer.weights.transpose(0, 1, 3, 2), layer.bias))
    for module, block in zip(network.blocks, net.blocks, strict=True):
        over_steps, mixing = block.depthwise[:, None, None], block.pointwise[:, :, None, None]
        pairs.append((module.depthwise, module.depthwise_norm, over_steps, block.depthwise_bias))
        pairs.append((module.pointwise, module.pointwise_norm, mixing, block.pointwise_bias))
    hooks = []
    with torch.no_grad():
        for conv, norm, weights, bias in pairs:
            size = np.sqrt((weights**2).mean(axis=(1, 2, 3), keepdims=True))
            gain = START_RMS / np.maximum(size, 1e-6)
            conv.weight.copy_(torch.as_tensor(weights * gain))
            hooks.append(norm.register_forward_pre_hook(_undoing(bias, gain.ravel())))
        network.eval().trunk(features)
    for hook in hooks:
        hook.remove()


def _undoing(bias: FloatArray, gain: FloatArray) -> Any:
    """Lets a normalisation turn ``gain * y`` into ``y + bias`` for what it gets first."""

    def learn(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        (heard,) = inputs
        variance, mean = torch.var_mean(heard, (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        ungained = 1.0 / torch.as_tensor(gain)
        norm.weight.copy_(torch.sqrt(variance + norm.eps) * ungained)
        norm.bias.copy_(torch.as_tensor(bias) + mean * ungained)

    return learn
