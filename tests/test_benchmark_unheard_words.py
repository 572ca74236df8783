"""Words never recorded: their recordings leave the pools and judge, strangers apart."""

from __future__ import annotations

from dataclasses import replace
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
from kwsd.train.float_scores import development_curves  # noqa: E402
from kwsd.train.network import Network, Shape  # noqa: E402
from kwsd.train.pools import NEGATIVE_KINDS, Pools, Word, save  # noqa: E402
from kwsd.train.recordings import Recording  # noqa: E402
from kwsd.train.rehearsal import Rehearsal  # noqa: E402
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


def spoken(phrase: str, speaker: str) -> Recording:
    return Recording(
        Path(f"{phrase}-{speaker}.wav"), "positive", "made", "CC0", 1.0, speaker, phrase
    )


def test_people_whose_other_words_train_are_no_strangers() -> None:
    said = [spoken("lantern", who) for who in ("ann", "ben", "ann", "", "cem")]
    said.append(spoken("hey lamp", "ben"))
    groups = unheard_words.grouped(said, ["hey lamp", "lantern"], {"made/ann", ""})
    strangers, known, unnamed = unheard_words.PEOPLE
    assert [(group.phrase, group.people, len(group.positives)) for group in groups] == [
        (0, strangers, 1),
        (1, strangers, 2),
        (1, known, 2),
        (1, unnamed, 1),
    ]
    assert [group.speakers for group in groups] == [1, 2, 1, 0]


def test_groups_of_a_word_share_their_thresholds() -> None:
    rng = np.random.default_rng(2)
    frames = rng.normal(-9, 1, (1600, BANDS)).astype(np.float16)
    others = rng.normal(-9, 1, (3000, BANDS)).astype(np.float16)
    bounds = np.array([[at, at + 200] for at in range(0, 1600, 200)])
    # Two groups of the first word, one of the second, and one of which nothing could be read.
    heard = Rehearsal(frames, bounds, np.array([0, 0, 0, 1, 1, 2, 2, 2]), others, 0.1)
    strangers, known, _ = unheard_words.PEOPLE
    asked = ((0, strangers), (0, known), (1, known), (1, strangers))
    groups = [unheard_words.Group(phrase, people, ()) for phrase, people in asked]
    network = Network(Shape(), 2).eval()
    curves = unheard_words.group_curves(network, heard, groups)
    assert [len(curves[group].positives) for group in groups[:3]] == [3, 2, 3]
    assert groups[3] not in curves
    first, second, other = (curves[group] for group in groups[:3])
    np.testing.assert_array_equal(first.negatives, second.negatives)
    assert first.hours == second.hours
    # Together they are what the word is without groups.
    whole = replace(heard, phrases=np.array([0, 0, 0, 0, 0, 1, 1, 1]))
    both = development_curves(network, whole)
    np.testing.assert_array_equal(np.sort([*first.positives, *second.positives]), both[0].positives)
    np.testing.assert_array_equal(first.negatives, both[0].negatives)
    np.testing.assert_array_equal(other.positives, both[1].positives)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> int:
    said = ["unheard_words", "hey lamp", "lantern", "--pools", str(folder / "pools.npz")]
    said += ["--data", str(folder), "--work", str(folder / "work"), "--unheard", "lantern"]
    monkeypatch.setattr("sys.argv", [*said, *more])
    return unheard_words.main()


def test_pools_of_other_words_or_of_another_order_are_refused(
    pools: Pools,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(replace(pools, names=("lantern", "Hey Lamp")), tmp_path / "pools.npz")
    assert run(monkeypatch, tmp_path) == 64
    said = "holds 'lantern', 'Hey Lamp', in this order; named are 'hey lamp', 'lantern'"
    assert said in capsys.readouterr().err
    (tmp_path / "pools.npz").write_text("no pools")
    assert run(monkeypatch, tmp_path) == 64
    assert "is not what kwsmodel train keeps there" in capsys.readouterr().err


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
        # Of those who say "lantern" the first trains with "hey lamp", the others with nothing.
        speaker = "ann" if number < 3 else f"s{number}"
        rows.append(f"{number}.wav,made,{label},{speaker},{split},CC0,1")
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    assert run(monkeypatch, tmp_path, "--steps", "10") == 0
    printed = capsys.readouterr().out
    # All four of "lantern" judge; of the rest only the four that do not train count.
    assert "lantern, people who do not train (recordings: 3, speakers: 3): " in printed
    assert "lantern, people whose other recordings train (recordings: 1, speakers: 1): " in printed
    assert "hey lamp, " not in printed


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
