"""Who is connected cannot fill the memory: what has grown is taken from all of them."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.auth
from free_port import free_port
from service_bench import ServiceBench

from kwsd.daemon.control import ControlServer
from kwsd.daemon.memory_guard import GROWTH_BYTES, MemoryGuard, resident_bytes
from kwsd.sink.curve import SecuredEndpoint, write_pair
from kwsd.sink.zmq import BusSink

MB = 1 << 20

SERVE = """
import sys, time
from kwsd.daemon.memory_guard import MemoryGuard, give_back, resident_bytes
from kwsd.sink.zmq import BusSink
bus, guard = BusSink(sys.argv[1]), MemoryGuard()
bus.state("audio.state", state="running")
guard.settle()
usual = highest = resident_bytes()
print("bound", flush=True)
drops, until_s = 0, time.monotonic() + 20.0
while drops < 2 and time.monotonic() < until_s:
    bus.serve()
    highest = max(highest, resident_bytes())
    if guard.growth_bytes():
        bus.drop_connections()
        give_back()
        guard.settle()
        drops += 1
    time.sleep(0.1)  # as long as the service may take for a pass
print(drops, (highest - usual) >> 20, (resident_bytes() - usual) >> 20, flush=True)
until_s = time.monotonic() + 3.0
while time.monotonic() < until_s:
    bus.serve()
    time.sleep(0.02)
bus.close()
"""


def test_growth_counts_from_what_is_usual() -> None:
    now = [60 * MB]
    guard = MemoryGuard(lambda: now[0])

    def grown_mb(resident_mb: int) -> int:
        now[0] = resident_mb * MB
        return guard.growth_bytes() // MB

    guard.settle()
    limit_mb = GROWTH_BYTES // MB
    assert [grown_mb(mb) for mb in (60, 100, 60 + limit_mb)] == [0, 0, 0]
    assert grown_mb(61 + limit_mb) == limit_mb + 1
    # What is needed is meant to be, what was given back is not kept in reserve.
    guard.settle()
    assert [grown_mb(mb) for mb in (60 + 2 * limit_mb, 80, 80 + limit_mb)] == [0, 0, 0]
    assert grown_mb(81 + limit_mb) == limit_mb + 1
    # Where it cannot be read nothing has grown, then and later.
    assert [grown_mb(0), grown_mb(80)] == [0, 0]
    assert 10 * MB < resident_bytes() < 4096 * MB


def test_the_service_drops_all_that_are_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = ServiceBench(tmp_path)
    resident = [60 * MB]
    drops: list[int] = []

    def grow() -> None:
        bench.service._memory = MemoryGuard(lambda: resident[0])
        bench.service._memory.settle()
        drop = bench.bus.drop_connections

        def dropped() -> None:
            drops.append(bench.control_drops)
            resident[0] = held_by_control[0]
            drop()

        monkeypatch.setattr(bench.bus, "drop_connections", dropped)
        # A reload between makes nothing of it usual.
        resident[0] = 120 * MB
        bench.ask("reload")
        resident[0] = 140 * MB

    held_by_control = [60 * MB]
    bench.at(1.0, grow)
    bench.at(2.0, lambda: held_by_control.__setitem__(0, 200 * MB))
    bench.at(2.0, lambda: resident.__setitem__(0, 300 * MB))
    bench.run(5.0, monkeypatch)
    # The control socket only where the bus was not it: a request may be under way.
    assert (drops, bench.control_drops) == ([0, 0], 1)
    assert "memory has grown by 80 MB" in caplog.text
    assert caplog.text.count("memory has grown") == 1


def subscriber(context: zmq.Context[Any], endpoint: str) -> zmq.Socket[Any]:
    channel = context.socket(zmq.SUB)
    channel.setsockopt(zmq.RCVTIMEO, 10_000)
    channel.setsockopt(zmq.RECONNECT_IVL, 20)
    channel.subscribe("audio/state/")
    channel.connect(endpoint)
    return channel


def serve_until_heard(client: zmq.Socket[Any], server: BusSink | ControlServer) -> None:
    """Until a message is there; a client subscribes again when it waits for one."""
    deadline_s = time.monotonic() + 10.0
    while not client.poll(20):
        assert time.monotonic() < deadline_s
        server.serve()


def test_clients_come_back_by_themselves(tmp_path: Path) -> None:
    context: zmq.Context[Any] = zmq.Context()
    bus = BusSink(f"ipc://{tmp_path}/e")
    bus.state("audio.state", state="running")
    client = subscriber(context, bus.endpoint)
    try:
        for _ in range(3):
            serve_until_heard(client, bus)
            assert json.loads(client.recv_multipart()[1])["state"] == "running"
            bus.drop_connections()
            assert (tmp_path / "e").is_socket()
    finally:
        client.close(0)
        context.term()
        bus.close()
    assert not (tmp_path / "e").exists()


def test_the_encrypted_endpoint_comes_back_with_its_clients(tmp_path: Path) -> None:
    key_file = write_pair(tmp_path, "bus")[1]
    write_pair(tmp_path / "clients", "kitchen")
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    secured = SecuredEndpoint(endpoint, key_file, tmp_path / "clients")
    bus = BusSink(f"ipc://{tmp_path}/e", secured=secured)
    bus.state("audio.state", state="running")
    context: zmq.Context[Any] = zmq.Context()
    client = context.socket(zmq.SUB)
    public, secret = zmq.auth.load_certificate(tmp_path / "clients/kitchen.key_secret")
    client.curve_publickey, client.curve_secretkey = public, secret
    client.curve_serverkey = zmq.auth.load_certificate(tmp_path / "bus.key")[0]
    client.setsockopt(zmq.RECONNECT_IVL, 20)
    client.subscribe("audio/state/")
    client.connect(endpoint)
    try:
        for _ in range(2):
            serve_until_heard(client, bus)
            client.recv_multipart()
            bus.drop_connections()
    finally:
        client.close(0)
        context.term()
        bus.close()


def test_the_control_socket_answers_again(tmp_path: Path) -> None:
    server = ControlServer(f"ipc://{tmp_path}/c", {"status": lambda fields: "well"})
    try:
        server.drop_connections()
        context: zmq.Context[Any] = zmq.Context()
        client = context.socket(zmq.DEALER)
        client.connect(server.endpoint)
        client.send(b'{"command": "status"}')
        assert client.poll(0) == 0
        serve_until_heard(client, server)
        assert json.loads(client.recv())["result"] == "well"
        client.close(0)
        context.term()
    finally:
        server.close()


def flood(path: Path, mb: int) -> None:
    """Say that more frames come, and never the last one; ends where the daemon hangs up."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.settimeout(5.0)
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
        peer.sendall(greeting)
        peer.recv(64, socket.MSG_WAITALL)
        ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 3) + b"SUB"
        peer.sendall(b"\x04" + bytes([len(ready)]) + ready)
        peer.recv(64)
        block = b"\x01\x00" * 32_768
        for _ in range(mb * MB // len(block)):
            peer.sendall(block)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_message_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, f"ipc://{tmp_path}/e"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "bound\n"
        for _ in range(2):
            with pytest.raises(OSError):  # 20 MB are 600 in libzmq
                flood(tmp_path / "e", 20)
            time.sleep(0.3)
        drops, highest_mb, left_mb = map(int, server.stdout.readline().split())
        assert drops == 2
        # Of 256 that the unit may have the service itself takes 60.
        assert highest_mb < 190 and left_mb < 60
        context: zmq.Context[Any] = zmq.Context()
        client = subscriber(context, f"ipc://{tmp_path}/e")
        assert client.recv_multipart()[0] == b"audio/state/"
        client.close(0)
        context.term()
    finally:
        server.kill()
        server.communicate()
