"""From a name to a folder."""

import pytest

from kwsd.errors import MissingFileError
from kwsd.model.find import SHIPPED, find_package, known_models, model_folders
from kwsd.model.package import load_package
from kwsd.runtime.select import open_session

PACKAGES = sorted(path.parent for path in SHIPPED.glob("*/model.toml"))


@pytest.fixture
def user_models(tmp_path, monkeypatch):
    """A user's folder with two packages and other things."""
    folder = tmp_path / "kwsd" / "models"
    for name in ("zebra", "quagga"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.toml").write_text("")
    (folder / "unfinished").mkdir()
    (folder / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("folder", PACKAGES, ids=[folder.name for folder in PACKAGES])
def test_every_shipped_package_is_whole_and_says_what_it_said(folder):
    """A card that is edited by hand is another file than the description knows."""
    package = load_package(folder)
    assert package.name == folder.name and package.network.stat().st_size < 100_000
    session, choice = open_session(package, order=["litert"])
    session.close()
    assert choice.name == "litert"


def test_there_are_as_many_packages_as_words_in_the_benchmark():
    assert len(PACKAGES) == 6


def test_order(user_models):
    folders = model_folders()
    assert folders[0] == user_models
    assert folders[-1] == SHIPPED


def test_names_and_folders(user_models):
    assert {"zebra", "quagga"} <= set(known_models())
    assert not {"unfinished", "file"} & set(known_models())
    assert find_package("zebra") == user_models / "zebra"
    assert find_package("kwsd/models/zebra").samefile(user_models / "zebra")
    assert find_package(str(user_models / "quagga")) == user_models / "quagga"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("zebr", ["no model 'zebr'", "did you mean 'zebra'", "quagga", "zebra"]),
        ("entirely-else", ["installed are", "zebra"]),
        ("unfinished", ["no model 'unfinished'"]),
        ("kwsd/models/unfinished", ["no model package", "model.toml"]),
        ("../models/zebra", ["no model"]),
        ("", ["model"]),
        ("x" * 5000, ["no model"]),
        ("a\0b", ["no model"]),
    ],
)
def test_what_is_not_there(user_models, asked, words):
    with pytest.raises(MissingFileError) as caught:
        find_package(asked)
    for word in words:
        assert word in str(caught.value)
