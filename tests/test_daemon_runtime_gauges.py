"""Metrics of the runtimes: every counter of a model's usage under a stable name."""

from kwsd.daemon.metrics import exposition
from kwsd.daemon.runtime_gauges import runtime_metrics
from kwsd.runtime.usage import UsageCount


def test_usage_becomes_metrics():
    count = UsageCount("computer")
    for microseconds in (100, 100, 5000):
        count.step("aipu", microseconds)
    count.step("litert", 900)
    count.failed("time-out")
    count.restarts, count.late_collected, count.late_lost = 2, 1, 3
    text = exposition(runtime_metrics([count.snapshot("litert", "open")]))
    for line in (
        'kwsd_runtime_steps_total{model="computer",runtime="aipu"} 3',
        'kwsd_runtime_steps_total{model="computer",runtime="litert"} 1',
        'kwsd_runtime_failures_total{model="computer",reason="time-out"} 1',
        'kwsd_runtime_restarts_total{model="computer"} 2',
        'kwsd_runtime_late_jobs_total{model="computer",end="collected"} 1',
        'kwsd_runtime_late_jobs_total{model="computer",end="lost"} 3',
        'kwsd_runtime_preferred{model="computer"} 0',
        'kwsd_runtime_step_seconds{model="computer",runtime="aipu",quantile="0.5"} 0.000128',
        'kwsd_runtime_step_seconds{model="computer",runtime="aipu",quantile="0.99"} 0.008192',
    ):
        assert line in text.splitlines()


def test_snapshot_stays_as_it_was():
    count = UsageCount("computer")
    count.step("litert", 10)
    before = count.snapshot("litert", "closed")
    count.step("litert", 10)
    count.failed("exception")
    assert (before.steps, before.failures) == ({"litert": 1}, {})
