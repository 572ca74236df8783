"""The bus and who subscribes without end: the daemon goes on, and nobody loses a state."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from kwsd.sink.zmq import LARGEST_SUBSCRIPTION_BYTES, SUBSCRIPTIONS_AT_ONCE, BusSink

CALLS = 30
CLIENTS = 3
LIMIT_S = 5.0

SERVE = f"""
import sys, time
from kwsd.sink.zmq import BusSink
bus = BusSink(sys.argv[1])
bus.state("audio.state", state="running")
print("bound", flush=True)
longest_s = 0.0
for _ in range({CALLS}):
    began_s = time.monotonic()
    bus.serve()
    longest_s = max(longest_s, time.monotonic() - began_s)
    time.sleep(0.02)
print(longest_s, flush=True)
bus.close()
"""


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[BusSink]:
    sink = BusSink(f"ipc://{tmp_path}/e", linger_ms=200)
    sink.state("audio.state", source="x")
    yield sink
    sink.close()


@pytest.fixture
def client(bus: BusSink) -> Iterator[zmq.Socket[Any]]:
    """Sends subscriptions as messages: the same one again, too, which a SUB socket does not."""
    context: zmq.Context[Any] = zmq.Context()
    channel = context.socket(zmq.XSUB)
    channel.setsockopt(zmq.SNDHWM, 0)
    channel.setsockopt(zmq.RCVTIMEO, 5000)
    channel.connect(bus.endpoint)
    yield channel
    channel.close(0)
    context.term()


def serve_until(bus: BusSink, subscriptions: int) -> int:
    """Serve until so many have come; gives the calls that it took."""
    deadline_s = time.monotonic() + 20.0
    calls = 0
    while bus.subscriptions < subscriptions:
        assert time.monotonic() < deadline_s, f"{bus.subscriptions} of {subscriptions} came"
        before = bus.subscriptions
        bus.serve()
        calls += 1
        assert bus.subscriptions - before <= SUBSCRIPTIONS_AT_ONCE
        time.sleep(0.001)
    return calls


def test_a_call_takes_some_and_all_are_answered(bus: BusSink, client: zmq.Socket[Any]) -> None:
    for number in range(2000):
        client.send(b"\x01wake/%d/" % number)
    client.send(b"\x01audio/")
    time.sleep(0.3)
    assert serve_until(bus, 2001) > 2001 / SUBSCRIPTIONS_AT_ONCE - 1
    assert client.recv_multipart()[0] == b"audio/state/"
    for number in (0, 1999):
        bus.emit({"v": 1, "type": "wake", "name": str(number)})
        assert client.recv_multipart()[0] == b"wake/%d/" % number


def test_a_call_answers_a_state_once(bus: BusSink, client: zmq.Socket[Any]) -> None:
    for _ in range(200):
        client.send(b"\x01audio/")
        client.send(b"\x01")
    time.sleep(0.3)
    calls = serve_until(bus, 400)
    client.recv_multipart()
    answers = 1
    while client.poll(100):
        client.recv_multipart()
        answers += 1
    assert answers <= calls


def test_all_topics_of_a_subscriber_are_waited_for(bus: BusSink, client: zmq.Socket[Any]) -> None:
    names = [str(number) for number in range(20)]
    for name in names:
        client.send(f"\x01wake/{name}/".encode())
    assert bus.wait_for_subscriber(5.0)
    for name in names:
        bus.emit({"v": 1, "type": "wake", "name": name})
    assert [client.recv_multipart()[0].decode() for _ in names] == [f"wake/{n}/" for n in names]


def test_an_oversized_subscription_is_not_taken(bus: BusSink, client: zmq.Socket[Any]) -> None:
    client.send(b"\x01wake/")
    assert bus.wait_for_subscriber(5.0)
    client.send(b"\x01" + b"x" * LARGEST_SUBSCRIPTION_BYTES)
    # Its connection ends, and with it what it had subscribed to.
    deadline_s = time.monotonic() + 20.0
    while bus.subscriptions > 0:
        assert time.monotonic() < deadline_s
        bus.serve()
        time.sleep(0.001)


def subscribe_without_end(path: str, stop: threading.Event) -> None:
    """Subscribe and cancel, in ZMTP 3.0 by hand: as fast as the kernel takes it."""
    topics = [os.urandom(200) for _ in range(500)]
    flood = b"".join(b"\x00\xc9" + kind + topic for topic in topics for kind in (b"\x01", b"\x00"))
    ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(greeting + b"\x04" + bytes([len(ready)]) + ready)
        try:
            while not stop.is_set():
                connection.sendall(flood)
        except OSError:
            # The bus is gone.
            return


def test_who_subscribes_without_end_does_not_hold_the_bus(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVE, f"ipc://{tmp_path}/e"]
    stop = threading.Event()
    flooding = [
        threading.Thread(target=subscribe_without_end, args=(f"{tmp_path}/e", stop))
        for _ in range(CLIENTS)
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "bound\n"
            for thread in flooding:
                thread.start()
            output, _ = process.communicate(timeout=CALLS * LIMIT_S)
        finally:
            process.kill()
            stop.set()
    for thread in flooding:
        thread.join()
    assert float(output) < LIMIT_S
