"""Which recordings train: the part of the index decides, and nothing of the other part comes in."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kwsd.errors import AudioError, ConfigError, MissingFileError
from kwsd.evaluate.label import same_word
from kwsd.train.recordings import amounts, indexed, plain_folder

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


def write_index(folder: Path, *rows: tuple[str, ...]) -> None:
    with (folder / "index.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(COLUMNS)
        table.writerows(rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_index(tmp_path, *ROWS)
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


def test_a_longer_phrase_with_the_word_in_it_is_neither(data: Path) -> None:
    more = [(f"wake/{i}.opus", "wake", label, "s9", "train", "MIT", "1.0") for i, label in LABELS]
    write_index(data, *ROWS, *more)
    lines: list[str] = []
    kept = {r.path.name: r.role for r in indexed(data, ["jarvis"], "train", lines.append)}
    assert [f"{i}.opus" in kept for i, _ in LABELS] == [False, False, True, True]
    assert kept["3.opus"] == "positive"
    assert "1 of label 'hey jarvis', which has the phrase in it" in lines[0]


LABELS = list(enumerate(["hey jarvis", "jarvis_please", "microjarvis", "Jarvis"]))


def test_share_alike_recordings_and_impulse_responses_stay_out(data: Path) -> None:
    assert names(data, "computer", "train", "noise") == ["sounds/rain/a.opus"]


def test_the_card_gets_what_was_used(data: Path) -> None:
    rows = amounts(indexed(data, ["computer"], "train"))
    assert ("rain", "CC BY 3.0", "1 files, 0.00 h") in rows
    assert not [row for row in rows if "ODbL" in row[1] or "SA" in row[1]]


@pytest.mark.parametrize(
    "licence",
    [
        "cc-by-sa-4.0",
        "CC_BY_SA",
        "CC BY-NC-SA 4.0",
        "odbl",
        "Open Database License 1.0",
        "GPLv3",
        "lgpl-2.1",
        "AGPL3",
        "GFDL 1.3",
        "Attribution-ShareAlike 4.0 International",
        "GNU General Public License",
        "CC-BY-SAv4.0",
        "ODbLv1.0",
        "LGPLLR",
        "GNU GPLs",
    ],
)
def test_share_alike_is_known_however_it_is_written(tmp_path: Path, licence: str) -> None:
    write_index(tmp_path, ("a.wav", "read", "speech", "s1", "train", licence, "1.0"))
    assert indexed(tmp_path, ["computer"], "train") == []


@pytest.mark.parametrize("licence", ["MIT", "Drascula-License", "FREE USAGE", "NASA", "CC BY 4.0"])
def test_letters_inside_other_words_are_no_licence(tmp_path: Path, licence: str) -> None:
    write_index(tmp_path, ("a.wav", "read", "speech", "s1", "train", licence, "1.0"))
    assert len(indexed(tmp_path, ["computer"], "train")) == 1


@pytest.mark.parametrize(
    ("path", "label", "speaker", "role"),
    [
        ("recordings/a.wav", "speech", "", "speech"),
        ("recordings/a.wav", "hello there", "s1", "speech"),
        ("a.wav", "Speech", "", "speech"),
        ("recordings/a.wav", "rain", "", "noise"),
        ("./speech/read/a.wav", "", "", "speech"),
        ("speech/../sounds/a.wav", "", "", "noise"),
        ("music/a.wav", "speech", "", "noise"),
        ("sounds/cry/a.wav", "cry", "s1", "noise"),
        ("../elsewhere/a.wav", "", "", "noise"),
        ("recordings/a.wav", "computer", "", "positive"),
    ],
)
def test_the_folder_says_what_a_negative_is_and_elsewhere_its_row(
    tmp_path: Path, path: str, label: str, speaker: str, role: str
) -> None:
    write_index(tmp_path, (path, "made", label, speaker, "train", "MIT", "1.0"))
    assert [r.role for r in indexed(tmp_path, ["computer"], "train")] == [role]


def test_an_index_may_name_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = tmp_path / "data" / "wake" / "a.wav", tmp_path / "speech" / "b.wav"
    (tmp_path / "data").mkdir()
    write_index(
        tmp_path / "data",
        (str(inside), "made", "jarvis", "", "train", "MIT", "1.0"),
        (str(tmp_path / "data" / "rir" / "a.wav"), "made", "", "", "train", "MIT", "1.0"),
        (str(outside), "made", "", "", "train", "MIT", "1.0"),
    )
    monkeypatch.chdir(tmp_path)
    found = indexed(Path("data"), ["computer"], "train")
    assert [(r.path, r.role) for r in found] == [(inside, "speech"), (outside, "noise")]


def test_what_there_is_and_what_is_left_out_is_said(data: Path) -> None:
    said: list[str] = []
    with (data / "index.csv").open("a") as lines:
        lines.write("speech/read/c.opus,read,,s3,test,MIT,2.0\n")
    indexed(data, ["computer"], "train", said.append)
    indexed(data, ["computer"], "dev", said.append)
    assert said == [
        f"{data}, train: 1 positive, 2 speech, 1 noise; left out: 1 of cry (ODbL 1.0), "
        "1 of foley (CC BY-SA 3.0), 1 of rir (folder rir), 1 of split 'test'",
        f"{data}, dev: 1 positive, 2 speech",
    ]


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


def test_share_alike_folders_judge_and_do_not_train(tmp_path: Path) -> None:
    for name in ("games/a.ogg", "books/b.ogg", "c.ogg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    index = "path,set,licence\n./games/a.ogg,games,gpl-2+\nbooks/b.ogg,books,CC0-1.0\n"
    (tmp_path / "index.csv").write_text(index)
    said: list[str] = []
    train = plain_folder(tmp_path, "speech", trains=True, report=said.append)
    assert [r.path.name for r in train] == ["b.ogg", "c.ogg"]
    assert said == [f"{tmp_path}: 2 speech; left out: 1 of games (gpl-2+)"]
    assert len(plain_folder(tmp_path, "speech")) == 3


def test_a_folder_inside_a_data_folder_has_its_licences_there(tmp_path: Path) -> None:
    """Naming a part of it lets nothing in that the whole leaves out."""
    write_index(tmp_path, *ROWS)
    # Of somebody else, and no table at all.
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "index.csv").write_bytes(b"\xff\xfe nothing to read")
    for row in ROWS:
        path = tmp_path / row[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(AudioError, match=r"all are share-alike \(cry \(ODbL 1.0\)\)"):
        plain_folder(tmp_path / "sounds" / "cry", "noise", trains=True)
    (rain,) = plain_folder(tmp_path / "sounds" / "rain", "noise", trains=True)
    assert (rain.licence, rain.seconds) == ("CC BY 3.0", 5.0)


def test_the_nearest_index_tells_the_licence(tmp_path: Path) -> None:
    inner = tmp_path / "games"
    inner.mkdir()
    for name in ("a.wav", "b.wav"):
        (inner / name).touch()
    (tmp_path / "index.csv").write_text("path,licence\ngames/a.wav,CC0\ngames/b.wav,CC0\n")
    (inner / "index.csv").write_text("path,licence\na.wav,GPL-2.0\n")
    (found,) = plain_folder(inner, "noise", trains=True)
    assert (found.path.name, found.licence) == ("b.wav", "CC0")


def test_an_index_that_names_nothing_of_its_folder_is_warned_of(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16_000)
    write_index(tmp_path, ("b.wav", "set", "", "", "train", "CC0", "1.0"))
    said: list[str] = []
    plain_folder(tmp_path, "noise", trains=True, report=said.append)
    assert "warning:" in said[0] and "names none of the files there" in said[0]


def test_an_accent_is_the_same_however_it_is_written() -> None:
    assert same_word("cafe\u0301", "caf\u00e9")


def test_a_folder_of_which_nothing_may_train_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").touch()
    (tmp_path / "index.csv").write_text("path,licence\na.ogg,CC-BY-SA-3.0\n")
    with pytest.raises(AudioError, match=r"1 recordings and none that may train.*CC-BY-SA-3\.0"):
        plain_folder(tmp_path, "speech", trains=True)


def test_sets_and_licences_of_a_card_are_never_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").touch()
    write_index(tmp_path, ("a.wav", "", "speech", "", "train", "", "1.0"))
    monkeypatch.chdir(tmp_path)
    for found in (indexed(Path("."), ["computer"], "train"), plain_folder(Path("."), "speech")):
        assert [(r.set, r.licence) for r in found] == [(tmp_path.name, "as supplied")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((",split", ",part"), "no column 'split'"),
        ((",3.0", ",long"), "line 2: .*'long'; a number is needed"),
        (("train,Apache-2.0,3.0", "train"), "line 2: .*''; a number is needed"),
        (("s1", "s1, once"), "line 2: more cells than the 7 columns"),
        (("wake/computer/a.opus", ""), "line 2: path '' names no file"),
        (("s2", '"' + 200_000 * "s"), "line .*: no CSV"),
    ],
)
def test_an_index_that_cannot_be_used_says_why(
    data: Path, change: tuple[str, str], said: str
) -> None:
    index = data / "index.csv"
    index.write_text(index.read_text().replace(*change))
    with pytest.raises(ConfigError, match=said):
        indexed(data, ["computer"], "train")


def test_an_index_of_a_spreadsheet_is_read(data: Path) -> None:
    index = data / "index.csv"
    before = indexed(data, ["computer"], "train")
    # A mark before the first column, and empty rows behind the last one.
    index.write_text(index.read_text() + ",,,,,,\n", encoding="utf-8-sig")
    assert indexed(data, ["computer"], "train") == before


def test_an_index_in_another_coding_says_where(data: Path) -> None:
    index = data / "index.csv"
    text = index.read_text().replace("jarvis/b", "jarvis/Bärbel")
    for bad in (text.encode("latin-1"), b"\xef\xbb\xbf" + text.encode("latin-1")):
        index.write_bytes(bad)
        with pytest.raises(ConfigError, match="line 5: not UTF-8"):
            indexed(data, ["computer"], "train")
    (data / "a.wav").touch()
    with pytest.raises(ConfigError, match="line 5: not UTF-8"):
        plain_folder(data, "speech")


def test_plain_folders_are_read_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b.wav", "a.FLAC", "notes.txt"):
        (tmp_path / name).touch()
    found = plain_folder(tmp_path, "positive")
    assert [r.path.name for r in found] == ["a.FLAC", "b.wav"]
    assert {r.role for r in found} == {"positive"}


def test_folders_that_are_missing_or_empty_are_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="is not a folder"):
        plain_folder(tmp_path / "nowhere", "positive")
    with pytest.raises(MissingFileError, match="no recording in it"):
        plain_folder(tmp_path, "positive")


def test_files_say_how_long_they_are_where_no_index_does(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((24_000, 2)), 16_000)
    soundfile.write(tmp_path / "b.aiff", np.zeros(4_000), 8_000)
    (tmp_path / "memo.m4a").write_bytes(b"no libsndfile reads this")
    found = plain_folder(tmp_path, "positive")
    # What cannot be decoded is found and told of when it is heard: nobody counts on it in vain.
    assert [(r.path.name, r.seconds) for r in found] == [
        ("a.wav", 1.5),
        ("b.aiff", 0.5),
        ("memo.m4a", 0.0),
    ]
    assert amounts(found) == [(tmp_path.name, "as supplied", "3 files, 0.00 h")]
