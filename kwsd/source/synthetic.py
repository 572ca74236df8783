"""Synthetic source: a scene of tone bursts in noise, for tests, benchmarks and a first look.

The noise of a block depends on the seed and the block's number only, so a scene of any length costs
no memory and is the same every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kwsd.block import BLOCK_SAMPLES, SAMPLE_RATE_HZ, Block, FloatArray
from kwsd.source.base import SourceInfo


@dataclass(frozen=True, slots=True)
class Burst:
    """A tone with 5 ms ramps."""

    start_s: float
    """Stream time of its first sample."""

    duration_s: float
    """Length including the ramps."""

    frequency_hz: float
    """Pitch."""

    level_dbfs: float = -20.0
    """RMS level; a full-scale sine has -3 dBFS."""

    in_reference: bool = False
    """True: the loudspeaker plays it (reference, and an echo 20 ms later in the microphones)."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is to be heard."""

    duration_s: float
    """Length of the stream."""

    microphones: int = 1
    """1 or 2."""

    has_reference: bool = False
    """Whether blocks carry a reference."""

    bursts: tuple[Burst, ...] = ()
    """Tones, in any order."""

    noise_dbfs: float = -70.0
    """RMS of the independent noise of each microphone; -inf for digital silence."""

    seed: int = 1
    """Noise seed."""


_RAMP_SAMPLES = 80
_ECHO_DELAY_SAMPLES = 320


class SyntheticSource:
    """Blocks of a `Scene`."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._samples = round(scene.duration_s * SAMPLE_RATE_HZ)
        # Bursts by the blocks that they touch: a long scene may hold thousands.
        self._bursts: dict[int, list[Burst]] = {}
        for burst in scene.bursts:
            first = round(burst.start_s * SAMPLE_RATE_HZ)
            last = first + round(burst.duration_s * SAMPLE_RATE_HZ) + _ECHO_DELAY_SAMPLES
            for index in range(first // BLOCK_SAMPLES, last // BLOCK_SAMPLES + 1):
                self._bursts.setdefault(index, []).append(burst)

    @property
    def info(self) -> SourceInfo:
        """See `kwsd.source.base.Source`."""
        scene = self._scene
        return SourceInfo(
            name="synthetic scene",
            microphones=scene.microphones,
            has_reference=scene.has_reference,
            sample_rate_hz=SAMPLE_RATE_HZ,
            channels=scene.microphones + int(scene.has_reference),
            duration_s=scene.duration_s,
        )

    def blocks(self) -> Iterator[Block]:
        """See `kwsd.source.base.Source`."""
        scene = self._scene
        for start in range(0, self._samples, BLOCK_SAMPLES):
            count = min(BLOCK_SAMPLES, self._samples - start)
            mics = self._noise(start // BLOCK_SAMPLES, count)
            reference = np.zeros(count, np.float32)
            for burst in self._bursts.get(start // BLOCK_SAMPLES, ()):
                if burst.in_reference:
                    reference += _tone(burst, start, count)
                    mics += np.float32(0.5) * _tone(burst, start - _ECHO_DELAY_SAMPLES, count)
                else:
                    mics += _tone(burst, start, count)
            yield Block(start, mics, reference if scene.has_reference else None)

    def _noise(self, block_index: int, count: int) -> FloatArray:
        shape = (self._scene.microphones, BLOCK_SAMPLES)
        rng = np.random.default_rng([self._scene.seed, block_index])
        gain = np.float32(10.0 ** (self._scene.noise_dbfs / 20.0))
        return np.ascontiguousarray(gain * rng.standard_normal(shape, np.float32)[:, :count])

    def close(self) -> None:
        """See `kwsd.source.base.Source`."""


def _tone(burst: Burst, start_sample: int, count: int) -> FloatArray:
    first = round(burst.start_s * SAMPLE_RATE_HZ)
    length = round(burst.duration_s * SAMPLE_RATE_HZ)
    index = np.arange(start_sample - first, start_sample - first + count)
    if index[-1] < 0 or index[0] >= length:
        return np.zeros(count, np.float32)
    ramp = np.clip((np.minimum(index, length - 1 - index) + 1) / _RAMP_SAMPLES, 0.0, 1.0)
    peak = 10.0 ** (burst.level_dbfs / 20.0) * np.sqrt(2.0)
    phase = 2.0 * np.pi * burst.frequency_hz / SAMPLE_RATE_HZ * index
    return np.asarray(peak * ramp * np.sin(phase), np.float32)
