"""24 bits in the lower part of four bytes (``arecord -f S24_LE``), read without libsndfile.

The WAV specification knows no such samples, and libsndfile guesses by the first of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kwsd.block import FloatArray
from kwsd.source.wav_header import WavHeader


def low_24_bits(stored: bytes) -> NDArray[np.float32]:
    """Samples of whole little-endian words, full scale 1.0; ALSA leaves the upper byte open."""
    return (np.frombuffer(stored, "<i4") << 8).astype(np.float32) / np.float32(2.0**31)


class Low24Wav:
    """Frames behind a header that says so, in the manner of `soundfile.SoundFile`.

    Parameters
    ----------
    path : Path
        A complete file.
    header : WavHeader
        Its own.
    """

    def __init__(self, path: Path, header: WavHeader) -> None:
        self._header = header
        self.samplerate = header.sample_rate_hz
        self.channels = header.channels
        stored = header.data_bytes
        if stored is None:
            stored = path.stat().st_size - header.data_offset
        self.frames = stored // header.frame_bytes
        self._stream = path.open("rb")
        self.seek(0)

    def seekable(self) -> bool:
        """It is a file."""
        return True

    def seek(self, frame: int) -> int:
        """Go to a frame; gives it."""
        self._stream.seek(self._header.data_offset + frame * self._header.frame_bytes)
        self._next = frame
        return frame

    def read(self, count: int) -> FloatArray:
        """Next frames, float32 [up to count, channels]."""
        count = min(count, self.frames - self._next)  # a chunk may follow
        data = self._stream.read(count * self._header.frame_bytes)
        whole = len(data) // self._header.frame_bytes
        self._next += whole
        return low_24_bits(data[: whole * self._header.frame_bytes]).reshape(-1, self.channels)

    def close(self) -> None:
        """Give the file back."""
        self._stream.close()
