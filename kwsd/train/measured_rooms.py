"""Measured rooms: impulse responses of real ones, for words to stand in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.evaluate.rooms import Room, unit_energy
from kwsd.train.listen import read_response

FloatArray = NDArray[np.float32]

SHORTEST_S = 0.05


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
        talker = unit_energy(heard.astype(np.float64), keep_delay=False)
        rooms.append(Room(talker, loudspeakers[int(rng.integers(len(loudspeakers)))]))
    return rooms
