"""Copies and the studio: pieces depend on their number alone, and what cannot be read is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("soxr", reason="training pools need soxr")
pytest.importorskip("pyroomacoustics", reason="training needs pyroomacoustics")

from unknown_length import write_unknown_length  # noqa: E402

from kwsd.errors import AudioError  # noqa: E402
from kwsd.evaluate.rooms import Room  # noqa: E402
from kwsd.evaluate.surroundings import within_range  # noqa: E402
from kwsd.train import residue  # noqa: E402
from kwsd.train.copies import coded, synthetic_copy, vary, whole  # noqa: E402
from kwsd.train.listen import known_length_s, read_audio, stretches  # noqa: E402
from kwsd.train.measured_rooms import measured_rooms  # noqa: E402
from kwsd.train.residue import KEPT_SAMPLES, over_playback  # noqa: E402
from kwsd.train.studio import (  # noqa: E402
    REAL_COPIES,
    SYNTHETIC_COPIES,
    Piece,
    Studio,
    work_through,
)

RATE_HZ = 16_000


def tone(seconds: float = 0.6) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * 700 * time_s) * np.hanning(len(time_s))).astype(np.float32)


def room() -> Room:
    decay = np.exp(-np.arange(2000) / 400) * np.random.default_rng(1).standard_normal(2000)
    response = (decay / np.sqrt(np.sum(decay**2))).astype(np.float32)
    return Room(response, response)


def test_a_codec_keeps_length_and_place_and_changes_the_rest() -> None:
    pcm = tone()
    heard = coded(pcm, 0.9)
    assert len(heard) == len(pcm)
    assert int(np.argmax(np.correlate(heard, pcm, "full"))) == len(pcm) - 1
    error_db = 10 * np.log10(np.sum((heard - pcm) ** 2) / np.sum(pcm**2))
    assert -60 < error_db < -6


def test_a_copy_tells_where_its_word_ends() -> None:
    pcm = tone()
    for seed in range(6):
        copy = vary(whole(pcm), [], 0.0, np.random.default_rng(seed))
        inside = np.flatnonzero(np.abs(copy.pcm) > 0.02)
        assert abs(int(inside[-1]) - copy.last) < 0.06 * RATE_HZ
        assert 0.85 < copy.last / len(pcm) < 1.17
        assert copy.first == 0


def test_speech_over_playback_stays_where_it_was_and_most_of_the_echo_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    microphone: list[np.ndarray] = []

    def noted(heard: np.ndarray) -> np.ndarray:
        microphone.append(within_range(heard))
        return microphone[-1]

    monkeypatch.setattr(residue, "within_range", noted)
    rng = np.random.default_rng(5)
    music = rng.standard_normal(4 * RATE_HZ).astype(np.float32)
    said = (0.1 * rng.standard_normal(RATE_HZ)).astype(np.float32)
    for seed in range(4):
        heard = over_playback(whole(said), [music], [room()], np.random.default_rng(seed))
        assert heard.first == KEPT_SAMPLES
        assert heard.last == len(heard.pcm) == KEPT_SAMPLES + len(said)
        place = np.correlate(heard.pcm, said, "valid")
        assert abs(int(np.argmax(place)) - KEPT_SAMPLES) <= 1
        # Before the speech the microphone has the echo alone.
        echo = microphone[-1][: -len(said)][-KEPT_SAMPLES:]
        left = heard.pcm[:KEPT_SAMPLES]
        assert 0 < np.mean(left**2) < np.mean(echo**2) / 100


def test_some_synthetic_copies_pass_the_codec() -> None:
    pcm = tone()
    copies = [
        (
            synthetic_copy(whole(pcm), [], 0.0, np.random.default_rng(seed)).pcm,
            vary(whole(pcm), [], 0.0, np.random.default_rng(seed)).pcm,
        )
        for seed in range(40)
    ]
    changed = sum(not np.array_equal(a, b) for a, b in copies)
    assert 5 <= changed <= 25


def test_a_stream_of_unknown_length_is_left_out(tmp_path: Path) -> None:
    path = write_unknown_length(tmp_path / "piped.flac", np.full(8000, 0.1))
    with pytest.raises(AudioError, match="does not say how long it is"):
        read_audio(path)


def test_measured_rooms_are_read_and_those_without_a_room_left_out(tmp_path: Path) -> None:
    response = np.zeros((4000, 2), np.float32)
    response[100] = 0.9
    response[100:3000, 0] += 0.1 * np.random.default_rng(2).standard_normal(2900)
    soundfile.write(tmp_path / "room.wav", response, RATE_HZ)
    soundfile.write(tmp_path / "anechoic.wav", response[:200], RATE_HZ)
    soundfile.write(tmp_path / "silent.wav", 0 * response, RATE_HZ)
    found = measured_rooms(
        [tmp_path / f"{name}.wav" for name in ("room", "anechoic", "silent")],
        [room().loudspeaker],
        np.random.default_rng(3),
    )
    assert len(found) == 1
    assert np.sum(found[0].talker ** 2) == pytest.approx(1.0, rel=1e-4)
    # It begins with the direct sound.
    assert int(np.argmax(np.abs(found[0].talker))) == 0


def test_pieces_come_back_in_order_whatever_the_number_of_processes(tmp_path: Path) -> None:
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", tone(0.4 + 0.05 * number), RATE_HZ)
    (tmp_path / "3.wav").write_text("no recording")
    kinds = ("rendered word", "recorded word", "speech", "noise", "synthetic", "residue")
    pieces = [
        Piece(kind, number, tmp_path / f"{number}.wav", phrase=0 if number < 2 else -1)
        for number, kind in enumerate(kinds)
    ]
    studio = Studio(7, (room(),), (tone(3.0),), ())
    alone = list(work_through(pieces, studio, 1))
    beside = list(work_through(pieces, studio, 2))
    assert [piece.number for piece, _ in alone] == list(range(6))
    assert "3.wav" in alone[3][1].skipped
    assert (len(alone[0][1].words), len(alone[1][1].words)) == (SYNTHETIC_COPIES, REAL_COPIES)
    for (_, one), (_, two) in zip(alone, beside, strict=True):
        for a, b in zip(one.streams, two.streams, strict=True):
            np.testing.assert_array_equal(a, b)
        for (a, *bounds_a), (b, *bounds_b) in zip(one.words, two.words, strict=True):
            np.testing.assert_array_equal(a, b)
            assert bounds_a == bounds_b


def test_room_tone_is_neither_silence_nor_a_second_saying(tmp_path: Path) -> None:
    hiss = (1e-3 * np.random.default_rng(4).standard_normal(8000)).astype(np.float32)
    said, silence = tone(), np.zeros(8000, np.float32)
    for name, parts in {
        "tone": [hiss, said, hiss],
        "twice": [0.5 * said, hiss, said, silence],
        "silent": [silence, said, silence],
    }.items():
        soundfile.write(tmp_path / f"{name}.wav", np.concatenate(parts), RATE_HZ, subtype="FLOAT")

    def tones(name: str) -> int:
        piece = Piece("recorded word", 0, tmp_path / f"{name}.wav", phrase=0)
        ((_, heard),) = work_through([piece], Studio(7, (), (), ()), 1)
        return len(heard.tones)

    assert (tones("tone"), tones("twice"), tones("silent")) == (2, 0, 0)


def test_a_long_recording_is_worked_on_in_stretches(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    pcm = np.concatenate([0.1 * rng.standard_normal(220 * 8000), np.zeros(440 * 8000)])
    path = tmp_path / "podcast.flac"
    soundfile.write(path, pcm, 8000)
    loud, silent, _ = stretches(path)
    assert known_length_s(loud) == known_length_s(silent) == 220.0
    assert len(read_audio(loud)) == 220 * RATE_HZ
    with pytest.raises(AudioError, match="podcast.flac from 220 s on: silent"):
        read_audio(silent)
    # One that is said to be a word is refused: nobody says it for minutes.
    ((_, heard),) = work_through([Piece("recorded word", 0, path)], Studio(7, (), (), ()), 1)
    assert "660 s long: a positive holds the word once" in heard.skipped
    (tmp_path / "text.wav").write_text("no recording")
    assert stretches(tmp_path / "text.wav") == [tmp_path / "text.wav"]


def test_an_unreadable_response_is_named(tmp_path: Path) -> None:
    (tmp_path / "room.wav").write_text("no recording")
    with pytest.raises(AudioError, match="room.wav"):
        measured_rooms([tmp_path / "room.wav"], [room().loudspeaker], np.random.default_rng(3))
