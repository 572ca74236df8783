"""What an operator set is remembered; what cannot be read of it costs nothing but itself."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from kwsd.daemon.saved_state import SavedState, StateFile


def test_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "new/state.json")
    state = SavedState(True, {"computer": "low"}, ["jarvis"])
    assert file.load() == SavedState()
    assert file.save(state)
    assert file.load() == state


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"muted": true}', '{"muted": 1, "sensitivities": [], "disabled": []}'],
)
def test_an_unreadable_file_counts_as_none(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert StateFile(path).load() == SavedState()
    assert "state.json cannot be read" in caplog.text


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
