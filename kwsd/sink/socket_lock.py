"""Keeps two processes off one socket's path: the second bind would silently take it over."""

from __future__ import annotations

import fcntl
import stat
from pathlib import Path
from typing import IO

from kwsd.errors import BusError, ConfigError

_DIRECTORY_MODE = 0o750


class SocketLock:
    """A lock file beside the socket.

    Parameters
    ----------
    key : str
        Configuration key of the endpoint, for messages.
    endpoint : str
        Where the socket will be; only a path is locked (``ipc://``, or ``unix://`` of a bridge).

    Raises
    ------
    ConfigError
        Something else than a socket is at the path: binding would delete it.
    BusError
        Another process has it, or the folder cannot be used.
    """

    def __init__(self, key: str, endpoint: str) -> None:
        self._file: IO[bytes] | None = None
        self._socket_path: Path | None = None
        scheme, _, path = endpoint.partition("://")
        # A path that starts with @ is an abstract socket: the kernel itself keeps it unique.
        if scheme not in ("ipc", "unix") or path.startswith("@"):
            return
        socket_path = Path(path)
        try:
            socket_path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            if not _is_free(socket_path):
                raise ConfigError(
                    f"{key} = {endpoint}: {path} is there and is not a socket; choose another "
                    "path, or remove it if nobody needs it"
                )
            self._file = Path(f"{path}.lock").open("ab")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise BusError(
                f"{key} = {endpoint} is in use by another kwsd; stop it or choose another"
            ) from None
        except OSError as error:
            self.release()
            raise BusError(
                f"{key} = {endpoint} cannot be used: {error.strerror}; "
                "create the folder or choose another path"
            ) from None
        self._socket_path = socket_path

    def release(self) -> None:
        """Let others have it; may be called twice."""
        if self._socket_path is not None:
            # The lock file stays: removing it would let two others lock two different files.
            if _is_free(self._socket_path):
                self._socket_path.unlink(missing_ok=True)
            self._socket_path = None
        if self._file is not None:
            self._file.close()
            self._file = None


def _is_free(path: Path) -> bool:
    """Whether nothing is lost by a new socket there: nothing is, or a socket that was left."""
    try:
        # Of a link too: binding would replace the link itself.
        return stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return True
