"""A service manager that does not read must not make the service deaf."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from kwsd.daemon.notify import Notifier


def test_a_manager_that_reads_nothing_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        now_s = 0.0

        def clock() -> float:
            return now_s

        notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"}, clock)

        def work() -> None:
            nonlocal now_s
            for number in range(2000):
                now_s += 1.0
                notifier.alive()
                notifier.status(f"turn {number}")
            notifier.stopping()

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        # Not a measurement: a sender that waits for the manager never ends.
        worker.join(30.0)
        assert not worker.is_alive()
        assert manager.recv(100) == b"WATCHDOG=1"
