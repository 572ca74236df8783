#!/usr/bin/env python3
"""What a replay costs: CPU per second of audio for each stage, and memory over the length.

    python -m benchmarks.replay_cost --model computer
    python -m benchmarks.replay_cost --model computer --hours 1      # minutes of run time

Stages are measured one after the other in one process, on a synthetic scene with two microphones, a
reference and tone bursts; memory is the peak of a fresh ``kwsd --replay`` for a minute and for the
long recording. Divide by the clock ratio for a guess at a board; measure there to know.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from benchmarks.ending import ended
from kwsd.assemble import build_chain, open_models
from kwsd.block import SAMPLE_RATE_HZ, Block
from kwsd.config import load_config
from kwsd.source.file import open_audio
from kwsd.source.synthetic import Burst, Scene, SyntheticSource

STAGES = ("source", "front end", "features", "model", "decision and rest")

PEAK_MEMORY = """
import sys
from kwsd.cli import main
code = main()
with open("/proc/self/status") as status:
    print(status.read().split("VmHWM:")[1].split()[0], file=sys.stderr)
sys.exit(code)
"""


@dataclass
class Clock:
    """CPU seconds by stage."""

    spent_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its CPU time added to a stage."""

        def run(*arguments: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments)
            finally:
                self.spent_s[stage] += time.process_time() - start

        return run


class Timed:
    """An object whose `process` is timed."""

    def __init__(self, inner: Any, stage: str, clock: Clock) -> None:
        self._inner = inner
        self.process = clock.timed(stage, inner.process)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def write_scene(path: Path, duration_s: float) -> None:
    """A recording with two microphones and a reference."""
    bursts = tuple(
        Burst(float(start), 0.5, 400.0 + 200.0 * (start % 7), in_reference=start % 2 == 0)
        for start in range(2, int(duration_s), 5)
    )
    scene = Scene(duration_s, microphones=2, has_reference=True, bursts=bursts, noise_dbfs=-55.0)
    with sf.SoundFile(path, "w", SAMPLE_RATE_HZ, 3, "PCM_16") as out:
        for block in SyntheticSource(scene).blocks():
            assert block.reference is not None
            out.write(np.concatenate([block.mics, block.reference[None]]).T)


def measure_stages(path: Path, model: str | None) -> tuple[dict[str, float], float]:
    """CPU seconds of each stage and the length of the audio."""
    config = load_config(models=[model] if model else None)
    source = open_audio(str(path))
    models = open_models(config, source.info) if model else []
    chain = build_chain(config, source.info, models)
    clock = Clock()
    chain.front_end = Timed(chain.front_end, "front end", clock)
    # Where the native core gives the features they are in the front end's time.
    chain._tracks = {key: Timed(track, "features", clock) for key, track in chain._tracks.items()}
    for keyword in models:
        keyword.stream = Timed(keyword.stream, "model", clock)
        if keyword.reference_watch is not None:
            keyword.reference_watch = Timed(keyword.reference_watch, "model", clock)
        keyword.ears = tuple(Timed(ear, "model", clock) for ear in keyword.ears)

    start = time.process_time()
    for block in _timed_blocks(source.blocks(), clock):
        chain.process(block)
    chain.flush()
    total = time.process_time() - start
    clock.spent_s["decision and rest"] = total - sum(clock.spent_s.values())
    for keyword in models:
        keyword.close()
    assert source.info.duration_s is not None
    return clock.spent_s, source.info.duration_s


def _timed_blocks(blocks: Iterator[Block], clock: Clock) -> Iterator[Block]:
    pull = clock.timed("source", lambda: next(blocks, None))
    while (block := pull()) is not None:
        yield block


def peak_memory_mib(path: Path, model: str | None) -> float:
    """Peak resident memory of a fresh process that replays a recording."""
    command = [sys.executable, "-c", PEAK_MEMORY, "--replay", str(path)]
    command += ["--model", model] if model else []
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(result.stderr.split()[-1]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="package; without it the chain runs with no model")
    parser.add_argument("--hours", type=float, default=0.1, help="long recording (default 0.1)")
    return ended("replay_cost", _run, parser.parse_args())


def _run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        minute, long = Path(folder) / "minute.wav", Path(folder) / "long.wav"
        write_scene(minute, 60.0)
        spent_s, audio_s = measure_stages(minute, options.model)
        print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
        print(f"{'stage':<20} {'ms CPU per s of audio':>22} {'% of one core':>14}")
        for stage, seconds in [*spent_s.items(), ("all", sum(spent_s.values()))]:
            share = seconds / audio_s
            print(f"{stage:<20} {1000 * share:>22.2f} {100 * share:>14.2f}")
        if options.model and os.path.exists("/proc/self/status"):
            write_scene(long, 3600.0 * options.hours)
            short_mib = peak_memory_mib(minute, options.model)
            long_mib = peak_memory_mib(long, options.model)
            print(f"peak memory: {short_mib:.1f} MiB for 1 min, ", end="")
            print(f"{long_mib:.1f} MiB for {60 * options.hours:g} min", end="")
            print(f" ({long_mib - short_mib:+.1f} MiB)")


if __name__ == "__main__":
    sys.exit(main())
