"""How much memory the recordings of a training will take, said before hours of work."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kwsd.progress import Report
from kwsd.train.recordings import Recording

TRAIN_MB_AN_HOUR = {"positive": 350.0, "speech": 95.0, "noise": 29.0}
"""Copies as float16 log mel power of 29 MB an hour each, twelve of a recorded word, two of speech,
one of a sound, and what the teacher says of speech."""

JUDGE_MB_AN_HOUR = 58.0
"""Heard as it is and in a room."""

OTHERWISE_MB = 2500.0
"""Synthetic speech of the default amounts, networks, and the teacher at work."""


def needed_mb(train: Sequence[Recording], develop: Sequence[Recording]) -> float:
    """Memory of all that is kept of recordings, by their stated lengths; in 1e6 bytes."""
    learnt = sum(TRAIN_MB_AN_HOUR[item.role] * item.seconds for item in train)
    judged = sum(JUDGE_MB_AN_HOUR * item.seconds for item in develop)
    return (learnt + judged) / 3600.0


def machine_mb() -> float:
    """Memory of the machine; in 1e6 bytes. A container may have less."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6


def tell_of_memory(
    train: Sequence[Recording], develop: Sequence[Recording], has_mb: float, report: Report
) -> None:
    """Warn where recordings are more than the memory holds: such a run is killed hours later."""
    wants_mb = needed_mb(train, develop) + OTHERWISE_MB
    if wants_mb > has_mb:
        hours = sum(item.seconds for item in (*train, *develop)) / 3600.0
        report(
            f"warning: {hours:.0f} h of recordings want some {wants_mb / 1e3:.1f} GB of memory and "
            f"this machine has {has_mb / 1e3:.1f}: name fewer negatives, or train on another one"
        )
