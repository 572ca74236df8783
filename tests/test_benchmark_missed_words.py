"""Changes of missed recordings: each does what its name says, and a run counts what they do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("soxr", reason="the benchmark stages recordings with soxr")

from model_fixture import TONE_HZ, tone_bursts  # noqa: E402

from benchmarks import missed_words  # noqa: E402
from benchmarks.missed_words import CHANGES  # noqa: E402
from kwsd.dsp.features import BANDS, SAMPLE_RATE_HZ  # noqa: E402
from kwsd.errors import UsageError  # noqa: E402

QUIET_POWER = 1e-6


def click() -> np.ndarray:
    """One loud frame in two bands, float32 [frames, BANDS]."""
    power = np.full((40, BANDS), QUIET_POWER, np.float32)
    power[20, 18:20] = 1.0
    return power


def test_changes_do_what_they_are_called() -> None:
    before = click()
    changed = {name: change(before) for name, change in CHANGES.items()}
    np.testing.assert_allclose(changed["+10 dB"], 10 * before, rtol=1e-5)
    tilt = changed["tilted by +9 dB"] / before
    assert tilt[0, -1] == pytest.approx(10**0.9, rel=1e-4)
    assert tilt[0, 0] == pytest.approx(10**-0.9, rel=1e-4)
    assert len(changed["1.3 times as long"]) == 52 and len(changed["0.75 times as long"]) == 30
    assert changed["formants moved by +0.2"][20].argmax() > 19
    assert changed["formants moved by -0.2"][20].argmax() < 18
    assert np.all(changed["noise 20 dB below"] > before)
    assert changed["contrast times 0.6"][20, 0] > 100 * QUIET_POWER
    fallen = changed["decay over 3 frames"][21:24, 18]
    np.testing.assert_allclose(fallen, np.exp([-1 / 3, -2 / 3, -1.0]), rtol=1e-4)
    np.testing.assert_allclose(changed["nothing from band 26 on"][:, 26:], np.exp(-18.0), rtol=1e-4)
    for name, power in changed.items():
        assert np.isfinite(power).all() and (power > 0).all() and power.dtype == np.float32, name


@pytest.fixture
def bursts(tmp_path: Path) -> Path:
    """Ten recordings of the tone, and one that is silent."""
    folder = tmp_path / "bursts"
    folder.mkdir()
    for number in range(10):
        pcm = tone_bursts(seconds=2.0, tone_hz=TONE_HZ, seed=number)
        soundfile.write(folder / f"{number}.wav", pcm, SAMPLE_RATE_HZ)
    soundfile.write(folder / "silent.wav", np.zeros(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["missed_words", *map(str, arguments)])
    return missed_words.main()


def test_a_run_counts_what_is_found_and_lost(
    tone_model: Path,
    bursts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, tone_model, "--positives", bursts) == 0
    printed = capsys.readouterr()
    assert "silent" in printed.err
    lines = printed.out.splitlines()
    assert lines[0].startswith("tone: 0 of 10 recordings missed")
    counts = {line[:26].strip(): line[26:].split() for line in lines[1:]}
    assert set(counts) == set(CHANGES)
    # The tone lies far below band 36 and far above the lowest: moved away it is another sound.
    assert counts["nothing from band 36 on"][-3:] == ["0", "of", "10"]
    assert counts["formants moved by +0.2"][-3:] == ["10", "of", "10"]


@pytest.mark.parametrize(
    ("more", "said"),
    [(("--sensitivity", "utmost"), "--sensitivity utmost"), (("--split", "dev"), "--index")],
)
def test_wrong_questions_are_refused(
    more: tuple[str, ...],
    said: str,
    tone_model: Path,
    bursts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run(monkeypatch, tone_model, "--positives", bursts, *more)
    assert code == UsageError.exit_code
    assert said in capsys.readouterr().err
