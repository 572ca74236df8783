"""A thousand subscribers on one bus, ten of which stop reading.

    python -m benchmarks.service.subscribers --subscribers 1000 --stalled 10 --events 5000
    python -m benchmarks.service.subscribers --subscribers 400 --stalled 0 --events 100 --files 256

The bus (`kwsd.sink.zmq.BusSink`) is in a process of its own, as in the daemon; all subscribers are
in this one. Events come in bursts no longer than the queue of a subscriber
(``bus.send_queue_messages``, 100); between two bursts every reading subscriber must have all of it,
each event once, in order. The stalled ones stop after the first burst. ``--files`` lowers the
limit of open files of the bus.

Files: the bus has one descriptor for each subscriber and some of its own. At the limit libzmq 4.3
ends the process (`ipc_listener.cpp`, an assertion on EMFILE), so the service raises its limit at
the start (`kwsd/daemon/file_limit.py`) and turns connections away at half of it
(`kwsd/daemon/file_guard.py`), as the bus does here. A process with a thousand sockets needs two
descriptors for each, and more than the 1 023 sockets that a libzmq context has by default
(``ZMQ_MAX_SOCKETS``).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

import zmq

from kwsd.daemon.file_guard import FileGuard
from kwsd.sink.zmq import BusSink

BURST = 100
LIMIT_S = 60.0


def publish(endpoint: str, files: int) -> None:
    """The bus: emits as many events as each line of standard input says."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, hard), hard))
    bus = BusSink(endpoint)
    guard = FileGuard([endpoint], min(files, hard))
    print("bound", flush=True)
    poller = zmq.Poller()
    poller.register(0, zmq.POLLIN)
    while True:
        bus.serve()
        guard.look()
        if not poller.poll(20):
            continue
        line = os.read(0, 100).decode()
        if not line:
            break
        longest_s = 0.0
        for _ in range(int(line)):
            began_s = time.perf_counter()
            bus.emit({"v": 1, "type": "wake", "name": "computer", "padding": "x" * 300})
            longest_s = max(longest_s, time.perf_counter() - began_s)
        print(json.dumps({"longest_s": longest_s, "subscriptions": bus.subscriptions}), flush=True)
    guard.open()
    bus.close()


class Bus:
    """The other process."""

    def __init__(self, endpoint: str, files: int) -> None:
        command = [sys.executable, "-m", "benchmarks.service.subscribers"]
        command += ["--publish", endpoint, "--files", str(files)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._gone()
        return line

    def _gone(self) -> NoReturn:
        sys.exit(f"the bus ended with exit status {self._process.wait()} (-6: libzmq gave up)")

    def emit(self, count: int) -> dict[str, float]:
        """Publish; how it went."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._gone()
        told: dict[str, float] = json.loads(self._read())
        return told

    def rss_mb(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6

    def files(self) -> int:
        """Open descriptors."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def cpu_s(self) -> float:
        """CPU seconds of all threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


class Subscribers:
    """Sockets that read, and check what they read."""

    def __init__(self, endpoint: str, count: int) -> None:
        self.context: zmq.Context[Any] = zmq.Context(io_threads=1)
        self.context.set(zmq.MAX_SOCKETS, count + 100)
        self.sockets = []
        for _ in range(count):
            channel = self.context.socket(zmq.SUB)
            channel.setsockopt(zmq.SUBSCRIBE, b"wake/")
            channel.connect(endpoint)
            self.sockets.append(channel)
        self.got = [0] * count
        self.wrong = 0

    def read(self, upto: int, readers: range, limit_s: float = LIMIT_S) -> float:
        """Read until each of them has that many; the seconds it took."""
        began_s = time.monotonic()
        waiting = set(readers)
        while waiting and time.monotonic() - began_s < limit_s:
            for index in list(waiting):
                channel = self.sockets[index]
                while self.got[index] < upto and channel.poll(0):
                    event = channel.recv_multipart(zmq.NOBLOCK)[1]
                    number = int(event.rpartition(b'"seq": ')[2].partition(b",")[0])
                    self.wrong += number != self.got[index]
                    self.got[index] = number + 1
                if self.got[index] >= upto:
                    waiting.discard(index)
            time.sleep(0.001)
        return time.monotonic() - began_s

    def close(self) -> None:
        """All of them."""
        for channel in self.sockets:
            channel.close(0)
        self.context.term()


def measure(options: argparse.Namespace) -> bool:
    """Whether all went well."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4 * options.subscribers + 200, hard), hard))
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        endpoint = f"ipc://{folder}/bus"
        bus = Bus(endpoint, options.files)
        alone_mb = bus.rss_mb()
        everyone = Subscribers(endpoint, options.subscribers)
        deadline_s = time.monotonic() + (LIMIT_S if options.files > options.subscribers else 5.0)
        joined = 0
        while joined < options.subscribers and time.monotonic() < deadline_s:
            time.sleep(0.2)
            joined = round(bus.emit(0)["subscriptions"])
        print(f"{joined} of {options.subscribers} subscribed; bus {bus.files()} files, ", end="")
        print(f"{alone_mb:.1f} MB alone, {bus.rss_mb():.1f} MB with them", flush=True)
        if joined < options.subscribers:
            before_s = bus.cpu_s()
            time.sleep(5.0)
            print(f"at its limit the bus takes {20 * (bus.cpu_s() - before_s):.0f} % of a core")
            bus.stop()
            everyone.close()
            return False
        readers = range(options.stalled, options.subscribers)
        sent, longest_s, slowest_s, memory_mb = 0, 0.0, 0.0, []
        while sent < options.events:
            longest_s = max(longest_s, bus.emit(BURST)["longest_s"])
            sent += BURST
            # The stalled ones have read once: what stops later is the hard case.
            who = range(options.subscribers) if sent == BURST else readers
            slowest_s = max(slowest_s, everyone.read(sent, who))
            memory_mb.append(bus.rss_mb())
        complete = sum(everyone.got[index] == sent for index in readers)
        print(
            f"{sent} events: {complete} of {len(readers)} readers have all, {everyone.wrong} ",
            end="",
        )
        print(f"out of order; slowest burst read in {slowest_s:.2f} s")
        print(
            f"longest emit {1000 * longest_s:.1f} ms; bus after each tenth of the events, MB: ",
            end="",
        )
        print(" ".join(f"{value:.1f}" for value in memory_mb[:: max(1, len(memory_mb) // 10)]))
        ok = complete == len(readers) and everyone.wrong == 0
        if options.stalled:
            wrong = everyone.wrong
            for index in range(options.stalled):
                channel = everyone.sockets[index]
                while channel.poll(200):
                    event = channel.recv_multipart()[1]
                    everyone.got[index] += 1
                    last = int(event.rpartition(b'"seq": ')[2].partition(b",")[0])
            print(f"the stalled ones, reading again: {everyone.got[0]} events, last number {last}")
            bus.emit(1)
            everyone.read(sent + 1, range(options.subscribers))
            heard = sum(got == sent + 1 for got in everyone.got)
            print(f"one more event: {heard} of {options.subscribers} have it")
            ok = ok and heard == options.subscribers and wrong == 0
        bus.stop()
        everyone.close()
    return ok


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--stalled", type=int, default=10)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--files", type=int, default=4096, help="limit of open files of the bus")
    parser.add_argument("--publish", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        publish(options.publish, options.files)
        return 0
    return 0 if measure(options) else 1


if __name__ == "__main__":
    sys.exit(main())
