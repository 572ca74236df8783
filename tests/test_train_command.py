"""`kwsmodel train`: what follows from the recordings where nothing is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from kwsd.train.command import varies_voices
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
