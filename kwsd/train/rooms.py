"""Rooms for training: shoe boxes by the image method, and measured impulse responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.features import SAMPLE_RATE_HZ
from kwsd.errors import RuntimeUnavailable
from kwsd.train.listen import read_response

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class RoomRange:
    """What rooms are drawn from."""

    rt60_s: tuple[float, float] = (0.15, 0.7)
    """Reverberation time."""

    distance_m: tuple[float, float] = (0.0, 20.0)
    """From the talker to the microphone."""


TRAINING = RoomRange()
FAR_FIELD = RoomRange((0.3, 0.6), (1.0, 3.0))
"""The far field of published comparisons."""

FAR_ROOMS = 40
"""In which recordings are judged that are far away."""

SHORTEST_S = 0.05
LONGEST_S = 0.7
MAX_ORDER = 20


@dataclass(frozen=True)
class Room:
    """What a microphone gets from a talker and from the device's own loudspeaker."""

    talker: FloatArray
    """float32 [samples], starts at the direct sound, unit energy."""

    loudspeaker: FloatArray
    """float32 [samples], path from the loudspeaker beside the microphone, unit energy."""


def _unit(response: NDArray[np.float64], keep_delay: bool) -> FloatArray:
    start = 0 if keep_delay else int(np.argmax(np.abs(response)))
    cut = response[start : start + int(LONGEST_S * SAMPLE_RATE_HZ)]
    return np.asarray(cut / np.sqrt(np.sum(cut**2)), dtype=np.float32)


def simulate_rooms(count: int, rng: np.random.Generator, drawn: RoomRange = TRAINING) -> list[Room]:
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
        rooms.append(Room(_unit(talker, keep_delay=False), _unit(speaker, keep_delay=True)))
    return rooms


@cache
def far_rooms(seed: int = 0) -> tuple[Room, ...]:
    """The rooms of a judgement: those of a seed are the same for a card and for an evaluation."""
    return tuple(simulate_rooms(FAR_ROOMS, np.random.default_rng([seed, 9]), FAR_FIELD))


def measured_rooms(
    responses: Sequence[Path], loudspeakers: Sequence[FloatArray], rng: np.random.Generator
) -> list[Room]:
    """Rooms whose path from the talker was measured; the device's own loudspeaker is simulated.

    Parameters
    ----------
    responses : sequence of Path
        Recordings of impulse responses; the first channel is taken. Those below 50 ms and silent
        ones hold no room and are left out.
    loudspeakers : sequence of ndarray
        Simulated paths to draw from.

    Raises
    ------
    AudioError
        One cannot be read.
    """
    rooms: list[Room] = []
    for path in responses:
        heard = read_response(path)
        if len(heard) < SHORTEST_S * SAMPLE_RATE_HZ or not heard.any():
            continue
        talker = _unit(heard.astype(np.float64), keep_delay=False)
        rooms.append(Room(talker, loudspeakers[int(rng.integers(len(loudspeakers)))]))
    return rooms
