"""FLAC as an encoder leaves it that cannot go back to say how long the stream was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

TOTAL_SAMPLES = slice(8 + 14, 8 + 18)
"""The lower 32 of 36 bits, in STREAMINFO."""


def write_unknown_length(path: Path, audio: np.ndarray, rate_hz: int = 16_000) -> Path:
    """Write float [samples] or [samples, channels]."""
    sf.write(path, audio, rate_hz, format="FLAC")
    content = bytearray(path.read_bytes())
    content[TOTAL_SAMPLES.start - 1] &= 0xF0
    content[TOTAL_SAMPLES] = bytes(4)
    path.write_bytes(content)
    return path
