"""Rests of a live input: audio gathers meanwhile, and none of it is left behind."""

from __future__ import annotations

from collections import deque

import pytest
from live_bench import RATE_HZ, Bench, FakeClock, FakeDevice, GatheringDevice, MakeDevice

from kwsd.capture.health import AudioState
from kwsd.daemon.attention import REST_S

WORK_S = 0.01
"""What the rest of the loop takes between two reads."""


def gathering(period_ms: int) -> MakeDevice:
    def make(clock: FakeClock, script: deque[str]) -> FakeDevice:
        return GatheringDevice(clock, script, RATE_HZ * period_ms // 1000)

    return make


def rested(bench: Bench, seconds: float) -> tuple[int, GatheringDevice]:
    """Reads of a loop that rests, for a while, and its device."""
    until_s = bench.clock.now_s + seconds
    reads = 0
    while bench.clock.now_s < until_s:
        bench.input.read(0.1, REST_S)
        bench.clock.sleep(WORK_S)
        reads += 1
    (device,) = bench.devices
    assert isinstance(device, GatheringDevice)
    return reads, device


def test_a_rest_takes_what_has_gathered_in_one_read() -> None:
    bench = Bench(make=GatheringDevice)
    reads = [bench.input.read(0.1, rest_s=0.09) for _ in range(20)]
    blocks = [block for some in reads for block in some]
    assert max(len(some) for some in reads) >= 3
    assert bench.clock.now_s - 100.0 < 20 * 0.13
    starts = [block.start_sample for block in blocks]
    assert starts == list(range(0, 480 * len(blocks), 480))
    # Nothing is left behind for longer than the rest and a delivery.
    assert bench.clock.now_s - 100.0 - len(blocks) * 0.03 < 0.09 + 0.06


def test_a_hole_within_what_has_gathered_moves_the_counter_by_what_is_missing() -> None:
    bench = Bench(*["audio"] * 13, "gap", *["audio"] * 30, make=GatheringDevice)
    blocks = []
    while bench.clock.now_s < 101.6:
        blocks += bench.input.read(0.1, rest_s=0.09)
    marked = [index for index, block in enumerate(blocks) if block.gap]
    assert len(marked) == 1
    before, after = blocks[marked[0] - 1], blocks[marked[0]]
    assert abs(after.start_sample - before.start_sample - 480 - 8000) <= 480


def test_audio_that_gathered_before_the_device_was_lost_is_still_heard() -> None:
    bench = Bench(*["audio"] * 4, "lost", make=GatheringDevice)
    blocks = bench.input.read(0.1, rest_s=0.2)
    assert len(blocks) == 2
    assert bench.input.health.state is AudioState.LOST
    assert bench.devices[0].closed


@pytest.mark.parametrize("period_ms", [5, 10, 15, 20, 30, 100])
def test_a_loop_that_rests_keeps_up_whatever_the_length_of_a_delivery(period_ms: int) -> None:
    bench = Bench(make=gathering(period_ms))
    reads, device = rested(bench, 20.0)
    assert device.waiting_s < REST_S + 0.1
    assert device.dropped_s == 0.0 and bench.input.counters.gaps == 0
    # It still rests: what woke it up for each delivery would cost an idle board its power.
    assert reads < 20.0 / REST_S


@pytest.mark.parametrize("stall_s", [5.0, 10.0])
def test_what_a_full_ring_dropped_moves_the_counter(stall_s: float) -> None:
    """The hole lies behind four seconds that were kept, and is found when these are read."""
    bench = Bench(make=gathering(20))
    rested(bench, 2.0)
    bench.clock.sleep(stall_s)
    blocks = []
    until_s = bench.clock.now_s + 10.0
    while bench.clock.now_s < until_s:
        blocks += bench.input.read(0.1, REST_S)
        bench.clock.sleep(WORK_S)
    (device,) = bench.devices
    assert isinstance(device, GatheringDevice)
    assert device.dropped_s > stall_s - 4.0 - REST_S - 0.2
    assert [block.gap for block in blocks].count(True) == bench.input.counters.gaps == 1
    heard_s = blocks[-1].start_sample / RATE_HZ + 0.03
    assert heard_s == pytest.approx(bench.clock.now_s - 100.0 - device.waiting_s, abs=0.2)


@pytest.mark.parametrize("period_ms", [5, 20])
def test_a_stall_of_the_loop_is_caught_up_with_at_once(period_ms: int) -> None:
    bench = Bench(make=gathering(period_ms))
    rested(bench, 2.0)
    bench.clock.sleep(2.0)
    reads, device = rested(bench, 0.5)
    assert device.waiting_s < REST_S + 0.1
    assert device.dropped_s == 0.0 and bench.input.counters.gaps == 0
    # In pieces: bus and control socket are served between them.
    assert reads > 4
