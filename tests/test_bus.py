"""Bus: topics, numbers, states for new subscribers, endpoints, a real subscriber process."""

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq

from kwsd.errors import BusError, ConfigError
from kwsd.sink.endpoint import check_control_endpoint, check_endpoint, default_endpoint
from kwsd.sink.socket_lock import SocketLock
from kwsd.sink.zmq import BusSink, topic_of

EXAMPLE = Path(__file__).parent.parent / "examples" / "subscribe.py"
WAKE = {"v": 1, "type": "wake", "name": "computer", "score": 0.9}


@pytest.fixture
def endpoint(tmp_path):
    return f"ipc://{tmp_path}/run/events.sock"


@pytest.fixture
def bus(endpoint):
    sink = BusSink(endpoint, linger_ms=200)
    yield sink
    sink.close()


@pytest.fixture
def subscribe(bus):
    """Subscriber sockets that the bus has seen; closed at the end, so that nothing hangs."""
    context = zmq.Context()
    sockets = []

    def subscribe(*topics):
        socket = context.socket(zmq.SUB)
        sockets.append(socket)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 5000)
        before = bus.subscriptions
        for topic in topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        socket.connect(bus.endpoint)
        deadline = time.monotonic() + 5.0
        while bus.subscriptions < before + len(topics):
            bus.serve()
            assert time.monotonic() < deadline, "the subscription did not arrive"
            time.sleep(0.005)
        return socket

    yield subscribe
    for socket in sockets:
        socket.close()
    context.term()


def receive(socket):
    topic, payload = socket.recv_multipart()
    return topic.decode(), json.loads(payload)


def nothing_more(socket):
    return not socket.poll(100)


def test_topics_end_in_a_slash():
    assert topic_of(WAKE) == "wake/computer/"
    assert topic_of({"type": "sound", "name": "bell"}) == "sound/bell/"
    assert topic_of({"type": "audio.state"}) == "audio/state/"


def test_wakes_are_numbered_per_topic(bus, subscribe):
    socket = subscribe("wake/")
    for name in ("a", "b", "a"):
        bus.emit({**WAKE, "name": name})
    got = [receive(socket) for _ in range(3)]
    assert [(topic, event["seq"]) for topic, event in got] == [
        ("wake/a/", 0),
        ("wake/b/", 0),
        ("wake/a/", 1),
    ]
    event = got[0][1]
    assert list(event)[:2] == ["v", "type"]
    assert event["ts"].endswith("Z")
    assert event["mono_ns"] > 0
    assert "replay" not in event


def test_prefix_does_not_catch_a_longer_keyword(bus, subscribe):
    socket = subscribe("wake/a/")
    bus.emit({**WAKE, "name": "ab"})
    bus.emit({**WAKE, "name": "a"})
    assert receive(socket)[0] == "wake/a/"
    assert nothing_more(socket)


def test_new_subscriber_gets_the_state_and_no_old_wake(bus, subscribe):
    bus.state("audio.state", source="x", microphones=1)
    bus.state("audio.state", source="x", microphones=2)
    bus.emit(WAKE)
    first = subscribe("")
    topic, event = receive(first)
    assert (topic, event["microphones"], event["seq"]) == ("audio/state/", 2, 1)
    assert nothing_more(first)
    second = subscribe("audio/")
    assert receive(second)[1]["microphones"] == 2


def test_wait_for_subscriber(bus, subscribe):
    assert not bus.wait_for_subscriber(0.01)
    subscribe("wake/")
    assert bus.wait_for_subscriber(0.0)


def test_nobody_listens(bus):
    for _ in range(1000):
        bus.emit(WAKE)


def test_second_publisher_is_refused_and_the_place_is_free_afterwards(bus, endpoint, tmp_path):
    with pytest.raises(BusError, match="in use by another kwsd"):
        BusSink(endpoint)
    bus.close()
    bus.close()
    assert not (tmp_path / "run" / "events.sock").exists()
    BusSink(endpoint).close()


def test_stale_socket_file_is_taken_over(endpoint, tmp_path):
    (tmp_path / "run").mkdir()
    os.mknod(tmp_path / "run" / "events.sock", stat.S_IFSOCK | 0o600)
    BusSink(endpoint).close()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_not_a_socket_stays(endpoint, tmp_path, kind):
    place = tmp_path / "run" / "events.sock"
    place.parent.mkdir()
    if kind == "file":
        place.write_text("precious")
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"bus\.endpoint = .* is not a socket"):
        BusSink(endpoint)
    assert {"file": place.is_file, "folder": place.is_dir, "link": place.is_symlink}[kind]()


def test_a_lock_is_released_beside_what_came_in_its_place(tmp_path):
    lock = SocketLock("bus.endpoint", f"ipc://{tmp_path}/e")
    (tmp_path / "e").mkdir()
    lock.release()
    assert (tmp_path / "e").is_dir()


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BusError, match="cannot be used"):
        BusSink(f"ipc://{tmp_path}/file/events.sock")


def test_port_in_use():
    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(BusError, match="cannot be bound"):
            BusSink(f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:5577", "tcp://[::1]:1", "tcp://localhost:5", "ipc:///run/x"]
)
def test_allowed_endpoints(endpoint):
    check_endpoint(endpoint)


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("tcp://*:5577", "need CURVE"),
        ("tcp://0.0.0.0:5577", "need CURVE"),
        ("tcp://192.168.1.2:5577", "need CURVE"),
        ("tcp://[::]:5577", "need CURVE"),
        ("tcp://eth0:5577", "need CURVE"),
        ("tcp://example.org:5577", "need CURVE"),
        ("tcp://127.0.0.1:0", "port"),
        ("tcp://127.0.0.1:*", "port"),
        ("tcp://127.0.0.1", "port"),
        ("udp://127.0.0.1:1", "must be ipc"),
        ("inproc://x", "must be ipc"),
        ("", "must be ipc"),
        ("ipc:///" + "x" * 120, "longer than"),
    ],
)
def test_refused_endpoints(endpoint, words):
    with pytest.raises(ConfigError, match=words):
        check_endpoint(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://0.0.0.0:5578", "tcp://127.0.0.1:5578", "ipc://@kwsd", "ipc://", "inproc://x", ""],
)
def test_the_control_socket_is_a_path(endpoint):
    with pytest.raises(ConfigError, match=r"bus\.control_endpoint = .*: must be ipc:///path"):
        check_control_endpoint(endpoint)


def test_allowed_control_endpoint():
    check_control_endpoint("ipc:///run/kwsd/control.sock")
    with pytest.raises(ConfigError, match="longer than"):
        check_control_endpoint("ipc:///" + "x" * 120)


def test_default_endpoint():
    assert default_endpoint({"XDG_RUNTIME_DIR": "/run/user/7"}) == (
        "ipc:///run/user/7/kwsd/events.sock"
    )
    assert default_endpoint({}) == "ipc:///run/kwsd/events.sock"


def test_example_subscriber(bus):
    command = [sys.executable, str(EXAMPLE), "--endpoint", bus.endpoint, "--count", "2", "wake/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert bus.wait_for_subscriber(20.0)
            bus.emit(WAKE)
            bus.emit(WAKE)
            output, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    topics = [line.split(" ", 1)[0] for line in output.splitlines()]
    assert topics == ["wake/computer/"] * 2
    assert json.loads(output.splitlines()[1].split(" ", 1)[1])["seq"] == 1
