#!/usr/bin/env python3
"""What the DSP stage costs: CPU seconds per second of audio for each of its pieces, and memory.

    python benchmarks/dsp_cost.py
    python benchmarks/dsp_cost.py --seconds 60 --rounds 9

A scene of noise and its echo in two microphones. The whole front end is measured in blocks of 30
ms as the daemon gives them; then each stage alone on blocks of 16 ms, as often as the front end
calls it, which keeps its state in the cache: the stages sum to less than the whole. Medians over
rounds of process time; another load on the machine still costs cache, so run it on an idle one.
Memory is the peak of the Python allocator over a run, without the interpreter and numpy.
"""

from __future__ import annotations

import os

# One core, as on a board: set before numpy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kwsd.block import BLOCK_SAMPLES, SAMPLE_RATE_HZ, Block
from kwsd.dsp.companions import COMPANIONS, PARTITIONS, Companions
from kwsd.dsp.dc_blocker import DcBlocker
from kwsd.dsp.delay import DelayLine, DelayTracker
from kwsd.dsp.frontend import FrontEnd
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.dsp.hop_fifo import HopFifo
from kwsd.dsp.kalman import HOP_SAMPLES, KalmanCanceller, ReferenceSpectra
from kwsd.dsp.metrics import Meter
from kwsd.dsp.microphone_choice import MicrophoneChoice
from kwsd.dsp.suppressor import Suppressor

FloatArray = NDArray[np.float32]

MAIN_PARTITIONS = 20
PATHS = (MAIN_PARTITIONS, *[PARTITIONS] * COMPANIONS)
DELAY_SAMPLES = 960


def scene(seconds: float) -> FloatArray:
    """Two microphones and the reference they hear, float32 [3, samples]."""
    rng = np.random.default_rng(1)
    samples = int(seconds * SAMPLE_RATE_HZ) // HOP_SAMPLES * HOP_SAMPLES
    reference = 0.1 * rng.standard_normal(samples)
    rows = []
    for _ in range(2):
        room = rng.standard_normal(3000) * 10 ** (-3 * np.arange(3000) / 4800)
        size = 1 << (samples + len(room)).bit_length()
        echo = np.fft.irfft(np.fft.rfft(reference, size) * np.fft.rfft(0.1 * room, size), size)
        late = np.concatenate([np.zeros(DELAY_SAMPLES), echo])[:samples]
        rows.append(late + 1e-3 * rng.standard_normal(samples))
    return np.stack([*rows, reference]).astype(np.float32)


def front_end(audio: FloatArray, config: FrontEndConfig, companions: bool = True) -> None:
    """A whole run of the front end."""
    stage = FrontEnd(config, 2, True, companions)
    for start in range(0, audio.shape[1], BLOCK_SAMPLES):
        part = audio[:, start : start + BLOCK_SAMPLES]
        stage.process(Block(start, part[:2], part[2]))
    stage.flush()


def stages(audio: FloatArray) -> dict[str, Callable[[], None]]:
    """Each stage alone; what it needs of earlier stages is prepared outside its time."""
    blocks = [audio[:, i : i + HOP_SAMPLES].copy() for i in range(0, audio.shape[1], HOP_SAMPLES)]
    maker = Companions(HOP_SAMPLES)
    rows = [maker.process(block[2]) for block in blocks]

    def each(function: Callable[[FloatArray], object]) -> None:
        for block in blocks:
            function(block)

    def hop_fifo() -> None:
        fifo = HopFifo(3, HOP_SAMPLES)
        for start in range(0, audio.shape[1], BLOCK_SAMPLES):
            fifo.push(audio[:, start : start + BLOCK_SAMPLES])

    def delay() -> None:
        tracker, line = DelayTracker(500), DelayLine(len(PATHS), 8000, MAIN_PARTITIONS + 1)
        for block, row in zip(blocks, rows, strict=True):
            tracker.push(block[0], block[2])
            line.push(row, tracker.applied_samples)

    def spectra() -> None:
        reference = ReferenceSpectra(PATHS)
        for row in rows:
            reference.push(row)

    def canceller() -> None:
        # The reference's spectra are a stage of their own, so one picture of them serves all.
        reference = ReferenceSpectra(PATHS)
        for row in rows[: MAIN_PARTITIONS + 1]:
            reference.push(row)
        filters = [KalmanCanceller(PATHS), KalmanCanceller(PATHS)]
        for block in blocks:
            for number, one in enumerate(filters):
                one.process(block[number], reference)

    def suppressor() -> None:
        voice = Suppressor()
        each(lambda block: voice.process(block[0], block[2], True))

    def meters() -> None:
        meter, choice = Meter(2), MicrophoneChoice(2)
        each(lambda block: meter.update(block[:2], block[2], block[0], choice.update(block[:2])))

    def companions() -> None:
        extra = Companions(HOP_SAMPLES)
        each(lambda block: extra.process(block[2]))

    def dc_blocker() -> None:
        blocker = DcBlocker(3, HOP_SAMPLES)
        each(blocker.process)

    plain = FrontEndConfig(voice_branch=False)
    return {
        "front end, all": lambda: front_end(audio, FrontEndConfig()),
        "front end, detector branch only": lambda: front_end(audio, plain),
        "front end, without companions": lambda: front_end(audio, FrontEndConfig(), False),
        "  re-blocking": hop_fifo,
        "  DC blocker, 3 channels": dc_blocker,
        "  companions of the reference": companions,
        "  delay tracker and line": delay,
        "  reference spectra": spectra,
        "  Kalman cancellers, 2 microphones": canceller,
        "  suppressor (voice branch)": suppressor,
        "  meters, microphone choice": meters,
    }


def measure(function: Callable[[], None], rounds: int) -> list[float]:
    """Process time of each round in seconds; one round before them warms caches up."""
    function()
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        function()
        spent.append(time.process_time() - start)
    return spent


def peak_bytes(function: Callable[[], None]) -> int:
    """Most that Python and numpy held at once beyond what was there before."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the scene")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement")
    arguments = parser.parse_args()
    audio = scene(arguments.seconds)
    seconds = audio.shape[1] / SAMPLE_RATE_HZ
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"numpy {np.__version__}; {seconds:.1f} s of audio, {arguments.rounds} rounds"
    )
    print(f"{'stage':36} {'CPU s per s':>12} {'least':>8} {'most':>8}")
    table = stages(audio)
    for name, function in table.items():
        spent = [value / seconds for value in measure(function, arguments.rounds)]
        print(
            f"{name:36} {statistics.median(spent):12.4f} {min(spent):8.4f} {max(spent):8.4f}",
            flush=True,
        )
    peak = peak_bytes(table["front end, all"])
    print(f"peak memory of the front end: {peak / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
