"""The units, judged by systemd's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parent.parent / "systemd"
PROGRAMS = ("kwsd", "kwsd-mqtt", "kwsd-wyoming")
HIGHEST_EXPOSURE = 2.0

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze"
)


@pytest.fixture(params=PROGRAMS)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit with a program that exists on this machine."""
    name = request.param
    text = (UNITS / f"{name}.service").read_text()
    assert f"ExecStart=/usr/bin/{name}\n" in text
    path = tmp_path / f"{name}.service"
    path.write_text(text.replace(f"/usr/bin/{name}\n", "/bin/true\n"))
    return path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_verify_has_nothing_to_say(unit: Path) -> None:
    result = analyze("verify", str(unit))
    assert result.returncode == 0, result.stderr
    assert unit.name not in result.stderr, result.stderr


def test_exposure_is_low(unit: Path) -> None:
    result = analyze(
        "security",
        "--offline=true",
        "--no-pager",
        f"--threshold={round(HIGHEST_EXPOSURE * 10)}",
        str(unit),
    )
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", result.stdout)
    assert level is not None, result.stdout + result.stderr
    assert float(level[1]) <= HIGHEST_EXPOSURE
    assert result.returncode == 0
