"""A disabled keyword is heard by nobody, until it is enabled; the others go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from service_bench import ServiceBench
from test_event import DETECTION, IDENTITY, metrics

from kwsd.block import Block
from kwsd.event import wake_event

KEYWORDS = ("computer", "jarvis")
BOTH_WORDS = [
    wake_event(DETECTION, replace(IDENTITY, keyword=name), metrics()) for name in KEYWORDS
]
BLOCK = Block(32_000, np.zeros((2, 480), np.float32), np.zeros(480, np.float32))


def test_a_disabled_keyword_does_not_wake_and_the_others_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path, "wake.models = ['computer', 'jarvis']")
    published: list[list[str]] = []
    enabled: list[dict[str, bool]] = []

    def say() -> None:
        """Both words in one block."""
        before = len(bench.bus.events)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bench.service.now.chain, "process", lambda block: BOTH_WORDS)
            bench.service._process(BLOCK)
        new = bench.bus.events[before:]
        published.append([event["name"] for event in new if event["type"] == "wake"])
        status = bench.ask("status")
        assert status["wakes"] == sum(len(names) for names in published)
        enabled.append({entry["keyword"]: entry["enabled"] for entry in status["keywords"]})

    bench.at(0.5, say)
    bench.at(0.5, lambda: bench.ask("disable", keyword="computer"))
    bench.at(0.5, say)
    bench.at(0.5, lambda: bench.ask("enable", keyword="computer"))
    bench.at(0.5, say)
    bench.run(1.0, monkeypatch)
    assert published == [["computer", "jarvis"], ["jarvis"], ["computer", "jarvis"]]
    assert [of["computer"] for of in enabled] == [True, False, True]
    assert all(of["jarvis"] for of in enabled)
