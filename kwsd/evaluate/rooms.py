"""Simulated rooms: shoe boxes by the image method, a device in each and a talker around it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.features import SAMPLE_RATE_HZ
from kwsd.errors import RuntimeUnavailable

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class RoomRange:
    """What rooms are drawn from."""

    rt60_s: tuple[float, float] = (0.15, 0.7)
    """Reverberation time."""

    distance_m: tuple[float, float] = (0.0, 20.0)
    """From the talker to the microphone."""


ANY = RoomRange()
FAR_FIELD = RoomRange((0.3, 0.6), (1.0, 3.0))
"""The far field of published comparisons."""

FAR_ROOMS = 40
"""In which recordings are judged that are far away."""

LONGEST_S = 0.7
MAX_ORDER = 20


@dataclass(frozen=True)
class Room:
    """What a microphone gets from a talker and from the device's own loudspeaker."""

    talker: FloatArray
    """float32 [samples], starts at the direct sound, unit energy."""

    loudspeaker: FloatArray
    """float32 [samples], path from the loudspeaker beside the microphone, unit energy."""


def unit_energy(response: NDArray[np.float64], keep_delay: bool) -> FloatArray:
    """What counts of an impulse response, from its direct sound unless its delay is kept."""
    start = 0 if keep_delay else int(np.argmax(np.abs(response)))
    cut = response[start : start + int(LONGEST_S * SAMPLE_RATE_HZ)]
    return np.asarray(cut / np.sqrt(np.sum(cut**2)), dtype=np.float32)


def simulate_rooms(count: int, rng: np.random.Generator, drawn: RoomRange = ANY) -> list[Room]:
    """Draw rooms of 2.5-7 m, a device in each, and a talker somewhere around it.

    Raises
    ------
    RuntimeUnavailable
        pyroomacoustics is not installed.
    """
    try:
        import pyroomacoustics
    except ImportError:
        raise RuntimeUnavailable(
            "room simulation needs the package 'pyroomacoustics': pip install 'kwsd[train]'"
        ) from None
    rooms: list[Room] = []
    while len(rooms) < count:
        size_m = rng.uniform([2.5, 2.5, 2.3], [7.0, 6.0, 3.3])
        rt60_s = float(rng.uniform(*drawn.rt60_s))
        microphone_m = rng.uniform([0.3, 0.3, 0.6], size_m - 0.3)
        talker_m = microphone_m + rng.normal(0.0, 1.0, 3) * [1.4, 1.4, 0.3]
        speaker_m = microphone_m + rng.normal(0.0, 0.08, 3)
        try:
            absorption, order = pyroomacoustics.inverse_sabine(rt60_s, size_m)
        except ValueError:
            continue
        places = np.stack([talker_m, speaker_m])
        if np.any(places < 0.2) or np.any(places > size_m - 0.2):
            continue
        distance_m = float(np.linalg.norm(talker_m - microphone_m))
        if not drawn.distance_m[0] <= distance_m <= drawn.distance_m[1]:
            continue
        box = pyroomacoustics.ShoeBox(
            size_m,
            fs=SAMPLE_RATE_HZ,
            materials=pyroomacoustics.Material(absorption),
            max_order=min(order, MAX_ORDER),
        )
        box.add_source(talker_m)
        box.add_source(speaker_m)
        box.add_microphone(microphone_m)
        box.compute_rir()
        talker, speaker = (np.asarray(box.rir[0][i], np.float64) for i in range(2))
        rooms.append(
            Room(unit_energy(talker, keep_delay=False), unit_energy(speaker, keep_delay=True))
        )
    return rooms


@cache
def far_rooms(seed: int = 0) -> tuple[Room, ...]:
    """The rooms of a judgement: those of a seed are the same for a card and for an evaluation."""
    return tuple(simulate_rooms(FAR_ROOMS, np.random.default_rng([seed, 9]), FAR_FIELD))
