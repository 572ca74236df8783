"""Builds the test double of the driver library with the system's C compiler."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = sorted(Path(__file__).parent.glob("*.c"))
FLAGS = (
    *("-std=c11", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread"),
    *("-Wall", "-Wextra", "-Wconversion", "-Werror"),
)


def build(target, *defines):
    """Compile the double to `target`; skips the test, and says so, without a compiler."""
    names = [os.environ.get("CC", "cc"), "gcc", "clang"]
    compiler = next(filter(None, map(shutil.which, names)), None)
    if compiler is None:
        pytest.skip("NO C COMPILER: the AIPU backend is NOT tested; install gcc or set CC")
    subprocess.run(
        [compiler, *FLAGS, *(f"-D{name}" for name in defines), "-o", str(target), *SOURCES],
        check=True,
    )
    return Path(target)
