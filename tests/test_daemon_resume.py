"""Behind a suspend what was given up is tried again, once; nothing else passes for a suspend."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from service_bench import ServiceBench

from kwsd.assemble import OpenModel
from kwsd.daemon.resume import SHORTEST_S, Resume, slept_s


def test_each_sleep_is_told_once() -> None:
    slept = 100.0
    resume = Resume(lambda: slept)
    assert resume.since_last_s() == 0.0
    slept += 7.0
    assert resume.since_last_s() == 7.0
    assert resume.since_last_s() == 0.0


def test_clocks_that_are_read_apart_are_no_sleep() -> None:
    slept = 100.0
    resume = Resume(lambda: slept)
    for apart_s in (0.4, -0.4, 0.0):
        slept = 100.0 + apart_s
        assert resume.since_last_s() == 0.0
    slept = 100.0 + SHORTEST_S
    assert resume.since_last_s() > 0.0


def test_a_machine_that_is_awake_does_not_sleep() -> None:
    before_s = slept_s()
    time.sleep(0.01)
    assert slept_s() - before_s < SHORTEST_S


def test_the_service_tries_runtimes_again_behind_a_suspend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path, "wake.models = ['computer', 'jarvis']")
    tried: list[str] = []
    counts: list[int] = []
    monkeypatch.setattr(OpenModel, "rearm", lambda model: tried.append(model.identity.keyword))
    bench.at(0.5, lambda: counts.append(len(tried)))
    bench.at(0.5, lambda: setattr(bench, "slept_s", 3600.0))
    bench.at(0.8, lambda: counts.append(len(tried)))
    bench.run(1.0, monkeypatch)
    assert counts == [0, 2]
    assert sorted(tried) == ["computer", "jarvis"]
