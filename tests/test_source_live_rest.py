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
    def make(clock: FakeClock, script: deque[str], rate_hz: int) -> FakeDevice:
        return GatheringDevice(clock, script, rate_hz, period_ms)

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


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000])
def test_what_gathered_after_a_loss_stands_where_it_came(rate_hz: int) -> None:
    # Two rests are as long as what comes before the loss: nothing of it has waited.
    assert 2 * REST_S == pytest.approx(15 * 0.02)
    bench = Bench(*["audio"] * 15, "lost", make=gathering(20), rate_hz=rate_hz)
    begin_s = bench.clock.now_s
    blocks = []
    while bench.clock.now_s < begin_s + 5.0:
        blocks += bench.input.read(0.1, REST_S)
    (first,) = [block for block in blocks if block.gap]
    passed_s = bench.devices[1].opened_s - begin_s
    # To a delivery's length: the last of several was complete some time before it was taken.
    assert first.start_sample / RATE_HZ == pytest.approx(passed_s, abs=0.02)


@pytest.mark.parametrize(
    ("period_ms", "rate_hz"),
    [*((period_ms, RATE_HZ) for period_ms in (5, 10, 15, 20, 30, 100)), (20, 48_000)],
)
def test_a_loop_that_rests_keeps_up_whatever_the_length_of_a_delivery(
    period_ms: int, rate_hz: int
) -> None:
    bench = Bench(make=gathering(period_ms), rate_hz=rate_hz)
    reads, device = rested(bench, 20.0)
    assert device.waiting_s < REST_S + 0.1
    assert device.dropped_s == 0.0 and bench.input.counters.gaps == 0
    # It still rests: what woke it up for each delivery would cost an idle board its power.
    assert reads < 20.0 / REST_S


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000])
@pytest.mark.parametrize("stall_s", [5.0, 10.0])
def test_what_a_full_ring_dropped_moves_the_counter(stall_s: float, rate_hz: int) -> None:
    """The hole lies behind four seconds that were kept, and is found when these are read."""
    bench = Bench(make=gathering(20), rate_hz=rate_hz)
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
