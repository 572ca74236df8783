"""``kwsctl events``: what its options may be, and what it prints."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import pytest
from fake_kwsd import FakeKwsd

from kwsd import kwsctl
from kwsd.ctl.events import as_line


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--endpoint", "127.0.0.1:5577"),
        ("--endpoint", "tcp://127.0.0.1"),
        ("--endpoint", ""),
        ("--timeout-s", "nan"),
        ("--timeout-s", "inf"),
        ("--timeout-s", "-1"),
        ("--timeout-s", "0"),
        ("--count", "-1"),
    ],
)
def test_mistakes_are_usage_errors(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kwsctl.main(["events", option, value]) == 64
    error = capsys.readouterr().err
    assert error.startswith(f"kwsctl: error: {option} {value}: ".replace("  ", " "))
    assert "must be" in error and error.count("\n") == 1


def test_a_control_endpoint_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert kwsctl.main(["--control", "127.0.0.1:5578", "status"]) == 64
    # Not tcp://, which a daemon refuses there.
    assert "--control 127.0.0.1:5578: Invalid argument; must be ipc:///path\n" in (
        capsys.readouterr().err
    )


def test_it_ends_after_so_many(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        service = FakeKwsd(Path(folder))
        words = ["events", "--endpoint", service.bus_endpoint, "--json", "--count", "2", "health/"]
        try:
            assert kwsctl.main(words) == 0
        finally:
            service.close()
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["type"] for event in events] == ["health.beat"] * 2


def test_nobody_publishes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["events", "--endpoint", f"ipc://{tmp_path}/e", "--timeout-s", "0.05"]
    assert kwsctl.main(words) == 69
    assert "no kwsd publishes" in capsys.readouterr().err


def test_people_are_told_the_time_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    event = {"type": "replay.end", "ts": "2026-12-01T01:27:15.250Z"}
    try:
        monkeypatch.setenv("TZ", "EST+5")
        time.tzset()
        assert as_line(event).startswith("20:27:15.250  replay.end")
        # Whoever publishes there may write something else.
        assert as_line({**event, "ts": "1x27:15.250"}).startswith("  replay.end")
        assert as_line({"type": "replay.end"}).startswith("  replay.end")
    finally:
        monkeypatch.undo()
        time.tzset()
