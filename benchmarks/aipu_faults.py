"""What a fault of the AIPU costs the stream: the step that it hits, and the steps behind it.

Against the TEST DOUBLE of the driver library: faults are scripted, jobs take no time. The step that
fails is made again on the CPU, so nothing is lost; it only comes late.

    python benchmarks/aipu_faults.py --rounds 20
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from aipu_double.build import build  # noqa: E402
from aipu_double.double import Double  # noqa: E402
from aipu_double.packages import AffineSession, affine_package, random_inputs  # noqa: E402

from kwsd.runtime.aipu.runtime import AipuRuntime, AipuSettings  # noqa: E402
from kwsd.runtime.failover import FailoverSession  # noqa: E402

STEP_MS = 20.0
FAULTS = ("job that never ends", "job that ends after 300 ms", "exception twice", "child killed")


class Clock:
    """Seconds that pass when the benchmark says so: no restart comes into a measurement."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def hit(session: FailoverSession, double: Double, fault: str) -> None:
    """Make the next step fail."""
    if fault == "child killed":
        assert session.active is not None
        os.kill(session.active.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    elif fault == "exception twice":
        first = double.calls("finish")
        double.script(f"finish {first} exception", f"finish {first + 1} exception")
    else:
        double.next("finish", "never" if "never" in fault else "late 300")


def measure(fault: str, rounds: int) -> np.ndarray:
    """ms of the step that fails and of the ten after it, one row a round."""
    with tempfile.TemporaryDirectory() as folder:
        device = Path(folder) / "device"
        device.mkdir()
        os.environ["AIPU_DOUBLE_DIR"] = str(device)
        double = Double(device, build(Path(folder) / "libaipudrv.so"))
        runtime = AipuRuntime(AipuSettings(Path("/dev/null"), double.library))
        package, clock = affine_package(Path(folder) / "affine"), Clock()
        inputs, rows = random_inputs(), []
        session = FailoverSession(
            package, runtime, AffineSession(), "cpu", lambda change: None, clock, 0
        )
        for _ in range(rounds):
            for _ in range(5):
                session.step(inputs)
            hit(session, double, fault)
            row = []
            for _ in range(11):
                before = time.perf_counter()
                session.step(inputs)
                row.append(1000 * (time.perf_counter() - before))
                time.sleep(STEP_MS / 1000)
            rows.append(row)
            while session.active is None:
                # A fault counts as the first one again after a minute.
                clock.now_s += 400.0
                session.step(inputs)
                time.sleep(0.01)
            clock.now_s += 400.0
        session.close()
        double.close()
    return np.array(rows)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print("against the test double, not silicon; ms, median and largest of", options.rounds)
    print(f"{'fault':28}{'the step it hits':>20}{'the ten after it':>20}")
    for fault in FAULTS:
        rows = measure(fault, options.rounds)
        cells = [f"{np.median(part):.2f}, {part.max():.2f}" for part in (rows[:, 0], rows[:, 1:])]
        print(f"{fault:28}{cells[0]:>20}{cells[1]:>20}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
