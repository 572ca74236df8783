"""Line sink: one JSON event a line on standard output."""

from __future__ import annotations

from typing import TextIO

from kwsd.errors import OutputError
from kwsd.event import Event, to_json


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
            The line cannot be written, for example on a full disk.
        """
        if self._stream is None:
            raise ReaderGone
        try:
            self._stream.write(to_json(event) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            raise ReaderGone from None
        except OSError as error:
            raise OutputError(f"standard output cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Nothing is held back."""
