"""Audio dump: detector branch, voice branch and aligned reference as one WAV (``--dump-audio``).

24-bit PCM: finer than any converter, and libsndfile puts no time of writing into it as it does into
float files, so that the same recording gives the same bytes.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import soundfile as sf

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.dsp.frontend_frame import FrontEndFrame
from kwsd.errors import OutputError
from kwsd.source.wav_header import LARGEST_WAV_BYTES

log = logging.getLogger(__name__)

CHANNELS = ("detector", "voice", "reference")

_FRAME_BYTES = 3 * len(CHANNELS)


class AudioDump:
    """A tap that writes three channels at 16 kHz.

    RF64 takes over where a WAV could not hold a known length; of a stream whose length is not known
    as much is written as a WAV holds.

    Parameters
    ----------
    path : Path
        File to write; overwritten.
    duration_s : float, optional
        Expected length; None if not known.
    largest_bytes : int
        What a WAV holds.
    """

    def __init__(
        self, path: Path, duration_s: float | None, largest_bytes: int = LARGEST_WAV_BYTES
    ) -> None:
        self._path = path
        largest_samples = largest_bytes // _FRAME_BYTES
        long = duration_s is not None and duration_s * SAMPLE_RATE_HZ > largest_samples
        self._left_samples = math.inf if long else largest_samples
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
        if self._left_samples < 0:
            return
        self._left_samples -= len(frame.detector)
        if self._left_samples < 0:
            log.warning(
                "--dump-audio: the file is as large as a WAV can be, what follows is not in it; "
                "replay a stored recording to have all of it"
            )
            return
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
