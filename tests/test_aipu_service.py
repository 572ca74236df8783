"""The service with an AIPU (the test double) that stops answering while somebody speaks."""

import signal
import tempfile
from pathlib import Path

import soundfile as sf
from aipu_double.packages import compiled_copy
from test_live_service import ROOT, Running, microphone, pytestmark

from kwsd.ctl.client import request
from kwsd.runtime.litert import LiteRtRuntime

__all__ = ["microphone", "pytestmark"]

pytest_plugins = ("aipu_double.fixtures",)


def runtimes(running):
    """What the bus said of the runtimes, without repetitions."""
    told = []
    for event in running.events:
        if event["type"] == "runtime.state" and event["seq"] not in [e["seq"] for e in told]:
            told.append(event)
    return [(e["models"][0]["runtime"], e["models"][0]["reason"]) for e in told]


def test_word_is_heard_while_the_aipu_hangs(microphone, double, tmp_path):
    package = compiled_copy(tmp_path / "computer", ROOT / "models" / "computer")
    double.compute_with(package, LiteRtRuntime().open(package))
    settings = (
        f"wake.models = ['{package.path}']",
        "runtime.aipu_device = '/dev/null'",
        f"runtime.aipu_library = '{double.library}'",
    )
    samples, rate = sf.read(ROOT / "samples/living_room.flac", dtype="int16")
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        running = Running(Path(folder), microphone, *settings)
        try:
            running.until(lambda: "READY=1" in running.told)
            running.until(lambda: runtimes(running) == [("aipu", "start")])
            double.script("finish * never")
            microphone.play(samples[: 8 * rate])
            running.until(lambda: running.wakes())
            assert running.wakes()[0]["runtime"] == "litert"
            assert runtimes(running) == [("aipu", "start"), ("litert", "time-out")]
            (keyword,) = request(running.control, "status")["keywords"]
            assert (keyword["runtime"], keyword["runtime_reason"]) == ("litert", "time-out")
            assert "0x23 (time-out)" in keyword["runtime_detail"]
            metrics = request(running.control, "metrics")
            assert 'kwsd_runtime_failures_total{model="computer",reason="time-out"}' in metrics
            assert 'kwsd_runtime_preferred{model="computer"} 0' in metrics
            # The device is well again, and somebody says so.
            double.script()
            running.process.send_signal(signal.SIGHUP)
            running.until(lambda: runtimes(running)[-1][0] == "aipu")
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(10) == 0
        finally:
            running.close()
