"""Bulk speech: random words without the phrase, by speakers that differ, the same for a seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("soxr", reason="training needs soxr")
pytest.importorskip("onnxruntime", reason="speech needs onnxruntime: pip install '.[train]'")
pytest.importorskip("hibari", reason="bulk speech needs hibari-tts: pip install '.[train]'")

from kwsd.errors import AudioError  # noqa: E402
from kwsd.train import bulk_speech as module  # noqa: E402
from kwsd.train.bulk_speech import (  # noqa: E402
    FastVoice,
    bulk_speech,
    move_pitch,
    random_words,
    sayings,
    stretch_bins,
)
from kwsd.train.kokoro import RATE_HZ  # noqa: E402
from kwsd.train.phrase import contains, phones, pronunciations  # noqa: E402


class Tape:
    """A voice that writes down what it is asked to say."""

    def __init__(self, level: float = 0.3) -> None:
        self.said: list[str] = []
        self.level = level

    def __call__(self, phonemes: str, speed: float, rng: np.random.Generator) -> np.ndarray:
        self.said.append(phonemes)
        return np.full(RATE_HZ // 2, self.level, np.float32)


def test_it_is_as_long_as_asked_and_no_utterance_longer() -> None:
    heard = list(bulk_speech(3.2, (), np.random.default_rng(1), Tape()))
    assert len(heard) == 7
    assert list(bulk_speech(0.0, (), np.random.default_rng(1))) == []


def test_the_phrase_is_never_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pronunciations", lambda: ["kəmpjˈuɾəɹ", "bˈɑtᵊl", "kˈæmɹə"])
    monkeypatch.setattr(module, "EDITED_SHARE", 0.0)
    tape = Tape()
    list(bulk_speech(60.0, [phones("kəmpjˈuɾəɹ")], np.random.default_rng(2), tape))
    assert tape.said and not any(contains(said, phones("kəmpjˈuɾəɹ")) for said in tape.said)


def test_what_the_voice_failed_at_is_left_out() -> None:
    class Failing(Tape):
        def __call__(self, phonemes, speed, rng):
            audio = super().__call__(phonemes, speed, rng)
            return audio * {0: np.nan, 1: 0.0}.get(len(self.said) % 3, 1.0)

    tape = Failing()
    heard = list(bulk_speech(5.0, (), np.random.default_rng(3), tape))
    assert len(heard) == 10 and len(tape.said) > 20
    assert all(np.isfinite(audio).all() and np.abs(audio).max() > 0.1 for audio in heard)


def test_a_phrase_that_the_voice_swallows_is_given_up() -> None:
    with pytest.raises(AudioError, match="0 of 3 sayings"):
        list(sayings("kəmpjˈuɾəɹ", 3, np.random.default_rng(3), Tape(level=0.0)))
    heard = list(sayings("hˈI", 3, np.random.default_rng(3), Tape()))
    assert len(heard) == 3


def test_words_come_from_the_whole_dictionary() -> None:
    rng = np.random.default_rng(4)
    vocabulary = pronunciations()
    assert len(vocabulary) > 50_000
    words = [word for _ in range(400) for word in random_words(vocabulary, rng).split()]
    assert len(set(words)) > 0.95 * len(words)


def test_stretching_moves_a_peak_by_the_factor() -> None:
    spectrum = np.zeros((601, 3), np.float32)
    spectrum[200] = 1.0
    assert int(np.argmax(stretch_bins(spectrum, 0.8)[:, 1])) == 160
    np.testing.assert_array_equal(stretch_bins(spectrum, 1.0), spectrum)


def test_pitch_moves_by_the_height_and_silence_keeps_none() -> None:
    pitch_hz = np.array([0.0, 180.0, 200.0, 220.0, 0.0], np.float32)
    moved = move_pitch(pitch_hz, 0.5, 1.0)
    np.testing.assert_allclose(moved, pitch_hz * 0.5, rtol=1e-5)
    wide = move_pitch(pitch_hz, 1.0, 1.8)
    assert wide[3] / wide[1] > 220.0 / 180.0
    assert not move_pitch(np.zeros(4, np.float32), 0.5, 1.0).any()


def test_the_voice_speaks_and_each_time_as_somebody_else() -> None:
    speak = FastVoice()
    first, again, other = (
        speak("bˈɑtᵊl kˈæmɹə.", 1.0, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    assert 0.3 * RATE_HZ < len(first) < 4 * RATE_HZ and np.isfinite(first).all()
    length = min(len(first), len(other))
    assert np.abs(np.corrcoef(first[:length], other[:length])[0, 1]) < 0.5


def test_a_seed_says_the_same_words() -> None:
    tapes = [Tape(), Tape()]
    for tape in tapes:
        list(itertools.islice(bulk_speech(9.0, (), np.random.default_rng(7), tape), 9))
    assert tapes[0].said == tapes[1].said
