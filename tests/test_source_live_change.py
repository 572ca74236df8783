"""One live input takes the place of another: the stream goes on, and so does what was counted."""

from __future__ import annotations

import pytest
from live_bench import Bench, HungDevice

from kwsd.capture.device import DeviceUnavailable
from kwsd.capture.health import AudioState
from kwsd.errors import RuntimeUnavailable


def test_position_and_counters_go_on_behind_a_gap() -> None:
    bench = Bench(*["audio"] * 20, "lost")
    blocks = bench.run(1.0)
    counted = bench.input.counters
    assert counted.overruns == counted.openings == 2
    before, after = bench.input, bench.another()
    after.go_on_from(before)
    # Opened at once, after the other one was closed: the device can be open only once.
    assert len(bench.devices) == 3 and bench.devices[1].closed
    bench.input = after
    bench.clock.sleep(0.5)
    then = bench.run(0.5)
    assert then[0].gap and not any(block.gap for block in then[1:])
    missing = then[0].start_sample - (blocks[-1].start_sample + 480)
    assert abs(missing - 8000) <= 960
    assert after.counters.openings == after.counters.overruns == 3
    assert after.counters.gaps == counted.gaps + 1


@pytest.mark.parametrize(
    "refusal",
    [DeviceUnavailable("not there", "missing"), RuntimeUnavailable("no capture library")],
)
def test_where_the_new_one_cannot_be_opened_the_old_one_goes_on(
    refusal: RuntimeUnavailable,
) -> None:
    bench = Bench()
    blocks = bench.run(0.5)
    bench.refusals, bench.refusal = 1, refusal
    with pytest.raises(RuntimeUnavailable, match=str(refusal)):
        bench.another().go_on_from(bench.input)
    then = bench.run(0.5)
    assert then[0].gap and then[0].start_sample > blocks[-1].start_sample
    assert bench.input.health.state is AudioState.RUNNING
    assert bench.input.counters.openings == 2


def test_nothing_is_opened_beside_a_device_that_does_not_close() -> None:
    bench = Bench(make=HungDevice)
    bench.run(0.3)
    (hung,) = bench.devices
    assert isinstance(hung, HungDevice)
    try:
        with pytest.raises(DeviceUnavailable, match="fake does not close.* restart kwsd"):
            bench.another().go_on_from(bench.input)
        bench.run(3.0)
        assert bench.input.health.detail == "the device does not close"
        assert len(bench.devices) == 1
    finally:
        hung.release.set()


def test_a_muted_one_is_opened_by_its_unmuting_and_knows_what_does_not_close() -> None:
    bench = Bench(make=HungDevice)
    blocks = bench.run(0.3)
    (hung,) = bench.devices
    assert isinstance(hung, HungDevice)
    after = bench.another()
    try:
        for one in (bench.input, after):
            one.mute(True)
        after.go_on_from(bench.input)
        bench.input = after
        assert bench.run(1.0) == [] and len(bench.devices) == 1
        after.mute(False)
        assert bench.run(1.0) == [] and len(bench.devices) == 1
        assert after.health.detail == "the device does not close"
    finally:
        hung.release.set()
    then = bench.run_until_heard()
    assert then[0].gap and then[0].start_sample > blocks[-1].start_sample
