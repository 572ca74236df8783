"""A kwsd process under measurement: private sockets, its service manager's socket, its memory."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class RunningDaemon:
    """``python -m kwsd`` with the installed package.

    Parameters
    ----------
    folder : Path
        Sockets, configuration, state and log; short, since it holds sockets.
    settings : sequence of str
        Lines of the configuration file.
    environment : mapping
        Added to that of this process.
    models : sequence of str
        ``--model`` of each.
    """

    def __init__(
        self,
        folder: Path,
        settings: Sequence[str],
        environment: Mapping[str, str],
        models: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.endpoint = f"ipc://{folder}/events.sock"
        self.control = f"ipc://{folder}/control.sock"
        self._log = folder / "kwsd.log"
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        (folder / "notify").unlink(missing_ok=True)
        self._manager.bind(f"{folder}/notify")
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        # A manager reads what it is told, for as long as the service runs.
        threading.Thread(target=self._read_manager, daemon=True).start()
        config = folder / "kwsd.toml"
        sockets = [f"bus.endpoint = '{self.endpoint}'", f"bus.control_endpoint = '{self.control}'"]
        config.write_text("\n".join([*sockets, *settings]) + "\n")
        command = [sys.executable, "-m", "kwsd", "--config", str(config)]
        for model in models:
            command += ["--model", model]
        self._started_s = time.monotonic()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={
                    **os.environ,
                    **environment,
                    "NOTIFY_SOCKET": f"{folder}/notify",
                    "STATE_DIRECTORY": f"{folder}/state",
                },
                stderr=log,
            )

    def wait_ready(self, limit_s: float = 60.0) -> float:
        """Seconds from the start of the process to READY=1; exits where that never comes."""
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s and self.process.poll() is None:
            try:
                told = self._told.get(timeout=0.2)
            except queue.Empty:
                continue
            if "READY=1" in told.splitlines():
                return time.monotonic() - self._started_s
        sys.exit(f"kwsd did not become ready: {self.log()[-2000:]}")

    def _read_manager(self) -> None:
        while message := self._manager.recv(4096):
            self._told.put(message.decode())

    def log(self) -> str:
        """What it said."""
        return self._log.read_text()

    def memory_mb(self) -> dict[str, float]:
        """Resident, proportional, private dirty and peak memory, MB of 1e6 bytes."""
        names = {"Rss": "rss", "Pss": "pss", "Private_Dirty": "private", "Anonymous": "anonymous"}
        found = {}
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in names:
                found[names[name]] = int(rest.split()[0]) * 1024 / 1e6
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found["peak"] = int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
        return found

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far of each thread, by number and name; ``all`` is their sum."""
        spent = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            # Nanoseconds on a core: the ticks of /proc/PID/stat are too coarse for 1 %.
            on_core_ns = int((task / "schedstat").read_text().split()[0])
            spent[f"{task.name} {(task / 'comm').read_text().strip()}"] = on_core_ns / 1e9
        return {**spent, "all": sum(spent.values())}

    def open_files(self) -> int:
        """Descriptors it holds."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self) -> None:
        """End it; asks first."""
        self.process.terminate()
        try:
            self.process.wait(10.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # An empty datagram ends the thread.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._manager.getsockname())


def smaps_by_file(pid: int) -> list[tuple[float, float, str]]:
    """Resident and anonymous MB of each mapped file of a process, largest first."""
    sums: dict[str, list[float]] = {}
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            name = words[5] if len(words) > 5 else "[anonymous]"
        elif words[0] in ("Rss:", "Anonymous:"):
            at = 0 if words[0] == "Rss:" else 1
            sums.setdefault(name, [0.0, 0.0])[at] += int(words[1]) * 1024 / 1e6
    return sorted(((rss, own, name) for name, (rss, own) in sums.items()), reverse=True)
