"""Open files: as many as the system grants, since libzmq does not survive running out of them.

A subscriber is one descriptor. libzmq 4.3 ends the process when `accept` on an ipc socket fails
with EMFILE (an assertion in its ipc_listener.cpp), so the usual soft limit of 1024 would let a
thousand connections end the service.
"""

from __future__ import annotations

import resource

ENOUGH_FILES = 65_536


def raise_file_limit() -> int:
    """Raise the soft limit of open files; the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(ENOUGH_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
