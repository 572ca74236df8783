"""What the listening daemon imports: each of these costs a small board megabytes and start time."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "_hashlib",
    "asyncio",
    "email",
    "http.server",
    "jsonschema",
    "librosa",
    "matplotlib",
    "rich",
    "scipy",
    "soundfile",
    "ssl",
    "torch",
    "zmq.auth",
)

SCRIPT = f"""
import sys
import kwsd.capture.alsa, kwsd.cli, kwsd.daemon.run
print(*(name for name in {HEAVY!r} if name in sys.modules))
"""


def test_the_daemon_leaves_heavy_modules_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
