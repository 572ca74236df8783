"""Meters of the front end: levels, clipping, echo return loss enhancement, noise floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

LOWEST_DB = -120.0
LOWEST_POWER = 1e-12
SMOOTHING = 0.05
"""Share of a new 16 ms block in the slow averages: time constant 0.3 s."""

ECHO_ACTIVE_DBFS = -60.0
FLOOR_SPAN_BLOCKS = 100
FLOOR_SPANS = 4
"""The noise floor is the smallest level of the last four spans of 1.6 s."""


def power_to_db(power: float) -> float:
    """Power to dB, never below -120."""
    return max(LOWEST_DB, 10.0 * float(np.log10(max(power, LOWEST_POWER))))


@dataclass(frozen=True)
class FrontEndMetrics:
    """State of the front end at the end of a frame."""

    mic_level_dbfs: tuple[float, ...]
    """Level of each microphone behind the DC blocker, 0.3 s average, dB re full scale."""

    reference_level_dbfs: float | None
    """Level of the reference; None without one."""

    clipped_samples: int
    """Microphone samples at full scale since the start."""

    bad_samples: int
    """Samples that were not finite or absurdly large and were replaced, since the start."""

    erle_db: float | None
    """Echo return loss enhancement: microphone over residual while the reference is active."""

    echo_delay_ms: float | None
    """Where the loudspeaker's sound arrives; None before it was found."""

    drift_ppm: float | None
    """By how much the microphones' clock runs faster than the loudspeaker's; None before a drift
    was found."""

    echo_active: bool
    """The loudspeaker is playing."""

    noise_floor_dbfs: float
    """Smallest level behind the echo canceller within the last seconds; two microphones are not
    combined there yet."""

    snr_db: float
    """Level there over that floor."""

    doa_deg: float | None
    """Direction of arrival: degrees from straight ahead towards microphone 0. None without two
    microphones of known distance, or where nothing is clear."""

    microphone: int = 0
    """Microphone that the branches listen to."""

    dead_microphones: tuple[int, ...] = ()
    """Microphones whose samples do not change at all."""


class LevelFloor:
    """Smallest value of a level within the last `FLOOR_SPANS` spans, in bounded memory.

    Minimum statistics after R. Martin, "Noise power spectral density estimation based on
    optimal smoothing and minimum statistics", IEEE Trans. Speech and Audio Processing 9 (2001),
    for one broadband level.
    """

    def __init__(self) -> None:
        self._minima: list[float] = []
        self._current = np.inf
        self._blocks = 0

    def update(self, power: float) -> float:
        """Take the smoothed power of one block, give the floor."""
        self._current = min(self._current, power)
        floor = min([self._current, *self._minima])
        self._blocks += 1
        if self._blocks == FLOOR_SPAN_BLOCKS:
            self._minima = [*self._minima, self._current][-(FLOOR_SPANS - 1) :]
            self._current, self._blocks = np.inf, 0
        return max(floor, LOWEST_POWER)


class Meter:
    """Running averages behind `FrontEndMetrics`."""

    def __init__(self, microphones: int) -> None:
        self._microphones = microphones
        self.reset()

    def reset(self) -> None:
        """Start again; counters too."""
        self.mic_power = np.zeros(self._microphones)
        self.reference_power = 0.0
        self.residual_power = 0.0
        self.floor_power = LOWEST_POWER
        self.erle_db: float | None = None
        self.clipped_samples = 0
        self.bad_samples = 0
        self._blocks = 0
        self._floor = LevelFloor()
        self._echo_power = np.zeros(2)

    @property
    def echo_active(self) -> bool:
        """Whether the reference has played within the last moments."""
        return power_to_db(self.reference_power) > ECHO_ACTIVE_DBFS

    def update(
        self, mics: FloatArray, reference: FloatArray, residual: FloatArray, used: int
    ) -> None:
        """Take one block: microphones [m, n], reference [n], residual [n] of microphone `used`."""
        powers = np.mean(mics.astype(np.float64) ** 2, axis=1)
        played = float(np.mean(reference.astype(np.float64) ** 2))
        left = float(np.mean(residual.astype(np.float64) ** 2))
        # An average would never be rid of what is not finite.
        if not np.isfinite([*powers, played, left]).all():
            return
        # Plain averages until the first 0.3 s are over: no climb from zero.
        self._blocks += 1
        share = max(SMOOTHING, 1.0 / self._blocks)
        self.mic_power += share * (powers - self.mic_power)
        self.reference_power += share * (played - self.reference_power)
        self.residual_power += share * (left - self.residual_power)
        self.floor_power = self._floor.update(self.residual_power)
        if self.echo_active:
            self._echo_power += SMOOTHING * (np.array([powers[used], left]) - self._echo_power)
            self.erle_db = power_to_db(self._echo_power[0]) - power_to_db(self._echo_power[1])

    def snapshot(
        self,
        has_reference: bool,
        delay_samples: int | None,
        drift_ppm: float,
        doa_deg: float | None,
        microphone: int,
        dead: tuple[bool, ...],
    ) -> FrontEndMetrics:
        """The present values."""
        floor_db = power_to_db(self.floor_power)
        return FrontEndMetrics(
            mic_level_dbfs=tuple(power_to_db(float(power)) for power in self.mic_power),
            reference_level_dbfs=power_to_db(self.reference_power) if has_reference else None,
            clipped_samples=self.clipped_samples,
            bad_samples=self.bad_samples,
            erle_db=self.erle_db,
            echo_delay_ms=None if delay_samples is None else delay_samples / 16.0,
            drift_ppm=drift_ppm if drift_ppm != 0.0 else None,
            echo_active=has_reference and self.echo_active,
            noise_floor_dbfs=floor_db,
            snr_db=power_to_db(self.residual_power) - floor_db,
            doa_deg=doa_deg,
            microphone=microphone,
            dead_microphones=tuple(index for index, gone in enumerate(dead) if gone),
        )
