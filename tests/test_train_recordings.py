"""Which recordings train: the part of the index decides, and nothing of the other part comes in."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from kwsd.errors import AudioError, ConfigError, MissingFileError
from kwsd.train.recordings import amounts, indexed, plain_folder, same_word

COLUMNS = ("path", "set", "label", "speaker", "split", "licence", "seconds")
ROWS = (
    ("wake/computer/a.opus", "wake", "computer", "s1", "train", "Apache-2.0", "3.0"),
    ("wake/computer/b.opus", "wake", "computer", "s2", "dev", "Apache-2.0", "3.0"),
    ("wake/jarvis/a.opus", "wake", "jarvis", "s1", "train", "Apache-2.0", "3.0"),
    ("wake/jarvis/b.opus", "wake", "jarvis", "s2", "dev", "Apache-2.0", "3.0"),
    ("speech/read/a.opus", "read", "", "s3", "train", "CC BY 4.0", "2.0"),
    ("speech/read/b.opus", "read", "", "s4", "dev", "CC BY 4.0", "2.0"),
    ("sounds/cry/a.opus", "cry", "cry", "", "train", "ODbL 1.0", "7.0"),
    ("sounds/foley/a.opus", "foley", "door", "", "train", "CC BY-SA 3.0", "1.0"),
    ("sounds/rain/a.opus", "rain", "rain", "", "train", "CC BY 3.0", "5.0"),
    ("rir/room/a.wav", "rir", "", "", "train", "MIT", "0.5"),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with (tmp_path / "index.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(COLUMNS)
        table.writerows(ROWS)
    return tmp_path


def names(data: Path, phrase: str, split: str, role: str) -> list[str]:
    found = indexed(data, [phrase], split)
    return [r.path.relative_to(data).as_posix() for r in found if r.role == role]


def test_positives_are_rows_of_the_phrase_in_the_training_part_only(data: Path) -> None:
    assert names(data, "computer", "train", "positive") == ["wake/computer/a.opus"]


def test_development_rows_never_train(data: Path) -> None:
    for phrase in ("computer", "jarvis", "smart mirror"):
        train = {r.path for r in indexed(data, [phrase], "train")}
        develop = {r.path for r in indexed(data, [phrase], "dev")}
        assert train and develop and not train & develop
        split_of = {data / row[0]: row[4] for row in ROWS}
        assert {split_of[path] for path in train} == {"train"}
        assert {split_of[path] for path in develop} == {"dev"}


def test_other_wake_words_are_negative_speech(data: Path) -> None:
    assert names(data, "computer", "train", "speech") == [
        "wake/jarvis/a.opus",
        "speech/read/a.opus",
    ]


def test_share_alike_recordings_and_impulse_responses_stay_out(data: Path) -> None:
    assert names(data, "computer", "train", "noise") == ["sounds/rain/a.opus"]


def test_the_card_gets_what_was_used(data: Path) -> None:
    rows = amounts(indexed(data, ["computer"], "train"))
    assert ("rain", "CC BY 3.0", "1 files, 0.00 h") in rows
    assert not [row for row in rows if "ODbL" in row[1] or "SA" in row[1]]


def test_a_label_is_compared_by_its_letters() -> None:
    assert same_word("Smart Mirror", "smart_mirror")
    assert not same_word("smart", "smart mirror")


def test_a_folder_without_index_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="--positives"):
        indexed(tmp_path, ["computer"], "train")


def test_the_index_of_a_plain_folder_tells_licence_and_length(tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    for name in ("songs/a.flac", "songs/b.flac"):
        (tmp_path / name).touch()
    assert {r.licence for r in plain_folder(tmp_path, "noise")} == {"as supplied"}
    (tmp_path / "index.csv").write_text("path,licence,seconds\nsongs/a.flac,MIT,7.5\n")
    listed, other = plain_folder(tmp_path, "noise")
    assert (listed.licence, listed.seconds) == ("MIT", 7.5)
    assert (other.licence, other.seconds) == ("as supplied", 0.0)
    assert listed.set == other.set == tmp_path.name
    (tmp_path / "index.csv").write_text("name\nsongs/a.flac\n")
    assert {r.licence for r in plain_folder(tmp_path, "noise")} == {"as supplied"}


@pytest.mark.parametrize(
    ("change", "said"),
    [((",split", ",part"), "no column 'split'"), ((",3.0", ",long"), "'long'; a number is needed")],
)
def test_an_index_that_cannot_be_used_says_why(
    data: Path, change: tuple[str, str], said: str
) -> None:
    index = data / "index.csv"
    index.write_text(index.read_text().replace(*change))
    with pytest.raises(ConfigError, match=said):
        indexed(data, ["computer"], "train")


def test_plain_folders_are_read_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b.wav", "a.FLAC", "notes.txt"):
        (tmp_path / name).touch()
    found = plain_folder(tmp_path, "positive")
    assert [r.path.name for r in found] == ["a.FLAC", "b.wav"]
    assert {r.role for r in found} == {"positive"}


def test_folders_that_are_missing_or_empty_are_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="is not a folder"):
        plain_folder(tmp_path / "nowhere", "positive")
    with pytest.raises(AudioError, match="holds no recordings"):
        plain_folder(tmp_path, "positive")
