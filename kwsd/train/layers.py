"""The network as plain numpy layers: what the exporter quantises and what tests compare with.

A causal depth-wise separable convolution network over feature frames. The stem looks at the last
`STEM_FRAMES` frames each `STRIDE` frames; each block filters every channel over time, mixes the
channels and adds its input (MobileNet-like separable convolutions as in Rybakov et al.,
"Streaming keyword spotting on mobile devices", Interspeech 2020). Batch normalisation is already
folded in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

STRIDE = 2
"""Feature frames of one step: 20 ms."""


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

    stem: FloatArray
    """float32 [channels, bands, frames], oldest frame first."""

    stem_bias: FloatArray
    """float32 [channels]."""

    blocks: tuple[Block, ...]
    """Residual blocks in order."""

    head: FloatArray
    """float32 [1, channels]."""

    head_bias: FloatArray
    """float32 [1]."""

    @property
    def channels(self) -> int:
        """Channels of every block."""
        return int(self.stem.shape[0])

    @property
    def bands(self) -> int:
        """Feature bands."""
        return int(self.stem.shape[1])

    @property
    def stem_frames(self) -> int:
        """Frames that the stem sees."""
        return int(self.stem.shape[2])

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        count = self.stem.size + self.stem_bias.size + self.head.size + self.head_bias.size
        for block in self.blocks:
            count += block.depthwise.size + block.depthwise_bias.size
            count += block.pointwise.size + block.pointwise_bias.size
        return int(count)

    @property
    def multiplies_per_step(self) -> int:
        """Multiply-accumulates of one step."""
        count = self.stem.size + self.head.size
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


def save_net(net: FloatNet, path: Path) -> None:
    """Keep a network in float32, for comparisons with what was made of it."""
    arrays = {
        "stem": net.stem,
        "stem_bias": net.stem_bias,
        "head": net.head,
        "head_bias": net.head_bias,
        "dilations": np.array([block.dilation for block in net.blocks]),
    }
    for index, block in enumerate(net.blocks):
        for name in BLOCK_ARRAYS:
            arrays[f"{name}{index}"] = getattr(block, name)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def load_net(path: Path) -> FloatNet:
    """What `save_net` has kept."""
    with np.load(path, allow_pickle=False) as stored:
        blocks = [
            Block(dilation=int(dilation), **{n: stored[f"{n}{index}"] for n in BLOCK_ARRAYS})
            for index, dilation in enumerate(stored["dilations"])
        ]
        ends = [stored[name] for name in ("stem", "stem_bias", "head", "head_bias")]
        return FloatNet(ends[0], ends[1], tuple(blocks), ends[2], ends[3])


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
        ``x0``, then ``dw{i}``, ``pw{i}``, ``x{i + 1}`` for each block, ``logit`` ``[steps, 1]``.
    """
    steps = len(features) // STRIDE
    features = features[: steps * STRIDE]
    out: dict[str, FloatArray] = {"features": features}
    past = np.zeros((net.stem_frames - STRIDE, net.bands), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.concatenate([past, features]), net.stem_frames, axis=0
    )[::STRIDE]
    flat = windows.reshape(steps, -1) @ net.stem.reshape(net.channels, -1).T
    current = np.maximum(flat + net.stem_bias, 0.0).astype(np.float32)
    out["x0"] = current
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
