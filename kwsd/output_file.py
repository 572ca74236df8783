"""Output files: written beside their place under another name, moved there when complete."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from types import TracebackType

from kwsd.errors import OutputError


class OutputFile:
    """A result file that is there as a whole or not at all.

    Used as a context manager: leaving it normally moves the file into place, an exception removes
    it. What was at the path before stays until then, and its permissions stay. A link stays one:
    the file that it names is replaced. A path that is not a regular file (``/dev/null``, a named
    pipe) is written directly.

    Parameters
    ----------
    path : Path
        Where the result belongs.
    private : bool
        A new file is for its owner alone, as what was said in a room should be.

    Raises
    ------
    OutputError
        The folder is not there, or cannot be entered or written.
    """

    def __init__(self, path: Path, private: bool = False) -> None:
        self.path = path
        try:
            self._direct = path.exists() and not path.is_file()
            is_folder = path.is_dir()
            mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else None
        except OSError as error:
            # A folder that may not be entered does not even say whether the file is there.
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
        if is_folder:
            raise OutputError(f"{path} is a folder; name a file")
        self._place = Path(os.path.realpath(path))
        # The ending is kept because libraries choose the format by it.
        name = f".{path.stem}.{secrets.token_hex(4)}{path.suffix}"
        self.partial = path if self._direct else self._place.parent / name
        """Where to write."""
        if self._direct:
            return
        try:
            self.partial.touch(0o600 if private else 0o666, exist_ok=False)
            if mode is not None:
                self.partial.chmod(mode)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._direct:
            return
        if kind is not None:
            self.partial.unlink(missing_ok=True)
            if isinstance(error, OutputError):
                # Whoever wrote knows only where; people know the name that they gave.
                raise OutputError(str(error).replace(str(self.partial), str(self.path))) from None
            return
        try:
            os.replace(self.partial, self._place)
        except OSError as failure:
            self.partial.unlink(missing_ok=True)
            raise OutputError(f"{self.path} cannot be written: {failure.strerror}") from None
