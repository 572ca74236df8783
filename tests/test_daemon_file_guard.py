"""A process that runs out of files turns connections away and lives on."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kwsd.daemon.file_guard import FileGuard

LIMIT = 200

SERVER = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[2])))
from kwsd.daemon.control import ControlServer
from kwsd.daemon.file_guard import FileGuard, open_files
from kwsd.sink.zmq import BusSink
folder = sys.argv[1]
bus = BusSink(f"ipc://{folder}/bus")
control = ControlServer(f"ipc://{folder}/control", {"files": lambda request: open_files()})
guard = FileGuard([bus.endpoint, control.endpoint], int(sys.argv[2]))
print("bound", flush=True)
while True:
    bus.serve()
    control.serve()
    guard.look()
    print(int(guard.shut), open_files(), flush=True)
    if sys.stdin.readline() == "":
        break
guard.open()
control.close()
bus.close()
print("closed", flush=True)
"""


class Server:
    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(folder), str(LIMIT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "bound"
        self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def turn(self) -> tuple[bool, int]:
        """One pass of its loop: whether the door is shut, and open files."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        shut, files = self._line().split()
        return shut == "1", int(files)

    def end(self) -> str:
        out, _ = self.process.communicate("", timeout=20)
        return out.strip()


def connect(path: Path) -> socket.socket | None:
    channel = socket.socket(socket.AF_UNIX)
    try:
        channel.connect(str(path))
    except OSError:
        channel.close()
        return None
    return channel


def test_a_flood_of_connections_is_turned_away_and_let_in_when_it_ends(tmp_path: Path) -> None:
    server = Server(tmp_path)
    held: list[socket.socket] = []
    refused = 0
    for number in range(3 * LIMIT):
        channel = connect(tmp_path / ("bus" if number % 2 else "control"))
        if channel is None:
            refused += 1
        else:
            held.append(channel)
        if number % 10 == 9:
            # The listener's thread accepts what waits before the next ten come.
            deadline_s = time.monotonic() + 10.0
            while server.turn()[1] < min(len(held), LIMIT // 2) and time.monotonic() < deadline_s:
                time.sleep(0.01)
    assert server.turn()[0]
    assert refused >= LIMIT and len(held) < LIMIT
    for channel in held:
        channel.close()
    deadline_s = time.monotonic() + 20.0
    while server.turn()[0] and time.monotonic() < deadline_s:
        time.sleep(0.01)
    again = connect(tmp_path / "bus"), connect(tmp_path / "control")
    assert None not in again
    assert server.end() == "closed"
    assert server.process.returncode == 0
    assert not list(tmp_path.glob("*.full"))


def test_whoever_is_connected_stays(tmp_path: Path) -> None:
    import zmq

    from kwsd.sink.zmq import BusSink

    files = [0]
    bus = BusSink(f"ipc://{tmp_path}/bus")
    guard = FileGuard([bus.endpoint], 100, lambda: files[0])
    guard._highest = 50  # As after many connections; what counts now is the number of files.
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    early, late = context.socket(zmq.SUB), context.socket(zmq.SUB)
    try:
        early.subscribe(b"")
        early.connect(bus.endpoint)
        assert bus.wait_for_subscriber(10.0)
        files[0] = 60
        guard.look()
        assert guard.shut and connect(tmp_path / "bus") is None
        late.subscribe(b"wake/")
        late.connect(bus.endpoint)
        bus.state("audio.state", state="running")
        assert early.poll(10_000)
        assert early.recv_multipart()[0] == b"audio/state/"
        assert bus.subscriptions == 1
        files[0] = 40
        guard.look()
        assert guard.shut  # Not at once: it would swing.
        files[0] = 30
        guard.look()
        assert not guard.shut
        deadline_s = time.monotonic() + 10.0
        while bus.subscriptions < 2 and time.monotonic() < deadline_s:
            bus.serve()
            time.sleep(0.01)
        assert bus.subscriptions == 2
    finally:
        context.destroy(linger=0)
        bus.close()


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:5577", "ipc://@kwsd"])
def test_what_has_no_path_is_left_alone(endpoint: str) -> None:
    guard = FileGuard([endpoint], 100, lambda: 90)
    guard._highest = 50
    guard.look()
    guard.open()
    assert not guard.shut


def test_few_files_are_not_counted() -> None:
    def count() -> int:
        raise AssertionError("counted")

    FileGuard([], 65_536, count).look()


def test_a_process_without_a_free_file_looks_all_the_same(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    path = tmp_path / "bus"
    path.touch()
    guard = FileGuard([f"ipc://{path}"], 256)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        guard.look()
        shut = guard.shut
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert shut and not path.exists()
    guard.look()
    assert path.exists()
