"""Memory, start and CPU of the running service.

    python -m benchmarks.service.footprint --words 1 6 --starts 10 --idle-s 60
    python -m benchmarks.service.footprint --words --starts 0 --idle-s 0 --callgrind

The service listens to the virtual microphone of the tests (two microphones with room noise at
-60 dBFS, a silent reference). Words are the shipped packages, then copies of one under other names:
they cost the same memory, for nothing is shared between packages. ``--callgrind`` counts
instructions of two replays of different length; their difference is free of the start (needs
valgrind).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile as sf

from benchmarks.service.capture_clock import CaptureClock
from benchmarks.service.microphone import VirtualMicrophone, plug_in
from benchmarks.service.running import RunningDaemon, smaps_by_file

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 16_000
NOISE_DBFS = -60.0
SETTLE_S = 5.0
SETTINGS = ("audio.device = 'virtmic'", "audio.channels = 3")


def room_noise(seconds: float, seed: int = 1) -> np.ndarray:
    """Two microphones in a quiet room and a loudspeaker that plays nothing, float32 [n, 3]."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((round(seconds * RATE_HZ), 3)) * 10 ** (NOISE_DBFS / 20)
    noise[:, 2] = 0.0
    return noise.astype(np.float32)


def packages(package: Path, count: int, folder: Path) -> list[str]:
    """That many packages with words of their own: this one, those shipped beside it, copies."""
    beside = sorted(path.parent for path in package.parent.glob("*/model.toml"))
    made = [str(package), *(str(path) for path in beside if path != package)]
    for number in range(len(made) + 1, count + 1):
        copy = folder / f"word{number}"
        shutil.copytree(package, copy)
        description = (copy / "model.toml").read_text()
        description = re.sub(r'(?m)^name = ".*"', f'name = "word{number}"', description, count=1)
        description = re.sub(
            r"(?m)^labels = \[.*\]", f'labels = ["word{number}"]', description, count=1
        )
        (copy / "model.toml").write_text(description)
        made.append(str(copy))
    return made


class Noise:
    """Plays room noise for as long as it is entered."""

    def __init__(self, microphone: VirtualMicrophone, seconds: float) -> None:
        self._thread = threading.Thread(
            target=self._play, args=(microphone, room_noise(seconds)), daemon=True
        )

    def _play(self, microphone: VirtualMicrophone, noise: np.ndarray) -> None:
        try:
            microphone.play(noise)
        except subprocess.CalledProcessError:
            pass  # The microphone was unplugged first: that is how a measurement ends.

    def start(self) -> None:
        """Play from now on."""
        self._thread.start()


def measure_memory(folder: Path, microphone: VirtualMicrophone, models: list[str]) -> None:
    """One line of the memory table."""
    daemon = RunningDaemon(folder, SETTINGS, microphone.environment, models)
    daemon.wait_ready()
    time.sleep(SETTLE_S)
    memory = daemon.memory_mb()
    libraries = sum(
        rss
        for rss, _, name in smaps_by_file(daemon.process.pid)
        if name.startswith("/usr/lib") and re.search(r"pulse|X11|xcb|systemd|vorbis|sndfile", name)
    )
    print(
        f"{len(models):>5} {memory['rss']:>8.1f} {memory['pss']:>8.1f} {memory['anonymous']:>10.1f}"
        f" {memory['peak']:>8.1f} {libraries:>14.1f} {daemon.open_files():>6}",
        flush=True,
    )
    daemon.stop()


def measure_starts(folder: Path, microphone: VirtualMicrophone, models: list[str], n: int) -> None:
    """Wall and CPU time to READY=1.

    Another listener keeps the sound server awake: one that nobody listened to delivers its first
    audio up to 2 s late, which no daemon can change and no sound card does.
    """
    listener = CaptureClock("virtmic", 3, microphone.environment)
    time.sleep(3.0)
    wall_s, cpu_s = [], []
    for number in range(n):
        daemon = RunningDaemon(folder / str(number), SETTINGS, microphone.environment, models)
        wall_s.append(daemon.wait_ready())
        cpu_s.append(daemon.cpu_s()["all"])
        daemon.stop()
    listener.stop()
    for name, values in (("wall", wall_s), ("CPU", cpu_s)):
        print(
            f"start to READY=1, {name}: median {statistics.median(values):.2f} s, "
            f"{min(values):.2f} to {max(values):.2f} s over {n} starts",
            flush=True,
        )


def measure_idle(
    folder: Path, microphone: VirtualMicrophone, models: list[str], idle_s: float, setting: str
) -> None:
    """CPU of each thread while nobody speaks."""
    settings = [*SETTINGS, *([setting] if setting else [])]
    daemon = RunningDaemon(folder, settings, microphone.environment, models)
    daemon.wait_ready()
    time.sleep(SETTLE_S)
    before, began_s = daemon.cpu_s(), time.monotonic()
    time.sleep(idle_s)
    after, passed_s = daemon.cpu_s(), time.monotonic() - began_s
    print(f"idle CPU over {passed_s:.0f} s, percent of one core:")
    for thread, seconds in after.items():
        share = 100.0 * (seconds - before.get(thread, 0.0)) / passed_s
        if share >= 0.01:
            print(f"  {thread:<24} {share:.2f}")
    sys.stdout.flush()
    daemon.stop()


def instructions(recording: Path, model: str, folder: Path) -> int:
    """Instructions of one replay."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind"]
    command += [sys.executable, "-m", "kwsd", "--replay", str(recording), "--model", model]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    counted = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or counted is None:
        sys.exit(f"valgrind: {done.stderr[-1000:]}")
    return int(counted.group(1))


def measure_instructions(folder: Path, model: str) -> None:
    """Instructions per second of audio, start excluded."""
    for name, take in (("room noise", room_noise(20.0)), ("living_room.flac", None)):
        if take is None:
            take, _ = sf.read(ROOT / "samples/living_room.flac", dtype="float32")
        counted = {}
        for seconds in (6, 18):
            recording = folder / f"{seconds}.wav"
            sf.write(recording, take[: seconds * RATE_HZ], RATE_HZ, subtype="PCM_16")
            counted[seconds] = instructions(recording, model, folder)
        each = (counted[18] - counted[6]) / 12
        print(
            f"{name}: {each / 1e6:.1f} million instructions per second of audio, "
            f"start {(counted[6] - 6 * each) / 1e6:.0f} million",
            flush=True,
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", type=Path, default=ROOT / "models/computer")
    parser.add_argument("--words", type=int, nargs="*", default=[1, 2, 4, 6])
    parser.add_argument("--set", default="", metavar="LINE", help="configuration for idle CPU")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--idle-s", type=float, default=60.0)
    parser.add_argument("--callgrind", action="store_true")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="kwsd") as name:
        folder = Path(name)
        models = packages(options.model.resolve(), max([1, *options.words]), folder)
        if options.callgrind:
            measure_instructions(folder, models[0])
        wanted_s = 30.0 * len(options.words) + 5.0 * options.starts + options.idle_s + 60.0
        microphone = plug_in(folder / "m", 3)
        Noise(microphone, wanted_s).start()
        try:
            if options.words:
                print("words   RSS MB   PSS MB  anonymous     peak  PulseAudio's  files")
            for count in options.words:
                measure_memory(folder / f"w{count}", microphone, models[:count])
            if options.starts:
                measure_starts(folder / "starts", microphone, models[:1], options.starts)
            if options.idle_s:
                measure_idle(folder / "idle", microphone, models[:1], options.idle_s, options.set)
        finally:
            microphone.stop()


if __name__ == "__main__":
    main()
