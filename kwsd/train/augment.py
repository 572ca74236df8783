"""Training windows: phrases placed among speech, noise and echo residue, with labels.

Works on mel power, where mixing sounds is adding powers. Each window is drawn anew: level, noise,
room, microphone colour, noise floor, telephone band, tempo, vocal-tract length and articulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.features import BANDS, pcen
from kwsd.train.layers import STRIDE
from kwsd.train.pools import Pools, Word
from kwsd.train.reverberation import STRETCH_FRAMES, reverberated
from kwsd.train.ripples import Ripples
from kwsd.train.voices import Variety, retracted

FloatArray = NDArray[np.float32]

WARM_FRAMES = 100
"""Frames before a window, for the level follower of the features only."""

WINDOW_FRAMES = 240
TOTAL_FRAMES = WARM_FRAMES + WINDOW_FRAMES
LABEL_STEPS = 9
"""The label begins at the end of the word and lasts 180 ms."""

IGNORE_BEFORE_STEPS = 6
IGNORE_AFTER_STEPS = 16
REAL_SHARE = 0.45
"""Share of the positives that are recordings, if there are any."""

CHANGED_SHARE = 0.8
"""Of the words that get another tempo, vocal tract and articulation."""

VOICES = (Variety((-0.35, 0.2), (-0.15, 0.15)), Variety((-0.2, 0.2), (-0.15, 0.15)))
"""Of synthetic words and of recordings. People speak to a device more slowly than synthesizers
speak."""

VARIED_VOICES = (Variety((-0.35, 0.3), (-0.1, 0.24), 1.0), Variety((-0.2, 0.2), (-0.15, 0.15), 0.5))
"""Likewise, for words that nobody recorded: the people who are missed articulate otherwise, speak
faster, and their tracts are longer (docs/benchmarks/training_trials.md)."""

OTHER_TRACT = (-0.08, 0.08)
HALF_WORD_SHARE = 0.05
HARD_SHARE = 0.35
KIND_SHARES = {"speech": 0.5, "synthetic": 0.2, "bulk": 0.33, "noise": 0.13, "residue": 0.12}
"""How often a negative is of a kind, compared with the others that are there."""

NOISE_SHARES = {"noise": 0.45, "residue": 0.25, "tone": 0.3}
"""What lies under a window, likewise."""

NOISE_SHARE = 0.8
"""Of the windows that get any of it."""

SNR_RANGE_DB = {"noise": (-2.0, 27.0), "residue": (-2.0, 27.0), "tone": (8.0, 40.0)}
"""Loudest frame to mean noise. Room tone of recordings lies where it lay in them."""

SILENCE = 1.4e-11
"""Power of nothing, below every noise floor."""

LOUDEST = 1.6e5
NATURAL_DB = 0.2302585
"""Natural log of power per dB."""

SPLICE_FRAMES = (8, 50)
"""Length of the pieces of a spliced negative: about a sound to a word."""

SPLICE_TRACT = (-0.15, 0.15)
SPLICE_GAIN = 3.0
ROOM_SHARE = 0.45
"""Of the windows that are put into a room, those included that were recorded in one."""


class HardPlace(NamedTuple):
    """Where in the negatives an earlier network heard a phrase."""

    kind: str
    """Of the stream."""

    frame: int
    """In it."""

    roomy: bool
    """Only heard so in a room."""


class Batch(NamedTuple):
    """Input and labels of one training step."""

    features: FloatArray
    """float32 [batch, BANDS, WINDOW_FRAMES]."""

    label: FloatArray
    """float32 [batch, steps, phrases], 1 where the phrase has just ended."""

    weight: FloatArray
    """float32 [batch, steps, phrases], 0 where the label is not asked for."""


class Windows:
    """Draws windows from pools.

    Parameters
    ----------
    pools : Pools
        Positives and negatives.
    phrases : int
        How many phrases there are.
    splice_share : float
        Share of the negatives that are cut up and joined anew.
    varied : bool
        Whether words are spoken by voices that differ more than synthetic ones do.
    """

    def __init__(
        self,
        pools: Pools,
        phrases: int = 1,
        splice_share: float = 0.0,
        varied: bool = False,
    ) -> None:
        self._splice_share = splice_share
        self._voices = VARIED_VOICES if varied else VOICES
        self._words = [
            {real: [w for w in pools.words if w.phrase == p and w.real == real] for real in (0, 1)}
            for p in range(phrases)
        ]
        self._streams = {k: s for k, s in pools.negatives.items() if len(s) > 2 * TOTAL_FRAMES}
        self._kinds = _shares(KIND_SHARES, self._streams)
        self._noises = _shares(NOISE_SHARES, self._streams)
        self.ripples = Ripples(STRETCH_FRAMES * BANDS)
        """Of noise floors, and of interference in rooms."""

        self.hard: list[HardPlace] = []
        """From which negatives are drawn more often."""

    @property
    def phrases(self) -> int:
        """How many there are."""
        return len(self._words)

    def batch(self, rng: np.random.Generator, positives: int, negatives: int) -> Batch:
        """Draw one batch: `positives` windows of each phrase, and `negatives` of none."""
        steps = WINDOW_FRAMES // STRIDE
        count = positives * self.phrases + negatives
        power = np.empty((count, TOTAL_FRAMES, BANDS), np.float32)
        label = np.zeros((count, steps, self.phrases), np.float32)
        weight = np.ones_like(label)
        roomy = rng.random(count) < ROOM_SHARE
        for row in range(count):
            if row < positives * self.phrases:
                phrase = row // positives
                frames, end = self._positive(rng, phrase)
                _mark(label[row, :, phrase], weight[row, :, phrase], end)
            else:
                frames, must = self._negative(rng)
                roomy[row] |= must
            power[row] = frames
        return Batch(self.features(rng, power, roomy), label, weight)

    def features(
        self, rng: np.random.Generator, power: FloatArray, roomy: NDArray[np.bool_]
    ) -> FloatArray:
        """What the network gets of some windows, with noise, a microphone and a level for each.

        Parameters
        ----------
        rng : Generator
            Of the draws.
        power : ndarray, float32 [batch, TOTAL_FRAMES, BANDS]
            Mel power; is written to.
        roomy : ndarray, bool [batch]
            Which are put into a room.

        Returns
        -------
        ndarray, float32 [batch, BANDS, WINDOW_FRAMES]
            Features.
        """
        power[roomy] = reverberated(rng, power[roomy], self.ripples)
        degraded = np.stack([self._degrade(rng, frames) for frames in power])
        features = pcen(degraded)[:, WARM_FRAMES:]
        for window in features:
            _mask(rng, window)
        return np.ascontiguousarray(features.transpose(0, 2, 1))

    def _cut(self, rng: np.random.Generator, kind: str, frames: int = TOTAL_FRAMES) -> FloatArray:
        stream = self._streams[kind]
        start = int(rng.integers(len(stream) - frames))
        return np.exp(stream[start : start + frames].astype(np.float32))

    def _kind(self, rng: np.random.Generator) -> str:
        kinds, shares = self._kinds
        return kinds[int(np.searchsorted(shares, rng.random()))]

    def _word(self, rng: np.random.Generator, phrase: int) -> tuple[FloatArray, int, int]:
        """Power of one saying, and where it begins and ends."""
        pools: dict[int, list[Word]] = self._words[phrase]
        real = int(bool(pools[1]) and (not pools[0] or rng.random() < REAL_SHARE))
        word = pools[real][int(rng.integers(len(pools[real])))]
        frames, first, end = np.exp(word.frames.astype(np.float32)), word.first, word.end
        if rng.random() < CHANGED_SHARE:
            frames, first, end = self._voices[real].voice(rng, frames, first, end)
        end = max(1, min(end, len(frames)))
        return frames, min(first, end - 1), end

    def _positive(self, rng: np.random.Generator, phrase: int) -> tuple[FloatArray, int]:
        word, _, end = self._word(rng, phrase)
        last = TOTAL_FRAMES - 30
        # A word that is longer than the window loses its beginning, never its end and its label.
        first = max(WARM_FRAMES + 30, min(end, last - 1))
        at = _between(rng, first, last) - end
        return self._place(rng, word, at, end), at + end

    def _place(self, rng: np.random.Generator, word: FloatArray, at: int, end: int) -> FloatArray:
        """Put a word into a window, half of the time with speech before or behind it."""
        around = np.full((TOTAL_FRAMES, BANDS), SILENCE, np.float32)
        where = rng.random()
        if where < 0.5:
            speech = "speech" if rng.random() < 0.6 else "synthetic"
            around = self._cut(rng, speech if speech in self._streams else self._kind(rng))
            around *= word.max() / around.max() * np.exp(rng.normal(0.0, 0.7))
            before, behind = at - _between(rng, 3, 40), at + end + _between(rng, 3, 40)
            around[max(0, before) : behind] = SILENCE
            if where < 0.17:
                around[max(0, behind) :] = SILENCE
            elif where < 0.33:
                around[: max(0, before)] = SILENCE
        first, last = max(at, 0), min(at + len(word), TOTAL_FRAMES)
        around[first:last] += word[first - at : last - at]
        return around

    def _negative(self, rng: np.random.Generator) -> tuple[FloatArray, bool]:
        """Power, and whether it is to be put into a room whatever the share."""
        if rng.random() < HALF_WORD_SHARE:
            return self._half_word(rng), False
        if rng.random() < self._splice_share:
            return self._splice(rng), False
        roomy = False
        if self.hard and rng.random() < HARD_SHARE:
            kind, peak, roomy = self.hard[int(rng.integers(len(self.hard)))]
            stream = self._streams[kind]
            start = peak + _between(rng, 10, WINDOW_FRAMES - 80) - TOTAL_FRAMES
            start = int(np.clip(start, 0, len(stream) - TOTAL_FRAMES))
            frames = np.exp(stream[start : start + TOTAL_FRAMES].astype(np.float32))
        else:
            frames = self._cut(rng, self._kind(rng))
        if rng.random() < 0.3:
            frames = retracted(rng, frames, OTHER_TRACT)
        return frames, roomy

    def _half_word(self, rng: np.random.Generator) -> FloatArray:
        word, first, end = self._word(rng, int(rng.integers(self.phrases)))
        middle = first + int((end - first) * rng.uniform(0.4, 0.65))
        half = word[:middle] if rng.random() < 0.5 else word[middle:]
        # Not an empty one: a word may be one frame long.
        half = half if len(half) else word
        at = _between(rng, WARM_FRAMES + 30, TOTAL_FRAMES - 30) - len(half)
        return self._place(rng, half, at, len(half))

    def _splice(self, rng: np.random.Generator) -> FloatArray:
        """Pieces of speech in an order that nobody said: sequences of sounds are what is scarce."""
        kinds = [k for k in ("speech", "synthetic") if k in self._streams] or self._kinds[0]
        pieces: list[FloatArray] = []
        level, length = float(rng.uniform(-8.0, 0.0)), 0
        while length < TOTAL_FRAMES:
            kind = kinds[int(rng.integers(len(kinds)))]
            piece = self._cut(rng, kind, _between(rng, *SPLICE_FRAMES))
            gain = np.clip(level - np.log(piece.max()), -SPLICE_GAIN, SPLICE_GAIN)
            pieces.append(piece * np.float32(np.exp(gain)))
            length += len(piece)
        return retracted(rng, np.concatenate(pieces)[:TOTAL_FRAMES], SPLICE_TRACT)

    def _degrade(self, rng: np.random.Generator, frames: FloatArray) -> FloatArray:
        """Microphone colour, noise, level, noise floor and sometimes a telephone band."""
        frames = frames * _colour(rng)
        if rng.random() < NOISE_SHARE:
            frames += self._noise(rng, float(frames.mean(axis=1).max()))
        frames *= np.float32(np.exp(rng.normal(-1.0, 1.5)))
        tilt = 0.5 * np.linspace(-1, 1, BANDS) * rng.uniform(0, 4)
        floor = np.exp(rng.uniform(-20, -10) - tilt).astype(np.float32)
        frames += floor * self.ripples.draw(rng, frames.shape)
        if rng.random() < 0.1:
            frames[:, -_between(rng, 4, 14) :] = np.exp(-18.0)
        return np.minimum(frames, np.float32(LOUDEST))

    def _noise(self, rng: np.random.Generator, loudest: float) -> FloatArray:
        kinds, shares = self._noises
        kind = kinds[int(np.searchsorted(shares, rng.random()))] if kinds else self._kind(rng)
        noise = self._cut(rng, kind) * _colour(rng)
        gap_db = rng.uniform(*SNR_RANGE_DB.get(kind, SNR_RANGE_DB["noise"]))
        return noise * np.float32(loudest / float(noise.mean()) * np.exp(-gap_db * NATURAL_DB))


def _shares(
    wanted: Mapping[str, float], there: Mapping[str, object]
) -> tuple[list[str], NDArray[np.float64]]:
    """Kinds that are there and the upper bounds of their shares."""
    kinds = [kind for kind in wanted if kind in there]
    bounds = np.cumsum([wanted[kind] for kind in kinds])
    return kinds, bounds / bounds[-1] if kinds else bounds.astype(np.float64)


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number from low up to, not including, high."""
    return int(rng.integers(low, max(low + 1, high)))


def _colour(rng: np.random.Generator) -> FloatArray:
    """A microphone's frequency response, factors of power, [BANDS]."""
    x = np.linspace(-1, 1, BANDS)
    colour = rng.uniform(-1.2, 1.2) * x
    for ripples in (2, 3, 5):
        phase = rng.uniform(0, 6)
        colour += rng.normal(0, 0.4) * np.cos(ripples * np.pi * (x + 1) / 2 + phase)
    return np.exp(colour).astype(np.float32)


def _mark(label: FloatArray, weight: FloatArray, end: int) -> None:
    """Label the steps behind the end of a word; around them nothing is asked for."""
    since_end = np.arange(len(label)) - (end - WARM_FRAMES) / STRIDE
    label[(since_end >= 0) & (since_end < LABEL_STEPS)] = 1.0
    weight[(since_end >= -IGNORE_BEFORE_STEPS) & (since_end < 0)] = 0.0
    after = LABEL_STEPS + IGNORE_AFTER_STEPS
    weight[(since_end >= LABEL_STEPS) & (since_end < after)] = 0.0


def _mask(rng: np.random.Generator, window: FloatArray) -> None:
    """Blank some bands or frames, as in SpecAugment (Park et al., Interspeech 2019)."""
    if rng.random() < 0.3:
        band = _between(rng, 0, BANDS - 6)
        window[:, band : band + _between(rng, 2, 7)] = 0.0
    if rng.random() < 0.3:
        frame = _between(rng, 0, WINDOW_FRAMES - 12)
        window[frame : frame + _between(rng, 2, 11)] = 0.0
