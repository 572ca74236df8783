"""A client that the daemon does not know yet: it hears once its key is there, without a restart."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from fake_kwsd import FakeKwsd
from free_port import free_port

from kwsd.bridge.listener import keep_subscribed
from kwsd.bridge.settings import BridgeSettings
from kwsd.ctl import events
from kwsd.ctl.connect import Subscription
from kwsd.errors import ConfigError
from kwsd.sink.curve import SecuredEndpoint

LIMIT_S = 60.0
RENEW_S = 4.0  # a handshake must fit in, on a busy machine too
EXAMPLES = Path(__file__).parent.parent / "examples"

needs_curve = pytest.mark.skipif(not zmq.has("curve"), reason="libzmq without CURVE")


def until(what: Callable[[], object], missing: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < deadline, missing
        time.sleep(0.02)


class Board:
    """A daemon with an encrypted endpoint that does not know its client yet."""

    def __init__(
        self, folder: Path, secured: SecuredEndpoint, caplog: pytest.LogCaptureFixture
    ) -> None:
        # Not that of the root: a program that another test ran here has set its own.
        caplog.set_level(logging.INFO, "kwsd")
        caplog.set_level(logging.DEBUG, "zmq.auth")
        self._key = secured.clients / "kitchen.key"
        self._elsewhere = folder / "kitchen.key"
        self._key.rename(self._elsewhere)
        self._log = caplog
        self.kwsd = FakeKwsd(folder, secured=secured)
        self.endpoint = secured.endpoint
        self.own = folder / "client/kitchen.key_secret"
        self.server = folder / "server/bus.key"

    @property
    def settings(self) -> dict[str, Any]:
        """Of a bridge."""
        return {
            "bus_endpoint": self.endpoint,
            "control_endpoint": self.kwsd.control_endpoint,
            "curve_key_file": self.own,
            "curve_server_key_file": self.server,
        }

    def refuse_then_know(self) -> None:
        """Wait until the client was refused; then it is known, as by ``kwsctl reload``."""
        until(lambda: "DENIED" in self._log.text, "no client came to be refused")
        self._elsewhere.rename(self._key)
        self.kwsd._bus.reload_clients()


@pytest.fixture
def board(
    tmp_path: Path, secured: SecuredEndpoint, caplog: pytest.LogCaptureFixture
) -> Iterator[Board]:
    made = Board(tmp_path, secured, caplog)
    yield made
    made.kwsd.close()


@contextmanager
def running(work: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    """Work in a thread until it is stopped."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join()


@needs_curve
def test_a_listener_that_was_refused_hears_once_its_key_is_there(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    context: zmq.Context[Any] = zmq.Context()
    bus = keep_subscribed(context, BridgeSettings(**board.settings), "wake/", renew_s=RENEW_S)
    deadline = time.monotonic() + LIMIT_S
    known = False
    try:
        while not bus.channel.poll(20):
            bus.renew()
            if not known and "DENIED" in caplog.text:
                board.refuse_then_know()
                known = True
            assert time.monotonic() < deadline, "the listener stays deaf"
        assert known, "it was heard before its key was known"
    finally:
        bus.close()
        context.term()


@needs_curve
def test_the_mqtt_bridge_that_was_refused_hears_once_its_key_is_there(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: install kwsd[mqtt]")
    from kwsd.bridge.mqtt import MqttBridge
    from kwsd.bridge.mqtt_settings import MqttSettings

    # Without a broker: what it hears is said in the log then.
    bridge = MqttBridge(
        MqttSettings(**board.settings, host="127.0.0.1", port=free_port()), renew_s=RENEW_S
    )
    with running(bridge.run, bridge.stopped.set):
        until(lambda: "kwsd is not heard" in caplog.text, "no warning")
        board.refuse_then_know()
        until(lambda: bridge._heard_s > 0, "the bridge stays deaf")
        board.kwsd.wake()
        until(lambda: "wake computer is lost: the broker is away" in caplog.text, "no wake")
    (warning,) = [said for said in caplog.messages if "kwsd is not heard" in said]
    assert f"at {board.endpoint}: nothing for {RENEW_S:g} s; trying again" in warning
    assert "put this client's .key into bus.curve_clients_directory" in warning


@needs_curve
def test_the_wyoming_bridge_that_was_refused_hears_once_its_key_is_there(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("wyoming", reason="no wyoming: install kwsd[wyoming]")
    from kwsd.bridge.wyoming import WyomingBridge
    from kwsd.bridge.wyoming_settings import WyomingSettings

    loop = asyncio.new_event_loop()
    bridge = WyomingBridge(
        WyomingSettings(**board.settings, uri="tcp://127.0.0.1:0"), renew_s=RENEW_S
    )
    with running(
        lambda: loop.run_until_complete(bridge.serve()),
        lambda: loop.call_soon_threadsafe(bridge.stopped.set),
    ):
        until(lambda: "kwsd is not heard" in caplog.text, "no warning")
        board.refuse_then_know()
        # By its beats: nobody says a word.
        until(lambda: f"kwsd is there at {board.endpoint}" in caplog.text, "it stays deaf")
        board.kwsd.wake()
        until(lambda: "wake computer: no client is there" in caplog.text, "no wake")
    loop.close()


@needs_curve
def test_events_that_was_refused_hears_once_its_key_is_there(
    board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Namespace(
        endpoint=board.endpoint,
        key_file=board.own,
        server_key_file=board.server,
        json=True,
        count=1,
        timeout_s=LIMIT_S,
        topics=["health/"],
    )
    with running(board.refuse_then_know, lambda: None):
        assert events.run(options, renew_s=RENEW_S) == 0
    said = capsys.readouterr()
    assert '"health.beat"' in said.out
    assert said.err.startswith(f"kwsctl: warning: kwsd is not heard at {board.endpoint}: ")
    assert said.err.count("\n") == 1


@needs_curve
def test_the_example_that_was_refused_hears_once_its_key_is_there(board: Board) -> None:
    text = f"import subscribe, sys; subscribe.SILENT_S = {RENEW_S}; sys.exit(subscribe.main())"
    keys = ["--key-file", str(board.own), "--server-key-file", str(board.server)]
    with subprocess.Popen(
        [sys.executable, "-c", text, "--endpoint", board.endpoint, *keys, "--count", "1"],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            board.refuse_then_know()
            deadline = time.monotonic() + LIMIT_S
            while process.poll() is None and time.monotonic() < deadline:
                board.kwsd.wake()
                time.sleep(0.1)
        finally:
            process.kill()
        assert process.stdout is not None
        # The beats that it hears by are not printed: nobody asked for them.
        (line,) = process.stdout.read().splitlines()
    assert line.startswith("wake/computer/ ")


class FakeSocket:
    """Knows whether it is closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


class Scene:
    """A subscription without ZeroMQ, and a clock that is set."""

    def __init__(self, keys: bool = False) -> None:
        self.now_s = 100.0
        self.made: list[FakeSocket] = []
        self.fault: Exception | None = None
        self.warnings: list[str] = []
        self.bus = Subscription(
            self._subscribe,
            "tcp://127.0.0.1:5577",
            keys,
            self.warnings.append,
            30.0,
            lambda: self.now_s,
        )

    def _subscribe(self) -> FakeSocket:
        if self.fault is not None:
            raise self.fault
        self.made.append(FakeSocket())
        return self.made[-1]

    def silence(self, length_s: float) -> None:
        """So long nothing comes."""
        self.now_s += length_s
        self.bus.renew()


def test_it_is_made_anew_each_time_that_nothing_was_heard_for_long() -> None:
    scene = Scene()
    scene.silence(29.0)
    assert scene.bus.channel is scene.made[0]
    scene.bus.heard()
    scene.silence(29.0)
    assert len(scene.made) == 1
    for number in (1, 2):
        scene.silence(30.0)
        assert scene.bus.channel is scene.made[number]
        assert [socket.closed for socket in scene.made] == [True] * number + [False]
    scene.bus.close()
    assert scene.made[2].closed


def test_a_silence_is_warned_of_once() -> None:
    scene = Scene()
    assert not scene.bus.heard()
    scene.silence(30.0)
    scene.silence(30.0)
    (warning,) = scene.warnings
    assert warning.startswith("kwsd is not heard at tcp://127.0.0.1:5577: nothing for 30 s")
    assert ".key" not in warning
    assert scene.bus.heard() and not scene.bus.heard()
    scene.silence(30.0)
    assert len(scene.warnings) == 2
    with_keys = Scene(keys=True)
    with_keys.silence(30.0)
    assert "put this client's .key into bus.curve_clients_directory" in with_keys.warnings[0]


@pytest.mark.parametrize(
    "fault", [ConfigError("curve_key_file = a: no such file"), zmq.ZMQError(24, "Too many")]
)
def test_what_cannot_be_made_anew_stays_and_is_tried_again(fault: Exception) -> None:
    scene = Scene()
    scene.fault = fault
    scene.silence(30.0)
    scene.silence(30.0)
    assert scene.bus.channel is scene.made[0] and not scene.made[0].closed
    (warning,) = scene.warnings
    assert str(fault) in warning
    scene.fault = None
    scene.silence(30.0)
    assert scene.bus.channel is scene.made[1] and scene.made[0].closed


def test_a_bridge_stays_with_the_endpoint_that_it_found_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    context: zmq.Context[Any] = zmq.Context()
    bus = keep_subscribed(context, BridgeSettings(), "wake/", renew_s=0.0)
    try:
        first = bus.channel
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "another"))
        bus.renew()
        assert bus.channel is not first
        where = bus.channel.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()
        assert where == bus.endpoint == f"ipc://{tmp_path}/kwsd/events.sock"
    finally:
        bus.close()
        context.term()
