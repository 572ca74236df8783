"""The README's recording: found with echo cancellation, missed without, the same bytes twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
RECORDING = SAMPLES / "living_room.flac"
EXPECTED = SAMPLES / "living_room.events.jsonl"

SPOKEN_S = ((6.0, 7.2), (13.5, 14.7))
"""When "computer" is said, see make_living_room.py."""


def replay(*options: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "kwsd", "--replay", str(RECORDING), *options],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def wakes(output: bytes) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in output.splitlines()]
    return [event for event in events if event["type"] == "wake"]


@pytest.fixture(scope="module")
def with_cancellation() -> bytes:
    return replay()


def test_both_words_are_found_under_playback(with_cancellation: bytes) -> None:
    found = wakes(with_cancellation)
    assert len(found) == len(SPOKEN_S)
    for event, (start_s, end_s) in zip(found, SPOKEN_S, strict=True):
        assert event["name"] == "computer"
        assert start_s < event["detected_s"] < end_s + 0.3
        assert event["echo"]["active"] is True
        assert event["echo"]["erle_db"] > 10.0


def test_events_are_those_beside_the_recording(with_cancellation: bytes) -> None:
    """Times to a step or two and scores to 0.1: processors may round differently."""
    found, expected = wakes(with_cancellation), wakes(EXPECTED.read_bytes())
    assert len(found) == len(expected)
    for event, golden in zip(found, expected, strict=True):
        assert event.keys() == golden.keys()
        for when in ("onset_s", "end_s", "detected_s"):
            assert event[when] == pytest.approx(golden[when], abs=0.045)
        assert event["score"] == pytest.approx(golden["score"], abs=0.1)
        assert event["runtime"] == golden["runtime"]


def test_without_cancellation_both_are_missed() -> None:
    assert wakes(replay("--set", "dsp.aec=false", "--set", "dsp.combine=false")) == []


def test_the_second_microphone_alone_saves_both_words() -> None:
    """The loudspeaker is a point source too, so the interference canceller takes some of it."""
    assert len(wakes(replay("--set", "dsp.aec=false"))) == len(SPOKEN_S)


def test_the_same_file_gives_the_same_bytes(with_cancellation: bytes) -> None:
    assert replay() == with_cancellation
