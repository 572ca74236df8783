"""`kwsmodel train`: what it is asked for, before any work: names, places, recordings, voices."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from kwsd.errors import OutputError, UsageError
from kwsd.train.command import add_parser, check, varies_voices
from kwsd.train.gather import gather
from kwsd.train.recordings import Recording


def recording(role: str) -> Recording:
    return Recording(Path("a.wav"), role, "a set", "CC0-1.0", 1.0)


@pytest.mark.parametrize(
    ("asked", "roles", "wanted"),
    [
        (None, [], True),
        (None, ["speech", "noise"], True),
        (None, ["speech", "positive"], False),
        (True, ["positive"], True),
        (False, ["speech"], False),
    ],
)
def test_voices_are_varied_where_nobody_recorded_a_word(
    asked: bool | None, roles: list[str], wanted: bool
) -> None:
    assert varies_voices(asked, [recording(role) for role in roles]) is wanted


def asked(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return parser.parse_args(["train", *map(str, words)])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hey mirror", "--name", "hey mirror!"], "cannot be called 'hey mirror!': up to 64"),
        (["hey mirror", "--name", "../mirror"], "cannot be called"),
        (["hey mirror", "--name", ""], "cannot be called ''"),
        (["hey " + 70 * "a"], "cannot be called.*; set another --name$"),
        (["computer", "hey " + 70 * "a"], "'hey a+' cannot be called.*; shorten the phrase$"),
        (["hey " + 70 * "a", "computer"], "'hey a+' cannot be called.*; shorten the phrase$"),
        (["computer", "--beside", 70 * "a"], "'a+' cannot be called.*; shorten the phrase$"),
        (["computer", "--name", "jarvis", "--beside", "jarvis"], "'computer' and 'jarvis' would"),
    ],
)
def test_names_that_no_package_can_have_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check(asked(*words))


def test_what_is_no_package_is_not_replaced(tmp_path: Path) -> None:
    wanted = asked("hey lantern", "--beside", "jarvis", "--out", tmp_path)
    check(wanted)
    (tmp_path / "jarvis").mkdir()
    check(wanted)  # it gets no package
    (tmp_path / "hey_lantern").mkdir()
    with pytest.raises(OutputError, match="hey_lantern exists and is no model package"):
        check(wanted)
    (tmp_path / "hey_lantern" / "model.toml").touch()
    check(wanted)


def test_a_place_that_takes_no_package_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/kwsd")):
        with pytest.raises(OutputError, match="no package can be written there"):
            check(asked("hey lantern", "--out", place))
    check(asked("hey lantern", "--out", tmp_path / "new" / "folder"))
    assert [place.name for place in tmp_path.iterdir()] == ["file"]


def test_packages_and_work_are_not_put_into_one_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="are one folder"):
        check(asked("hey lantern", "--out", tmp_path / "a", "--work", tmp_path / "b" / ".." / "a"))


def test_a_seed_that_no_generator_takes_is_refused() -> None:
    with pytest.raises(UsageError, match="--seed 99999999999999999999999"):
        check(asked("hey lantern", "--seed", "99999999999999999999999"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two words and other speech, in both parts."""
    folder = tmp_path / "data"
    rows = ["path,set,label,speaker,split,licence,seconds"]
    for part in ("train", "dev"):
        for label in ("computer", "jarvis", "speech"):
            path = f"wake/{part}/{label}.wav"
            rows.append(f"{path},made,{label},{label} {part},{part},CC0,1.0")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


def names(found: list[Recording]) -> list[str]:
    return [recording.path.stem for recording in found]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        # In the order of the options: what is named first stands first in the message.
        (["--negatives", "wake/dev"], r"trains \(--negatives .*\) and judges \(--data .*, dev\)"),
        (["--dev-negatives", "wake/train"], r"trains \(--data .*\) and judges \(--dev-negatives"),
        (["--dev-negatives", "link"], r"trains \(--data .*\) and judges \(--dev-negatives"),
        (
            ["--positives", "wake/train"],
            r"jarvis.wav is speech \(--data .*\) and 'computer' \(--positives",
        ),
        (["--noise", "wake/train/../train"], r"is 'computer' \(--data .*\) and noise \(--noise"),
        (["--dev-positives", "wake/dev"], r"is speech .* and 'computer' \(--dev-positives"),
    ],
)
def test_a_file_trains_or_judges_and_is_one_thing(
    data: Path, options: list[str], said: str
) -> None:
    (data / "link").symlink_to(data / "wake" / "train")
    option, folder = options
    with pytest.raises(UsageError, match=said):
        gather(asked("computer", "--data", data, option, data / folder), lambda line: None)


def test_a_sound_does_not_train_as_speech_too(data: Path) -> None:
    both = ["--negatives", data / "wake" / "train", "--noise", data / "wake" / "train"]
    with pytest.raises(UsageError, match=r"is speech \(--negatives .*\) and noise \(--noise"):
        gather(asked("hey lantern", *both), lambda line: None)


def test_a_recording_does_not_say_two_phrases(data: Path) -> None:
    own = data.parent / "own"
    own.mkdir()
    (own / "a.wav").symlink_to(data / "wake" / "train" / "computer.wav")
    options = ["--data", data, "--positives", own]
    with pytest.raises(UsageError, match=r"is 'computer' \(--data .*\) and 'jarvis' \(--pos"):
        gather(asked("jarvis", "computer", *options), lambda line: None)
    gather(asked("computer", "jarvis", *options), lambda line: None)


def test_a_folder_does_not_train_and_judge(data: Path) -> None:
    both = ["--negatives", data / "wake", "--dev-negatives", data / "wake"]
    with pytest.raises(UsageError, match="keep the parts in two folders"):
        gather(asked("hey lantern", *both), lambda line: None)


def test_copies_under_another_name_are_warned_of(tmp_path: Path) -> None:
    for name, part in (("a", "train"), ("b", "train"), ("c", "dev"), ("d", "dev"), ("e", "dev")):
        (tmp_path / part).mkdir(exist_ok=True)
        (tmp_path / part / f"{name}.wav").write_bytes(
            {"c": b"a", "e": b""}.get(name, name.encode())
        )
    said: list[str] = []
    options = ["--negatives", tmp_path / "train", "--dev-negatives", tmp_path / "dev"]
    gather(asked("hey lantern", *options), said.append)
    (warning,) = [line for line in said if line.startswith("warning")]
    assert "1 recordings that judge are copies" in warning
    assert "dev/c.wav of " in warning and "train/a.wav" in warning


def test_what_is_named_twice_counts_once(data: Path) -> None:
    sounds = data.parent / "sounds"
    for part in ("train", "dev"):
        (sounds / part).mkdir(parents=True)
        (sounds / part / "rain.wav").touch()
    rows = "\n".join(f"{sounds / p}/rain.wav,rain,rain,,{p},CC0,1.0" for p in ("train", "dev"))
    with (data / "index.csv").open("a") as index:
        index.write(rows + "\n")
    said: list[str] = []
    options = ["--data", data, "--data", data, "--noise", sounds / "train"]
    # What judges is heard as it is: rain is a negative there, as a sound or as speech.
    options += ["--dev-negatives", sounds / "dev"]
    parts = gather(asked("computer", *options), said.append)
    for part in ("train", "dev"):
        assert names(parts[part]) == ["computer", "jarvis", "speech", "rain"]
        assert [r.role for r in parts[part]] == ["positive", "speech", "speech", "noise"]
        assert f"--data {data}, {part}: 4 recordings are named a second time and count once" in said
    assert (
        f"--noise {sounds / 'train'}: 1 recordings are named a second time and count once" in said
    )


def test_a_speaker_in_both_parts_is_said(data: Path) -> None:
    said: list[str] = []
    gather(asked("computer", "--data", data), said.append)
    assert not [line for line in said if "warning" in line]
    index = data / "index.csv"
    index.write_text(index.read_text().replace("computer dev", "computer train"))
    gather(asked("computer", "--data", data), said.append)
    [warning] = [line for line in said if "warning" in line]
    assert "1 speakers train and judge (computer train of made)" in warning


def test_folders_that_train_are_asked_for_their_licences(data: Path) -> None:
    folders = [data.parent / "games", data.parent / "more games"]
    for folder in folders:
        folder.mkdir()
        for name in ("a.wav", "b.wav"):
            (folder / name).touch()
        (folder / "index.csv").write_text("path,set,licence\na.wav,games,gpl-2\n")
    said: list[str] = []
    options = ["--data", data, "--negatives", folders[0], "--dev-negatives", folders[1]]
    parts = gather(asked("computer", *options), said.append)
    assert names(parts["train"])[3:] == ["b"]
    assert names(parts["dev"])[3:] == ["a", "b"]
    assert f"{folders[0]}: 1 speech; left out: 1 of games (gpl-2)" in said
