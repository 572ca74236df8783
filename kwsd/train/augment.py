"""Training windows: words placed among speech, noise and echo residue, with labels.

Works on log mel power, where adding sounds is adding powers. Each window is drawn anew: level,
noise, microphone colour, noise floor, telephone band, tempo and vocal-tract length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.features import BANDS, pcen
from kwsd.train.layers import STRIDE
from kwsd.train.pools import Pools, Word

FloatArray = NDArray[np.float32]

WARM_FRAMES = 100
"""Frames before a window, for the level follower of the features only."""

WINDOW_FRAMES = 240
LABEL_DELAY_STEPS = 0
"""The label begins at the end of the word ..."""

LABEL_STEPS = 9
"""... and lasts 180 ms."""

IGNORE_BEFORE_STEPS = 6
IGNORE_AFTER_STEPS = 16
REAL_SHARE = 0.4
"""Share of the positives that are recordings, if there are any."""

HALF_WORD_SHARE = 0.04
HARD_SHARE = 0.35
KIND_SHARES = {"speech": 0.5, "synthetic": 0.25, "bulk": 0.33, "noise": 0.13, "residue": 0.12}
"""How often a negative is of a kind, compared with the others that are there."""
SILENCE = -25.0
NATURAL_DB = 0.2302585
"""Natural log of power per dB."""

SPLICE_FRAMES = (8, 50)
"""Length of the pieces of a spliced negative: about a sound to a word."""

SPLICE_TRACT = 0.15
SPLICE_GAIN = 3.0
NOISE_SHARE = 0.75
SNR_RANGE_DB = (-2.0, 27.0)


@dataclass(frozen=True)
class Batch:
    """Input and labels of one training step."""

    features: FloatArray
    """float32 [batch, BANDS, WINDOW_FRAMES]."""

    label: FloatArray
    """float32 [batch, steps], 1 where the word has just ended."""

    weight: FloatArray
    """float32 [batch, steps], 0 where the label is not asked for."""


class Windows:
    """Draws windows from pools.

    Parameters
    ----------
    pools : Pools
        Positives and negatives.
    rng : Generator
        All randomness.
    splice_share : float
        Share of the negatives that are cut up and joined anew.
    """

    def __init__(self, pools: Pools, rng: np.random.Generator, splice_share: float = 0.0) -> None:
        self._rng = rng
        self._splice_share = splice_share
        self._synthetic = [word for word in pools.words if not word.real]
        self._real = [word for word in pools.words if word.real]
        length = WARM_FRAMES + WINDOW_FRAMES
        self._streams = {k: s for k, s in pools.negatives.items() if len(s) > 2 * length}
        shares = np.array([KIND_SHARES[kind] for kind in self._streams])
        self._kinds, self._shares = list(self._streams), shares / shares.sum()
        self.hard: list[tuple[str, int]] = []
        """Places (kind, frame) that an earlier network took for the word."""

    def batch(self, positives: int, negatives: int) -> Batch:
        """Draw one batch."""
        drawn = [self._window(i < positives) for i in range(positives + negatives)]
        power = np.exp(np.stack([frames for frames, _, _ in drawn]))
        features = pcen(power)[:, WARM_FRAMES:]
        for window in features:
            self._mask(window)
        return Batch(
            np.ascontiguousarray(features.transpose(0, 2, 1)),
            np.stack([label for _, label, _ in drawn]),
            np.stack([weight for _, _, weight in drawn]),
        )

    def _chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _between(self, low: int, high: int) -> int:
        """A whole number from low up to, not including, high."""
        return int(self._rng.integers(low, max(low + 1, high)))

    def _cut(self, kind: str, frames: int) -> FloatArray:
        stream = self._streams[kind]
        start = self._between(0, len(stream) - frames)
        return stream[start : start + frames].astype(np.float32)

    def _kind(self) -> str:
        return str(self._rng.choice(self._kinds, p=self._shares))

    def _colour(self) -> FloatArray:
        """A microphone's frequency response, natural log of power, [BANDS]."""
        x, rng = np.linspace(-1, 1, BANDS), self._rng
        colour = rng.uniform(-1.2, 1.2) * x
        for ripples in (2, 3, 5):
            phase = rng.uniform(0, 6)
            colour += rng.normal(0, 0.4) * np.cos(ripples * np.pi * (x + 1) / 2 + phase)
        return colour.astype(np.float32)

    def _warp(self, frames: FloatArray, tempo: float, tract: float) -> tuple[FloatArray, float]:
        """Another tempo and vocal-tract length; gives the tempo factor too."""
        factor = float(np.exp(self._rng.uniform(-tempo, tempo)))
        places = (np.arange(int(len(frames) / factor)) * factor + 0.5).astype(int)
        frames = frames[np.minimum(places, len(frames) - 1)]
        stretch = np.exp(self._rng.uniform(-tract, tract))
        bands = np.clip(np.arange(BANDS) * stretch, 0, BANDS - 1.001)
        low = bands.astype(int)
        share = (bands - low).astype(np.float32)
        return frames[:, low] * (1 - share) + frames[:, low + 1] * share, factor

    def _window(self, positive: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
        steps = WINDOW_FRAMES // STRIDE
        label, weight = np.zeros(steps, np.float32), np.ones(steps, np.float32)
        if positive:
            frames, end = self._word()
            frames = self._place(frames, end, label, weight)
        elif self._chance(HALF_WORD_SHARE):
            frames, end = self._word()
            half = self._rng.uniform(0.4, 0.65)
            frames = frames[: int(end * half)] if self._chance(0.5) else frames[int(end * half) :]
            frames = self._place(frames, len(frames), None, None)
        else:
            frames = self._negative()
        return self._degrade(frames, positive), label, weight

    def _word(self) -> tuple[FloatArray, int]:
        pool: list[Word] = self._synthetic
        if self._real and (not pool or self._chance(REAL_SHARE)):
            pool = self._real
        word = pool[self._between(0, len(pool))]
        frames, end = word.frames.astype(np.float32), word.end
        if self._chance(0.7):
            frames, factor = self._warp(frames, 0.2, 0.08)
            end = int(end / factor)
        return frames, max(1, min(end, len(frames)))

    def _place(
        self,
        word: FloatArray,
        end: int,
        label: FloatArray | None,
        weight: FloatArray | None,
    ) -> FloatArray:
        """Put a word into a window, half of the time with speech before or behind it."""
        total = WARM_FRAMES + WINDOW_FRAMES
        at = self._between(max(WARM_FRAMES + 30, end), total - 30) - end
        around = np.full((total, BANDS), SILENCE, np.float32)
        where = self._rng.random()
        if where < 0.5:
            speech = "speech" if self._chance(0.6) else "synthetic"
            around = self._cut(speech if speech in self._streams else self._kind(), total)
            around += word.max() - around.max() + self._rng.normal(0.0, 0.7)
            before, behind = at - self._between(3, 40), at + end + self._between(3, 40)
            around[max(0, before) : behind] = SILENCE
            if where < 0.17:
                around[behind:] = SILENCE
            elif where < 0.33:
                around[: max(0, before)] = SILENCE
        first, last = max(at, 0), min(at + len(word), total)
        around[first:last] = np.logaddexp(around[first:last], word[first - at : last - at])
        if label is not None and weight is not None:
            since_end = np.arange(len(label)) - (at + end - WARM_FRAMES) / STRIDE
            last_step = LABEL_DELAY_STEPS + LABEL_STEPS
            label[(since_end >= LABEL_DELAY_STEPS) & (since_end < last_step)] = 1.0
            weight[(since_end >= -IGNORE_BEFORE_STEPS) & (since_end < LABEL_DELAY_STEPS)] = 0.0
            after = last_step + IGNORE_AFTER_STEPS
            weight[(since_end >= last_step) & (since_end < after)] = 0.0
        return around

    def _negative(self) -> FloatArray:
        total = WARM_FRAMES + WINDOW_FRAMES
        # No draw where nothing is to be spliced: older models can be made again bit by bit.
        if self._splice_share > 0.0 and self._chance(self._splice_share):
            return self._splice(total)
        if self.hard and self._chance(HARD_SHARE):
            kind, peak = self.hard[self._between(0, len(self.hard))]
            stream = self._streams[kind]
            start = peak + self._between(10, WINDOW_FRAMES - 80) - total
            start = int(np.clip(start, 0, len(stream) - total))
            frames = stream[start : start + total].astype(np.float32)
        else:
            frames = self._cut(self._kind(), total)
        if self._chance(0.3):
            frames, _ = self._warp(frames, 0.0, 0.08)
        return frames

    def _splice(self, total: int) -> FloatArray:
        """Pieces of speech in an order that nobody said: sequences of sounds are what is scarce."""
        pieces: list[FloatArray] = []
        kinds = [kind for kind in ("speech", "synthetic") if kind in self._streams] or self._kinds
        level = float(self._rng.uniform(-8.0, 0.0))
        while sum(map(len, pieces)) < total:
            piece = self._cut(kinds[self._between(0, len(kinds))], self._between(*SPLICE_FRAMES))
            gain = np.clip(level - piece.max(), -SPLICE_GAIN, SPLICE_GAIN)
            pieces.append(piece + np.float32(gain))
        frames, _ = self._warp(np.concatenate(pieces)[:total], 0.0, SPLICE_TRACT)
        return frames

    def _degrade(self, frames: FloatArray, positive: bool) -> FloatArray:
        """Microphone colour, noise, level, noise floor and sometimes a telephone band."""
        rng = self._rng
        frames = frames + self._colour()
        if self._chance(NOISE_SHARE):
            kind = "residue" if "residue" in self._streams and self._chance(0.3) else "noise"
            if kind not in self._streams:
                kind = self._kind()
            noise = self._cut(kind, len(frames)) + self._colour()
            loudest = float(np.log(np.exp(frames).mean(axis=1)).max())
            gap_db = rng.uniform(*SNR_RANGE_DB)
            noise += loudest - gap_db * NATURAL_DB - float(np.log(np.exp(noise).mean()))
            frames = np.logaddexp(frames, noise)
        frames = frames + rng.normal(-1.0, 1.5)
        tilt = 0.5 * np.linspace(-1, 1, BANDS) * rng.uniform(0, 4)
        ripple = np.log(rng.gamma(4, 0.25, frames.shape) + 1e-3)
        frames = np.logaddexp(frames, rng.uniform(-20, -10) - tilt + ripple).astype(np.float32)
        if self._chance(0.1):
            frames[:, -self._between(4, 14) :] = -18.0
        return np.asarray(np.minimum(frames, 12.0), dtype=np.float32)

    def _mask(self, window: FloatArray) -> None:
        """Blank some bands or frames, as in SpecAugment (Park et al., Interspeech 2019)."""
        if self._chance(0.3):
            band = self._between(0, BANDS - 6)
            window[:, band : band + self._between(2, 7)] = 0.0
        if self._chance(0.3):
            frame = self._between(0, WINDOW_FRAMES - 12)
            window[frame : frame + self._between(2, 11)] = 0.0
