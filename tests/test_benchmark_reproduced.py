"""Reproduced: cards are compared by their own intervals."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks import reproduced
from benchmarks.reproduced import Misses, card_misses
from kwsd.errors import MissingFileError, ModelError
from kwsd.model.find import find_package

SHIPPED = find_package("computer").parent


def run(monkeypatch: pytest.MonkeyPatch, stated: Path, again: Path) -> int:
    monkeypatch.setattr("sys.argv", ["reproduced", str(stated), str(again)])
    return reproduced.main()


def rewritten(folder: Path, old: str, new: str) -> Path:
    """The package `computer` with another line on its card."""
    shutil.copytree(SHIPPED / "computer", folder / "computer")
    card = folder / "computer" / "CARD.md"
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))
    return folder


CLOSE_ONLY = ("computer",)


def test_every_shipped_card_states_its_misses() -> None:
    cards = sorted(SHIPPED.glob("*/CARD.md"))
    assert len(cards) == 6
    for card in cards:
        found = card_misses(card.parent)
        close = ["1", "0.5", "0.1", "none seen"]
        # Cards of before there were rooms state one place only.
        far = [f"{rate} far" for rate in close] if card.parent.name not in CLOSE_ONLY else []
        assert list(found) == close + far
        total = found["1"].total
        assert {found[rate].total for rate in close} == {total}
        # Each positive stood in the same number of rooms.
        assert {found[rate].total % total for rate in far} <= {0}


def test_packages_reproduce_themselves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, SHIPPED, SHIPPED) == 0
    printed = capsys.readouterr().out
    assert printed.count("| within |") == 6 * 4 + 5 * 4


def test_a_share_is_compared_with_the_other_one_s_interval() -> None:
    none = Misses(0, 48, 0.0, 7.4)
    three = Misses(3, 48, 2.1, 16.8)
    assert three.against(none) == none.against(none) == "within"
    assert Misses(4, 48, 3.3, 19.6).against(none) == "more"
    assert none.against(three) == "fewer"


def test_a_card_far_away_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    total = card_misses(SHIPPED / "computer")["1"].total
    row = next(
        line
        for line in (SHIPPED / "computer" / "CARD.md").read_text().splitlines()
        if line.startswith("| 1 |")
    )
    worse = f"| 1 | 0.5 | 90.0 % [80.0-95.0] ({total - 3} of {total}) |"
    assert run(monkeypatch, SHIPPED, rewritten(tmp_path, row, worse)) == reproduced.MORE
    printed = capsys.readouterr().out
    assert printed.count("| more |") == 1 and printed.count("| within |") == 3


def test_what_one_side_alone_states_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    again = rewritten(tmp_path, "| 0.5 | ", "| 0.3 | ")
    assert run(monkeypatch, SHIPPED, again) == 0
    printed = capsys.readouterr()
    assert printed.out.count("| computer |") == 3
    assert printed.err.count("one card alone states") == 2
    assert "computer: one card alone states 0.3 FA/h" in printed.err
    assert f"{again} holds no jarvis" in printed.err


def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, SHIPPED, tmp_path) == MissingFileError.exit_code
    assert str(tmp_path) in capsys.readouterr().err
    (tmp_path / "computer").mkdir()
    assert run(monkeypatch, SHIPPED, tmp_path) == MissingFileError.exit_code
    (tmp_path / "computer" / "CARD.md").write_text("# computer\n")
    assert run(monkeypatch, SHIPPED, tmp_path) == ModelError.exit_code
    assert "states no misses" in capsys.readouterr().err
