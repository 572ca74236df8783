"""A reload leaves nothing of the old chain behind, though nothing makes the collector run."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kwsd.daemon import listening

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.service.soak_day import run_day  # noqa: E402
from benchmarks.service.soak_world import Fault, Kind, living_room_cycle  # noqa: E402

RELOADS = 3


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_old_chains_are_gone(no_collector: None, monkeypatch: pytest.MonkeyPatch) -> None:
    chains: list[weakref.ref[Any]] = []
    build = listening.build_chain

    def noted(*arguments: Any) -> Any:
        chain = build(*arguments)
        chains.append(weakref.ref(chain))
        return chain

    monkeypatch.setattr(listening, "build_chain", noted)
    faults = [Fault(1.0 + number, Kind.RELOAD, 0.0) for number in range(RELOADS)]
    run_day(living_room_cycle((0.0,), seed=1), faults, 5.0)
    assert len(chains) == 1 + RELOADS
    # The last one may wait for the collector: it ends with the service.
    assert [chain() for chain in chains[:-1]] == [None] * RELOADS
