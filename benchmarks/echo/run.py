#!/usr/bin/env python3
"""Words found behind front ends, in simulated rooms with real talk and music.

    python -m benchmarks.echo.run --words WORDS --data DATA --out echo.csv

WORDS is a folder of recordings of "alexa" for the third-party judge, which
`python -m benchmarks.echo.words` makes; DATA is the data folder. Everything is seeded; a row
that is already in the CSV file is not computed again.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.echo.judges import Judge, count, hear, own, third_party
from benchmarks.echo.material import Material, load, read, utterance
from benchmarks.echo.processors import (
    Processor,
    all_processors,
    reference_for,
    with_several_detectors,
)
from benchmarks.echo.report import COLUMNS
from benchmarks.echo.rooms import RATE_HZ, FloatArray
from benchmarks.echo.scenes import Scene, noise_scenes, wake_scenes
from benchmarks.ending import ended
from kwsd.errors import UsageError
from kwsd.evaluate.selection import select
from kwsd.model.find import find_package
from kwsd.model.package import load_package
from kwsd.train.recordings import INDEX_FILE

SERS_DB: tuple[float | None, ...] = (None, 0.0, -5.0, -10.0, -15.0, -20.0)
NOISE_SNRS_DB: tuple[float | None, ...] = (None, 5.0, 0.0)


def run_row(
    name: str, process: Processor, judge: Judge, scenes: list[Scene], level_db: float | None
) -> dict[str, object]:
    """All sessions at one level through one front end."""
    found = words = false_alarms = 0
    seconds = cpu_s = 0.0
    for scene in scenes:
        mics = scene.mix(level_db)
        reference = reference_for(name, scene)
        began_s = time.process_time()
        detector = process(mics, reference)
        cpu_s += time.process_time() - began_s
        heard = count(hear(judge, detector), scene.word_ends)
        found += sum(heard.words)
        words += len(heard.words)
        false_alarms += heard.false_alarms
        seconds += mics.shape[1] / RATE_HZ
    return {
        "level_db": "none" if level_db is None else f"{level_db:g}",
        "found": found,
        "words": words,
        "false_alarms": false_alarms,
        "seconds": round(seconds, 1),
        "cpu_s": round(cpu_s, 3),
    }


def judges_of(options: argparse.Namespace) -> list[tuple[str, Judge, Material]]:
    """Each judge with its words."""
    material = load(options.words, options.data, options.seed)
    chosen: list[tuple[str, Judge, Material]] = []
    if options.third_party:
        try:
            judge = third_party()
        except ImportError:
            print("skipped: third-party judge (PyPI pymicro-wakeword)", file=sys.stderr)
        else:
            chosen.append(("alexa (third party)", judge, _clear(material, material.words, judge)))
    if options.data is not None:
        for name in options.models:
            judge = own(name)
            chosen.append((name, judge, _clear(material, _unheard(options.data, name), judge)))
    return chosen


def _unheard(data: Path, name: str) -> tuple[FloatArray, ...]:
    """Recordings of a word by people who did not train its model."""
    phrase = load_package(find_package(name)).phrase
    chosen = select([], [], data / INDEX_FILE, phrase, "dev").positives
    return tuple(utterance(read(positive.path)) for positive in chosen)


def _clear(material: Material, words: tuple[FloatArray, ...], judge: Judge) -> Material:
    """With the words that a judge finds dry: what it never hears says nothing of a front end.

    Raises
    ------
    UsageError
        It finds none.
    """
    clear = tuple(word for word in words if judge(_padded(word)))
    if not clear:
        raise UsageError("the judge finds none of the words dry; check --words")
    return replace(material, words=clear)


def _padded(word):  # type: ignore[no-untyped-def]
    import numpy as np

    from benchmarks.echo.material import at_level
    from benchmarks.echo.scenes import TALKER_DBFS

    return np.pad(at_level(word, TALKER_DBFS + 6), (2 * RATE_HZ, RATE_HZ))


def main() -> int:
    """Run what was asked for; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=Path, required=True, help='recordings of "alexa"')
    parser.add_argument("--data", type=Path, help="data folder; synthetic talk and music without")
    parser.add_argument(
        "--out", type=Path, required=True, help="CSV file, continued if it is there"
    )
    parser.add_argument("--models", nargs="*", default=["computer", "jarvis"])
    parser.add_argument(
        "--no-third-party", dest="third_party", action="store_false", help="own models alone"
    )
    parser.add_argument("--only", help="front ends whose name contains this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--repeats", type=int, default=3, help="times 12 sessions, each time in other rooms"
    )
    parser.add_argument("--quick", action="store_true", help="two sessions, one level")
    return ended("echo.run", _run, parser.parse_args())


def _run(options: argparse.Namespace) -> None:
    """What is not in the CSV file yet."""
    seeds = [options.seed + 100 * turn for turn in range(options.repeats)]
    done = set()
    if options.out.exists():
        with options.out.open(newline="") as stream:
            done = {
                (row["judge"], row["set"], row["front_end"], row["level_db"])
                for row in csv.DictReader(stream)
            }
    processors, missing = all_processors()
    processors |= with_several_detectors()
    for name in missing:
        print(f"skipped: {name}", file=sys.stderr)
    judges = judges_of(options)  # what they refuse is refused before there is a file
    new = not options.out.exists()
    with options.out.open("a", newline="") as stream:
        table = csv.DictWriter(stream, COLUMNS)
        if new:
            table.writeheader()
        for judge_name, judge, material in judges:
            sets = (
                ("playback", [s for seed in seeds for s in wake_scenes(material, seed)], SERS_DB),
                (
                    "point noise",
                    [s for seed in seeds for s in noise_scenes(material, seed)],
                    NOISE_SNRS_DB,
                ),
            )
            for set_name, scenes, levels in sets:
                scenes = scenes[:2] if options.quick else scenes
                for level_db in levels[-1:] if options.quick else levels:
                    for name, process in processors.items():
                        if set_name == "point noise" and not name.startswith(("nothing", "kwsd")):
                            continue
                        if options.only and options.only not in name:
                            continue
                        level = "none" if level_db is None else f"{level_db:g}"
                        if (judge_name, set_name, name, level) in done:
                            continue
                        row = run_row(name, process, judge, scenes, level_db)
                        named = {"judge": judge_name, "set": set_name, "front_end": name}
                        table.writerow({**named, **row})
                        stream.flush()
                        print(
                            f"{judge_name}: {name} at {level}: {row['found']} of {row['words']}, "
                            f"{row['false_alarms']} false",
                            file=sys.stderr,
                        )


if __name__ == "__main__":
    sys.exit(main())
