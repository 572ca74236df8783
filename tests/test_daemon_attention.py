"""Attention: a quiet room lets audio gather, anything else does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwsd.daemon.attention import HOLD_S, LIVELY_SNR_DB, REST_S, WAKE_HOLD_S, Attention
from kwsd.dsp.metrics import Meter

QUIET = Meter(2).snapshot(True, None, 0.0, None, 0, (False, False))
SPEECH = replace(QUIET, snr_db=12.0)
MUSIC = replace(QUIET, echo_active=True)


def test_nothing_waits_before_there_was_audio() -> None:
    attention = Attention()
    assert attention.rest_s(None, 100.0) == 0.0
    assert attention.rest_s(QUIET, 100.0 + HOLD_S / 2) == 0.0
    assert attention.rest_s(QUIET, 100.0 + HOLD_S) == REST_S


@pytest.mark.parametrize("lively", [SPEECH, MUSIC])
def test_speech_and_playback_are_looked_at_at_once_and_for_a_while(lively) -> None:
    attention = Attention()
    assert attention.rest_s(QUIET, 10.0) == REST_S
    assert attention.rest_s(lively, 10.2) == 0.0
    assert attention.rest_s(QUIET, 10.2 + 0.9 * HOLD_S) == 0.0
    assert attention.rest_s(QUIET, 10.3 + HOLD_S) == REST_S


def test_a_command_behind_a_wake_comes_smoothly_however_quiet() -> None:
    attention = Attention()
    attention.woke(10.0)
    assert attention.rest_s(SPEECH, 10.1) == 0.0
    assert attention.rest_s(QUIET, 10.0 + 0.9 * WAKE_HOLD_S) == 0.0
    assert attention.rest_s(QUIET, 10.0 + WAKE_HOLD_S) == REST_S


@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.floats(0.0, 30.0)), max_size=60))
def test_it_rests_only_where_nothing_was_loud_for_the_hold(looks) -> None:
    attention, now_s, loud_s = Attention(), 50.0, float("-inf")
    for after_s, snr_db in looks:
        now_s += after_s
        if snr_db >= LIVELY_SNR_DB:
            loud_s = now_s
        rests = attention.rest_s(replace(QUIET, snr_db=snr_db), now_s) > 0.0
        assert rests == (now_s >= loud_s + HOLD_S)
