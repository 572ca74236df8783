"""The rehearsal: words in several surroundings, negatives kept for the next word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("soxr", reason="training pools need soxr")
pytest.importorskip("pyroomacoustics", reason="training needs pyroomacoustics")

from kwsd.errors import AudioError  # noqa: E402
from kwsd.evaluate.selection import Positive  # noqa: E402
from kwsd.evaluate.surroundings import QUIET  # noqa: E402
from kwsd.train.recordings import Recording  # noqa: E402
from kwsd.train.rehearsal import LEAD_FRAMES, rehearse  # noqa: E402

RATE_HZ = 16_000


def recording(folder: Path, name: str, seconds: float, level: float) -> Path:
    rng = np.random.default_rng(sum(map(ord, name)))
    pcm = level * rng.standard_normal(int(seconds * RATE_HZ))
    edge = RATE_HZ // 5
    pcm[:edge], pcm[-edge:] = 0.001 * pcm[:edge], 0.001 * pcm[-edge:]
    soundfile.write(folder / f"{name}.wav", pcm, RATE_HZ)
    return folder / f"{name}.wav"


@pytest.fixture
def positives(tmp_path: Path) -> list[tuple[int, Positive]]:
    paths = [recording(tmp_path, f"word{number}", 0.9, 0.1) for number in range(2)]
    return [(number, Positive(path, "")) for number, path in enumerate(paths)]


def other(tmp_path: Path, role: str) -> Recording:
    return Recording(recording(tmp_path, role, 3.0, 0.05), role, role, "as supplied", 3.0)


def test_words_are_heard_in_quiet_rooms_noise_and_playback(tmp_path, positives) -> None:
    lines: list[str] = []
    negatives = [other(tmp_path, "speech"), other(tmp_path, "noise")]
    found = rehearse(positives, negatives, tmp_path / "kept", lines.append)
    assert found.phrases.tolist() == [0, 1] * 4
    # Negatives are heard as they are and in rooms.
    assert found.hours == pytest.approx(12.0 / 3600, rel=0.01)
    assert "8 words" in lines[-1]
    # Each begins where its word may be found, with no more before it than the features need.
    gaps = found.bounds[:, 0] - np.concatenate([[0], found.bounds[:-1, 1]])
    assert np.all(gaps <= LEAD_FRAMES) and np.all(gaps[:6] < gaps[6:].max())
    power = found.words.astype(np.float32).mean(axis=1)
    quiet, noisy = (
        float(np.median(power[first - 60 : first - 10])) for first in found.bounds[[0, 4], 0]
    )
    assert noisy > quiet + 2.0
    # The second word finds the negatives ready.
    again = rehearse(positives, negatives, tmp_path / "kept", lines.append)
    np.testing.assert_array_equal(again.words, found.words)
    assert len(list((tmp_path / "kept").glob("heard-*.npz"))) == 4


def test_without_noise_words_are_heard_as_they_are_and_in_rooms(tmp_path, positives) -> None:
    (tmp_path / "broken.wav").write_text("no recording")
    some = [*positives, (1, Positive(tmp_path / "broken.wav", ""))]
    found = rehearse(some, [other(tmp_path, "speech")], tmp_path / "kept", lambda line: None)
    assert found.phrases.tolist() == [0, 1] * 2
    assert found.said == {0: 1, 1: 1}
    assert found.negatives_s == pytest.approx(3.0, rel=0.01)
    word, roomy = (
        found.words[first:end].astype(np.float32).mean(axis=1) for first, end in found.bounds[::2]
    )
    # Reverberation fills what is quiet behind a word: more frames lie near the loudest.
    assert np.sum(roomy > roomy.max() - 7) > np.sum(word > word.max() - 7) + 5


def test_negatives_are_heard_where_words_are(tmp_path, positives) -> None:
    some = [other(tmp_path, "speech")]
    found = rehearse(positives, some, tmp_path / "kept", lambda line: None, [QUIET])
    assert found.hours == pytest.approx(3.0 / 3600, rel=0.01)


def test_what_was_heard_of_another_recording_is_not_used(tmp_path, positives) -> None:
    some = [other(tmp_path, "speech")]
    first = rehearse(positives, some, tmp_path / "kept", lambda line: None, [QUIET])
    recording(tmp_path, "speech", 2.0, 0.05)
    again = rehearse(positives, some, tmp_path / "kept", lambda line: None, [QUIET])
    assert first.hours == pytest.approx(3.0 / 3600, rel=0.01)
    assert again.hours == pytest.approx(2.0 / 3600, rel=0.01)


def test_words_and_negatives_of_which_nothing_is_heard_are_refused(tmp_path, positives) -> None:
    soundfile.write(tmp_path / "nothing.wav", np.zeros(RATE_HZ), RATE_HZ)
    silent = Recording(tmp_path / "nothing.wav", "speech", "some", "as supplied", 1.0)
    with pytest.raises(AudioError, match="of anything but the words can be used"):
        rehearse(positives, [silent], tmp_path / "kept", lambda line: None)
    words = [(0, Positive(tmp_path / "nothing.wav", ""))]
    with pytest.raises(AudioError, match="of the words can be used"):
        rehearse(words, [other(tmp_path, "speech")], tmp_path / "kept", lambda line: None)
