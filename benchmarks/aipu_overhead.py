"""Overhead of the AIPU path: parent to engine and back, without the job itself.

Against the TEST DOUBLE of the driver library, so this measures kwsd's own part (process switch,
shared memory, ctypes) and says nothing about a processor.

    python benchmarks/aipu_overhead.py --steps 5000
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from aipu_double.build import build  # noqa: E402
from aipu_double.double import Double  # noqa: E402
from aipu_double.packages import affine_package, random_inputs  # noqa: E402

from kwsd.runtime.aipu.runtime import AipuRuntime, AipuSettings  # noqa: E402

TARGET_MEDIAN_MS, TARGET_P99_MS = 0.3, 1.0


def measure(steps: int, period_ms: float) -> tuple[np.ndarray, float]:
    """Overheads in ms, one a step, and the time of the start in ms."""
    with tempfile.TemporaryDirectory() as folder:
        device = Path(folder) / "device"
        device.mkdir()
        os.environ["AIPU_DOUBLE_DIR"] = str(device)
        double = Double(device, build(Path(folder) / "libaipudrv.so"))
        settings = AipuSettings(Path("/dev/null"), double.library)
        package = affine_package(Path(folder) / "affine")
        before = time.perf_counter()
        session = AipuRuntime(settings).open(package)
        start_ms = 1000 * (time.perf_counter() - before)
        inputs, found = random_inputs(), np.empty(steps)
        for step in range(steps):
            before = time.perf_counter()
            session.step(inputs)
            after = time.perf_counter()
            found[step] = 1000 * (after - before) - session.last_job_us / 1000
            time.sleep(period_ms / 1000)
        session.close()
        double.close()
    return found, start_ms


def main() -> int:
    """Print the table; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument(
        "--period-ms", type=float, default=0.0, help="pause between steps; the daemon's is 20"
    )
    options = parser.parse_args()
    found, start_ms = measure(options.steps, options.period_ms)
    median, p99 = np.percentile(found, [50, 99])
    print("against the test double, not silicon")
    print(f"start to ready    {start_ms:8.1f} ms")
    print(f"overhead median   {median:8.3f} ms   target {TARGET_MEDIAN_MS}")
    print(f"overhead p99      {p99:8.3f} ms   target {TARGET_P99_MS}")
    print(f"overhead largest  {found.max():8.3f} ms   of {options.steps} steps")
    return int(median > TARGET_MEDIAN_MS or p99 > TARGET_P99_MS)


if __name__ == "__main__":
    sys.exit(main())
