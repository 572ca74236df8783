"""The units, judged by systemd's own tools."""

from __future__ import annotations

import os
import re
import shutil
import stat
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


def test_the_bridges_neither_start_the_daemon_nor_wait_for_it() -> None:
    """Who stopped it wants that nothing listens; that there is none is what they have to tell."""
    for name in PROGRAMS[1:]:
        text = (UNITS / f"{name}.service").read_text()
        others = re.findall(r"^(?:After|Wants|Requires|BindsTo)=(.*)$", text, re.MULTILINE)
        assert others and "kwsd.service" not in " ".join(others).split()


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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder to a group")
def test_configuration_is_for_root_and_the_daemon(tmp_path: Path) -> None:
    accounts = tmp_path / "etc"
    accounts.mkdir()
    (accounts / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (accounts / "group").write_text("root:x:0:\nkwsd:x:901:\n")
    command = ["systemd-tmpfiles", f"--root={tmp_path}", "--create", str(UNITS / "kwsd.tmpfiles")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    for name in ("kwsd", "kwsd/conf.d", "kwsd/clients"):
        found = (accounts / name).stat()
        assert (found.st_uid, found.st_gid) == (0, 901), name
        assert stat.S_IMODE(found.st_mode) == 0o750, name
