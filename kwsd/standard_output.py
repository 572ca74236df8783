"""Standard output of a program: one way for a reader that has gone and for a disk that is full."""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO, cast

from kwsd.errors import OutputError


class StandardOutput:
    """Context manager around a whole program; `sys.stdout` while it runs.

    A reader that has gone (``| head``) is no error: from then on output goes nowhere, and the
    program ends with the exit code that it would have had. Who prints without end asks
    `reader_gone`.

    Raises
    ------
    OutputError
        Standard output cannot be written, for example on a full disk; at the end at the latest.
    """

    def __init__(self) -> None:
        self._stream: TextIO | None = sys.stdout
        self.reader_gone = False
        """Nobody reads any more."""

    def __enter__(self) -> StandardOutput:
        if self._stream is not None:
            if isinstance(self._stream, io.TextIOWrapper):
                # A name or a bar that the locale cannot write costs no result.
                whole = codecs.lookup(self._stream.encoding).name == "utf-8"
                self._stream.reconfigure(errors="surrogateescape" if whole else "replace")
            sys.stdout = cast(TextIO, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is None:
            return
        sys.stdout = self._stream
        ended = kind is not None and not issubclass(kind, (Exception, SystemExit))
        if ended and not self._takes_more():
            # Who was told to end does not wait for a reader that has stopped reading.
            self._to_nowhere()
        try:
            self.flush()
        except OutputError:
            # An error of the program itself is told instead.
            if kind is None or kind is SystemExit:
                raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As a text file does."""
        assert self._stream is not None
        self._attempt(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """As a text file does."""
        assert self._stream is not None
        self._attempt(self._stream.flush)

    def _attempt(self, do: Callable[..., object], *arguments: str) -> None:
        try:
            do(*arguments)
        except OSError as error:
            # What is still buffered would fail once more in the interpreter's last flush.
            self._to_nowhere()
            if not isinstance(error, BrokenPipeError):
                raise OutputError(
                    f"standard output cannot be written: {error.strerror or error}"
                ) from None
            self.reader_gone = True

    def _takes_more(self) -> bool:
        assert self._stream is not None
        try:
            return bool(select.select([], [self._stream], [], 0)[1])
        except (OSError, ValueError):
            return True

    def _to_nowhere(self) -> None:
        assert self._stream is not None
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
        except (OSError, ValueError):
            pass  # no file of the system is behind it


def reader_gone() -> bool:
    """True once nobody reads standard output, or nobody ever did: who prints without end stops."""
    output = sys.stdout
    return output is None or (isinstance(output, StandardOutput) and output.reader_gone)
