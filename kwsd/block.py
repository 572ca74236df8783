"""Block: the one type in which audio travels from a source to the DSP stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
"""Sample rate of everything behind a source."""

BLOCK_SAMPLES = 480
"""Samples of one wake-up of the chain: 30 ms, three hops."""

LARGEST_SAMPLE = 16.0
"""Full scale is 1. Float samples may exceed it; beyond this (+24 dB) they were integers or damage,
and would overflow a square somewhere: a file is refused, a live sample is taken for silence."""

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Block:
    """A run of consecutive samples at 16 kHz, full scale = 1.0.

    The sample counter is the only clock of the chain.
    """

    start_sample: int
    """Stream position of the first sample; after a gap it jumps by what was lost."""

    mics: FloatArray
    """float32 [microphones, samples], one or two rows."""

    reference: FloatArray | None
    """float32 [samples], what the loudspeaker plays; None where there is no reference."""

    gap: bool = False
    """True if audio is missing before this block: stages reset what must be reset."""

    @property
    def samples(self) -> int:
        """Length of the block."""
        return int(self.mics.shape[1])
