"""The service as a process, with a microphone that is played into, unplugged and plugged in."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import soundfile as sf
import zmq
from virtual_microphone import VirtualMicrophone, missing

from kwsd.capture import native
from kwsd.ctl.client import request, request_audio
from kwsd.errors import RuntimeUnavailable, UsageError

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((ROOT / "kwsd/schema/event.schema.json").read_text())

try:
    native.load_library()
    _LIBRARY = ""
except RuntimeUnavailable as error:
    _LIBRARY = str(error)

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"no {missing()}"),
    pytest.mark.skipif(bool(_LIBRARY), reason=_LIBRARY),
]


class Running:
    """A kwsd process with its bus and its service manager's socket."""

    def __init__(self, folder: Path, microphone: VirtualMicrophone, *settings: str) -> None:
        self.folder = folder
        self.endpoint = f"ipc://{folder}/events.sock"
        self.control = f"ipc://{folder}/control.sock"
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(f"{folder}/notify")
        self.config = folder / "kwsd.toml"
        self.write_config(*settings)
        environment = {
            **os.environ,
            **microphone.environment,
            "NOTIFY_SOCKET": f"{folder}/notify",
            "WATCHDOG_USEC": "2000000",
            "STATE_DIRECTORY": f"{folder}/state",
        }
        self.log = (folder / "kwsd.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kwsd", "--config", str(self.config)],
            cwd=ROOT,
            env=environment,
            stderr=self.log,
        )
        self.context: zmq.Context[Any] = zmq.Context()
        self.socket = self.context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        self.socket.connect(self.endpoint)
        self.events: list[dict[str, Any]] = []
        self.told: list[str] = []

    def write_config(self, *settings: str, device: str = "virtmic") -> None:
        lines = [
            f"audio.device = '{device}'",
            "audio.channels = 3",
            f"bus.endpoint = '{self.endpoint}'",
            f"bus.control_endpoint = '{self.control}'",
            "log.level = 'info'",
            *settings,
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def until(self, what: Callable[[], object], limit_s: float = 20.0) -> None:
        """Collect events and messages until it holds."""
        deadline = time.monotonic() + limit_s
        while not what():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = self.log_text()
                pytest.fail(f"never happened; events {self.events[-5:]}, log:\n{log[-2000:]}")
            while self.socket.poll(20):
                self.events.append(json.loads(self.socket.recv_multipart()[1]))
            self.manager.setblocking(False)
            try:
                while True:
                    self.told += self.manager.recv(4096).decode().splitlines()
            except BlockingIOError:
                pass

    def log_text(self) -> str:
        return (self.folder / "kwsd.log").read_text()

    def wakes(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == "wake"]

    def states(self) -> list[str]:
        return [event["state"] for event in self.events if event["type"] == "audio.state"]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.socket.close(0)
        self.context.term()
        self.manager.close()
        self.log.close()


@pytest.fixture
def microphone() -> Iterator[VirtualMicrophone]:
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        made = VirtualMicrophone(Path(folder), 3)
        yield made
        made.stop()


@pytest.fixture
def running(microphone: VirtualMicrophone) -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        made = Running(Path(folder), microphone)
        yield made
        made.close()


def test_hears_the_sample_and_survives_what_happens_to_it(
    running: Running, microphone: VirtualMicrophone
) -> None:
    running.until(lambda: "READY=1" in running.told)
    samples, rate = sf.read(ROOT / "samples/living_room.flac", dtype="int16")
    assert rate == 16_000
    first = samples[: 10 * rate]
    microphone.play(first)
    running.until(lambda: running.wakes(), 5.0)
    wake = running.wakes()[0]
    assert wake["name"] == "computer" and wake["id"]
    assert "replay" not in wake

    # The audio of the word is there for a recogniser, from its first sample on.
    answer, pcm = request_audio(running.control, "preroll", id=wake["id"])
    assert answer["lost_samples"] == 0
    assert abs(answer["first_sample"] - wake["onset_s"] * 16_000) < 16
    assert len(pcm) == 2 * (answer["next_sample"] - answer["first_sample"]) > 16_000
    assert max(memoryview(pcm).cast("h")) > 300
    assert 'kwsd_wakes_total{word="computer"} 1' in request(running.control, "metrics")

    # A broken configuration leaves the old one at work and says why.
    running.write_config("wake.sensitivity = 'loud'")
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: "reload failed" in running.log_text())
    assert "wake.sensitivity" in running.log_text()
    running.write_config("wake.sensitivity = 'high'")
    running.told.clear()
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: any(line.startswith("RELOADING") for line in running.told))

    # Commands: what is set holds at once and is kept.
    status = request(running.control, "status")
    assert status["audio"]["state"] in ("running", "silent")
    assert [entry["keyword"] for entry in status["keywords"]] == ["computer"]
    assert request(running.control, "mute") == {"muted": True, "saved": True}
    running.until(lambda: running.states()[-1:] == ["muted"])
    with pytest.raises(UsageError, match="is not loaded"):
        request(running.control, "disable", keyword="nobody")
    request(running.control, "unmute")
    request(running.control, "sensitivity", keyword="computer", sensitivity="high")
    kept = json.loads((running.folder / "state/state.json").read_text())
    assert kept == {"muted": False, "sensitivities": {"computer": "high"}, "disabled": []}

    # Unplugged: it says so, feeds no watchdog, and hears again when the device is back.
    microphone.stop()
    running.until(lambda: "lost" in running.states())
    running.told.clear()
    time.sleep(1.0)
    running.until(lambda: True)
    assert "WATCHDOG=1" not in running.told
    opened = max(event.get("openings", 0) for event in running.events)
    microphone.start()
    running.events.clear()
    running.until(lambda: any(event.get("openings", 0) > opened for event in running.events))
    microphone.play(first)
    running.until(lambda: running.wakes(), 5.0)
    running.until(lambda: "WATCHDOG=1" in running.told)
    for event in running.events:
        jsonschema.validate(event, SCHEMA)

    began_s = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(10.0) == 0
    assert time.monotonic() - began_s < 5.0
    told = b""
    running.manager.setblocking(False)
    while b"STOPPING=1" not in told:
        told = running.manager.recv(4096)  # raises when there is nothing left


def test_who_is_muted_stays_so_over_a_restart_and_a_reload(microphone: VirtualMicrophone) -> None:
    with tempfile.TemporaryDirectory(prefix="kwsd") as name:
        folder = Path(name)
        (folder / "state").mkdir()
        saved = {"muted": True, "sensitivities": {}, "disabled": []}
        (folder / "state/state.json").write_text(json.dumps(saved))
        running = Running(folder, microphone)
        try:
            running.until(lambda: "READY=1" in running.told and "WATCHDOG=1" in running.told)
            running.told.clear()
            running.write_config("audio.discard_ms = 200", "metrics.port = 9999")
            running.process.send_signal(signal.SIGHUP)
            running.until(lambda: "READY=1" in running.told and "WATCHDOG=1" in running.told)
            assert "[metrics] changes at the next start only" in running.log_text()
            audio = request(running.control, "status")["audio"]
            assert audio["state"] == "muted" and audio["openings"] == 0
            request(running.control, "unmute")
            running.until(lambda: request(running.control, "status")["audio"]["openings"] == 1)
        finally:
            running.close()


def test_a_reload_takes_another_device_as_a_whole_or_leaves_the_old_one(running: Running) -> None:
    running.until(lambda: "READY=1" in running.told)

    def audio() -> dict[str, Any]:
        state: dict[str, Any] = request(running.control, "status")["audio"]
        return state

    running.write_config(device="nobody")
    with pytest.raises(UsageError, match=r"audio\.device = nobody .* cannot be opened"):
        request(running.control, "reload")
    assert audio()["device"] == "virtmic"
    running.until(lambda: audio()["openings"] == 2)
    running.told.clear()
    running.until(lambda: "WATCHDOG=1" in running.told)

    # The same device under other settings: it can be open only once, and the count goes on.
    running.write_config("audio.discard_ms = 200")
    request(running.control, "reload")
    assert audio()["openings"] == 3
    running.told.clear()
    running.until(lambda: "WATCHDOG=1" in running.told)
    assert audio()["gaps"] >= 1


def test_a_second_daemon_on_the_same_socket_says_who_is_there(
    running: Running, microphone: VirtualMicrophone
) -> None:
    running.until(lambda: "READY=1" in running.told)
    second = subprocess.run(
        [sys.executable, "-m", "kwsd", "--config", str(running.config)],
        cwd=ROOT,
        env={**os.environ, **microphone.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert second.returncode == 69
    assert "in use by another kwsd" in second.stderr
    lines = subprocess.run(
        [sys.executable, "-m", "kwsd.kwsctl", "events", "--endpoint", running.endpoint]
        + ["--count", "1", "--json", "health/"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.splitlines()
    jsonschema.validate(json.loads(lines[0]), SCHEMA)
    assert running.process.poll() is None
