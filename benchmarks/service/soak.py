"""A day of audio through the service, with everything going wrong, faster than real time.

    python -m benchmarks.service.soak --hours 24 --seed 1
    python -m benchmarks.service.soak --hours 0.05 --gap-s 10

The service is the daemon's own: `kwsd.daemon.service.Service` with its loop, its live input, chain,
model, bus and control socket. Only the capture device and the clock are simulated
(`soak_device.py`): overruns, a device that is unplugged or stalls, zeros, a drifting clock, and
reloads, mutes and subscribers that come and go. Computing takes no simulated time.

It hears `samples/living_room.flac` at several levels with quiet noise between, again and again.
Three promises are checked: audio that is there reaches the chain within 5 s, whatever happened;
memory does not grow (from 20 minutes of audio on: a shorter run cannot say); and every word that a
run without faults finds is found, unless something happened from 8 s before its detection to 1 s
after it (the canceller needs the first seconds of the music to learn the echo). The exit code is 1
where one of them is broken.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from benchmarks.service.soak_day import (
    LEAST_POINTS,
    MEMORY_STEP_S,
    SETTLED_AFTER_S,
    run_day,
)
from benchmarks.service.soak_words import compare_words, reference_words
from benchmarks.service.soak_world import living_room_cycle, plan_faults
from kwsd.block import SAMPLE_RATE_HZ

DEAFNESS_LIMIT_S = 5.0
GROWTH_LIMIT_MB_A_DAY = 10.0
SHORTEST_MIN = (SETTLED_AFTER_S + LEAST_POINTS * MEMORY_STEP_S) / 60
"""Of a day whose growth is measured."""


def growth_text(mb_a_day: float | None) -> str:
    """Of the memory, as it is printed."""
    if mb_a_day is None:
        return f"not measured, needs some {SHORTEST_MIN:.0f} minutes of audio"
    return f"{mb_a_day:+.2f} MB a day"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wall-min", type=float, default=float("inf"), help="end after these")
    parser.add_argument("--gap-s", type=float, default=25.0, help="mean time between faults")
    options = parser.parse_args()
    cycle = living_room_cycle((0.0, -3.0, -6.0), options.seed, odd_samples=37)
    cycle_s = len(cycle) / SAMPLE_RATE_HZ
    seconds = 3600.0 * options.hours
    reference = reference_words(cycle)
    print(f"{len(reference)} words in a cycle of {cycle_s:.0f} s without faults", flush=True)
    faults = plan_faults(seconds, options.gap_s, options.seed)
    day = run_day(cycle, faults, seconds, 60.0 * options.wall_min, progress=True)
    seconds = day.seconds
    faults = [fault for fault in faults if fault.at_s < seconds]
    words = compare_words(day.wakes_s, reference, cycle_s, faults, seconds)
    print(f"{seconds / 3600:.2f} h of audio in {day.wall_s / 60:.1f} min: ", end="")
    print(
        f"{seconds / day.wall_s:.0f} x real time, CPU {100 * day.cpu_s / seconds:.2f} % of a core"
    )
    kinds = Counter(fault.kind for fault in faults)
    print("faults: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    print("service: " + ", ".join(f"{count} {name}" for name, count in day.counters.items()))
    print(f"longest deafness: {day.deafest_s:.2f} s, up to {day.deafest_at_s:.0f} s")
    memory = [mb for _, mb in day.memory]
    print("memory, MB: " + " ".join(f"{mb:.1f}" for mb in memory[:: len(memory) // 12 + 1]))
    growth_mb_a_day = day.growth_mb_a_day()
    print(f"growth: {growth_text(growth_mb_a_day)}")
    print(f"words: {words.wanted} in the audio, {words.excused} missed with a fault near, ", end="")
    print(f"{len(words.missed_s)} missed without, {len(words.extra_s)} found beside a word")
    for at_s in [*words.missed_s, *words.extra_s][:20]:
        print(f"  at {at_s:.1f} s: {at_s % cycle_s:.1f} s in the cycle")
    print(f"bus: {len(day.wakes_s)} wakes sent, {day.wakes_received} received by who stayed")
    broken = (
        day.deafest_s > DEAFNESS_LIMIT_S
        or (growth_mb_a_day is not None and growth_mb_a_day > GROWTH_LIMIT_MB_A_DAY)
        or bool(words.missed_s)
        or day.wakes_received < len(day.wakes_s)
    )
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
