"""A booted systemd in a container: a throw-away overlay of this machine's own root folder.

Nothing is written to the machine: the overlay's upper layer is a tmpfs in a private mount
namespace, which ends with the container.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

BOOT_TIMEOUT_S = 60
PYTHON_IN_BOX = "/opt/python-under-test"
SITE_IN_BOX = "/opt/kwsd-under-test"

# Runs in its own mount namespace: $1 the work folder, the rest are options of systemd-nspawn.
_OUTER = """
set -e
work=$1; shift
mount -t tmpfs -o size=2g,mode=755 box "$work"
mkdir "$work/upper" "$work/scratch" "$work/root"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/scratch" box "$work/root"
cd "$work/root/etc"
rm -f machine-id && systemd-id128 new > machine-id
# This machine's own services have no business in the box.
find systemd/system -maxdepth 1 \\( -name '*.wants' -o -name '*.requires' \\) -exec rm -r {} +
exec systemd-nspawn --quiet --register=no --keep-unit --directory="$work/root" --private-network \\
  --resolv-conf=off --timezone=off --kill-signal=SIGRTMIN+3 "$@" --boot -- \\
  systemd.unit=basic.target systemd.show_status=0
"""


def missing() -> str:
    """Why no box can run here, empty if one can."""
    if os.geteuid() != 0:
        return "a systemd box needs root"
    for program, package in (
        ("systemd-nspawn", "systemd-container"),
        ("systemctl", "systemd"),
        ("nsenter", "util-linux"),
        ("unshare", "util-linux"),
    ):
        if shutil.which(program) is None:
            return f"no {program}: install {package}"
    return ""


def python_program(module: str) -> str:
    """Return a script that runs ``main`` of a module as this process would."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    code = f"import sys; from {module} import main; sys.exit(main())"
    return f"""#!/bin/sh
# A shared libpython is searched where Python was built, which may be a home folder.
export LD_LIBRARY_PATH={PYTHON_IN_BOX}/lib PYTHONPATH={SITE_IN_BOX}
exec {PYTHON_IN_BOX}/bin/python{version} -c "{code}" "$@"
"""


class SystemdBox:
    """A container with systemd as its first process.

    Parameters
    ----------
    work : Path
        Empty folder to mount on.
    options : str
        Further options of systemd-nspawn, such as ``--bind=FROM:TO``.
    """

    def __init__(self, work: Path, *options: str) -> None:
        self._log = work.with_suffix(".log")
        # At fixed places outside /home and /root, which the unit cannot see.
        python = f"--bind-ro={sys.base_prefix}:{PYTHON_IN_BOX}"
        site = f"--bind-ro={sysconfig.get_path('purelib')}:{SITE_IN_BOX}"
        command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", _OUTER, "box"]
        with self._log.open("wb") as log:
            self._outer = subprocess.Popen(
                [*command, str(work), python, site, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._first = 0
        try:
            self._wait_for_boot()
        except BaseException:
            self.stop()
            raise

    def _wait_for_boot(self) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._outer.poll() is not None:
                break
            self._first = self._first or self._find_first_process()
            if self._first and self.succeeds("systemctl", "is-active", "basic.target"):
                return
            time.sleep(0.1)
        pytest.skip(f"systemd does not boot in a container here: {self._log.read_text()[-400:]}")

    def _find_first_process(self) -> int:
        # bash became systemd-nspawn, whose only child is the container's PID 1.
        outer = self._outer.pid
        for word in Path(f"/proc/{outer}/task/{outer}/children").read_text().split():
            if Path(f"/proc/{word}/comm").read_text().strip() == "systemd":
                return int(word)
        return 0

    def run(self, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root."""
        return subprocess.run(
            self.command(*words),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def command(self, *words: str) -> list[str]:
        """Return the command line that runs `words` inside."""
        inside = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
        return ["nsenter", f"--target={self._first}", *inside, "--", *words]

    def check(self, *words: str, timeout_s: float = 60) -> str:
        """Run a command inside that must work; return its standard output."""
        result = self.run(*words, timeout_s=timeout_s)
        assert result.returncode == 0, f"{words}: {result.stdout}{result.stderr}"
        return result.stdout.strip()

    def succeeds(self, *words: str) -> bool:
        """Run a command inside and say whether it worked."""
        return self.run(*words).returncode == 0

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside."""
        script = 'mkdir -p "$(dirname "$1")"; printf %s "$2" > "$1"; chmod "$3" "$1"'
        self.check("sh", "-c", script, "write", path, text, f"{mode:o}")

    def property(self, unit: str, name: str) -> str:
        """Return what systemd holds as a unit's property."""
        return self.check("systemctl", "show", unit, f"--property={name}", "--value")

    def journal(self, unit: str) -> str:
        """Return the log of a unit."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    def stop(self) -> None:
        """Pull the plug."""
        if self._outer.poll() is None:
            if self._first:
                os.kill(self._first, signal.SIGKILL)
            try:
                self._outer.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._outer.kill()
                self._outer.wait()
