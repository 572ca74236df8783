"""The service's own loop over devices that the test plays, on a clock that stands still meanwhile.

What an operator does comes at its time between two passes of the loop, as over the control socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from live_bench import FakeClock, FakeDevice, GatheringDevice

from kwsd.config import Config, load_config
from kwsd.config_schema import AudioSettings
from kwsd.daemon import service as service_module
from kwsd.daemon.control import Command
from kwsd.daemon.notify import Notifier
from kwsd.daemon.resume import Resume
from kwsd.daemon.saved_state import StateFile
from kwsd.daemon.service import Service
from kwsd.errors import ConfigError, KwsdError, RuntimeUnavailable
from kwsd.event import Event
from kwsd.sink.zmq import BusSink
from kwsd.source.channels import ChannelMap
from kwsd.source.live import LiveInput, LiveSettings


class NotedBus(BusSink):
    """The bus, and what was published on it."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.events: list[Event] = []
        self.client_reloads = 0
        self.clients_refused = ""
        """Why clients' keys cannot be read."""

    def reload_clients(self) -> None:
        self.client_reloads += 1
        if self.clients_refused:
            raise ConfigError(self.clients_refused)
        super().reload_clients()

    def emit(self, event: Event) -> None:
        self.events.append(event)
        super().emit(event)


class NotedNotifier(Notifier):
    """What the service manager is told, and when."""

    def __init__(self, clock: FakeClock, managed: bool = True) -> None:
        manager = {"NOTIFY_SOCKET": "/nobody", "WATCHDOG_USEC": "30000000"}
        super().__init__(manager if managed else {}, clock)
        self._now = clock
        self.told: list[tuple[float, str]] = []

    def _send(self, message: str, patience_s: float = 0.0) -> None:
        self.told += [(self._now.now_s, line) for line in message.splitlines()]


class ServiceBench:
    """A service that waits for its device, as under a manager.

    Parameters
    ----------
    folder : Path
        For its files and sockets.
    settings : str
        Lines of its configuration.
    """

    def __init__(self, folder: Path, *settings: str) -> None:
        self._folder = folder
        self.clock = FakeClock()
        self.slept_s = 0.0
        """How long the machine has slept in all."""

        self.write_config(*settings)
        self.devices: list[FakeDevice] = []
        self.refused: dict[str, RuntimeUnavailable] = {}
        """Devices that cannot be opened, and what is said of them."""

        self.control_drops = 0
        self.managed = True
        """Whether a service manager is told."""

        self.load: Callable[[], Config] = lambda: load_config(file=folder / "kwsd.toml")
        self._coming: deque[tuple[float, Callable[[], object]]] = deque()
        self._commands: Mapping[str, Command] = {}

    def write_config(self, *settings: str) -> None:
        (self._folder / "kwsd.toml").write_text("\n".join(settings) + "\n")

    def at(self, seconds: float, do: Callable[[], object]) -> None:
        """Do something so long after the start; to be given in order."""
        self._coming.append((self.clock.now_s + seconds, do))

    def ask(self, command: str, **fields: object) -> Any:
        """What the control socket answers; raises where it would answer with an error."""
        return self._commands[command](fields)

    def fails(self, command: str, **fields: object) -> str:
        """The error that the control socket answers with."""
        with pytest.raises(KwsdError) as caught:
            self.ask(command, **fields)
        return str(caught.value)

    def run(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        """The service from its start to its end."""
        bench = self

        class PlannedControl:
            """Stands where requests are answered."""

            def __init__(self, endpoint: str, commands: Mapping[str, Command]) -> None:
                bench._commands = commands

            def serve(self) -> None:
                while bench._coming and bench.clock.now_s >= bench._coming[0][0]:
                    bench._coming.popleft()[1]()

            def drop_connections(self) -> None:
                bench.control_drops += 1

            def close(self) -> None:
                pass

        monkeypatch.setattr(service_module, "ControlServer", PlannedControl)
        self.bus = NotedBus(f"ipc://{self._folder}/bus")
        self.notifier = NotedNotifier(self.clock, self.managed)
        state = StateFile(self._folder / "state.json")
        self.service = Service(
            self.load(),
            lambda: self.load(),
            self._input,
            self.bus,
            self.notifier,
            state,
            self.clock,
            Resume(lambda: self.slept_s),
        )
        self.service.listen_to(f"ipc://{self._folder}/control")
        self.at(seconds, lambda: setattr(self.service.requests, "stop", True))
        try:
            self.service.run()
        finally:
            self.service.close()
            self.bus.close()
        assert not self._coming

    def _input(self, audio: AudioSettings) -> LiveInput:
        def open_device() -> FakeDevice:
            assert all(device.closed for device in self.devices)
            if audio.device in self.refused:
                raise self.refused[audio.device]
            self.devices.append(GatheringDevice(self.clock, deque()))
            return self.devices[-1]

        return LiveInput(
            open_device,
            LiveSettings(audio.device, audio.rate_hz, 3, audio.discard_ms),
            ChannelMap((0, 1), 2),
            clock=self.clock,
            sleep=self.clock.sleep,
        )
