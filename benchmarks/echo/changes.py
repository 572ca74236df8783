"""What happens when something changes behind the reference: volume, clock, a missing piece.

    python -m benchmarks.echo.changes --words WORDS --data DATA

Far end alone in the rooms of `benchmarks.echo.scenes`, sessions without drift and path change. ERLE
in windows of half a second: before the change, a quarter of a second, two and eight seconds after
it; medians over the sessions. For the drift the last ten seconds count; another clock is that of
another loudspeaker, by which a session is heard once more.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr

from benchmarks.echo.material import load
from benchmarks.echo.processors import Processor, all_processors, reference_for
from benchmarks.echo.rooms import RATE_HZ, FloatArray
from benchmarks.echo.scenes import CONDITIONS, Scene, wake_scenes

CHANGE_S = 16.0
UNDER_RUN_S = 0.2
MOVED_SAMPLES = RATE_HZ // 40
STEPS_DB = (20.0, 40.0, -20.0, -40.0)
DRIFTS_PPM = (0.0, 20.0, 100.0, -100.0, 300.0)
CLOCKS_PPM = ((-240.0, 240.0), (240.0, -240.0), (300.0, -300.0))
PLACES_S = {"before": -0.75, "0.25 s after": 0.25, "2 s after": 2.0, "8 s after": 8.0}
LEVEL_DBFS = -30.0
FLOOR_DBFS = -90.0


def erle_db(mic: FloatArray, out: FloatArray, start_s: float, length_s: float = 0.5) -> float:
    """Microphone over output, in dB, over a stretch."""
    part = slice(int(start_s * RATE_HZ), int((start_s + length_s) * RATE_HZ))
    powers = [float(np.mean(x[part].astype(np.float64) ** 2)) + 1e-15 for x in (mic, out)]
    return float(10 * np.log10(powers[0] / powers[1]))


def far_end(scene: Scene, gain: FloatArray) -> FloatArray:
    """Echo alone in both microphones, its loudest part at a level that never clips."""
    echo = scene.echo * gain
    echo *= 10 ** (LEVEL_DBFS / 20) / float(np.sqrt(np.mean(echo[0] ** 2)) + 1e-12)
    echo *= min(1.0, 0.9 / float(np.abs(echo).max()))
    rng = np.random.default_rng(1)
    hiss = rng.standard_normal(echo.shape) * 10 ** (FLOOR_DBFS / 20)
    return (echo + hiss).astype(np.float32)


def steps(name: str, process: Processor, scenes: list[Scene]) -> dict[str, list[float]]:
    """ERLE around a change of the volume, and around an under-run."""
    found: dict[str, list[float]] = {}
    for change_db in (0.0, *STEPS_DB):
        rows = []
        for scene in scenes:
            time_s = np.arange(scene.echo.shape[1]) / RATE_HZ
            gain = np.where(time_s < CHANGE_S, 1.0, 10 ** (change_db / 20)).astype(np.float32)
            mics = far_end(scene, gain)
            out = process(mics, reference_for(name, scene))[: mics.shape[1]]
            rows.append([erle_db(mics[0], out, CHANGE_S + at) for at in PLACES_S.values()])
        found[f"volume {change_db:+.0f} dB" if change_db else "nothing"] = list(
            np.median(rows, axis=0)
        )
    rows = []
    for scene in scenes:
        mics = far_end(scene, np.ones(1, np.float32))
        holed = scene.reference.copy()
        first = int(CHANGE_S * RATE_HZ)
        holed[first : first + int(UNDER_RUN_S * RATE_HZ)] = 0.0
        reference = reference_for(name, replace(scene, reference=holed))
        out = process(mics, reference)[: mics.shape[1]]
        # The missing piece itself cannot be cancelled, nor its reverberation.
        rows.append(
            [
                erle_db(mics[0], out, CHANGE_S + UNDER_RUN_S * (at > 0) + at + 0.3 * (at > 0))
                for at in PLACES_S.values()
            ]
        )
    found["reference missing for 0.2 s"] = list(np.median(rows, axis=0))
    return found


def moves(name: str, process: Processor, scenes: list[Scene]) -> dict[str, list[float]]:
    """ERLE around an echo that suddenly comes later or earlier, as when a player is restarted."""
    found = {}
    first = int(CHANGE_S * RATE_HZ)
    for where, before, after in (("later", 0, MOVED_SAMPLES), ("earlier", MOVED_SAMPLES, 0)):
        rows = []
        for scene in scenes:
            still = far_end(scene, np.ones(1, np.float32))
            mics = np.roll(still, before, axis=1)
            mics[:, first:] = np.roll(still, after, axis=1)[:, first:]
            out = process(mics, reference_for(name, scene))[: mics.shape[1]]
            rows.append([erle_db(mics[0], out, CHANGE_S + at) for at in PLACES_S.values()])
        found[f"echo 25 ms {where}"] = list(np.median(rows, axis=0))
    return found


def drifts(name: str, process: Processor, scenes: list[Scene]) -> dict[float, float]:
    """ERLE of the last ten seconds under a clock drift."""
    found = {}
    for ppm in DRIFTS_PPM:
        values = []
        for scene in scenes:
            mics = _drifting(far_end(scene, np.ones(1, np.float32)), ppm)
            values.append(_last_erle_db(process, mics, reference_for(name, scene)))
        found[ppm] = float(np.median(values))
    return found


def clocks(name: str, process: Processor, scenes: list[Scene]) -> dict[tuple[float, float], float]:
    """ERLE of the last ten seconds where the second half has another clock drift."""
    found = {}
    for pair in CLOCKS_PPM:
        values = []
        for scene in scenes:
            still = far_end(scene, np.ones(1, np.float32))
            mics = np.concatenate([_drifting(still, ppm) for ppm in pair], axis=1)
            reference = np.tile(reference_for(name, scene), 2)
            values.append(_last_erle_db(process, mics, reference))
        found[pair] = float(np.median(values))
    return found


def _last_erle_db(process: Processor, mics: FloatArray, reference: FloatArray) -> float:
    out = process(mics, reference)[: mics.shape[1]]
    return erle_db(mics[0], out, mics.shape[1] / RATE_HZ - 10.5, 10.0)


def _drifting(mics: FloatArray, ppm: float) -> FloatArray:
    """Microphones whose clock is fast by some ppm."""
    return np.stack([_stretched(mic, 1.0 + ppm * 1e-6) for mic in mics]) if ppm else mics


def _stretched(signal: FloatArray, ratio: float) -> FloatArray:
    longer = np.concatenate([signal, np.zeros(RATE_HZ, np.float32)])
    return np.asarray(
        soxr.resample(longer, RATE_HZ, RATE_HZ * ratio, quality="VHQ")[: len(signal)], np.float32
    )


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", nargs="+", default=["kwsd, one", "Speex"])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    every = wake_scenes(load(options.words, options.data, options.seed), options.seed)
    scenes = [
        scene
        for scene, condition in zip(every, CONDITIONS, strict=True)
        if not condition.drift_ppm and not condition.change and condition.clip == "none"
    ]
    processors, _ = all_processors()
    chosen = {
        name: process
        for name, process in processors.items()
        if any(part in name for part in options.only)
    }
    print(f"ERLE in dB, medians over {len(scenes)} sessions\n")
    print("| front end | change | " + " | ".join(PLACES_S) + " |")
    print("| --- | --- |" + " --- |" * len(PLACES_S))
    for name, process in chosen.items():
        table = steps(name, process, scenes) | moves(name, process, scenes)
        for change, values in table.items():
            cells = " | ".join(f"{value:.0f}" for value in values)
            print(f"| {name} | {change} | {cells} |", flush=True)
    columns = [f"{ppm:+.0f} ppm" for ppm in DRIFTS_PPM]
    columns += [f"{before:+.0f}, then {after:+.0f} ppm" for before, after in CLOCKS_PPM]
    print("\n| front end | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for name, process in chosen.items():
        found = [*drifts(name, process, scenes).values(), *clocks(name, process, scenes).values()]
        print(f"| {name} | " + " | ".join(f"{value:.0f}" for value in found) + " |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
