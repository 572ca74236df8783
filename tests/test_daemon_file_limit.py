"""The limit of open files is raised, never lowered."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from kwsd.daemon.file_limit import raise_file_limit
print(raise_file_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "then"), [(200, 900, 900), (900, 900, 900), (200, 200, 200)]
)
def test_soft_limit_goes_up_to_the_hard_one(soft: int, hard: int, then: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(soft), str(hard)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(then), str(then)]
