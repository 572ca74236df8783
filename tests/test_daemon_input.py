"""From configuration to a live input: what its settings do to the device."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
from live_bench import FakeClock, FakeDevice, ramp_of

from kwsd.capture import alsa, mixer
from kwsd.capture.device import DeviceRequest
from kwsd.config_schema import AudioSettings
from kwsd.daemon import input as daemon_input
from kwsd.daemon.input import live_input
from kwsd.profile import Profile

AUDIO = AudioSettings(device="hw:CARD=mine", mics=(0, 1), reference=(2,), period_ms=20)
REQUEST = DeviceRequest("hw:CARD=mine", channels=3, rate_hz=16_000, period_ms=20)


class FakeSound:
    """What is done to a card, in order."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def open(self, request: DeviceRequest) -> FakeDevice:
        self.done.append(request)
        return FakeDevice(FakeClock(), deque())

    def mixer(self, profile: Profile, device: str) -> FakeSound:
        self.done.append((profile.name, device))
        return self

    def apply(self) -> list[str]:
        self.done.append("controls")
        return []


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> FakeSound:
    made = FakeSound()
    monkeypatch.setattr(daemon_input, "load_library", lambda: None)
    monkeypatch.setattr(alsa, "AlsaDevice", made.open)
    monkeypatch.setattr(mixer, "ProfileMixer", made.mixer)
    return made


def test_controls_of_a_profile_are_set_before_each_open(sound: FakeSound) -> None:
    source = live_input(replace(AUDIO, profile="r329"))
    for _ in range(2):
        source.open_now()
        source.close()
    assert sound.done == [("r329", "hw:CARD=mine"), *["controls", REQUEST] * 2]


def test_without_a_profile_no_control_is_touched(sound: FakeSound) -> None:
    live_input(AUDIO).open_now()
    assert sound.done == [REQUEST]


def test_the_capture_thread_gets_the_priority_of_the_configuration(sound: FakeSound) -> None:
    live_input(replace(AUDIO, realtime_priority=17)).open_now()
    assert sound.done == [replace(REQUEST, realtime_priority=17)]


@pytest.mark.parametrize("discard_ms", [0, 60, 400])
def test_as_much_is_thrown_away_as_the_configuration_says(
    discard_ms: int, sound: FakeSound
) -> None:
    source = live_input(replace(AUDIO, discard_ms=discard_ms))
    blocks = next(blocks for _ in range(50) if (blocks := source.read(0.1)))
    assert blocks[0].mics[0, 0] == ramp_of(16 * discard_ms, 1)[0, 0]
