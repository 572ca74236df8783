"""Live input: blocks from a device that may vanish, fall silent or stop, and comes back.

It never blocks for longer than asked and never gives up: what is wrong is in `health`, and audio
behind a hole is marked, so the chain forgets what it must. The position in the stream goes on
through a hole by what is missing: by the device's own count as long as it is open, by the clock
where it was opened again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kwsd.block import BLOCK_SAMPLES, SAMPLE_RATE_HZ, Block, FloatArray
from kwsd.capture.device import CaptureDevice, DeviceCounters, DeviceLost, DeviceUnavailable, Period
from kwsd.capture.health import HealthSettings, InputHealth
from kwsd.capture.raw_ring import RawRing
from kwsd.errors import RuntimeUnavailable
from kwsd.source.base import SourceInfo
from kwsd.source.channels import ChannelMap
from kwsd.source.closing import Closing
from kwsd.source.resample import Resampler

OpenDevice = Callable[[], CaptureDevice]

CHANGE_PATIENCE_S = 1.0
"""The longer wait for a device whose place another takes: one that is slow does not hang."""

CATCH_UP_S = 0.1
"""Audio that one read takes beyond the rest before it; who finds more has no time to rest."""


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """How a device is listened to."""

    name: str
    """Device, for messages."""

    rate_hz: int
    """Of the device."""

    channels: int
    """Of the device."""

    discard_ms: int = 150
    """Thrown away after each open: converters settle."""


@dataclass(frozen=True, slots=True)
class LiveCounters:
    """What happened since the start, over all openings."""

    overruns: int = 0
    dropped_periods: int = 0
    openings: int = 0
    gaps: int = 0


class LiveInput:
    """Blocks from a device.

    Parameters
    ----------
    open_device : callable
        Opens the device; raises `RuntimeUnavailable`.
    settings : LiveSettings
        Device and rate.
    channel_map : ChannelMap
        Which channels are what.
    health : HealthSettings
        Times of the state machine.
    clock, sleep : callable
        Monotonic seconds, and waiting.
    """

    def __init__(
        self,
        open_device: OpenDevice,
        settings: LiveSettings,
        channel_map: ChannelMap,
        health: HealthSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._open_device = open_device
        self._settings = settings
        self._map = channel_map
        self._clock, self._sleep = clock, sleep
        self.health = InputHealth(health or HealthSettings(), clock())
        self.raw = RawRing(settings.rate_hz, settings.channels)
        self._device: CaptureDevice | None = None
        self._try_at_s = clock()
        self._past = LiveCounters()
        self._muted = False
        self._position = 0
        self._position_s: float | None = None
        self._next_frame: int | None = None
        """What this opening delivers next if nothing is missing; None before its first delivery."""

        self._gap = False
        self._behind = False
        self._more_waits = False
        self._held = np.zeros((0, len(channel_map.channels)), np.float32)
        used = list(channel_map.channels)
        self._columns = None if used == list(range(settings.channels)) else used
        """Channels to pick of a delivery; None where all of them are used as they come."""

        self._resampler = self._new_resampler()
        self._to_discard = 0
        self._closing = Closing()

    @property
    def info(self) -> SourceInfo:
        """What the blocks hold."""
        return SourceInfo(
            self._settings.name,
            len(self._map.mics),
            self._map.reference is not None,
            self._settings.rate_hz,
            self._settings.channels,
            None,
        )

    @property
    def channel_map(self) -> ChannelMap:
        """Which channels of the device are used."""
        return self._map

    @property
    def sample_bits(self) -> int:
        """Of the device's samples; 16 while it is closed."""
        known = self._device is not None and self._device.format.sample_format != "S16_LE"
        return 24 if known else 16

    @property
    def counters(self) -> LiveCounters:
        """Since the start."""
        now = DeviceCounters() if self._device is None else self._device.counters()
        return replace(
            self._past,
            overruns=self._past.overruns + now.overruns,
            dropped_periods=self._past.dropped_periods + now.dropped_periods,
        )

    def read(self, timeout_s: float, rest_s: float = 0.0) -> list[Block]:
        """Blocks that became complete.

        Parameters
        ----------
        timeout_s : float
            Longest wait for audio.
        rest_s : float
            Let deliveries gather for so long first, to wake up less often. After a read that took
            all that it may, nothing rests: whatever stalled the caller is caught up with.
        """
        if self._muted:
            self._sleep(timeout_s)
            return []
        if self._device is None and not self._open(timeout_s):
            return []
        most_s = 0.0
        if rest_s > 0.0:
            if not self._more_waits:
                self._sleep(rest_s)
            most_s = rest_s + CATCH_UP_S
        periods, ended = self._deliveries(timeout_s, most_s)
        now_s = self._clock()
        blocks: list[Block] = []
        behind_s = sum(len(period.samples) for period in periods) / self._settings.rate_hz
        for period in periods:
            # The last one came now, those before it earlier.
            behind_s -= len(period.samples) / self._settings.rate_hz
            blocks += self._take(period, now_s - behind_s)
            if self._device is None:
                return blocks
        if ended is not None:
            self._lose(ended)
        elif not periods and self.health.waited(now_s):
            self._lose("the device delivers nothing")
        return blocks

    def _deliveries(self, timeout_s: float, most_s: float) -> tuple[list[Period], str | None]:
        """The next delivery, what else is there up to a length, and why there will be no more."""
        assert self._device is not None
        periods: list[Period] = []
        taken_s = 0.0
        self._more_waits = False
        try:
            while not periods or taken_s < most_s:
                period = self._device.read(0.0 if periods else timeout_s)
                if period is None:
                    return periods, None
                periods.append(period)
                taken_s += len(period.samples) / self._settings.rate_hz
        except DeviceLost as error:
            return periods, str(error)
        self._more_waits = True
        return periods, None

    def open_now(self) -> None:
        """Open the device at once.

        Raises
        ------
        RuntimeUnavailable
            It cannot be; nothing will be tried again.
        """
        self._start(self._open_device())

    def go_on_from(self, before: LiveInput) -> None:
        """Close another input and open this one in its place, unless it is muted.

        Both may name one device, which can be open only once. Counters and the position in the
        stream go on; what is missed meanwhile is a gap. Where the other one has no device either,
        nothing is lost by waiting: this one opens with its reads, as often as it takes.

        Parameters
        ----------
        before : LiveInput
            Must not be read any more, except where this fails: then it opens its device again
            with its next read.

        Raises
        ------
        RuntimeUnavailable
            This one cannot be opened, or the other one does not close.
        """
        heard = before._device is not None
        before.close()
        self._closing = before._closing
        self._past = before._past
        before._drop_held()
        self._position, self._position_s = before._position, before._position_s
        if self._muted or not heard:
            return
        if not self._closing.ends_within(CHANGE_PATIENCE_S):
            raise DeviceUnavailable(
                f"audio.device = {before._settings.name} does not close, and none is opened beside "
                "one that hangs; unplug it, or restart kwsd",
                "busy",
            )
        self.open_now()

    def mute(self, muted: bool) -> None:
        """Close the device, so that nothing can be heard, or open it again."""
        if muted == self._muted:
            return
        self._muted = muted
        if muted:
            self.close()
            self.raw.close()
            self.health.muted(self._clock())
        else:
            self._try_at_s = self._clock()

    def close(self) -> None:
        """Release the device; may be called twice."""
        if self._device is None:
            return
        counted = self._device.counters()
        self._past = replace(
            self._past,
            overruns=self._past.overruns + counted.overruns,
            dropped_periods=self._past.dropped_periods + counted.dropped_periods,
        )
        self._closing.close(self._device)
        self._device = None

    def _open(self, timeout_s: float) -> bool:
        wait_s = self._try_at_s - self._clock()
        if wait_s > 0:
            self._sleep(min(wait_s, timeout_s))
            return False
        if self._closing.hangs:
            # Opened twice it would be busy, and whoever opens a hung driver hangs too.
            self.health.lost("the device does not close", self._clock())
            self._sleep(timeout_s)
            return False
        try:
            self._start(self._open_device())
        except RuntimeUnavailable as error:
            now_s = self._clock()
            self._try_at_s = now_s + self.health.lost(str(error), now_s)
            return False
        return True

    def _start(self, device: CaptureDevice) -> None:
        self._device = device
        self._past = replace(self._past, openings=self._past.openings + 1)
        self._more_waits = False
        self.health.opened(self._clock())
        self._to_discard = self._settings.rate_hz * self._settings.discard_ms // 1000
        self._next_frame = None
        self._restart()

    def _lose(self, why: str) -> None:
        now_s = self._clock()
        self._try_at_s = now_s + self.health.lost(why, now_s)
        self.close()

    def _restart(self) -> None:
        self._drop_held()
        self._gap = self._behind = self._position_s is not None

    def _drop_held(self) -> None:
        """What is held belongs to before the hole; it came, so it counts."""
        self._position += len(self._held) + len(self._resampler.flush())
        self._held = self._held[:0]
        self._resampler = self._new_resampler()

    def _take(self, period: Period, now_s: float) -> list[Block]:
        samples = period.samples
        if self._columns is not None:
            samples = samples[:, self._columns]
        self.health.delivered(samples[:, : len(self._map.mics)].T, now_s)
        if self.health.faulty_too_long:
            self._lose(f"opened again: {self.health.detail}")
            return []
        if self._to_discard > 0:
            self._to_discard -= len(samples)
            return []
        if period.gap:
            self._restart()
        self.raw.push(period.samples, self._behind)
        if self._behind and self._position_s is not None:
            # The sample counter is the only clock behind this: a hole must move it on.
            self._behind = False
            if self._next_frame is None:
                missing_s = now_s - len(samples) / self._settings.rate_hz - self._position_s
            else:
                missing_s = (period.first_frame - self._next_frame) / self._settings.rate_hz
            self._position += round(max(0.0, missing_s) * SAMPLE_RATE_HZ)
            self._past = replace(self._past, gaps=self._past.gaps + 1)
        self._position_s = now_s
        self._next_frame = period.first_frame + len(samples)
        return self._cut(self._resampler.process(samples))

    def _cut(self, fresh: FloatArray) -> list[Block]:
        self._held = np.concatenate([self._held, fresh]) if len(self._held) else fresh
        blocks = []
        while len(self._held) >= BLOCK_SAMPLES:
            mics, reference = self._map.split(self._held[:BLOCK_SAMPLES])
            blocks.append(Block(self._position, mics, reference, gap=self._gap))
            self._gap = False
            self._position += BLOCK_SAMPLES
            self._held = self._held[BLOCK_SAMPLES:]
        return blocks

    def _new_resampler(self) -> Resampler:
        return Resampler(self._settings.rate_hz, len(self._map.channels))
