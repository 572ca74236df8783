"""End to end: a word into a microphone, out of an MQTT broker and a Wyoming client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from free_port import free_port
from mqtt_broker import Broker
from test_live_service import ROOT, Running, pytestmark  # noqa: F401
from virtual_microphone import VirtualMicrophone

pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: install kwsd[mqtt]")
pytest.importorskip("wyoming", reason="no wyoming: install kwsd[wyoming]")
from test_bridge_mqtt import Watcher  # noqa: E402
from wyoming.asr import Transcript  # noqa: E402
from wyoming.audio import AudioChunk, AudioStart, AudioStop  # noqa: E402
from wyoming.client import AsyncTcpClient  # noqa: E402
from wyoming.event import Event  # noqa: E402
from wyoming.info import Describe, Info  # noqa: E402
from wyoming.satellite import RunSatellite  # noqa: E402
from wyoming.wake import Detection  # noqa: E402

LIMIT_S = 30.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kwsd") as made:
        yield Path(made)


def program(name: str, folder: Path, *lines: str) -> subprocess.Popen[bytes]:
    """A bridge as its own process."""
    config = folder / f"{name}.toml"
    config.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", f"kwsd.bridge.{name}", "--verbose", "--config", str(config)]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, stderr=log)


async def converse(port: int, microphone: VirtualMicrophone, sound: np.ndarray) -> list[Event]:
    """What a client gets from the wake on, until it has two seconds of audio and says so."""
    for _ in range(200):
        client = AsyncTcpClient("127.0.0.1", port)
        try:
            await client.connect()
            break
        except OSError:
            await asyncio.sleep(0.1)
    else:
        pytest.fail("kwsd-wyoming does not listen")
    await client.write_event(Describe().event())
    described = await asyncio.wait_for(client.read_event(), LIMIT_S)
    assert described is not None
    assert [m.name for m in Info.from_event(described).wake[0].models] == ["computer"]
    await client.write_event(RunSatellite().event())
    playing = asyncio.create_task(asyncio.to_thread(microphone.play, sound))
    got: list[Event] = []
    audio_bytes, told = 0, False
    while not (got and AudioStop.is_type(got[-1].type)):
        event = await asyncio.wait_for(client.read_event(), LIMIT_S)
        assert event is not None
        got.append(event)
        audio_bytes += len(event.payload or b"")
        if audio_bytes >= 2 * 2 * 16_000 and not told:
            told = True
            await client.write_event(Transcript(text="enough").event())
    await playing
    await client.disconnect()
    return got


def test_a_word_reaches_the_broker_and_the_client(folder: Path) -> None:
    broker = Broker(folder)
    port = free_port()
    microphone = VirtualMicrophone(folder, 3)
    running = Running(folder, microphone)
    watcher = Watcher(broker.port)
    sockets = [f'bus_endpoint = "{running.endpoint}"', f'control_endpoint = "{running.control}"']
    bridges = [
        program(
            "mqtt", folder, *sockets, 'host = "127.0.0.1"', f"port = {broker.port}", 'node = "n"'
        ),
        program("wyoming", folder, *sockets, f'uri = "tcp://127.0.0.1:{port}"'),
    ]
    try:
        running.until(lambda: "READY=1" in running.told)
        watcher.wait("kwsd/n/availability", "online")
        watcher.wait("kwsd/n/problem", "OFF")
        samples, rate = sf.read(ROOT / "samples/living_room.flac", dtype="int16")
        with ThreadPoolExecutor(1) as elsewhere:
            talk = converse(port, microphone, samples[: 12 * rate])
            talking = elsewhere.submit(asyncio.run, talk)
            # Meanwhile somebody must read what the service manager is told, or kwsd waits.
            running.until(talking.done, 2 * LIMIT_S)
            got = talking.result()
        running.until(lambda: running.wakes())
        wake = running.wakes()[0]
        told = json.loads(watcher.wait("kwsd/n/wake"))
        assert (told["name"], told["id"]) == ("computer", wake["id"])

        assert [event.type for event in got[:3]] == ["detection", "run-pipeline", "audio-start"]
        detection = Detection.from_event(got[0])
        assert detection.name == "computer"
        assert detection.timestamp == round(wake["end_s"] * 1000)
        start = AudioStart.from_event(got[2])
        assert (start.rate, start.width, start.channels) == (16_000, 2, 1)
        pcm = b"".join(AudioChunk.from_event(event).audio for event in got[3:-1])
        assert len(pcm) >= 2 * 2 * 16_000
        assert np.abs(np.frombuffer(pcm, "<i2")).max() > 100, "silence was sent"

        for bridge in bridges:
            bridge.terminate()
            assert bridge.wait(20) == 0
        watcher.wait("kwsd/n/availability", "offline")
    finally:
        for name, bridge in zip(("mqtt", "wyoming"), bridges, strict=True):
            bridge.kill()
            bridge.wait()
            print((folder / f"{name}.log").read_text())
        print((folder / "kwsd.log").read_text()[-2000:])
        watcher.close()
        running.close()
        microphone.stop()
        broker.stop()
