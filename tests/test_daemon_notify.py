"""What the service manager hears."""

import socket
from pathlib import Path

from kwsd.daemon.notify import Notifier


def heard(channel: socket.socket) -> list[str]:
    channel.setblocking(False)
    lines = []
    while True:
        try:
            lines.append(channel.recv(4096).decode())
        except BlockingIOError:
            return lines


def test_messages_reach_the_manager(tmp_path: Path) -> None:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(tmp_path / "n"))
    now_s = [0.0]
    notifier = Notifier(
        {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "4000000"}, lambda: now_s[0]
    )
    notifier.status("hello")
    notifier.status("hello")
    notifier.ready()
    assert heard(channel) == ["STATUS=hello", "READY=1"]
    for step in range(31):
        now_s[0] = step * 0.1
        notifier.alive()
    assert heard(channel) == ["WATCHDOG=1"] * 4
    channel.close()
    notifier.stopping()  # a manager that is gone harms nobody


def test_abstract_addresses_work() -> None:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind("\0kwsd-test-notify")
    Notifier({"NOTIFY_SOCKET": "@kwsd-test-notify"}).ready()
    assert heard(channel) == ["READY=1"]
    channel.close()


def test_without_a_manager_nothing_happens() -> None:
    notifier = Notifier({})
    notifier.ready()
    notifier.alive()
    assert notifier.watchdog_s == 0
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog_s == 0
