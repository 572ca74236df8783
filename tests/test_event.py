"""Events: fields, order, rounding, the schema."""

import json
import math

import pytest

from kwsd.decision import Detection
from kwsd.dsp.metrics import FrontEndMetrics
from kwsd.event import ModelIdentity, to_json, wake_event
from kwsd.runtime.change import RuntimeChange

IDENTITY = ModelIdentity("computer", "computer", "0.1.0", "litert")
DETECTION = Detection(32033, 0.912345678, 0.85, 20000, 30000)
FIELDS = [
    "v",
    "type",
    "name",
    "score",
    "threshold",
    "onset_s",
    "end_s",
    "detected_s",
    "sample",
    "model",
    "model_version",
    "runtime",
    "snr_db",
    "doa_deg",
    "echo",
]


def metrics(**changes):
    values = {
        "mic_level_dbfs": (-30.0,),
        "reference_level_dbfs": None,
        "clipped_samples": 0,
        "bad_samples": 0,
        "erle_db": 23.456,
        "echo_delay_ms": 20.0,
        "drift_ppm": None,
        "echo_active": True,
        "noise_floor_dbfs": -60.0,
        "snr_db": 12.34,
        "doa_deg": None,
    }
    return FrontEndMetrics(**{**values, **changes})


def test_wake_event(validator):
    event = wake_event(DETECTION, IDENTITY, metrics())
    assert list(event) == FIELDS
    assert event["echo"] == {"active": True, "erle_db": 23.5}
    assert (event["score"], event["onset_s"], event["end_s"]) == (0.9123, 1.25, 1.875)
    assert (event["detected_s"], event["sample"], event["snr_db"]) == (2.002, 32033, 12.3)
    validator.validate(event)
    assert json.loads(to_json(event)) == event
    assert "\n" not in to_json(event)


def test_what_is_not_finite_is_null(validator):
    event = wake_event(DETECTION, IDENTITY, metrics(snr_db=math.nan, erle_db=math.inf))
    assert event["snr_db"] is None and event["echo"]["erle_db"] is None
    validator.validate(event)


def test_no_negative_zero():
    event = wake_event(DETECTION, IDENTITY, metrics(snr_db=-0.01))
    assert '"snr_db": 0.0' in to_json(event)


def test_names_stay_readable():
    event = wake_event(DETECTION, ModelIdentity("höre", "m", "1", "r"), metrics())
    assert "höre" in to_json(event)


@pytest.mark.parametrize(
    "message",
    [
        {
            "v": 1,
            "type": "audio.state",
            "source": "x",
            "microphones": 1,
            "reference": False,
            "sample_rate_hz": 16000,
            "seq": 0,
            "ts": "2030-01-01T00:00:00.000Z",
            "mono_ns": 1,
            "replay": True,
        },
        {
            "v": 1,
            "type": "runtime.state",
            "models": [RuntimeChange("m", "1", "litert", None, "no-device", "load it").table()],
        },
        {
            "v": 1,
            "type": "runtime.state",
            "changed": "m",
            "at_s": 1.5,
            "models": [RuntimeChange("m", "1", "litert", "aipu", "time-out", "late").table()],
        },
        {"v": 1, "type": "replay.end", "recording": "x", "events": 0},
    ],
)
def test_states_fit_the_schema(validator, message):
    validator.validate(message)


@pytest.mark.parametrize("missing", FIELDS)
def test_schema_wants_every_field(validator, missing):
    event = wake_event(DETECTION, IDENTITY, metrics())
    del event[missing]
    assert not validator.is_valid(event)


def test_schema_refuses_wrong_values(validator):
    event = wake_event(DETECTION, IDENTITY, metrics())
    for wrong in ({"v": 2}, {"type": "other"}, {"score": 1.5}, {"sample": -1}, {"name": ""}):
        assert not validator.is_valid({**event, **wrong})
