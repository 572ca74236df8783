"""Bulk speech: hours of words that are not the phrase, from a voice that is fast to compute.

Recorded speech is scarce, and a network that has heard nine hours of it fires on sequences of
sounds that are new to it. Here random words of the pronunciation dictionary, a quarter of them with
a phone or two changed, are spoken one after the other. The voice (package hibari-tts) computes a
spectral envelope and a pitch curve; both are moved before they become sound, so every utterance has
another speaker. What that is worth: docs/benchmarks/training_trials.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import soxr
from numpy.typing import NDArray

from kwsd.errors import AudioError, RuntimeUnavailable
from kwsd.train.corpus import PEAK, SPEED_RANGE, trim
from kwsd.train.kokoro import RATE_HZ, SYNTHESIS_RATE_HZ
from kwsd.train.phrase import contains, edit_phonemes, phones, pronunciations

FloatArray = NDArray[np.float32]
Speak = Callable[[str, float, np.random.Generator], FloatArray]

MOST_WORDS = 8
EDITED_SHARE = 0.25
ENDINGS = (".", "?", "!", ",")
VOICED_HZ = 40.0
"""Pitch below this says that a frame has none."""

PITCH_LIMITS_HZ = (45.0, 500.0)
FORMANT_RANGE = (0.8, 1.12)
PITCH_RANGE = (0.45, 1.35)
"""The voice is a woman's: more room downwards."""

PITCH_SWING = (0.3, 1.8)
COUPLED_SHARE = 0.6
"""How often pitch and formants move together, as from one person to another."""

BREATHY_SHARE = 0.3
SAYING_SPEED_RANGE = (0.7, 1.15)
SHORTEST_PHONE_S = 0.055
"""The voice swallows what it is made to say alone and fast."""

ATTEMPTS = 10
"""Tries for each saying that is asked for."""

LONGEST_BREATH = 1.5
"""Natural log of amplitude that breath is raised by at most."""


class FastVoice:
    """Phonemes to speech, each time with another speaker.

    Raises
    ------
    RuntimeUnavailable
        The package is not installed.
    """

    def __init__(self) -> None:
        try:
            from hibari import Hibari, dsp
        except ImportError as error:
            raise RuntimeUnavailable(
                f"bulk speech needs the package {error.name!r}: pip install 'kwsd[train]'"
            ) from None
        self._network, self._synthesis = Hibari(), dsp

    def __call__(self, phonemes: str, speed: float, rng: np.random.Generator) -> FloatArray:
        """Speech at 16 kHz, float32 [samples]."""
        tokens = np.asarray([self._network.ids(phonemes)], np.int64)
        # Harmonics, their phase, noise, a part of free phase and its phase, pitch; [bins, frames].
        harmonics, phase, noise, _, free_phase, pitch_hz = (
            output[0]
            for output in self._network.sess.run(
                None, {"ids": tokens, "speed": np.asarray([speed], np.float32)}
            )
        )
        formants = float(np.exp(rng.uniform(*np.log(FORMANT_RANGE))))
        height = float(np.exp(rng.uniform(*np.log(PITCH_RANGE))))
        if rng.random() < COUPLED_SHARE:
            height = height**0.4 * formants**1.6
        breath = rng.uniform(0.0, LONGEST_BREATH) if rng.random() < BREATHY_SHARE else 0.0
        audio = self._synthesis.synth(
            stretch_bins(harmonics, formants),
            stretch_bins(phase, formants),
            stretch_bins(noise, formants) + np.float32(breath),
            # The part of free phase is the original speaker's: it cannot be moved.
            np.full_like(harmonics, -20.0),
            free_phase,
            move_pitch(pitch_hz, height, rng.uniform(*PITCH_SWING)),
            rng,
        )
        return np.asarray(soxr.resample(audio, SYNTHESIS_RATE_HZ, RATE_HZ), dtype=np.float32)


@lru_cache(maxsize=1)
def fast_voice() -> FastVoice:
    """The voice, loaded once a process."""
    return FastVoice()


def stretch_bins(spectrum: FloatArray, factor: float) -> FloatArray:
    """Move what is at a frequency to `factor` times that; float32 [bins, frames]."""
    places = np.clip(np.arange(len(spectrum)) / factor, 0, len(spectrum) - 2)
    low = places.astype(int)
    share = (places - low)[:, None].astype(np.float32)
    return np.asarray(spectrum[low] * (1 - share) + spectrum[low + 1] * share, np.float32)


def move_pitch(pitch_hz: FloatArray, height: float, swing: float) -> FloatArray:
    """Another mean pitch and another range around it; frames without pitch stay so."""
    voiced = pitch_hz > VOICED_HZ
    if not voiced.any():
        return np.zeros_like(pitch_hz)
    mean_hz = float(np.exp(np.log(pitch_hz[voiced]).mean()))
    moved = mean_hz * height * (np.maximum(pitch_hz, VOICED_HZ) / mean_hz) ** swing
    return np.where(voiced, np.clip(moved, *PITCH_LIMITS_HZ), 0.0).astype(np.float32)


def random_words(vocabulary: list[str], rng: np.random.Generator) -> str:
    """Phonemes of one to eight random words."""
    words = []
    for _ in range(int(rng.integers(1, MOST_WORDS + 1))):
        word = vocabulary[int(rng.integers(len(vocabulary)))]
        words.append(edit_phonemes(word, rng) if rng.random() < EDITED_SHARE else word)
    return " ".join(words) + ENDINGS[int(rng.integers(len(ENDINGS)))]


def bulk_speech(
    seconds: float, unwanted: Sequence[str], rng: np.random.Generator, speak: Speak | None = None
) -> Iterator[FloatArray]:
    """Utterances that contain none of the phrases.

    Parameters
    ----------
    seconds : float
        Length of all of them together, at least.
    unwanted : sequence of str
        Pronunciations of the phrases, as `kwsd.train.phrase.phones` gives them.
    rng : Generator
        Determines words and speakers.
    speak : callable, optional
        The voice; `fast_voice` unless given.

    Yields
    ------
    ndarray, float32 [samples]
        One utterance at 16 kHz.
    """
    if seconds <= 0.0:
        return
    speak = speak or fast_voice()
    vocabulary = pronunciations()
    made_s = 0.0
    while made_s < seconds:
        phonemes = random_words(vocabulary, rng)
        if any(contains(phonemes, phrase) for phrase in unwanted):
            continue
        audio = _spoken(speak, phonemes, rng)
        if audio is not None:
            made_s += len(audio) / RATE_HZ
            yield audio


def sayings(
    phonemes: str, count: int, rng: np.random.Generator, speak: Speak | None = None
) -> Iterator[FloatArray]:
    """A phrase said by ever other speakers, so that this voice is not a sign of its absence.

    Parameters
    ----------
    phonemes : str
        The phrase, with stress.
    count : int
        How often.
    rng : Generator
        Determines the speakers.
    speak : callable, optional
        The voice; `fast_voice` unless given.

    Yields
    ------
    ndarray, float32 [samples]
        The phrase at 16 kHz, trimmed.

    Raises
    ------
    AudioError
        The voice swallows this phrase nearly always.
    """
    speak = speak or fast_voice()
    made = 0
    for _ in range(ATTEMPTS * count):
        if made == count:
            return
        ending = ENDINGS[int(rng.integers(len(ENDINGS)))]
        audio = _spoken(speak, phonemes + ending, rng, SAYING_SPEED_RANGE)
        if audio is None:
            continue
        audio = trim(audio)
        if len(audio) >= SHORTEST_PHONE_S * RATE_HZ * len(phones(phonemes)):
            made += 1
            yield audio
    if made < count:
        raise AudioError(f"the fast voice cannot say {phonemes!r}: {made} of {count} sayings came")


def _spoken(
    speak: Speak,
    phonemes: str,
    rng: np.random.Generator,
    speeds: tuple[float, float] = SPEED_RANGE,
) -> FloatArray | None:
    """One utterance; None where the network fails, as it does now and then on strange words."""
    audio = speak(phonemes, float(np.exp(rng.uniform(*np.log(speeds)))), rng)
    peak = float(np.abs(audio).max(initial=0.0))
    if not np.isfinite(peak) or peak < 1e-3:
        return None
    return audio * np.float32(PEAK / peak)
