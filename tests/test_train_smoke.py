"""Training: seconds of made-up audio through the whole command to a package that detects."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("pyroomacoustics", reason="training needs pyroomacoustics")

from kwsd.errors import MissingFileError, RuntimeUnavailable  # noqa: E402
from kwsd.kwsmodel import main  # noqa: E402
from kwsd.model.find import find_package  # noqa: E402
from kwsd.model.package import load_package  # noqa: E402
from kwsd.train import fit as fitting  # noqa: E402
from kwsd.train import teacher  # noqa: E402
from kwsd.train.layers import net_digest  # noqa: E402
from kwsd.train.tflite_reader import read_net  # noqa: E402

RATE_HZ = 16_000


def chirp_word(rng: np.random.Generator) -> np.ndarray:
    """A "word" of half a second: two sweeps, a little different each time."""
    time_s = np.arange(int(0.5 * RATE_HZ)) / RATE_HZ
    start_hz, rate = rng.uniform(500, 700), rng.uniform(2500, 3500)
    up = np.sin(2 * np.pi * (start_hz + rate * time_s) * time_s)
    word = 0.3 * up * np.hanning(len(time_s))
    padded = np.concatenate([np.zeros(4000), word, np.zeros(4000)])
    return (padded + 1e-4 * rng.standard_normal(len(padded))).astype(np.float32)


def other_sound(rng: np.random.Generator) -> np.ndarray:
    """Ten seconds of bursts of coloured noise and steady tones."""
    pieces = []
    for _ in range(20):
        time_s = np.arange(int(0.5 * RATE_HZ)) / RATE_HZ
        tone = np.sin(2 * np.pi * rng.uniform(200, 3000) * time_s)
        hiss = np.convolve(rng.standard_normal(len(time_s)), np.ones(4) / 4, "same")
        piece = tone if rng.random() < 0.5 else hiss
        pieces.append(0.2 * piece * np.hanning(len(time_s)))
    return np.concatenate(pieces).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(5)
    for name, count, make in (
        ("word", 30, chirp_word),
        ("word-dev", 8, chirp_word),
        ("other", 12, other_sound),
        ("other-dev", 9, other_sound),
    ):
        (root / name).mkdir()
        for number in range(count):
            soundfile.write(root / name / f"{number:02d}.wav", make(rng), RATE_HZ)
    soundfile.write(root / "word" / "silent.wav", np.zeros(RATE_HZ, np.float32), RATE_HZ)
    (root / "word" / "text.wav").write_text("this is no recording")
    return root


def command(folders: Path, work: Path, out: Path, steps: int = 60) -> list[str]:
    return [
        "train",
        "chirp word",
        "--no-synthesis",
        "--positives",
        str(folders / "word"),
        "--negatives",
        str(folders / "other"),
        "--dev-positives",
        str(folders / "word-dev"),
        "--dev-negatives",
        str(folders / "other-dev"),
        "--work",
        str(work),
        "--out",
        str(out),
        "--steps",
        str(steps),
        "--rooms",
        "3",
        "--workers",
        "1",
    ]


def test_one_command_gives_a_package_that_detects(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(folders, tmp_path / "work", tmp_path / "model")) == 0
    captured = capsys.readouterr()
    assert "skipped" in captured.err
    assert "silent.wav" in captured.err and "text.wav" in captured.err
    package = load_package(tmp_path / "model" / "chirp_word")
    assert package.labels == ("chirp_word",)
    assert package.network.stat().st_size < 100_000
    card = (tmp_path / "model" / "chirp_word" / "CARD.md").read_text()
    assert "kwsmodel train 'chirp word'" in card
    assert "--no-varied-voices" in card  # the word was recorded
    assert "Google speech embedding, as a teacher" in card
    # A chirp against noise and tones is easy: a net that has learnt anything finds most of them.
    assert package.sensitivities["high"].miss_rate <= 0.5


def test_same_seed_same_bytes_whatever_the_number_of_processes(
    folders: Path, tmp_path: Path
) -> None:
    for name, workers in (("a", "1"), ("b", "2")):
        arguments = command(folders, tmp_path / f"work-{name}", tmp_path / name, steps=6)
        arguments[arguments.index("--workers") + 1] = workers
        assert main(arguments) == 0
        assert not list((tmp_path / f"work-{name}").glob("checkpoint-*"))
    for file in ("model.tflite", "vectors.npz", "model.toml"):
        made = [tmp_path / run / "chirp_word" / file for run in ("a", "b")]
        assert made[0].read_bytes() == made[1].read_bytes()


def test_damaged_work_files_are_made_anew(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    assert main(command(folders, work, tmp_path / "model", steps=6)) == 0
    content = (tmp_path / "model" / "chirp_word" / "model.tflite").read_bytes()
    damaged = sorted(work.glob("*.npz"))
    assert {path.name.partition("-")[0] for path in damaged} == {"pools", "lessons", "heard"}
    for path in damaged:
        path.write_bytes(path.read_bytes()[:1000])
    capsys.readouterr()
    assert main(command(folders, work, tmp_path / "again", steps=6)) == 0
    said = capsys.readouterr().err
    for path in damaged:
        assert f"{path} is damaged and made anew" in said
    assert (tmp_path / "again" / "chirp_word" / "model.tflite").read_bytes() == content


def test_without_a_teacher_the_card_says_so(folders: Path, tmp_path: Path) -> None:
    arguments = command(folders, tmp_path / "work", tmp_path / "model", steps=6)
    assert main([*arguments, "--no-teacher", "--varied-voices"]) == 0
    assert not list((tmp_path / "work").glob("lessons-*"))
    card = (tmp_path / "model" / "chirp_word" / "CARD.md").read_text()
    assert "--no-teacher --varied-voices" in card and "speech embedding" not in card


def test_a_missing_teacher_is_said_before_anything_is_made(
    folders: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(teacher, "PACKAGE", "no_such_package_is_there")
    teacher.the_teacher.cache_clear()
    work = tmp_path / "work"
    code = main(command(folders, work, tmp_path / "model"))
    assert code == RuntimeUnavailable.exit_code
    assert "--no-teacher" in capsys.readouterr().err
    assert not work.exists()


def test_too_few_recordings_are_refused(
    tmp_path: Path, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    soundfile.write(few / "one.wav", chirp_word(np.random.default_rng(0)), RATE_HZ)
    arguments = command(folders, tmp_path / "work", tmp_path / "model")
    arguments[arguments.index("--positives") + 1] = str(few)
    assert main(arguments) == 65
    message = capsys.readouterr().err
    assert "at least 20" in message and "Traceback" not in message
    assert not (tmp_path / "model").exists()


def test_silent_recordings_do_not_count(
    tmp_path: Path, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = tmp_path / "silent"
    silent.mkdir()
    for number in range(25):
        soundfile.write(silent / f"{number}.wav", np.zeros(RATE_HZ, np.float32), RATE_HZ)
    soundfile.write(silent / "one.wav", chirp_word(np.random.default_rng(0)), RATE_HZ)
    arguments = command(folders, tmp_path / "work", tmp_path / "model")
    arguments[arguments.index("--positives") + 1] = str(silent)
    assert main(arguments) == 65
    message = capsys.readouterr().err
    assert "1 usable recordings of 'chirp word' (26 files)" in message
    assert not (tmp_path / "model").exists()


def test_silent_recordings_to_judge_by_are_refused_before_the_training(
    tmp_path: Path, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judges = tmp_path / "judges"
    judges.mkdir()
    for number in range(9):
        pcm = np.zeros(RATE_HZ) if number < 6 else chirp_word(np.random.default_rng(number))
        soundfile.write(judges / f"{number}.wav", pcm, RATE_HZ)
    arguments = command(folders, tmp_path / "work", tmp_path / "model", steps=100)
    arguments[arguments.index("--dev-positives") + 1] = str(judges)
    assert main(arguments) == 65
    message = capsys.readouterr().err
    assert "to judge 'chirp word' by: 3 usable positives: at least 5" in message
    assert "step 100" not in message
    # What was made before it is there for the next run, which says again what it skips.
    assert list((tmp_path / "work").glob("pools-*"))
    arguments[arguments.index("--dev-positives") + 1] = str(folders / "word-dev")
    assert main([*arguments, "--steps", "6"]) == 0
    message = capsys.readouterr().err
    assert "skipped: " in message and "silent.wav" in message and "text.wav" in message
    # The card counts what trained.
    card = (tmp_path / "model" / "chirp_word" / "CARD.md").read_text()
    assert "| word | as supplied | 30 files, 0.01 h |" in card


def low_word(rng: np.random.Generator) -> np.ndarray:
    """Another "word": a falling sweep."""
    return chirp_word(rng)[::-1].copy()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two words and other sounds."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(8)
    rows = ["path,set,label,speaker,split,licence,seconds"]
    for label, make in (("up word", chirp_word), ("low word", low_word), ("", other_sound)):
        for number in range(34):
            path = f"wake/{label or 'other'}-{number}.wav".replace(" ", "-")
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(root / path, make(rng), RATE_HZ)
            split = "train" if number < 24 else "dev"
            rows.append(f"{path},made,{label},,{split},CC0,1.0")
    (root / "index.csv").write_text("\n".join(rows) + "\n")
    return root


def from_index(index: Path, work: Path, *phrases: str, steps: int = 60) -> list[str]:
    arguments = ["train", *phrases, "--no-synthesis", "--data", str(index)]
    arguments += ["--work", str(work / "work"), "--out", str(work / "models")]
    return [*arguments, "--steps", str(steps), "--rooms", "3", "--workers", "1"]


def test_two_phrases_from_an_index_give_two_packages(index: Path, tmp_path: Path) -> None:
    assert main(from_index(index, tmp_path, "up word", "low word")) == 0
    cards = []
    for name in ("up_word", "low_word"):
        package = load_package(tmp_path / "models" / name)
        assert package.labels == (name,)
        cards.append((package.path / "CARD.md").read_text())
    assert "kwsmodel train 'up word' 'low word'" in cards[0]
    assert "Trained together with low word" in cards[0]
    assert "Trained together with up word" in cards[1]


def test_a_phrase_beside_is_learnt_and_gets_no_package(index: Path, tmp_path: Path) -> None:
    assert main(from_index(index, tmp_path, "up word", "--beside", "low word", steps=6)) == 0
    assert [folder.name for folder in (tmp_path / "models").iterdir()] == ["up_word"]
    card = (tmp_path / "models" / "up_word" / "CARD.md").read_text()
    assert "kwsmodel train 'up word' --beside 'low word'" in card
    assert "Trained together with low word" in card


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["computer"], "stands twice"),
        (["--beside", "Computer"], "stands twice"),
        (["jarvis", "--name", "x"], "--name goes with one phrase"),
        (["jarvis", "--positives", "."], "--positives goes with one phrase"),
        (["--sayings", "-1"], "--sayings -1"),
        (["--networks", "0"], "--networks 0"),
        (["--seed", "-1"], "--seed -1: 0 or more"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "computer", *more]) in (64, 78)
    assert message in capsys.readouterr().err


def test_several_networks_give_one_package_whatever_stops_them(
    folders: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fitting, "CHECKPOINT_STEPS", 3)
    several = ["--networks", "2", "--start", "jarvis"]
    whole, cut = (
        [*command(folders, tmp_path / "work", tmp_path / name, steps=6), *several]
        for name in ("whole", "cut")
    )
    whole[whole.index("--workers") + 1] = "2"  # at once, of which nothing is seen in what they say
    assert main(whole) == 0
    said = capfd.readouterr().err
    for line in (
        "network 1: step 6: cost ",  # of a process; a GPU is not shared out
        "network 2: step 6: cost ",
        "network 2: costs on development recordings ",
        "distillation, step 1 of 1",
    ):
        assert line in said
    assert "ended early" not in said
    package = tmp_path / "whole" / "chirp_word"
    card = (package / "CARD.md").read_text()
    assert "--networks 2" in card and "2 networks were trained, and th" in card
    assert "The first of them began with the layers of jarvis" in card
    assert not list((tmp_path / "work").glob("checkpoint-*"))

    # The power fails in the second network; the first is kept.
    average, calls = fitting.average_into, iter(range(100))

    def fails(*arguments: Any) -> None:
        if next(calls) == 10:
            raise KeyboardInterrupt
        average(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "average_into", fails)
        assert main(cut) != 0
    began = net_digest(read_net(load_package(find_package("jarvis")).network))
    kept = sorted((tmp_path / "work").glob("checkpoint-*"))
    assert [began in torch.load(path)["identity"] for path in kept] == [True, False]
    again = "kwsmodel: interrupted; run the same command again to go on\n"
    assert again in capfd.readouterr().err
    assert main(cut) == 0
    assert "going on from step 3" in capfd.readouterr().err
    made = [tmp_path / name / "chirp_word" / "model.tflite" for name in ("whole", "cut")]
    assert made[0].read_bytes() == made[1].read_bytes()


def test_a_package_is_what_a_training_begins_with(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*command(folders, tmp_path / "work", tmp_path / "model", steps=6), "--start"]
    assert main([*arguments, "jarvis"]) == 0
    card = (tmp_path / "model" / "chirp_word" / "CARD.md").read_text()
    assert "--start jarvis" in card and "Began with the layers of jarvis 0.1.0" in card
    assert "| jarvis 0.1.0, the layers to begin with | Apache-2.0 |" in card
    first = load_package(tmp_path / "model" / "chirp_word")
    assert first.network.stat().st_size < 100_000
    # What it begins with is what it replaces: the card names the network that there was.
    began_with = hashlib.sha256(first.network.read_bytes()).hexdigest()
    assert main([*arguments, str(first.path)]) == 0
    assert f"(SHA-256 of its network: {began_with})" in (first.path / "CARD.md").read_text()
    capsys.readouterr()
    assert main([*arguments, "jarvi"]) == MissingFileError.exit_code
    assert "jarvi" in capsys.readouterr().err
    (tmp_path / "theirs.json").write_text("{}")
    # Of a microWakeWord model nothing can be begun with.
    assert main([*arguments, str(tmp_path / "theirs.json")]) == MissingFileError.exit_code
    assert "or name a package folder" in capsys.readouterr().err
