"""The input's state machine, with a clock that the test moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwsd.capture.health import AudioState, HealthSettings, InputHealth

SETTINGS = HealthSettings()
LIVE = np.array([[0.0, 0.1, -0.1], [0.1, 0.0, 0.1]], np.float32)
ZERO = np.zeros((2, 3), np.float32)
STILL = np.full((2, 3), 0.25, np.float32)


def fed(health: InputHealth, mics: np.ndarray, start_s: float, length_s: float) -> float:
    now_s = start_s
    while now_s < start_s + length_s:
        now_s += 0.02
        health.delivered(mics, now_s)
    return now_s


def test_audio_that_changes_runs() -> None:
    health = InputHealth(SETTINGS, 0.0)
    assert health.state is AudioState.OPENING and not health.good
    health.delivered(LIVE, 0.1)
    assert health.state is AudioState.RUNNING and health.good


@pytest.mark.parametrize(("mics", "state"), [(ZERO, AudioState.SILENT), (STILL, AudioState.STUCK)])
def test_unchanging_audio_is_a_fault_and_ends(mics: np.ndarray, state: AudioState) -> None:
    health = InputHealth(SETTINGS, 0.0)
    now_s = fed(health, LIVE, 0.0, 1.0)
    now_s = fed(health, mics, now_s, SETTINGS.silent_after_s - 0.1)
    assert health.state is AudioState.RUNNING
    now_s = fed(health, mics, now_s, 0.2)
    assert health.state is state and not health.good
    assert not health.faulty_too_long
    now_s = fed(health, mics, now_s, SETTINGS.reopen_faulty_after_s + 0.1)
    assert health.faulty_too_long
    fed(health, LIVE, now_s, 0.1)
    assert health.state is AudioState.RUNNING and not health.faulty_too_long


def test_a_reopened_device_gets_its_time_before_the_next_reopening() -> None:
    health = InputHealth(SETTINGS, 0.0)
    now_s = fed(health, ZERO, 0.0, 20.0)
    assert health.faulty_too_long
    health.opened(now_s)
    now_s = fed(health, ZERO, now_s, 5.0)
    assert not health.faulty_too_long


def test_a_device_that_opens_and_gives_nothing_is_lost_all_the_time() -> None:
    """Whoever waits for a minute of it, as an automation does, must see a minute of it."""
    health, states, now_s = InputHealth(SETTINGS, 0.0), set(), 0.0
    while now_s < 600.0:
        health.opened(now_s)
        states.add(health.state)
        now_s += SETTINGS.reopen_after_s
        assert health.waited(now_s)
        now_s += health.lost("the device delivers nothing", now_s)
    assert states == {AudioState.OPENING, AudioState.LOST}
    assert health.since_s == SETTINGS.reopen_after_s
    health.opened(now_s)
    health.delivered(LIVE, now_s)
    assert health.state is AudioState.RUNNING
    health.muted(now_s)
    health.opened(now_s)
    assert health.state is AudioState.OPENING


def test_a_source_that_is_silent_between_words_is_reopened_ever_more_seldom() -> None:
    """A noise gate, or a mute key: zeros, and a word now and then."""
    health, now_s = InputHealth(SETTINGS, 0.0), 0.0
    opened_at = []
    while now_s < 3600.0:
        quiet = 0.8 < now_s % 30.0
        now_s = fed(health, ZERO if quiet else LIVE, now_s, 0.2)
        if health.faulty_too_long:
            now_s += health.lost("opened again", now_s)
            health.opened(now_s)
            opened_at.append(now_s)
    assert opened_at[0] < 15.0, "a driver that came up dead is helped at once"
    assert len(opened_at) <= 10
    # What was well for a minute is helped at once again.
    now_s = fed(health, LIVE, now_s, SETTINGS.trusted_after_s + 0.5)
    now_s = fed(health, ZERO, now_s, SETTINGS.silent_after_s + SETTINGS.reopen_faulty_after_s + 0.5)
    assert health.faulty_too_long


def test_one_dead_microphone_of_two_is_told_but_words_are_heard() -> None:
    health = InputHealth(SETTINGS, 0.0)
    half = LIVE.copy()
    half[1] = 0.0
    fed(health, half, 0.0, 3.0)
    assert health.state is AudioState.RUNNING
    assert "[1]" in health.detail


def test_a_value_that_jumps_now_and_then_is_not_stuck() -> None:
    health = InputHealth(SETTINGS, 0.0)
    for step in range(400):
        health.delivered(np.full((1, 3), step % 7, np.float32), step * 0.02)
    assert health.state in (AudioState.OPENING, AudioState.RUNNING)


def test_nothing_delivered_asks_for_reopening() -> None:
    health = InputHealth(SETTINGS, 0.0)
    health.delivered(LIVE, 1.0)
    assert not health.waited(1.0 + SETTINGS.reopen_after_s - 0.1)
    assert health.waited(1.0 + SETTINGS.reopen_after_s)


def test_backoff_grows_to_its_cap_and_falls_after_a_good_while() -> None:
    health = InputHealth(SETTINGS, 0.0)
    waits = [health.lost("gone", 0.0) for _ in range(8)]
    assert waits[0] == SETTINGS.first_retry_s
    assert waits == sorted(waits) and waits[-1] == SETTINGS.longest_retry_s
    health.opened(100.0)
    now_s = fed(health, LIVE, 100.0, 1.0)
    assert health.lost("again", now_s) == SETTINGS.longest_retry_s
    health.opened(200.0)
    now_s = fed(health, LIVE, 200.0, SETTINGS.longest_retry_s + 0.1)
    assert health.lost("later", now_s) == SETTINGS.first_retry_s


@given(st.lists(st.sampled_from(["live", "zero", "still", "wait", "lost", "open"]), max_size=80))
def test_whatever_happens_live_audio_is_heard_and_waits_are_bounded(steps: list[str]) -> None:
    health = InputHealth(SETTINGS, 0.0)
    now_s = 0.0
    for step in steps:
        now_s += 0.5
        if step == "lost":
            wait_s = health.lost("x", now_s)
            assert SETTINGS.first_retry_s <= wait_s <= SETTINGS.longest_retry_s
            assert not health.good
        elif step == "open":
            health.opened(now_s)
        elif step == "wait":
            health.waited(now_s)
        else:
            health.delivered({"live": LIVE, "zero": ZERO, "still": STILL}[step], now_s)
            assert health.good or step != "live"
