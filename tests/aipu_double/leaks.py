"""What a process holds: descriptors and children, counted by what the kernel says."""

import os
import time
from pathlib import Path


def open_descriptors():
    """What the descriptors of this process are, with repetitions, in order."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}").split(":")[0])
        except FileNotFoundError:
            pass  # The one that lists them.
    return sorted(found)


def children():
    """Process ids of the children of this process, ended ones that nobody waited for included."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update((task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            pass  # A thread that has just ended; what it started is the main thread's now.
    return found


def children_after(limit_s=5.0):
    """`children` that are still there after killed ones had time to go."""
    deadline = time.monotonic() + limit_s
    while children() and time.monotonic() < deadline:
        time.sleep(0.005)
    return children()
