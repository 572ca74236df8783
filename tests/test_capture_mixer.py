"""Controls of a card: what becomes of a profile's values, over a card that notes what is set."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

import pytest

from kwsd.capture import mixer
from kwsd.capture.mixer import ProfileMixer, set_controls
from kwsd.profile import MixerControl, parse_profile

ELEMENTS: dict[str, dict[str, Any]] = {
    "Master": {"capture_volume": (0, 100), "playback_volume": (0, 200)},
    "Mic Boost": {"capture_volume": (10, 50), "capture_switch": True},
    "Input": {"words": ("Mic", "Line", "Both")},
}


class FakeAsound:
    """libasound's simple mixer."""

    def __init__(self) -> None:
        self.cards: list[str] = []
        self.done: list[tuple[str, str, int]] = []

    def snd_mixer_attach(self, handle: Any, card: bytes) -> int:
        self.cards.append(card.decode())
        return 0

    def snd_mixer_first_elem(self, handle: Any) -> int:
        return 1

    def snd_mixer_elem_next(self, element: Any) -> int | None:
        return element.value + 1 if element.value < len(ELEMENTS) else None

    def snd_mixer_selem_get_name(self, element: Any) -> bytes:
        return self._name(element).encode()

    def snd_mixer_selem_is_enumerated(self, element: Any) -> int:
        return int("words" in ELEMENTS[self._name(element)])

    def snd_mixer_selem_get_enum_items(self, element: Any) -> int:
        return len(ELEMENTS[self._name(element)]["words"])

    def snd_mixer_selem_get_enum_item_name(
        self, element: Any, item: int, size: int, text: Any
    ) -> int:
        text.value = ELEMENTS[self._name(element)]["words"][item].encode()
        return 0

    def snd_mixer_selem_set_enum_item(self, element: Any, channel: int, item: int) -> int:
        self.done.append((self._name(element), "word", item))
        return 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        if has := re.fullmatch(r"snd_mixer_selem_has_(\w+)", name):
            return lambda element: int(has[1] in ELEMENTS[self._name(element)])
        if ranged := re.fullmatch(r"snd_mixer_selem_get_(\w+)_range", name):
            return lambda element, low, high: self._range(element, ranged[1], low, high)
        if setting := re.fullmatch(r"snd_mixer_selem_set_(\w+)_all", name):
            return lambda element, value, *_: self._set(element, setting[1], value)
        return lambda *_: 0

    def _name(self, element: Any) -> str:
        return list(ELEMENTS)[element.value - 1]

    def _range(self, element: Any, kind: str, low: Any, high: Any) -> int:
        low._obj.value, high._obj.value = ELEMENTS[self._name(element)][kind]
        return 0

    def _set(self, element: Any, kind: str, value: Any) -> int:
        number = value.value if isinstance(value, ctypes.c_long) else value
        self.done.append((self._name(element), kind, number))
        return 0


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> FakeAsound:
    made = FakeAsound()
    monkeypatch.setattr(mixer, "_library", lambda: made)
    return made


@pytest.mark.parametrize(
    ("name", "value", "done"),
    [
        ("Master", "-3.5 dB", ("Master", "capture_dB", -350)),
        ("Master", 40, ("Master", "capture_volume", 40)),
        ("Master Playback Volume", 150, ("Master", "playback_volume", 150)),
        ("Master Capture Volume", "50 %", ("Master", "capture_volume", 50)),
        ("Mic Boost Volume", "25 %", ("Mic Boost", "capture_volume", 20)),
        ("Mic Boost", False, ("Mic Boost", "capture_switch", 0)),
        ("Mic Boost Switch", True, ("Mic Boost", "capture_switch", 1)),
        ("Input", "Line", ("Input", "word", 1)),
    ],
)
def test_a_value_is_set_as_it_is_meant(
    card: FakeAsound, name: str, value: Any, done: tuple[str, str, int]
) -> None:
    assert set_controls("hw:board", [MixerControl(name, value)]) == []
    assert card.done == [done]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("Master", 101, "must be 0 to 100"),
        ("Mic Boost", 9, "must be 10 to 50"),
        ("Mic Boost Playback Volume", 20, "it has no playback volume"),
        ("Input", "Radio", "must be Mic or Line or Both"),
        ("Master", True, "it has no switch"),
    ],
)
def test_a_value_that_a_control_does_not_take_is_said_and_the_rest_is_set(
    card: FakeAsound, name: str, value: Any, said: str
) -> None:
    controls = [MixerControl(name, value), MixerControl("None", 1), MixerControl("Master", 7)]
    first, second = set_controls("hw:board", controls)
    assert said in first and "there is no such control" in second
    assert card.done == [("Master", "capture_volume", 7)]


@pytest.mark.parametrize(
    ("named", "device", "meant"),
    [
        ({"card": "hw:board"}, "plughw:CARD=other,DEV=0", "hw:board"),
        ({}, "plughw:CARD=other,DEV=0", "hw:other"),
        ({}, "default", "default"),
    ],
)
def test_the_card_is_the_profiles_or_that_of_the_device(
    card: FakeAsound, named: dict[str, str], device: str, meant: str
) -> None:
    table = {"mixer": {**named, "control": [{"name": "Master", "value": 3}]}}
    assert ProfileMixer(parse_profile("mine", table), device).apply() == []
    assert card.cards == [meant]
