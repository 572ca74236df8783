"""Another user for a while, and a folder that is closed to them: root may read everything."""

from __future__ import annotations

import grp
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@contextmanager
def other_user() -> Iterator[None]:
    """File access as a user without rights."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def closed_folder() -> Iterator[tuple[Path, str]]:
    """A folder for root and one group, which nobody here is in, and that group's name."""
    if os.geteuid() != 0:
        pytest.skip("needs root to give a folder to a group")
    ours = {0, os.getegid(), *os.getgroups()}
    group = next(group for group in grp.getgrall() if group.gr_gid not in ours)
    # Not pytest's own folder: that is closed to everybody else.
    with tempfile.TemporaryDirectory(prefix="kwsclosed") as above:
        os.chmod(above, 0o755)
        folder = Path(above) / "kwsd"
        folder.mkdir()
        os.chown(folder, 0, group.gr_gid)
        folder.chmod(0o750)
        yield folder, group.gr_name
