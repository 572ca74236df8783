"""PortAudio's peculiarities, with a library in place of sounddevice that has them."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kwsd.capture import portaudio
from kwsd.capture.device import DeviceLost, DeviceRequest, DeviceUnavailable
from kwsd.capture.portaudio import PortAudioDevice

REQUEST = DeviceRequest("USB", channels=1, rate_hz=16_000, period_ms=20)
FRAMES = 320


class PortAudioError(Exception):
    pass


class FakeLibrary(ModuleType):
    """Knows the devices that were there when it was initialised; one stream holds a device."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.plugged: set[str | None] = set()
        self.open: list[Any] = []
        self.failing_starts = 0
        self._initialize()

    def _initialize(self) -> None:
        self.listed = set(self.plugged)

    def _terminate(self) -> None:
        assert not self.open

    def RawInputStream(self, **options: Any) -> Any:
        if options["device"] not in self.listed:
            raise ValueError(f"No input device matching {options['device']!r}")
        if self.open:
            raise PortAudioError("Device unavailable")
        stream = SimpleNamespace(callback=options["callback"], options=options)
        stream.start = self._start
        stream.close = lambda ignore_errors: self.open.remove(stream)
        self.open.append(stream)
        return stream

    def _start(self) -> None:
        if self.failing_starts:
            self.failing_starts -= 1
            raise PortAudioError("Unanticipated host error")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    made = FakeLibrary()
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    monkeypatch.setattr(portaudio._Library, "seen", False)
    return made


def test_a_microphone_that_comes_later_is_found(library: FakeLibrary) -> None:
    with pytest.raises(DeviceUnavailable, match="python3 -m sounddevice"):
        PortAudioDevice(REQUEST)
    library.plugged.add("USB")
    device = PortAudioDevice(REQUEST)
    device.close()
    PortAudioDevice(REQUEST).close()
    assert not library.open


def test_a_stream_that_does_not_start_holds_the_device_no_longer(library: FakeLibrary) -> None:
    library.plugged.add("USB")
    library._initialize()
    library.failing_starts = 1
    with pytest.raises(DeviceUnavailable, match="Unanticipated host error"):
        PortAudioDevice(REQUEST)
    assert not library.open
    PortAudioDevice(REQUEST)
    assert len(library.open) == 1


def test_positions_count_what_was_lost(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.plugged.add("USB")
    library._initialize()
    now_ns = 1_000_000_000
    monkeypatch.setattr(portaudio.time, "monotonic_ns", lambda: now_ns)
    device = PortAudioDevice(REQUEST)
    (stream,) = library.open
    data = np.zeros(FRAMES, "<i2").tobytes()

    def delivered(overflow: bool = False) -> None:
        stream.callback(data, FRAMES, None, SimpleNamespace(input_overflow=overflow))

    for _ in range(portaudio._WAITING_PERIODS + 3):  # the last three find no room
        now_ns += 20_000_000
        delivered()
    periods = [device.read(0.0) for _ in range(portaudio._WAITING_PERIODS)]
    assert [period.first_frame for period in periods if period] == [
        FRAMES * number for number in range(portaudio._WAITING_PERIODS)
    ]
    now_ns += 20_000_000
    delivered()
    now_ns += 520_000_000
    delivered(overflow=True)
    first, second = device.read(0.0), device.read(0.0)
    assert first is not None and second is not None
    assert first.gap and first.first_frame == FRAMES * (portaudio._WAITING_PERIODS + 3)
    # Half a second without a delivery, of which PortAudio says only that something was lost.
    assert second.gap and second.first_frame == first.first_frame + FRAMES + 8000
    assert device.counters().dropped_periods == 3 and device.counters().overruns == 1


FINE = SimpleNamespace(input_overflow=False)


def test_samples_come_as_they_were_recorded(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.plugged.add("USB")
    library._initialize()
    now_ns = 7_000_000_000
    monkeypatch.setattr(portaudio.time, "monotonic_ns", lambda: now_ns)
    device = PortAudioDevice(DeviceRequest("USB", channels=2, rate_hz=16_000, period_ms=20))
    (stream,) = library.open
    delivered = np.arange(-FRAMES, FRAMES, dtype="<i2").reshape(FRAMES, 2) * 100
    stream.callback(delivered.tobytes(), FRAMES, None, FINE)
    period = device.read(0.0)
    assert period is not None and not period.gap
    np.testing.assert_array_equal(period.samples, delivered / np.float32(32768))
    # The first sample is as old as the delivery is long.
    assert period.monotonic_ns == now_ns - 20_000_000
    assert device.counters().frames == FRAMES
    assert device.read(0.0) is None


def test_what_came_before_a_stream_ended_is_read(library: FakeLibrary) -> None:
    library.plugged.add("USB")
    library._initialize()
    device = PortAudioDevice(REQUEST)
    (stream,) = library.open
    stream.callback(np.zeros(FRAMES, "<i2").tobytes(), FRAMES, None, FINE)
    stream.options["finished_callback"]()
    assert device.read(0.0) is not None
    with pytest.raises(DeviceLost, match="ended the stream"):
        device.read(0.0)


def test_one_loss_is_one_gap(library: FakeLibrary) -> None:
    library.plugged.add("USB")
    library._initialize()
    device = PortAudioDevice(REQUEST)
    (stream,) = library.open
    for overflow in (False, True, False):
        status = SimpleNamespace(input_overflow=overflow)
        stream.callback(np.zeros(FRAMES, "<i2").tobytes(), FRAMES, None, status)
    periods = [device.read(0.0) for _ in range(3)]
    assert [period.gap for period in periods if period] == [False, True, False]


def test_the_default_device_has_no_name_and_a_buffer_as_long_as_asked(
    library: FakeLibrary,
) -> None:
    library.plugged.add(None)
    library._initialize()
    PortAudioDevice(DeviceRequest("default", 2, 48_000, period_ms=10, periods=4))
    (stream,) = library.open
    options = stream.options
    assert options["device"] is None and options["channels"] == 2
    assert (options["samplerate"], options["blocksize"]) == (48_000, 480)
    assert options["latency"] == pytest.approx(0.04)
