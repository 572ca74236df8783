"""Words never recorded: people leave the pools and judge, wrong questions are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("pyroomacoustics", reason="training needs pyroomacoustics")

from benchmarks import unheard_words  # noqa: E402
from benchmarks.trial import Trial  # noqa: E402
from kwsd.dsp.features import BANDS  # noqa: E402
from kwsd.errors import MissingFileError, UsageError  # noqa: E402
from kwsd.train.fit import FitConfig  # noqa: E402
from kwsd.train.pools import NEGATIVE_KINDS, Pools, Word, save  # noqa: E402
from kwsd.train.teacher import SIZE, Lesson  # noqa: E402

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def pools() -> Pools:
    rng = np.random.default_rng(1)
    frames = rng.normal(-9, 1, (60, BANDS)).astype(np.float16)
    speech = rng.normal(-9, 1, (1500, BANDS)).astype(np.float16)
    words = [Word(frames, 0, 40, real, phrase) for phrase in (0, 1) for real in (False, True)]
    return Pools(words, {kind: speech for kind in NEGATIVE_KINDS})


def test_only_recordings_of_the_words_asked_for_leave(pools: Pools) -> None:
    frames, answers = np.zeros((400, BANDS), np.float16), np.zeros((50, SIZE), np.float16)
    lessons = [Lesson(frames, answers, True, phrase) for phrase in (-1, 0, 1)]
    left = unheard_words.without_people(Trial(pools, lessons, FitConfig()), [1])
    heard = [(word.phrase, word.real) for word in left.pools.words]
    assert heard == [(0, False), (0, True), (1, False)]
    assert left.pools.negatives is pools.negatives
    assert [lesson.phrase for lesson in left.lessons] == [-1, 0]


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> int:
    said = ["unheard_words", "hey lamp", "lantern", "--pools", str(folder / "pools.npz")]
    said += ["--data", str(folder), "--work", str(folder / "work"), "--unheard", "lantern"]
    monkeypatch.setattr("sys.argv", [*said, *more])
    return unheard_words.main()


def test_all_recordings_of_the_word_judge(
    pools: Pools,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(pools, tmp_path / "pools.npz")
    rng = np.random.default_rng(3)
    rows = ["path,set,label,speaker,split,licence,seconds"]
    for number in range(12):
        label = ("lantern", "hey lamp", "")[number % 3]
        split = "train" if number < 6 else "dev"
        burst = np.pad(rng.normal(0, 0.1, RATE_HZ // 2), 4000).astype(np.float32)
        soundfile.write(tmp_path / f"{number}.wav", burst, RATE_HZ)
        rows.append(f"{number}.wav,made,{label},,{split},CC0,1")
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    assert run(monkeypatch, tmp_path, "--steps", "10") == 0
    printed = capsys.readouterr().out
    # Two of "lantern" train and two do not; of the rest only the four that do not train count.
    assert "lantern (4): " in printed and "hey lamp (" not in printed


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--unheard", "lamp post"), "lamp post"),
        (("--steps", "3"), "--steps 3"),
        (("--pools", "nowhere.npz"), "nowhere.npz"),
        (("--lessons", "nobody.npz"), "nobody.npz"),
    ],
)
def test_wrong_questions_are_refused(
    more: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "pools.npz").touch()
    assert run(monkeypatch, tmp_path, *more) in (UsageError.exit_code, MissingFileError.exit_code)
    assert said in capsys.readouterr().err
