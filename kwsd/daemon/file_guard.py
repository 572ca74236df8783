"""File guard: turns new connections away before the process runs out of open files.

libzmq 4.3 ends the process when `accept` on an ipc socket fails with EMFILE, and a stranger on the
same machine needs no more than a loop of connects for that. Far below the limit the guard takes the
paths of the sockets away: whoever connects is refused by the kernel and tries again, whoever is
connected stays. The paths come back when files were closed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

log = logging.getLogger(__name__)

MOST_FILES = 8_192
"""Turned away from here on; what is free above it takes those that connect between two looks."""

_SUFFIX = ".full"


def open_files() -> int:
    """Descriptors that this process holds."""
    return len(os.listdir("/proc/self/fd"))


class FileGuard:
    """Watches the open files of this process.

    Parameters
    ----------
    endpoints : iterable of str
        Where connections come from; those on ``ipc://`` paths can be turned away.
    limit : int
        Files that this process may open.
    count : callable
        Files that it has open.
    """

    def __init__(
        self, endpoints: Iterable[str], limit: int, count: Callable[[], int] = open_files
    ) -> None:
        paths = [endpoint.removeprefix("ipc://") for endpoint in endpoints if "ipc://" in endpoint]
        # A name that starts with @ is no file: nothing can be taken away.
        self._paths = [Path(path) for path in paths if not path.startswith("@")]
        self.most_files = min(MOST_FILES, limit // 2)
        """From so many on connections are turned away."""

        self.shut = False
        """Whether they are turned away now."""

        self._count = count
        self._highest = 0
        # A file object, so that it is closed with the guard.
        self._null = Path("/dev/null").open("rb")
        self._own = self._null.fileno()

    def look(self) -> None:
        """Shut or open the door; cheap, to be called in every pass of the service's loop."""
        if self._highest < self.most_files:
            # The kernel gives the lowest free number: as long as none was high, few are open.
            try:
                probe = os.dup(self._own)
            except OSError:  # none is left
                self._highest = self.most_files
            else:
                os.close(probe)
                self._highest = max(self._highest, probe)
            if self._highest < self.most_files:
                return
        try:
            files = self._count()
        except OSError:  # not even for counting
            files = self.most_files
        if not self.shut and files >= self.most_files:
            self._shut(files)
        elif self.shut and files < self.most_files * 3 // 4:
            self.open()

    def open(self) -> None:
        """Let connections in again; before the sockets are closed, which remove their paths."""
        if not self.shut:
            return
        self.shut = False
        for path in self._paths:
            try:
                Path(f"{path}{_SUFFIX}").rename(path)
            except OSError as error:
                log.error("%s cannot be put back: %s; restart kwsd", path, error.strerror)
        log.warning("new connections are taken again")

    def _shut(self, files: int) -> None:
        self.shut = True
        for path in self._paths:
            try:
                path.rename(f"{path}{_SUFFIX}")
            except OSError as error:
                log.error("%s cannot be taken away: %s", path, error.strerror)
        log.warning(
            "%d files are open: new connections are turned away; "
            "see who connects to the bus (ss -xp), or raise LimitNOFILE",
            files,
        )
