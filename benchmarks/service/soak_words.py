"""Words of a simulated day against those of a run without faults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.service.soak_day import run_day
from benchmarks.service.soak_world import HURTS, Fault
from kwsd.block import SAMPLE_RATE_HZ, FloatArray

BEFORE_S, AFTER_S = 8.0, 1.0
"""A fault this close to a word may cost it: the canceller needs the music before it."""

SAME_WORD_S = 0.4


@dataclass(frozen=True)
class Words:
    """Words of a day, against those of a run without faults."""

    wanted: int
    excused: int
    missed_s: tuple[float, ...]
    extra_s: tuple[float, ...]


def compare_words(
    found_s: tuple[float, ...],
    reference_s: tuple[float, ...],
    cycle_s: float,
    faults: list[Fault],
    seconds: float,
) -> Words:
    """Which words were to be found, and were not.

    Parameters
    ----------
    found_s : tuple of float
        Where in the day each wake was.
    reference_s : tuple of float
        Where in the cycle a run without faults has them.
    cycle_s : float
        Length of the cycle.
    faults : list of Fault
        Of the day.
    seconds : float
        Length of the day.
    """
    hurting = [fault for fault in faults if fault.kind in HURTS]
    found = np.array(found_s)
    used = np.zeros(len(found), bool)
    excused, missed, wanted = 0, [], 0
    for number in range(int(seconds / cycle_s) + 1):
        for place_s in reference_s:
            at_s = number * cycle_s + place_s
            if at_s + AFTER_S > seconds:
                continue
            wanted += 1
            here = np.abs(found - at_s) <= SAME_WORD_S if len(found) else used
            used |= here
            if here.any():
                continue
            if any(f.at_s <= at_s + AFTER_S and f.end_s >= at_s - BEFORE_S for f in hurting):
                excused += 1
            else:
                missed.append(at_s)
    return Words(wanted, excused, tuple(missed), tuple(float(at_s) for at_s in found[~used]))


def reference_words(cycle: FloatArray, cycles: int = 5) -> tuple[float, ...]:
    """Where in a cycle the words are that a run without faults finds every time but the first.

    A word whose score is at the threshold is found or not by its place on the grid of blocks, which
    every hole in the audio moves; a cycle that is no whole number of blocks tries several places.
    """
    cycle_s = len(cycle) / SAMPLE_RATE_HZ
    quiet = np.array(run_day(cycle, [], cycles * cycle_s + 2.0).wakes_s)
    first = quiet[(quiet >= cycle_s) & (quiet < 2 * cycle_s)] - cycle_s
    return tuple(
        float(place_s)
        for place_s in first
        if all(
            np.any(np.abs(quiet - number * cycle_s - place_s) <= SAME_WORD_S)
            for number in range(1, cycles)
        )
    )
