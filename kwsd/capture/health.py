"""Health of a live input: open, running, silent, stuck, lost, and when to try again.

The classic field failure is a process that is up and hears nothing. This state machine sees every
delivery and every wait in vain, and says what is the matter. It reads no clock itself: times
are given, so a test can play a month in a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from kwsd.block import FloatArray


class AudioState(StrEnum):
    """What the input does."""

    OPENING = "opening"
    """No audio yet."""

    RUNNING = "running"
    """Audio flows and changes."""

    SILENT = "silent"
    """Audio flows, but a microphone gives zeros only: a muted or dead converter."""

    STUCK = "stuck"
    """Audio flows, but a microphone repeats one value that is not zero."""

    LOST = "lost"
    """No audio; the device is tried again."""

    MUTED = "muted"
    """Closed on request."""

    @property
    def flows(self) -> bool:
        """Whether audio comes, whatever is in it."""
        return self in (AudioState.RUNNING, AudioState.SILENT, AudioState.STUCK)


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """Times, in seconds."""

    silent_after_s: float = 2.0
    """Unchanging samples for this long are a fault: a live microphone moves its lowest bit."""

    reopen_after_s: float = 2.0
    """A device that delivers nothing for this long is closed and opened again."""

    reopen_faulty_after_s: float = 10.0
    """So is one that is silent or stuck for this long: some drivers come back that way."""

    longest_faulty_s: float = 600.0
    """That time doubles with each such reopening, up to this: a source behind a noise gate gives
    zeros whenever nobody talks, and each reopening costs seconds of hearing."""

    trusted_after_s: float = 60.0
    """Audio that changes for this long without a fault ends the doubling."""

    first_retry_s: float = 0.25
    longest_retry_s: float = 2.5
    """Back-off doubles between these; its cap bounds how long a returned device goes unheard.

    A device that was just lost and now stalls goes unheard for `reopen_after_s` and this: the
    sum must stay below 5 s.
    """


class InputHealth:
    """State of one input.

    Parameters
    ----------
    settings : HealthSettings
        Times.
    now_s : float
        Monotonic time of the start.
    """

    def __init__(self, settings: HealthSettings, now_s: float) -> None:
        self._settings = settings
        self.state = AudioState.OPENING
        self.detail = ""
        self.since_s = now_s
        self._last_audio_s = now_s
        self._opened_s = now_s
        self._still_since_s: list[float | None] = []
        self._still_value: list[float] = []
        self._retry_s = settings.first_retry_s
        self._faulty_after_s = settings.reopen_faulty_after_s
        self._good_since_s: float | None = None

    @property
    def good(self) -> bool:
        """Whether words can be heard: what the service's watchdog is fed by."""
        return self.state is AudioState.RUNNING

    def opened(self, now_s: float) -> None:
        """The device was opened; one that was lost stays so until it delivers."""
        self._last_audio_s = self._opened_s = now_s
        self._still_since_s = []
        self._still_value = []
        self._good_since_s = None
        if self.state is not AudioState.LOST:
            self._become(AudioState.OPENING, "", now_s)

    def delivered(self, mics: FloatArray, now_s: float) -> None:
        """Take float32 [microphones, n], n > 0, as raw as they came."""
        self._last_audio_s = now_s
        if len(self._still_since_s) != len(mics):
            self._still_since_s = [None] * len(mics)
            self._still_value = [float("nan")] * len(mics)
        for number, mic in enumerate(mics):
            first = float(mic[0])
            # Two samples settle it for nearly every delivery of a live microphone.
            still = first == float(mic[-1]) and bool(np.all(mic == mic[0]))
            if not still:
                self._still_since_s[number] = None
            elif self._still_since_s[number] is None or first != self._still_value[number]:
                self._still_since_s[number] = now_s
            self._still_value[number] = first
        self._judge(now_s)

    def waited(self, now_s: float) -> bool:
        """Nothing came; True if the device is to be opened again."""
        return now_s - self._last_audio_s >= self._settings.reopen_after_s

    @property
    def faulty_too_long(self) -> bool:
        """Whether a silent or stuck device is to be opened again."""
        faulty = self.state in (AudioState.SILENT, AudioState.STUCK)
        held_s = self._last_audio_s - max(self.since_s, self._opened_s)
        return faulty and held_s >= self._faulty_after_s

    def lost(self, detail: str, now_s: float) -> float:
        """The device is gone or could not be opened; the time after which to try again, s."""
        if self.state in (AudioState.SILENT, AudioState.STUCK):
            self._faulty_after_s = min(2.0 * self._faulty_after_s, self._settings.longest_faulty_s)
        self._become(AudioState.LOST, detail, now_s)
        wait_s = self._retry_s
        self._retry_s = min(2.0 * self._retry_s, self._settings.longest_retry_s)
        return wait_s

    def muted(self, now_s: float) -> None:
        """The device was closed on request."""
        self._become(AudioState.MUTED, "", now_s)

    def _judge(self, now_s: float) -> None:
        settings = self._settings
        faults = []
        for number, since_s in enumerate(self._still_since_s):
            if since_s is not None and now_s - since_s >= settings.silent_after_s:
                faults.append(number)
        if faults and len(faults) == len(self._still_since_s):
            zero = all(self._still_value[number] == 0.0 for number in faults)
            state = AudioState.SILENT if zero else AudioState.STUCK
            self._become(state, f"microphones {faults} do not change", now_s)
            self._good_since_s = None
            return
        if any(since is None for since in self._still_since_s):
            detail = f"microphones {faults} do not change" if faults else ""
            self._become(AudioState.RUNNING, detail, now_s)
            if self._good_since_s is None:
                self._good_since_s = now_s
            # A device that fails again at once must keep its back-off.
            if now_s - self._good_since_s >= settings.longest_retry_s:
                self._retry_s = settings.first_retry_s
            if now_s - self._good_since_s >= settings.trusted_after_s:
                self._faulty_after_s = settings.reopen_faulty_after_s

    def _become(self, state: AudioState, detail: str, now_s: float) -> None:
        if state is not self.state:
            self.since_s = now_s
        self.state, self.detail = state, detail
