"""The picture that ``kwsctl monitor`` draws, and what the daemon gives it."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from service_bench import ServiceBench

from kwsd import kwsctl
from kwsd.ctl import monitor
from kwsd.daemon.monitor_tap import LAST_WAKES, MonitorTap
from kwsd.dsp.frontend_frame import FrontEndFrame
from kwsd.dsp.metrics import Meter

WAKE = {
    "type": "wake",
    "name": "computer",
    "score": 0.93,
    "threshold": 0.5,
    "snr_db": 20.0,
    "echo": {"active": False},
}


def tap() -> MonitorTap:
    made = MonitorTap()
    nothing = np.zeros(0, np.float32)
    metrics = Meter(2).snapshot(True, 320, 12.5, None, 0, (False, False))
    made.frame(FrontEndFrame(0, nothing, nothing, nothing, nothing, metrics))
    for score in (0.2, 0.9, 0.3):
        made.score("computer", 0, score)
    return made


def answer(made: MonitorTap) -> dict[str, Any]:
    """As the control socket gives it."""
    state = {
        "version": "1",
        "up_s": 3.0,
        "audio": {
            "device": "hw:CARD=x",
            "state": "running",
            "detail": "",
            "overruns": 0,
            "dropped_periods": 0,
            "gaps": 0,
        },
        "keywords": [
            {
                "keyword": "computer",
                "enabled": True,
                "threshold": 0.5,
                "runtime": "litert",
                "runtime_reason": "configured",
            }
        ],
        **made.state(),
    }
    return json.loads(json.dumps(state, allow_nan=False))


def drawn(state: dict[str, Any]) -> str:
    out = io.StringIO()
    Console(file=out, width=120, force_terminal=False).print(monitor.frame(state))
    return out.getvalue()


def test_a_frame_shows_what_matters() -> None:
    made = tap()
    made.wake(WAKE)
    text = drawn(answer(made))
    for part in (
        "hw:CARD=x running",
        "microphone 0",
        "microphone 1",
        "reference",
        "echo delay 20.0 ms",
        "clock drift 12.5 ppm",
        "direction -",
        "0.90",
        "litert (configured)",
        "computer score 0.93 (needs 0.50), SNR 20 dB",
    ):
        assert part in " ".join(text.split()), text


@pytest.mark.parametrize("now", ["muted", "lost", "opening"])
def test_what_was_last_heard_is_no_level_of_now(now: str) -> None:
    state = answer(tap())
    assert "dBFS" in drawn(state)
    state["audio"]["state"] = now
    assert "dBFS" not in drawn(state)


def test_a_terminal_that_cannot_be_drawn_on_gets_frames_one_below_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(*arguments: object) -> dict[str, Any]:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)
        return answer(tap())

    asked: list[bool] = []
    dumb = Console(force_terminal=True, width=100)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(monitor, "request", ask)
    monkeypatch.setattr(monitor, "Console", lambda: dumb)
    options = argparse.Namespace(interval_s=0.05, control="", once=False, json=False)
    with pytest.raises(KeyboardInterrupt):
        monitor.run(options)
    assert "dBFS" in capsys.readouterr().out


def test_a_frame_before_any_audio() -> None:
    text = drawn(answer(MonitorTap()))
    assert "none since the start" in text and "computer" in text


def test_the_highest_score_begins_anew_with_each_poll() -> None:
    made = tap()
    assert made.state()["scores"] == {"computer": {"now": 0.3, "highest": 0.9}}
    made.score("computer", 0, 0.1)
    assert made.state()["scores"] == {"computer": {"now": 0.1, "highest": 0.1}}


def test_a_word_that_a_reload_removes_is_listed_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path, "wake.models = ['computer', 'jarvis']")
    listed: list[set[str]] = []

    def look() -> None:
        listed.append(set(bench.ask("monitor")["scores"]))

    def reload() -> None:
        look()
        bench.write_config("wake.models = ['jarvis']")
        bench.ask("reload")

    bench.at(2.0, reload)
    bench.at(4.0, look)
    bench.run(5.0, monkeypatch)
    assert listed == [{"computer", "jarvis"}, {"jarvis"}]


def test_memory_does_not_grow() -> None:
    made = tap()
    for number in range(3 * LAST_WAKES):
        made.wake({**WAKE, "n": number})
    wakes = made.state()["last_wakes"]
    assert [wake["n"] for wake in wakes] == list(range(2 * LAST_WAKES, 3 * LAST_WAKES))


@pytest.mark.parametrize(
    ("fraction", "filled"), [(-1.0, 0), (0.0, 0), (0.5, 5), (1.0, 10), (7.0, 10), (np.nan, 0)]
)
def test_bars(fraction: float, filled: int) -> None:
    assert monitor.bar(fraction, 10) == "█" * filled + "·" * (10 - filled)


def test_once_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(monitor, "request", lambda endpoint, command: answer(tap()))
    assert kwsctl.main(["monitor", "--once"]) == 0
    assert "echo delay" in capsys.readouterr().out
    assert kwsctl.main(["monitor", "--once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["front_end"]["echo_delay_ms"] == 20.0
    assert kwsctl.main(["monitor", "--interval-s", "0"]) == 64


def test_explain_draws_the_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="no matplotlib: install kwsd[plot]")
    from kwsd.ctl import client

    miss = {
        "keyword": "computer",
        "at_s": 12.0,
        "score": 0.4,
        "threshold": 0.5,
        "reason": "below threshold",
        "curve": [[11.0 + 0.02 * step, 0.4 * step / 50] for step in range(51)],
    }
    misses = [miss, {**miss, "at_s": 14.0}]
    monkeypatch.setattr(client, "request", lambda *a, **k: {"near_misses": misses})
    path = tmp_path / "curve.png"
    assert kwsctl.main(["explain", "last", "--count", "2", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "computer at 14.0 s" in capsys.readouterr().out
    assert kwsctl.main(["explain", "--plot", str(tmp_path / "no" / "x.png")]) == 73
    misses.clear()
    assert kwsctl.main(["explain", "--plot", str(path)]) == 64
    assert "no near miss to draw" in capsys.readouterr().err
    assert path.read_bytes().startswith(b"\x89PNG"), "what was there stays"
