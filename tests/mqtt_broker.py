"""A real mosquitto for one test, on a free port of the loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from free_port import free_port


def find(program: str) -> str:
    """Path of a program of the Debian package; skips the test where it is missing."""
    # Debian puts the broker where a user's PATH does not look.
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        pytest.skip(f"no {program}: install mosquitto")
    return path


class Broker:
    """Mosquitto with a configuration of its own.

    Parameters
    ----------
    folder : Path
        For its files.
    user, password : str
        Empty: anybody may connect.
    tls : tuple of Path, optional
        Certificate and key.
    """

    def __init__(
        self,
        folder: Path,
        user: str = "",
        password: str = "",
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self._program = find("mosquitto")
        self.port = free_port()
        self._folder = folder
        self._config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", "log_type all"]
        if user:
            passwords = folder / "passwords"
            subprocess.run(
                [find("mosquitto_passwd"), "-c", "-b", str(passwords), user, password], check=True
            )
            passwords.chmod(0o644)
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        else:
            lines += ["allow_anonymous true"]
        if tls is not None:
            lines += [f"certfile {tls[0]}", f"keyfile {tls[1]}"]
        if os.getuid() == 0:
            lines += ["user root"]
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._config)], stdout=log, stderr=log
            )
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        pytest.fail(f"mosquitto: {(self._folder / 'mosquitto.log').read_text()[-500:]}")

    def stop(self) -> None:
        """End it; with no persistence it forgets what was retained."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
