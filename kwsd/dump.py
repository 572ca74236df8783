"""Audio dump: detector branch, voice branch and aligned reference as one WAV (``--dump-audio``).

24-bit PCM: finer than any converter, and libsndfile puts no time of writing into it as it does into
float files, so that the same recording gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.dsp.frontend_frame import FrontEndFrame
from kwsd.errors import OutputError

CHANNELS = ("detector", "voice", "reference")

# Sizes of a plain WAV are 32-bit; RF64 takes over where they could overflow.
_PLAIN_WAV_S = 2**31 / (SAMPLE_RATE_HZ * len(CHANNELS) * 3)


class AudioDump:
    """A tap that writes three channels at 16 kHz.

    Parameters
    ----------
    path : Path
        File to write; overwritten.
    duration_s : float, optional
        Expected length; None if not known.
    """

    def __init__(self, path: Path, duration_s: float | None) -> None:
        self._path = path
        long = duration_s is not None and duration_s > _PLAIN_WAV_S
        try:
            self._file = sf.SoundFile(
                path,
                "w",
                samplerate=SAMPLE_RATE_HZ,
                channels=len(CHANNELS),
                format="RF64" if long else "WAV",
                subtype="PCM_24",
            )
        except (sf.LibsndfileError, OSError) as error:
            raise self._failed(error) from None

    def frame(self, frame: FrontEndFrame) -> None:
        """Write one frame; beyond full scale is clipped."""
        samples = np.stack([frame.detector, frame.voice, frame.reference], axis=1)
        try:
            self._file.write(np.clip(samples, -1.0, 1.0))
        except (sf.LibsndfileError, OSError) as error:
            raise self._failed(error) from None

    def score(self, keyword: str, end_sample: int, smoothed: float) -> None:
        """Scores are not written."""

    def close(self) -> None:
        """Complete the header."""
        self._file.close()

    def _failed(self, error: Exception) -> OutputError:
        # The reason does not reach libsndfile, which says "System error".
        return OutputError(
            f"audio cannot be written to {self._path} ({error}); the disk may be full"
        )
