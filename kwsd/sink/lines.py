"""Line sink: one JSON event a line on standard output."""

from __future__ import annotations

from typing import TextIO

from kwsd.event import Event, to_json
from kwsd.standard_output import reader_gone


class ReaderGone(Exception):
    """Whoever read the lines has closed the pipe (``| head``); not an error."""


class LineSink:
    """Writes and flushes every event at once, so that a pipe sees it when it happens.

    Parameters
    ----------
    stream : text file or None
        Where lines go; None (standard output was closed at start) counts as a reader that has gone.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def emit(self, event: Event) -> None:
        """Write one line.

        Raises
        ------
        ReaderGone
            Nobody reads any more.
        OutputError
            Standard output cannot be written (`kwsd.standard_output`).
        """
        if self._stream is None:
            raise ReaderGone
        self._stream.write(to_json(event) + "\n")
        self._stream.flush()
        if reader_gone():
            raise ReaderGone

    def close(self) -> None:
        """Nothing is held back."""
