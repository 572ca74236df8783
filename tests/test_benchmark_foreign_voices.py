"""Clips of other synthesizers: what is said, and what becomes of a missing or failing engine."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import foreign_peers  # noqa: E402
from benchmarks import foreign_voices as voices  # noqa: E402
from kwsd.errors import MissingFileError, RuntimeUnavailable  # noqa: E402

WRITES_A_TONE = """
import numpy, soundfile, sys
assert sys.stdin.read()
soundfile.write(sys.argv[1], 0.1 * numpy.sin(numpy.arange(8000) / 8), 8000)
"""


def fake(script: str, voice: str = "v") -> voices.Saying:
    return voices.Saying("fake", voice, "word.", (sys.executable, "-c", script, "@OUT@"))


def test_missing_engines_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices.shutil, "which", lambda name: None if name == "flite" else name)
    planned, left_out = voices.sayings("word", None)
    assert {s.engine for s in planned} == {"espeak-ng", "festival"}
    assert left_out == ["flite: not installed", "piper: no --piper-voice"]


def test_speech_comes_at_16_khz() -> None:
    speech = voices.render(fake(WRITES_A_TONE))
    assert abs(len(speech) - 16_000) < 10


def test_clips_have_edges_a_level_and_a_floor() -> None:
    pcm = voices.finish(np.full(1600, 0.01, np.float32), np.random.default_rng(0))
    assert len(pcm) == 1600 + 2 * 4800
    assert 0 < np.abs(pcm[:4800]).max() < 200
    assert np.abs(pcm).max() == pytest.approx(0.4 * 32768, rel=0.02)


def test_a_failing_voice_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [fake("raise SystemExit(3)", "broken"), fake(WRITES_A_TONE)]
    monkeypatch.setattr(voices, "sayings", lambda phrase, voice: (both, []))
    written, left_out = voices.write_all("word", tmp_path, 0, 1, None)
    assert written == {"fake": 1}
    assert len(left_out) == 1 and "broken" in left_out[0]
    assert soundfile.info(tmp_path / "fake" / "v" / "0001.wav").samplerate == 16_000


def test_an_engine_that_writes_nothing_is_left_out_with_what_it_said() -> None:
    silent = fake("import sys; sys.stdin.read(); sys.stderr.write('unbound variable : voice')")
    with pytest.raises(RuntimeUnavailable, match="fake v: wrote nothing: unbound variable"):
        voices.render(silent)


def test_a_folder_without_clips_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["foreign_peers", str(tmp_path)])
    assert foreign_peers.main() == MissingFileError.exit_code
    assert "holds no .wav file" in capsys.readouterr().err
