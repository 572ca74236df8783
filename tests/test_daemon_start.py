"""What the service manager is told of a start, with a microphone and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from service_bench import ServiceBench

from kwsd.capture.device import DeviceUnavailable
from kwsd.daemon.service import START_PATIENCE_S


def times(bench: ServiceBench, message: str) -> list[float]:
    """Seconds since the start at which something was told."""
    began_s = bench.notifier.told[0][0]
    return [now_s - began_s for now_s, told in bench.notifier.told if told == message]


def away(folder: Path) -> ServiceBench:
    bench = ServiceBench(folder, "audio.device = 'away'")
    bench.refused["away"] = DeviceUnavailable("away is not there", "missing")
    return bench


def test_first_audio_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = ServiceBench(tmp_path, "audio.device = 'here'")
    bench.run(5.0, monkeypatch)
    (ready,) = times(bench, "READY=1")
    assert ready < 1.0


def test_without_a_microphone_the_rest_of_the_machine_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = away(tmp_path)
    ready: list[object] = []
    bench.at(40.0, lambda: ready.append(bench.ask("status")["ready"]))
    bench.run(300.0, monkeypatch)
    (told,) = times(bench, "READY=1")
    assert START_PATIENCE_S <= told < START_PATIENCE_S + 1.0
    # Told is not heard: who asks learns that nothing came so far.
    assert ready == [False]
    # Another process would not find it sooner.
    fed = times(bench, "WATCHDOG=1")
    assert max(b - a for a, b in zip(fed, fed[1:], strict=False)) < 15.0
    assert fed[-1] > 280.0


def test_a_microphone_that_comes_late_is_heard_and_guarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = away(tmp_path)
    ready: list[object] = []
    bench.at(50.0, bench.refused.clear)
    bench.at(60.0, lambda: ready.append(bench.ask("status")["ready"]))

    def unplug() -> None:
        bench.refused["away"] = DeviceUnavailable("away is gone", "missing")
        bench.devices[-1].script.append("lost")

    bench.at(70.0, unplug)
    bench.run(200.0, monkeypatch)
    assert ready == [True]
    assert len(times(bench, "READY=1")) == 1
    # It has heard: a silence of the device from now on is for the watchdog.
    assert 65.0 < times(bench, "WATCHDOG=1")[-1] < 80.0


def test_a_reload_of_a_deaf_start_is_ended_as_it_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = away(tmp_path)
    bench.at(5.0, lambda: bench.ask("reload"))
    bench.at(30.0, lambda: bench.ask("reload"))
    bench.run(40.0, monkeypatch)
    told = [line for _, line in bench.notifier.told if line in ("READY=1", "RELOADING=1")]
    assert told == ["RELOADING=1", "READY=1", "RELOADING=1", "READY=1"]


def test_by_hand_a_missing_device_ends_the_start_and_a_mute_opens_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = away(tmp_path)
    bench.managed = False
    with pytest.raises(DeviceUnavailable, match="away is not there"):
        bench.run(5.0, monkeypatch)
    (tmp_path / "state.json").write_text('{"muted": true}')
    muted = ServiceBench(tmp_path, "audio.device = 'here'")
    muted.managed = False
    states: list[str] = []
    muted.at(1.0, lambda: states.append(muted.ask("status")["audio"]["state"]))
    muted.run(2.0, monkeypatch)
    assert muted.devices == [] and states == ["muted"]


def test_a_reload_asked_for_during_the_start_waits_for_its_end(tmp_path: Path) -> None:
    (tmp_path / "kwsd.toml").write_text(
        f"bus.endpoint = 'ipc://{tmp_path}/e'\nbus.control_endpoint = 'ipc://{tmp_path}/c'\n"
        "audio.device = 'hw:9'\n"
    )
    hurried = """
import os, signal, sys
import kwsd.daemon.run as run
from kwsd.cli import main
whole = run.raise_file_limit
def asked():
    os.kill(os.getpid(), signal.SIGHUP)
    whole()
run.raise_file_limit = asked
read = run.Service.reload
def reload(service):
    answer = read(service)
    service.requests.stop = True
    print("read again", flush=True)
    return answer
run.Service.reload = reload
sys.exit(main())
"""
    # Under a manager it waits for the device, and by hand it would end.
    manager = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "STATE_DIRECTORY": str(tmp_path)}
    command = [sys.executable, "-c", hurried, "--config", str(tmp_path / "kwsd.toml")]
    done = subprocess.run(
        command, env={**os.environ, **manager}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "read again\n"), done.stderr
