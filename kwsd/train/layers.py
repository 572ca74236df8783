"""The network as plain numpy layers: what the exporter quantises and what tests compare with.

A causal convolution network over feature frames. The stem looks at the last few frames each
`STRIDE` frames, with filters that are shared over the bands, so that a voice with a shorter vocal
tract is the same pattern some bands higher (as the two-dimensional stages of Kim et al.,
"Broadcasted residual learning for efficient keyword spotting", Interspeech 2021); its last filter
spans all bands that are left. Each block then filters every channel over time, mixes the channels
and adds its input (MobileNet-like separable convolutions as in Rybakov et al., "Streaming keyword
spotting on mobile devices", Interspeech 2020). Batch normalisation is already folded in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.digest import sha256_hex
from kwsd.dsp.features import BANDS

FloatArray = NDArray[np.float32]

STRIDE = 2
"""Feature frames of one step: 20 ms."""


@dataclass(frozen=True)
class BandFilter:
    """One layer of the stem, ``relu(convolution)`` over frames and bands, no padding."""

    weights: FloatArray
    """float32 [out, in, frames, bands], oldest frame first."""

    bias: FloatArray
    """float32 [out]."""

    stride: int = 1
    """Bands from one place to the next."""

    def places(self, bands: int) -> int:
        """Bands that are left of so many."""
        return (bands - int(self.weights.shape[3])) // self.stride + 1


@dataclass(frozen=True)
class Block:
    """One residual block ``y = relu(x + pointwise(depthwise(x)))``."""

    depthwise: FloatArray
    """float32 [channels, kernel], oldest tap first."""

    depthwise_bias: FloatArray
    """float32 [channels]."""

    dilation: int
    """Steps between two taps."""

    pointwise: FloatArray
    """float32 [channels out, channels in]."""

    pointwise_bias: FloatArray
    """float32 [channels]."""

    @property
    def kernel(self) -> int:
        """Number of taps."""
        return int(self.depthwise.shape[1])

    @property
    def memory_steps(self) -> int:
        """Earlier steps that the block must remember."""
        return (self.kernel - 1) * self.dilation


LOW_SCORE = 0.5
HIGH_SCORE = 0.95
BLOCK_ARRAYS = ("depthwise", "depthwise_bias", "pointwise", "pointwise_bias")


@dataclass(frozen=True)
class FloatNet:
    """The whole network in float32."""

    stem: tuple[BandFilter, ...]
    """From the frames of a step to one value a channel; the first sees all the frames."""

    blocks: tuple[Block, ...]
    """Residual blocks in order."""

    head: FloatArray
    """float32 [1, channels]."""

    head_bias: FloatArray
    """float32 [1]."""

    @property
    def channels(self) -> int:
        """Channels of every block."""
        return int(self.stem[-1].weights.shape[0])

    @property
    def stem_frames(self) -> int:
        """Frames that the stem sees."""
        return int(self.stem[0].weights.shape[2])

    @property
    def stem_bands(self) -> tuple[int, ...]:
        """Bands behind each layer of the stem; the last is 1."""
        left = [BANDS]
        for layer in self.stem:
            left.append(layer.places(left[-1]))
        return tuple(left[1:])

    @property
    def stem_names(self) -> tuple[str, ...]:
        """Activations behind each layer of the stem, as `forward` and the streaming graph say."""
        return (*(f"f{index}" for index in range(len(self.stem) - 1)), "x0")

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        count = self.head.size + self.head_bias.size
        count += sum(layer.weights.size + layer.bias.size for layer in self.stem)
        for block in self.blocks:
            count += block.depthwise.size + block.depthwise_bias.size
            count += block.pointwise.size + block.pointwise_bias.size
        return int(count)

    @property
    def multiplies_per_step(self) -> int:
        """Multiply-accumulates of one step."""
        count = self.head.size
        for layer, places in zip(self.stem, self.stem_bands, strict=True):
            count += layer.weights.size * places
        return int(count + sum(b.depthwise.size + b.pointwise.size for b in self.blocks))


def centred(net: FloatNet, low: float, high: float) -> FloatNet:
    """The same network with its score moved to where an 8-bit probability has steps.

    An int8 probability ends at 255/256, a logit of 5.5: a network that is surer than that cannot
    tell its false accepts from its words any more. The order of scores stays as it is.

    Parameters
    ----------
    net : FloatNet
        A network.
    low, high : float
        Logits that become probabilities of `LOW_SCORE` and `HIGH_SCORE`.
    """
    ends = np.log(np.array([LOW_SCORE, HIGH_SCORE]) / (1.0 - np.array([LOW_SCORE, HIGH_SCORE])))
    gain = np.float32((ends[1] - ends[0]) / max(high - low, 1.0))
    bias = net.head_bias * gain + np.float32(ends[0] - gain * low)
    return replace(net, head=net.head * gain, head_bias=bias.astype(np.float32))


def _arrays(net: FloatNet) -> dict[str, NDArray[Any]]:
    """Everything that is in a network, by name."""
    arrays: dict[str, NDArray[Any]] = {
        "head": net.head,
        "head_bias": net.head_bias,
        "strides": np.array([layer.stride for layer in net.stem]),
        "dilations": np.array([block.dilation for block in net.blocks]),
    }
    for index, layer in enumerate(net.stem):
        arrays[f"stem{index}"], arrays[f"stem_bias{index}"] = layer.weights, layer.bias
    for index, block in enumerate(net.blocks):
        for name in BLOCK_ARRAYS:
            arrays[f"{name}{index}"] = getattr(block, name)
    return arrays


def net_digest(net: FloatNet) -> str:
    """SHA-256 of a network, whatever file it came from."""
    return sha256_hex(b"".join(array.tobytes() for array in _arrays(net).values()))


def save_net(net: FloatNet, path: Path) -> None:
    """Keep a network in float32, for comparisons with what was made of it."""
    np.savez(path, **_arrays(net))  # type: ignore[arg-type]


def load_net(path: Path) -> FloatNet:
    """What `save_net` has kept."""
    with np.load(path, allow_pickle=False) as stored:
        stem = [
            BandFilter(stored[f"stem{index}"], stored[f"stem_bias{index}"], int(stride))
            for index, stride in enumerate(stored["strides"])
        ]
        blocks = [
            Block(dilation=int(dilation), **{n: stored[f"{n}{index}"] for n in BLOCK_ARRAYS})
            for index, dilation in enumerate(stored["dilations"])
        ]
        return FloatNet(tuple(stem), tuple(blocks), stored["head"], stored["head_bias"])


def forward(net: FloatNet, features: FloatArray) -> dict[str, FloatArray]:
    """Run a whole signal from a zero state.

    Parameters
    ----------
    net : FloatNet
        The network.
    features : ndarray, float32 [frames, bands]
        Features; an odd last frame is left out.

    Returns
    -------
    dict of ndarray, float32 [steps, channels]
        Every activation by its name in the streaming graph: ``features`` ``[frames, bands]``,
        ``f{i}`` ``[steps, bands left, channels]`` for each layer of the stem but the last, that
        is ``x0``, then ``dw{i}``, ``pw{i}``, ``x{i + 1}`` for each block, ``logit`` ``[steps, 1]``.
    """
    steps = len(features) // STRIDE
    features = features[: steps * STRIDE]
    out: dict[str, FloatArray] = {"features": features}
    past = np.zeros((net.stem_frames - STRIDE, features.shape[1]), np.float32)
    # [steps, channels in, frames, bands]
    seen = np.lib.stride_tricks.sliding_window_view(
        np.concatenate([past, features]), net.stem_frames, axis=0
    )[::STRIDE].transpose(0, 2, 1)[:, None]
    for name, layer in zip(net.stem_names, net.stem, strict=True):
        out[name] = _filtered(layer, seen)
        seen = out[name].transpose(0, 2, 1)[:, :, None]
    current = out["x0"] = out["x0"][:, 0]
    for index, block in enumerate(net.blocks):
        past = np.zeros((block.memory_steps, net.channels), np.float32)
        padded = np.concatenate([past, current])
        filtered = np.zeros_like(current)
        for tap in range(block.kernel):
            start = tap * block.dilation
            filtered += padded[start : start + steps] * block.depthwise[:, tap]
        filtered += block.depthwise_bias
        mixed = filtered @ block.pointwise.T + block.pointwise_bias
        current = np.maximum(current + mixed, 0.0).astype(np.float32)
        out[f"dw{index}"], out[f"pw{index}"], out[f"x{index + 1}"] = filtered, mixed, current
    out["logit"] = (current @ net.head.T + net.head_bias).astype(np.float32)
    return out


def _filtered(layer: BandFilter, seen: FloatArray) -> FloatArray:
    """[steps, in, frames, bands] to [steps, places, out]."""
    windows = np.lib.stride_tricks.sliding_window_view(seen, layer.weights.shape[3], axis=3)
    windows = windows[:, :, :, :: layer.stride].transpose(0, 3, 1, 2, 4)
    flat = windows.reshape(*windows.shape[:2], -1) @ layer.weights.reshape(len(layer.bias), -1).T
    return np.asarray(np.maximum(flat + layer.bias, 0.0), np.float32)
