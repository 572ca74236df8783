#!/usr/bin/env python3
"""Cost of the native DSP stage against SpeexDSP's echo canceller: instructions and CPU time.

    python benchmarks/native_cost.py

Needs gcc, valgrind and Debian's libspeexdsp1. Instructions are counted by callgrind, which repeats
to a fraction of a per cent on a busy machine; what the driver needs to make its audio is taken off.
CPU times are medians of interleaved runs of the same binary.
"""

from __future__ import annotations

import re
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
KINDS = {
    "detector": "kwsd, detector branch: two microphones, reference, features",
    "whole": "kwsd, whole stage: every branch, features of all four signals",
    "speex": "SpeexDSP MDF: one microphone, 256-sample frames, 320 ms tail",
}
COUNTED_S = 4
TIMED_S = 60
ROUNDS = 7


def main() -> None:
    """Build, count, time, print a table."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "native_cost"
        flags = ["-std=gnu99", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
        sources = [str(path) for path in sorted((ROOT / "dsp").glob("*.c"))]
        driver = str(ROOT / "benchmarks/native_cost.c")
        subprocess.run(
            ["gcc", *flags, f"-I{ROOT / 'dsp'}", driver, *sources, "-lm", "-ldl", "-o", program],
            check=True,
        )
        base = instructions(program, "none", folder)
        counts = {kind: (instructions(program, kind, folder) - base) / COUNTED_S for kind in KINDS}
        times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(ROUNDS):
            idle = cpu_s(program, "none")
            for kind in KINDS:
                times[kind].append((cpu_s(program, kind) - idle) / TIMED_S * 1000)
    print("| front end | million instructions per s of audio | CPU ms per s | to SpeexDSP |")
    print("| --- | --- | --- | --- |")
    speex_s = statistics.median(times["speex"])
    for kind, name in KINDS.items():
        median = statistics.median(times[kind])
        ratio = f"{counts[kind] / counts['speex']:.2f} / {median / speex_s:.2f}"
        print(f"| {name} | {counts[kind] / 1e6:.1f} | {median:.2f} | {ratio} |")


def instructions(program: Path, kind: str, folder: str) -> int:
    """Instructions of a whole run under callgrind."""
    result = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", str(program), kind]
        + [str(COUNTED_S)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Collected : (\d+)", result.stderr)
    assert found is not None, result.stderr
    return int(found[1])


def cpu_s(program: Path, kind: str) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(program), kind, str(TIMED_S)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
