"""``kwsctl monitor``: levels, echo, scores and events of a running daemon, live."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kwsd.capture.health import AudioState
from kwsd.ctl.client import request
from kwsd.errors import EX_OK, UsageError
from kwsd.standard_output import reader_gone

_QUIETEST_DBFS = -90.0
_BAR = 30
_NOTHING = "-"


def run(options: argparse.Namespace) -> int:
    """Show frames until interrupted or nobody reads them, or one."""
    if not 0.05 <= options.interval_s <= 60.0:
        raise UsageError(f"--interval-s {options.interval_s:g}: must be 0.05 to 60")
    console = Console()
    state = request(options.control, "monitor")
    if options.once or options.json or not console.is_terminal or console.is_dumb_terminal:
        while True:
            if options.json:
                print(json.dumps(state), flush=True)
            else:
                console.print(frame(state))
            if options.once or reader_gone():
                return EX_OK
            time.sleep(options.interval_s)
            state = request(options.control, "monitor")
    with Live(frame(state), console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(frame(state), refresh=True)
            time.sleep(options.interval_s)
            state = request(options.control, "monitor")


def frame(state: Mapping[str, Any]) -> RenderableType:
    """One picture of a `monitor` answer."""
    return Group(_input(state), _levels(state), _words(state), _events(state))


def bar(fraction: float, width: int = _BAR) -> str:
    """A bar of `width` characters, filled from the left."""
    filled = 0 if not math.isfinite(fraction) else round(max(0.0, min(1.0, fraction)) * width)
    return "█" * filled + "·" * (width - filled)


def _input(state: Mapping[str, Any]) -> Text:
    audio = state["audio"]
    good = audio["state"] in ("running", "opening")
    text = Text(f"kwsd {state['version']}  up {state['up_s']:.0f} s  {audio['device']}  ")
    text.append(str(audio["state"]), style="green" if good else "bold red")
    if audio["detail"]:
        text.append(f": {audio['detail']}")
    text.append(
        f"  overruns {audio['overruns']}  dropped {audio['dropped_periods']}  gaps {audio['gaps']}"
    )
    return text


def _levels(state: Mapping[str, Any]) -> Table:
    meters = state["front_end"]
    if not AudioState(state["audio"]["state"]).flows:
        meters = {}  # what was last heard is no level of now
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = [
        (f"microphone {number}", level)
        for number, level in enumerate(meters.get("mic_level_dbfs", ()))
    ]
    if meters.get("reference_level_dbfs") is not None:
        rows.append(("reference", meters["reference_level_dbfs"]))
    for name, level in rows:
        table.add_row(name, bar(1.0 - level / _QUIETEST_DBFS), f"{level:6.1f} dBFS")
    drift = meters.get("drift_ppm")
    for name, value in (
        ("noise floor", _with_unit(meters.get("noise_floor_dbfs"), "dBFS")),
        ("echo return loss enhancement", _with_unit(meters.get("erle_db"), "dB")),
        ("echo delay", _with_unit(meters.get("echo_delay_ms"), "ms")),
        ("clock drift", _with_unit(drift, "ppm")),
        ("direction", _with_unit(meters.get("doa_deg"), "degrees")),
        ("clipped samples", str(meters.get("clipped_samples", _NOTHING))),
    ):
        table.add_row(name, value)
    return table


def _words(state: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("word", "highest score since the last frame", "needs", "runs on"):
        table.add_column(heading)
    for entry in state["keywords"]:
        score = state["scores"].get(entry["keyword"], {"now": 0.0, "highest": 0.0})
        name = entry["keyword"] if entry["enabled"] else f"{entry['keyword']} (off)"
        highest = float(score["highest"])
        table.add_row(
            Text(name),
            Text(
                f"{bar(highest)} {highest:.2f}",
                style="bold green" if highest >= entry["threshold"] else "",
            ),
            f"{entry['threshold']:.2f}",
            Text(f"{entry['runtime']} ({entry['runtime_reason']})"),
        )
    return table


def _events(state: Mapping[str, Any]) -> Text:
    from kwsd.ctl.events import as_line

    wakes = state["last_wakes"]
    lines = [as_line(event) for event in reversed(wakes)] or ["none since the start"]
    return Text("last wakes\n  " + "\n  ".join(lines))


def _with_unit(value: float | None, unit: str) -> str:
    return _NOTHING if value is None else f"{value:.1f} {unit}"
