"""Pools: recordings whole and in their place, what is left out by name, as much as memory holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("soxr", reason="training pools need soxr")
pytest.importorskip("pyroomacoustics", reason="training needs pyroomacoustics")

from kwsd.errors import AudioError  # noqa: E402
from kwsd.train import pools as pooling  # noqa: E402
from kwsd.train.listen import hear, read_audio  # noqa: E402
from kwsd.train.pools import Amounts, Pools, Spoken, load, prepare, save  # noqa: E402
from kwsd.train.recordings import Recording  # noqa: E402

RATE_HZ = 16_000
AMOUNTS = Amounts({"positive": 0}, rooms=2, residue_seconds=0.0)


def recording(path: Path, role: str, seconds: float, level: float = 0.1) -> Recording:
    rng = np.random.default_rng(sum(map(ord, path.name)))
    pcm = level * rng.standard_normal(int(seconds * RATE_HZ))
    pcm *= np.hanning(len(pcm))
    soundfile.write(path, pcm, RATE_HZ, subtype="FLOAT")
    return Recording(path, role, "set", "CC0", seconds, phrase="lamp" if role == "positive" else "")


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    folder = tmp_path_factory.mktemp("recordings")
    words = [recording(folder / f"word{n}.wav", "positive", 0.5) for n in range(20)]
    noises = [recording(folder / f"noise{n}.wav", "noise", 3.0 + n) for n in range(3)]
    return [*words, *noises, recording(folder / "silent.wav", "noise", 1.0, 0.0)]


def prepared(some: list[Recording], lines: list[str] | None = None) -> Pools:
    report = (lambda line: None) if lines is None else lines.append
    return prepare([Spoken("lamp")], some, AMOUNTS, 3, report)


def test_recordings_are_whole_and_what_is_left_out_is_named(
    some: list[Recording], tmp_path: Path
) -> None:
    pools = prepared(some)
    stream = pools.negatives["noise"]
    for noise in some[20:23]:
        frames = hear(read_audio(noise.path))
        places = np.flatnonzero((stream == frames[0]).all(axis=1))
        assert any(np.array_equal(stream[a : a + len(frames)], frames) for a in places)
    silent = some[-1].path
    assert set(pools.skipped) == {str(silent)} and "silent" in pools.skipped[str(silent)]
    save(pools, tmp_path / "pools.npz")
    again = load(tmp_path / "pools.npz")
    assert again.skipped == pools.skipped
    np.testing.assert_array_equal(again.negatives["noise"], stream)


def test_no_more_is_held_to_be_played_than_memory_shall_hold(
    some: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    def played(seconds: float) -> str:
        monkeypatch.setattr(pooling, "PLAYED_S", seconds)
        lines: list[str] = []
        with pytest.raises(AudioError):
            prepared(some[20:], lines)
        return lines[0]

    assert played(60.0) == "rooms: 2, sounds to play: 3"
    # Of 3, 4 and 5 s.
    assert played(9.5) == "rooms: 2, sounds to play: 2"
    assert played(2.5) == "rooms: 2, sounds to play: 0"
