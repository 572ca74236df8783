"""Which numbers the service tells a monitoring system."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kwsd.assemble import OpenModel
from kwsd.daemon.metrics import Metric, counter, gauge
from kwsd.dsp.frontend_frame import FrontEndFrame
from kwsd.dsp.metrics import FrontEndMetrics
from kwsd.source.live import LiveInput


class FrontEndGauges:
    """A tap of the chain that keeps the front end's last state."""

    def __init__(self) -> None:
        self.latest: FrontEndMetrics | None = None

    def frame(self, frame: FrontEndFrame) -> None:
        """Keep its metrics."""
        self.latest = frame.metrics

    def score(self, keyword: str, end_sample: int, smoothed: float) -> None:
        """Scores are of no concern here."""


def service_metrics(
    source: LiveInput,
    models: Sequence[OpenModel],
    wakes: Mapping[str, int],
    front_end: FrontEndMetrics | None,
) -> list[Metric]:
    """Everything, each name once.

    Parameters
    ----------
    source : LiveInput
        Input with its counters.
    models : sequence of OpenModel
        Keywords.
    wakes : mapping
        Wakes by keyword.
    front_end : FrontEndMetrics or None
        Last state of the DSP stage.
    """
    counted = source.counters
    states = tuple(
        ({"state": str(state)}, float(state is source.health.state))
        for state in type(source.health.state)
    )
    metrics = [
        Metric("kwsd_audio_state", "gauge", "1 for the state of the input.", states),
        counter("kwsd_audio_overruns", "Times the device lost audio.", counted.overruns),
        counter("kwsd_audio_dropped_periods", "Deliveries dropped.", counted.dropped_periods),
        counter("kwsd_audio_openings", "Times the device was opened.", counted.openings),
        counter("kwsd_audio_gaps", "Holes in the stream.", counted.gaps),
        Metric(
            "kwsd_wakes",
            "counter",
            "Wakes by keyword.",
            tuple(
                ({"word": model.identity.keyword}, float(wakes.get(model.identity.keyword, 0)))
                for model in models
            ),
        ),
        Metric(
            "kwsd_near_misses_kept",
            "gauge",
            "Near misses that kwsctl explain can show.",
            tuple(
                ({"word": model.identity.keyword}, float(len(model.decision.near_misses)))
                for model in models
            ),
        ),
        Metric(
            "kwsd_model",
            "info",
            "Models and where they run.",
            tuple(
                (
                    {
                        "model": model.identity.model,
                        "version": model.identity.model_version,
                        "runtime": model.identity.runtime,
                    },
                    1.0,
                )
                for model in models
            ),
        ),
    ]
    if front_end is None:
        return metrics
    if not source.health.state.flows:
        # What was last heard is no level of now.
        front_end = replace(
            front_end,
            mic_level_dbfs=(),
            reference_level_dbfs=None,
            noise_floor_dbfs=math.nan,
            snr_db=math.nan,
        )
    levels = tuple(
        ({"microphone": str(number)}, level)
        for number, level in enumerate(front_end.mic_level_dbfs)
    )
    return [
        *metrics,
        Metric("kwsd_input_level_dbfs", "gauge", "Level of each microphone.", levels),
        gauge(
            "kwsd_reference_level_dbfs", "Level of the reference.", front_end.reference_level_dbfs
        ),
        counter(
            "kwsd_clipped_samples", "Microphone samples at full scale.", front_end.clipped_samples
        ),
        gauge(
            "kwsd_clock_drift_ppm",
            "By how much the microphones' clock runs faster than the loudspeaker's.",
            front_end.drift_ppm,
        ),
        gauge("kwsd_erle_db", "Echo return loss enhancement.", front_end.erle_db),
        gauge(
            "kwsd_echo_delay_ms", "Delay of the echo behind the reference.", front_end.echo_delay_ms
        ),
        gauge("kwsd_noise_floor_dbfs", "Floor of the detector branch.", front_end.noise_floor_dbfs),
        gauge("kwsd_snr_db", "Detector branch over its floor.", front_end.snr_db),
    ]
