"""The daemon's own service loop over a simulated day: what it heard, sent and took."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from benchmarks.service.soak_device import CHANNELS, Day, DayDevice
from benchmarks.service.soak_world import Fault, Kind
from kwsd.block import SAMPLE_RATE_HZ, Block, FloatArray
from kwsd.config import Config, load_config
from kwsd.config_schema import AudioSettings
from kwsd.daemon.notify import Notifier
from kwsd.daemon.saved_state import StateFile
from kwsd.daemon.service import Service
from kwsd.event import Event
from kwsd.sink.zmq import BusSink
from kwsd.source.channels import ChannelMap
from kwsd.source.live import LiveInput, LiveSettings

MEMORY_STEP_S = 60.0
SETTLED_AFTER_S = 600.0
LEAST_POINTS = 10
"""Of the memory, for a line through them to say anything."""

CHURN_SUBSCRIBERS = 5


class NotedBus(BusSink):
    """The bus, and a note of when in the day each wake left."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.day: Day | None = None
        self.wakes_s: list[float] = []
        self.emitted: Counter[str] = Counter()

    def emit(self, event: Event) -> None:
        """Publish and note."""
        self.emitted[event["type"]] += 1
        if event["type"] == "wake" and self.day is not None:
            self.wakes_s.append(self.day.position_s)
        super().emit(event)


class Subscribers:
    """One that stays and must get everything, and some that come and go."""

    def __init__(self, endpoint: str) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._endpoint = endpoint
        self._stays = self._join(b"")
        self._others: list[zmq.Socket[Any]] = []
        self.got: Counter[str] = Counter()
        self.churned = 0

    def _join(self, topic: bytes) -> zmq.Socket[Any]:
        channel: zmq.Socket[Any] = self._context.socket(zmq.SUB)
        channel.setsockopt(zmq.SUBSCRIBE, topic)
        channel.connect(self._endpoint)
        return channel

    def churn(self) -> None:
        """The last ones go, without having read; others come."""
        for channel in self._others:
            channel.close(0)
        self._others = [self._join(b"wake/") for _ in range(CHURN_SUBSCRIBERS)]
        self.churned += CHURN_SUBSCRIBERS

    def read(self) -> None:
        """Take what has come."""
        while self._stays.poll(0):
            topic = self._stays.recv_multipart(zmq.NOBLOCK)[0]
            self.got[topic.partition(b"/")[0].decode()] += 1

    def close(self) -> None:
        """All of them."""
        self.churn()
        for channel in [*self._others, self._stays]:
            channel.close(0)
        self._context.term()


class WatchedInput(LiveInput):
    """The live input; tells the day when audio got through."""

    day: Day
    meanwhile: Any

    def read(self, timeout_s: float, rest_s: float = 0.0) -> list[Block]:
        """As ever."""
        self.meanwhile()
        blocks = super().read(timeout_s, rest_s)
        if blocks:
            self.day.heard()
        return blocks


@dataclass(frozen=True)
class Outcome:
    """What a run gave."""

    seconds: float
    wall_s: float
    cpu_s: float
    wakes_s: tuple[float, ...]
    deafest_s: float
    deafest_at_s: float
    memory: tuple[tuple[float, float], ...]
    """Position in the day and resident MB."""

    counters: dict[str, int]
    wakes_received: int

    def growth_mb_a_day(self) -> float | None:
        """Slope of a line through the memory, after the first minutes; None of a short day."""
        points = np.array([point for point in self.memory if point[0] >= SETTLED_AFTER_S])
        if len(points) < LEAST_POINTS:
            return None
        return float(np.polyfit(points[:, 0], points[:, 1], 1)[0]) * 86_400.0


def run_day(
    cycle: FloatArray,
    faults: list[Fault],
    seconds: float,
    wall_limit_s: float = float("inf"),
    progress: bool = False,
) -> Outcome:
    """Run the service for a time; the day ends early where the wall limit is reached."""
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        return _run_day(Path(folder), cycle, faults, seconds, wall_limit_s, progress)


def _run_day(
    folder: Path,
    cycle: FloatArray,
    faults: list[Fault],
    seconds: float,
    wall_limit_s: float,
    progress: bool,
) -> Outcome:
    config_file = folder / "kwsd.toml"
    config_file.write_text("log.level = 'error'\n")

    def load() -> Config:
        return load_config(file=config_file)

    def on_event(fault: Fault, begins: bool) -> None:
        if fault.kind is Kind.RELOAD:
            service.requests.reload = True
        elif fault.kind is Kind.MUTE:
            mutes.append(begins)
        elif fault.kind is Kind.CHURN:
            subscribers.churn()

    def on_end() -> None:
        service.requests.stop = True

    def meanwhile() -> None:
        # Time passes inside the service's waits, but whoever mutes it is heard between two turns.
        while mutes:
            service.mute(mutes.pop(0))
        subscribers.read()
        if time.monotonic() - began_s > wall_limit_s:
            on_end()
        if day.position_s >= MEMORY_STEP_S * len(memory):
            memory.append((day.position_s, resident_mb()))
            if progress and len(memory) % 60 == 0:
                print(f"{day.position_s / 3600:.1f} h, {memory[-1][1]:.1f} MB", flush=True)

    def open_input(audio: AudioSettings) -> LiveInput:
        made = WatchedInput(
            lambda: DayDevice(day),
            LiveSettings("simulated", SAMPLE_RATE_HZ, CHANNELS),
            ChannelMap((0, 1), 2),
            clock=day,
            sleep=day.sleep,
        )
        made.day, made.meanwhile = day, meanwhile
        inputs.append(made)
        return made

    began_s, cpu_s = time.monotonic(), time.process_time()
    memory: list[tuple[float, float]] = []
    inputs: list[LiveInput] = []
    mutes: list[bool] = []
    day = Day(cycle, faults, seconds, on_event, on_end)
    endpoint = f"ipc://{folder}/bus"
    bus = NotedBus(endpoint)
    bus.day = day
    subscribers = Subscribers(endpoint)
    bus.wait_for_subscriber(5.0)
    # A manager that nobody reads: a managed service waits for its device.
    notifier = Notifier({"NOTIFY_SOCKET": f"{folder}/nobody"}, clock=day)
    service = Service(
        load(), load, open_input, bus, notifier, StateFile(folder / "state.json"), clock=day
    )
    service.listen_to(f"ipc://{folder}/control")
    service.run()
    day.over()
    wall_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    service.close()
    deadline_s = time.monotonic() + 5.0
    while subscribers.got["wake"] < bus.emitted["wake"] and time.monotonic() < deadline_s:
        subscribers.read()
        time.sleep(0.01)
    counted = inputs[-1].counters
    subscribers.close()
    bus.close()
    return Outcome(
        day.position_s,
        wall_s,
        cpu_s,
        tuple(bus.wakes_s),
        day.deafest_s,
        day.deafest_at_s,
        tuple(memory),
        {
            "overruns": counted.overruns,
            "openings": counted.openings,
            "gaps": counted.gaps,
            "subscribers that came and went": subscribers.churned,
        },
        subscribers.got["wake"],
    )


def resident_mb() -> float:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
