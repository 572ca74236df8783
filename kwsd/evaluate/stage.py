"""Staging: recordings become the streams that the chain hears.

A positive is heard alone: 1.5 s of its own room level (8 s under playback), the recording, 1 s
more. Negatives are strung together on reels of some minutes with short pauses, as a device would
hear them; the hours count the recordings, not the pauses. White noise at -80 dBFS lies under
everything, because clips contain exact digital silence and no microphone does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ, FloatArray
from kwsd.errors import AudioError
from kwsd.evaluate.recording import Part, floor_dbfs, read_part, speech_bounds
from kwsd.evaluate.surroundings import Surroundings

TAIL_S = 1.0
PAUSE_S = 0.5
REEL_S = 120.0
FLOOR_DBFS = -80.0
LOUDEST_FLOOR_DBFS = -40.0


@dataclass(frozen=True)
class Utterance:
    """A positive recording as a stream."""

    pcm: FloatArray
    """float32 [samples]."""

    onset_sample: int
    """Start of the speech in it."""

    reference: FloatArray | None
    """What the loudspeaker plays, float32 [samples]; None where nothing is played."""

    end_sample: int
    """Its end, see `kwsd.evaluate.recording.speech_bounds`."""


@dataclass(frozen=True)
class Reel:
    """Negative recordings on one stream."""

    pcm: FloatArray
    """float32 [samples]."""

    reference: FloatArray | None
    """As of an `Utterance`."""

    starts: tuple[int, ...]
    """Where each recording begins."""

    parts: tuple[Part, ...]
    """The recordings."""

    seconds: float
    """Their length without lead and pauses."""

    skipped: tuple[str, ...]
    """What could not be used, and why."""

    def place(self, sample: int) -> tuple[Part, float]:
        """Recording under a stream position, and the time in its file."""
        index = max(0, int(np.searchsorted(self.starts, sample, side="right")) - 1)
        part = self.parts[index]
        inside = (sample - self.starts[index]) / SAMPLE_RATE_HZ
        return part, part.start_s + min(max(inside, 0.0), part.seconds)

    def apart(
        self, end_samples: NDArray[np.int64], *columns: NDArray[Any]
    ) -> Iterator[tuple[NDArray[Any], ...]]:
        """Rows of each recording for itself: what wakes in a short one hides no neighbour.

        Parameters
        ----------
        end_samples : ndarray, int64 [n]
            Rising stream positions.
        *columns : ndarray [n, ...]
            What was heard there.

        Yields
        ------
        tuple of ndarray
            Positions and columns of a recording, pauses with the one before them.
        """
        cuts = np.searchsorted(end_samples, self.starts[1:])
        rows = (np.split(column, cuts) for column in (end_samples, *columns))
        yield from zip(*rows, strict=True)


def stage_utterance(part: Part, surroundings: Surroundings, rng: np.random.Generator) -> Utterance:
    """A positive with room before and after it.

    Raises
    ------
    AudioError
        It cannot be read or is silent.
    """
    dry = read_part(part)
    lead, tail = round(surroundings.lead_s * SAMPLE_RATE_HZ), round(TAIL_S * SAMPLE_RATE_HZ)
    onset, end = speech_bounds(dry)
    level = _room_dbfs(dry)
    room = surroundings.room(rng)
    speech = surroundings.hear(dry, room)
    pcm = np.concatenate([_hiss(lead, level, rng), speech, _hiss(tail, level, rng)])
    pcm += _hiss(len(pcm), FLOOR_DBFS, rng)
    if surroundings.noise is not None:
        pcm += surroundings.noise.cover(speech, lead, tail, rng)
    pcm, reference = surroundings.play(pcm, room, rng)
    return Utterance(pcm, lead + onset, reference, lead + end)


def stage_reel(parts: Sequence[Part], surroundings: Surroundings, rng: np.random.Generator) -> Reel:
    """Negatives one after the other; those that cannot be read are left out and listed."""
    pieces: list[FloatArray] = []
    starts: list[int] = []
    used: list[Part] = []
    skipped: list[str] = []
    position = samples = 0
    room = surroundings.room(rng)
    for part in parts:
        try:
            dry = read_part(part)
        except AudioError as error:
            skipped.append(str(error))
            continue
        # Only the first recording needs time for the features to settle.
        pause = round((PAUSE_S if used else surroundings.lead_s) * SAMPLE_RATE_HZ)
        sound = surroundings.hear(dry, room)
        piece = np.concatenate([_hiss(pause, _room_dbfs(dry), rng), sound])
        if surroundings.noise is not None:
            piece += surroundings.noise.cover(sound, pause, 0, rng)
        pieces.append(piece)
        starts.append(position + pause)
        used.append(part)
        position += len(piece)
        samples += len(dry)
    pcm = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    pcm += _hiss(len(pcm), FLOOR_DBFS, rng)
    reference = None
    if pieces:
        pcm, reference = surroundings.play(pcm, room, rng)
    return Reel(
        *(pcm, reference, tuple(starts), tuple(used)), samples / SAMPLE_RATE_HZ, tuple(skipped)
    )


def wind_reels(parts: list[Part], reel_s: float = REEL_S) -> list[list[Part]]:
    """Divide negatives, in order, into reels of about equal length."""
    reels: list[list[Part]] = []
    length = reel_s
    for part in parts:
        if length >= reel_s:
            reels.append([])
            length = 0.0
        reels[-1].append(part)
        length += part.seconds
    return reels


def _room_dbfs(pcm: FloatArray) -> float:
    return min(max(floor_dbfs(pcm), FLOOR_DBFS), LOUDEST_FLOOR_DBFS)


def _hiss(samples: int, dbfs: float, rng: np.random.Generator) -> FloatArray:
    return rng.standard_normal(samples, np.float32) * np.float32(10.0 ** (dbfs / 20.0))
