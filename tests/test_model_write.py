"""Writing a package: the same bytes each time, the whole folder or nothing."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from model_fixture import package_content, random_net

from kwsd.errors import ModelError, OutputError
from kwsd.model.package import Sensitivity, load_package
from kwsd.model.write import DataSource, write_package


@pytest.fixture(scope="module")
def content():
    return package_content(random_net(), "random")


def files(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_same_content_same_bytes(content, tmp_path):
    write_package(tmp_path / "a", content)
    write_package(tmp_path / "b", package_content(random_net(), "random"))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert set(files(tmp_path / "a")) == {"model.toml", "model.tflite", "vectors.npz", "CARD.md"}


def test_other_weights_other_bytes(content):
    assert package_content(random_net(1)).network != content.network


def test_folders_above_are_made_and_nothing_else_is_left(content, tmp_path):
    package = write_package(tmp_path / "x" / "y" / "random", content)
    assert package == load_package(tmp_path / "x" / "y" / "random")
    assert [path.name for path in (tmp_path / "x" / "y").iterdir()] == ["random"]


def test_extra_files_are_listed(content, tmp_path):
    extra = dataclasses.replace(content, extra_files={"model.aipu.bin": b"graph"})
    write_package(tmp_path / "a", extra)
    (tmp_path / "a" / "model.aipu.bin").write_bytes(b"other")
    with pytest.raises(ModelError, match="model.aipu.bin"):
        load_package(tmp_path / "a")


def test_a_taken_place_is_kept(content, tmp_path):
    folder = tmp_path / "a"
    write_package(folder, content)
    with pytest.raises(OutputError, match="not replaced unless asked"):
        write_package(folder, content)
    newer = dataclasses.replace(content, version="0.0.2")
    assert write_package(folder, newer, replace=True).version == "0.0.2"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="no model package"):
        write_package(tmp_path / "mine", content, replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "mine"]
    assert files(tmp_path / "mine") == {"letter.txt": b"dear"}


@pytest.mark.parametrize("name", ["recordings/me.wav", "notes.txt"])
def test_what_is_no_part_of_a_package_is_not_lost(content, tmp_path, name):
    folder = tmp_path / "a"
    write_package(folder, content)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("mine")
    before = files(folder)
    with pytest.raises(OutputError, match=f"holds {name}, which would be lost"):
        write_package(folder, dataclasses.replace(content, version="2"), replace=True)
    assert files(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_names_that_are_no_text_end_no_hours_of_work(content, tmp_path):
    named = DataSource("W\udcf6rter", "as supplied", "30 files")
    package = write_package(
        tmp_path / "a", dataclasses.replace(content, card="from W\udcf6rter", data=(named,))
    )
    assert "W?rter" in (package.path / "CARD.md").read_text()
    assert "W?rter" in (package.path / "model.toml").read_text()


def test_full_disk_leaves_what_was_there(content, tmp_path, small_files):
    folder = tmp_path / "a"
    write_package(folder, content)
    before = files(folder)
    with small_files(1000):
        with pytest.raises(OutputError, match="cannot be written"):
            write_package(folder, dataclasses.replace(content, version="2"), replace=True)
        with pytest.raises(OutputError, match="cannot be written"):
            write_package(tmp_path / "b", content)
    assert files(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_stop_between_the_renames_puts_the_old_package_back(content, tmp_path, monkeypatch, stop):
    folder = tmp_path / "a"
    write_package(folder, content)
    before = files(folder)
    rename = Path.rename

    def stopped(path, target):
        if path.name == "new":
            raise stop
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(OutputError if stop is OSError else stop):
        write_package(folder, dataclasses.replace(content, version="2"), replace=True)
    assert files(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_old_package_that_cannot_go_back_is_not_deleted(content, tmp_path, monkeypatch):
    folder = tmp_path / "a"
    write_package(folder, content)
    before = files(folder)
    rename = Path.rename

    def first_only(path, target):
        if path.name in ("new", "old"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", first_only)
    with pytest.raises(OutputError, match="cannot be put back"):
        write_package(folder, content, replace=True)
    (work,) = tmp_path.iterdir()
    assert files(work / "old") == before


@pytest.mark.parametrize(
    "changes",
    [
        {"tolerance": 1000},
        {"labels": ()},
        {"states": ()},
        {"sensitivities": {"low": Sensitivity(0.5, 0.0, 0.0)}},
        {"vectors": {"prob": np.zeros((3, 1, 1), np.int8)}},
        {"extra_files": {"../x": b""}},
    ],
)
def test_content_that_contradicts_itself(content, tmp_path, changes):
    with pytest.raises((ModelError, OutputError)):
        write_package(tmp_path / "deep" / "a", dataclasses.replace(content, **changes))
    assert list((tmp_path / "deep").iterdir()) == []
    assert not (tmp_path / "x").exists()


def test_parent_that_is_a_file(content, tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_package(tmp_path / "f" / "a", content)
