"""What an operator set is remembered; what cannot be read of it costs nothing but itself."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path

import pytest

from kwsd.daemon.saved_state import SavedState, StateFile


def test_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "new/state.json")
    state = SavedState(True, {"computer": "low"}, ["jarvis"])
    assert file.load() == SavedState()
    assert file.save(state)
    assert file.load() == state


def test_what_is_kept_is_said_with_how_it_is_undone() -> None:
    assert SavedState().remarks(["computer"]) == []
    state = SavedState(True, {"computer": "low", "gone": "high"}, ["jarvis", "gone"])
    assert state.remarks(["computer", "jarvis"]) == [
        "the microphone is muted by kwsctl mute; kwsctl unmute undoes it",
        "jarvis is disabled by kwsctl disable; kwsctl enable jarvis undoes it",
        "computer has sensitivity low by kwsctl set; kwsctl set computer configured undoes it",
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_an_unreadable_file_opens_no_microphone(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with caplog.at_level(logging.WARNING):
        state = StateFile(path).load()
    assert state.muted and state.damaged
    assert "state.json cannot be read" in caplog.text
    assert "muted until kwsctl unmute" in caplog.text
    assert state.remarks([]) == [
        "the microphone is muted since the file of settings was damaged; kwsctl unmute undoes it"
    ]
    assert StateFile(path).save(state)
    assert StateFile(path).load() == SavedState(muted=True)


@pytest.mark.parametrize(
    ("text", "then", "said"),
    [
        ('{"sensitivities": [], "disabled": ["a"]}', SavedState(True, {}, ["a"]), "sensitivities"),
        (
            '{"sensitivities": {"a": "low"}, "disabled": 7}',
            SavedState(True, {"a": "low"}),
            "disabled",
        ),
        ('{"sensitivities": {"a": 3}}', SavedState(True), "sensitivity '3' of a is not known"),
        ("{}", SavedState(True), ""),
    ],
)
def test_a_bad_field_costs_itself_alone_and_opens_no_microphone(
    tmp_path: Path, text: str, then: SavedState, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    # Written by hand, perhaps: whatever stands for true mutes.
    for muted in (True, 1, "yes"):
        path.write_text(json.dumps({"muted": muted, **json.loads(text)}))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert StateFile(path).load() == then
        assert said in caplog.text and len(caplog.records) == (1 if said else 0)


def test_a_sensitivity_that_nobody_knows_costs_itself_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    kept = {"jarvis": "high"}
    saved = {"muted": True, "sensitivities": {"computer": "loud", **kept}, "disabled": ["alexa"]}
    path.write_text(json.dumps(saved))
    with caplog.at_level(logging.WARNING):
        assert StateFile(path).load() == SavedState(True, kept, ["alexa"])
    assert "'loud' of computer is not known" in caplog.text
    assert json.loads(path.read_text()) == saved


def test_a_place_that_cannot_be_written_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        assert not StateFile(tmp_path / "file/state.json").save(SavedState())
    assert "will not survive a restart" in caplog.text


def test_a_full_disk_leaves_what_was_saved_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StateFile(tmp_path / "state.json")
    assert file.save(SavedState(muted=True))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert not file.save(SavedState(disabled=["computer"]))
    assert file.load() == SavedState(muted=True)
