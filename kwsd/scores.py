"""Score file: ``time_s,name,score`` of every model step (``--scores``).

The score is the smoothed one that the decision compares with its threshold, so that a detection is
a row at or above the threshold in its event.
"""

from __future__ import annotations

import csv
from pathlib import Path

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.dsp.frontend_frame import FrontEndFrame
from kwsd.errors import OutputError

HEADER = ("time_s", "name", "score")


class ScoreFile:
    """A tap that writes a CSV.

    Parameters
    ----------
    path : Path
        File to write; overwritten.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._stream = path.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise self._failed(error) from None
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(HEADER)

    def frame(self, frame: FrontEndFrame) -> None:
        """Audio is not written."""

    def score(self, keyword: str, end_sample: int, smoothed: float) -> None:
        """Write one row."""
        try:
            row = (f"{end_sample / SAMPLE_RATE_HZ:.3f}", keyword, f"{smoothed:.4f}")
            self._writer.writerow(row)
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """Write what is buffered."""
        try:
            self._stream.close()
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"scores cannot be written to {self._path}: {error.strerror}")
