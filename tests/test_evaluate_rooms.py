"""Simulated rooms, over a simulator in place of pyroomacoustics that knows direct sounds only."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from kwsd.evaluate.rooms import simulate_rooms

SPEED_M_S = 343.0
FILTER_SAMPLES = 40
"""By how much every response of pyroomacoustics is late."""


class DirectSound:
    """A room without walls."""

    made: list[DirectSound] = []

    def __init__(self, size_m: object, fs: int, materials: object, max_order: int) -> None:
        self._rate_hz = fs
        self._sources_m: list[np.ndarray] = []
        self.made.append(self)

    def add_source(self, place_m: np.ndarray) -> None:
        self._sources_m.append(place_m)

    def add_microphone(self, place_m: np.ndarray) -> None:
        distances_m = [float(np.linalg.norm(one - place_m)) for one in self._sources_m]
        self.delays = [
            FILTER_SAMPLES + round(metres / SPEED_M_S * self._rate_hz) for metres in distances_m
        ]

    def compute_rir(self) -> None:
        self.rir = [[2.0 * np.eye(1, 2000, delay)[0] for delay in self.delays]]


def test_the_loudspeaker_keeps_its_delay_and_the_talker_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulator = SimpleNamespace(
        ShoeBox=DirectSound,
        Material=lambda absorption: absorption,
        inverse_sabine=lambda rt60_s, size_m: (0.3, 10),
    )
    monkeypatch.setitem(sys.modules, "pyroomacoustics", simulator)
    monkeypatch.setattr(DirectSound, "made", [])
    rooms = simulate_rooms(4, np.random.default_rng(1))
    assert len(rooms) == len(DirectSound.made) == 4
    for room, box in zip(rooms, DirectSound.made, strict=True):
        assert np.flatnonzero(room.talker).tolist() == [0]
        assert np.flatnonzero(room.loudspeaker).tolist() == [box.delays[1]]
        assert room.talker.max() == room.loudspeaker.max() == 1.0
