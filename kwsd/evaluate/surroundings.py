"""Surroundings: what happens to a recording on its way to the microphone.

A room puts the talker at a distance; noise lies under everything; playback is the device's own
loudspeaker, with the reference that the echo canceller gets. Each of them is off unless asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kwsd.block import SAMPLE_RATE_HZ, FloatArray
from kwsd.evaluate.noise import NoisePool, noise_gain
from kwsd.evaluate.rooms import Room

LEAD_S = 1.5
PLAYBACK_LEAD_S = 8.0
"""Playback does not begin with the word: the canceller has had this long."""

REVERBERATION_S = 0.4
REFERENCE_DBFS = -20.0
SOFT_CLIP_DRIVE = 2.0
"""A loudspeaker that is driven to 2 of its knee at the programme's peaks."""

LONGEST_DELAY_MS = 60
LARGEST_PEAK = 0.9


@dataclass(frozen=True)
class Surroundings:
    """What recordings are put into; the same for positives and negatives."""

    noise: NoisePool | None = None
    """Noise in the room, with its ratio to the recording."""

    rooms: tuple[Room, ...] = ()
    """Rooms to draw from: impulse responses of a talker and of the device's loudspeaker."""

    far: bool = False
    """Put the talker into the room; the recording as it is otherwise."""

    playback: NoisePool | None = None
    """What the loudspeaker plays, with the speech-to-echo ratio (SER)."""

    @property
    def lead_s(self) -> float:
        """Time before the recording."""
        return LEAD_S if self.playback is None else PLAYBACK_LEAD_S

    def room(self, rng: np.random.Generator) -> Room | None:
        """One of the rooms; no draw where there is none."""
        return self.rooms[int(rng.integers(len(self.rooms)))] if self.rooms else None

    def hear(self, speech: FloatArray, room: Room | None) -> FloatArray:
        """A recording at the microphone, as loud as before: longer by the reverberation."""
        if room is None or not self.far:
            return speech
        longer = np.pad(speech, (0, round(REVERBERATION_S * SAMPLE_RATE_HZ)))
        wet = convolve(longer, room.talker)
        return wet * np.float32(np.sqrt(np.sum(speech**2) / max(float(np.sum(wet**2)), 1e-12)))

    def play(
        self, pcm: FloatArray, room: Room | None, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray | None]:
        """A whole stream with playback in it, and the reference; None without playback.

        The ratio compares the loudest 128 ms of stream and echo, as for noise.
        """
        if self.playback is None or room is None:
            return pcm, None
        reference = self.playback.draw(len(pcm), rng)
        level = float(np.sqrt(np.mean(reference.astype(np.float64) ** 2)))
        reference = reference * np.float32(10 ** (REFERENCE_DBFS / 20) / max(level, 1e-6))
        reference = np.clip(reference, -0.99, 0.99).astype(np.float32)
        drive = SOFT_CLIP_DRIVE / max(float(np.abs(reference).max()), 1e-6)
        echo = convolve(np.tanh(drive * reference).astype(np.float32), room.loudspeaker)
        delay = int(rng.integers(LONGEST_DELAY_MS * SAMPLE_RATE_HZ // 1000))
        echo = np.pad(echo, (delay, 0))[: len(pcm)]
        gain = noise_gain(pcm, echo, self.playback.snr_db)
        heard = pcm + np.float32(gain) * echo
        return within_range(heard).astype(np.float32), reference


QUIET = Surroundings()
"""Recordings as they are."""


def within_range(heard: FloatArray) -> FloatArray:
    """As a microphone hears it that is set up so that its own loudspeaker does not overdrive it."""
    return heard * np.float32(min(1.0, LARGEST_PEAK / max(float(np.abs(heard).max()), 1e-6)))


def convolve(pcm: FloatArray, response: FloatArray) -> FloatArray:
    """Through an impulse response, cut to the length of the signal."""
    size = 1 << int(np.ceil(np.log2(len(pcm) + len(response))))
    spectrum = np.fft.rfft(pcm, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[: len(pcm)].astype(np.float32)
