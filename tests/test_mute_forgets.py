"""What was said before a mute is not handed out any more."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from service_bench import ServiceBench

from kwsd.dsp.frontend_frame import BranchDelays
from kwsd.errors import UsageError
from kwsd.preroll import PreRoll


def fed(preroll: PreRoll, start: int, count: int) -> None:
    voice = np.full(count, 0.5, np.float32)
    frame = SimpleNamespace(start_sample=start, voice=voice, delays=BranchDelays())
    preroll.frame(frame)  # type: ignore[arg-type]


def test_the_preroll_forgets_audio_and_wakes_and_goes_on_behind_it() -> None:
    preroll = PreRoll(1.0)
    fed(preroll, 0, 4000)
    preroll.name("a", 1000)
    preroll.forget()
    excerpt = preroll.fetch(None, 1000)
    assert (excerpt.pcm, excerpt.next_sample, excerpt.lost_samples) == (b"", 4000, 3000)
    with pytest.raises(UsageError, match="'a' is not known"):
        preroll.fetch("a", None)
    fed(preroll, 4000, 100)
    excerpt = preroll.fetch(None, 1000)
    assert (excerpt.first_sample, excerpt.lost_samples) == (4000, 3000)
    assert len(excerpt.pcm) == 200


def test_the_service_forgets_at_a_mute_and_not_at_an_unmuting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path)
    sizes: list[int] = []

    def fetch() -> None:
        sizes.append(len(bench.ask("preroll", from_sample=8000).data))

    def mute() -> None:
        fetch()
        bench.ask("mute")
        fetch()

    bench.at(2.0, mute)
    bench.at(3.0, lambda: bench.ask("unmute"))
    bench.at(5.0, fetch)
    bench.at(5.0, lambda: bench.ask("unmute"))
    bench.at(5.0, fetch)
    bench.run(5.5, monkeypatch)
    assert sizes[0] > 0 and sizes[1] == 0
    assert sizes[2] == sizes[3] > 0


def test_a_recording_does_not_go_on_behind_a_mute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path)
    recording: dict[str, object] = {}
    refusals: list[str] = []

    def record() -> None:
        begin = bench.ask("raw").result
        recording.update(from_frame=begin["next_frame"], stream=begin["stream"])

    def mute() -> None:
        assert len(bench.ask("raw", **recording).data) > 0
        bench.ask("mute")
        assert not bench.service.now.source.raw.is_open
        refusals.append(bench.fails("raw", **recording))

    bench.at(1.0, record)
    bench.at(2.0, mute)
    bench.at(2.5, lambda: bench.ask("unmute"))
    bench.at(3.5, lambda: refusals.append(bench.fails("raw", **recording)))
    bench.run(4.0, monkeypatch)
    muted, unmuted = refusals
    assert "kwsctl unmute" in muted and "was muted meanwhile" in unmuted


def test_a_mute_outlasts_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = ServiceBench(tmp_path)
    states: list[str] = []

    def state() -> None:
        states.append(bench.ask("status")["audio"]["state"])

    bench.at(1.0, lambda: bench.ask("mute"))
    bench.run(2.0, monkeypatch)
    opened = len(bench.devices)
    bench.at(1.0, state)
    bench.run(2.0, monkeypatch)
    assert len(bench.devices) == opened and states == ["muted"]
    bench.at(1.0, lambda: bench.ask("unmute"))
    bench.run(2.0, monkeypatch)
    bench.at(1.0, state)
    bench.run(2.0, monkeypatch)
    assert len(bench.devices) == opened + 2 and states == ["muted", "running"]
