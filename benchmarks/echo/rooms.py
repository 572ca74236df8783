"""Simulated rooms: two microphones beside a loudspeaker, a talker, a point noise.

Image-source method of pyroomacoustics (R. Scheibler, E. Bezzam, I. Dokmanic, ICASSP 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

RATE_HZ = 16_000


@dataclass(frozen=True)
class Room:
    """Impulse responses to both microphones, float32 [2, taps], of unit energy at the first."""

    talker: FloatArray
    noise: FloatArray
    loudspeaker: FloatArray
    moved_loudspeaker: FloatArray
    """The same after something in front of the device has moved."""

    rt60_s: float
    spacing_m: float
    distance_m: float


def make_room(seed: int) -> Room:
    """A room with everything in it, fully determined by the seed."""
    import pyroomacoustics as pra

    rng = np.random.default_rng(seed)
    size = np.array([rng.uniform(3.2, 6.0), rng.uniform(3.0, 5.0), rng.uniform(2.4, 3.0)])
    rt60_s = float(rng.uniform(0.2, 0.6))
    device = np.array(
        [rng.uniform(0.5, 1.2), rng.uniform(0.5, size[1] - 0.5), rng.uniform(0.7, 1.1)]
    )
    spacing_m = float(rng.uniform(0.04, 0.07))
    turn = rng.uniform(0, np.pi)
    axis = np.array([np.cos(turn), np.sin(turn), 0.0]) * spacing_m / 2
    aside = np.array([np.sin(turn), -np.cos(turn), 0.0]) * rng.uniform(0.08, 0.20)
    aside[2] = rng.uniform(-0.05, 0.05)
    distance_m = float(rng.uniform(1.0, min(4.0, size[0] - device[0] - 0.3)))
    talker = _place(rng, device, distance_m, size, 1.5)
    noise = _place(rng, device, float(rng.uniform(1.0, 2.0)), size, 1.0)
    absorption, order = _absorption(rt60_s, size)
    sources = [talker, noise, device + aside, device + aside + rng.uniform(-0.03, 0.03, 3)]
    room = pra.ShoeBox(size, fs=RATE_HZ, materials=pra.Material(absorption), max_order=order)
    for source in sources:
        room.add_source(source)
    room.add_microphone_array(np.stack([device - axis, device + axis], axis=1))
    room.compute_rir()
    responses = []
    for number in range(len(sources)):
        pair = [np.asarray(room.rir[mic][number]) for mic in range(2)]
        taps = max(len(response) for response in pair)
        both = np.stack([np.pad(response, (0, taps - len(response))) for response in pair])
        # The simulator's own latency and the flight time are part of the room, not of the scene.
        first = max(0, int(np.argmax(np.abs(both[0]) > 0.2 * np.abs(both[0]).max())) - 8)
        both = both[:, first:]
        responses.append((both / np.sqrt((both[0] ** 2).sum())).astype(np.float32))
    return Room(*responses, rt60_s, spacing_m, distance_m)


def _place(
    rng: np.random.Generator,
    device: NDArray[np.float64],
    distance_m: float,
    size: NDArray[np.float64],
    height_m: float,
) -> NDArray[np.float64]:
    """A place at a distance from the device and off the walls."""
    for _ in range(1000):
        angle = rng.uniform(-np.pi, np.pi)
        place = device + distance_m * np.array([np.cos(angle), np.sin(angle), 0.0])
        place[2] = np.clip(height_m + rng.uniform(-0.2, 0.2), 0.3, size[2] - 0.3)
        if (place[:2] > 0.3).all() and (place[:2] < size[:2] - 0.3).all():
            return place
    return np.array([size[0] - 0.4, size[1] / 2, height_m])


def _absorption(rt60_s: float, size: NDArray[np.float64]) -> tuple[float, int]:
    import pyroomacoustics as pra

    try:
        absorption, order = pra.inverse_sabine(rt60_s, size)
    except ValueError:
        return 0.7, 10
    return float(absorption), min(int(order), 30)
