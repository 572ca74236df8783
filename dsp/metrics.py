"""Meters of the front end: levels, clipping, echo return loss enhancement, noise floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

LOWEST_DB = -120.0
CLIP_LEVEL = 0.999
SMOOTHING = 0.05
"""Share of a new 16 ms block in the slow averages: time constant 0.3 s."""

ECHO_ACTIVE_DBFS = -60.0
NOISE_RISE = 1.005
"""Growth of the level floor per block: 1.3 dB a second."""


def power_to_db(power: float) -> float:
    """Power to dB, never below -120."""
    return max(LOWEST_DB, 10.0 * float(np.log10(max(power, 1e-12))))


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
    """Samples that were not finite and were replaced by 0, since the start."""

    erle_db: float | None
    """Echo return loss enhancement: microphone over residual while the reference is active."""

    echo_delay_ms: float | None
    """Where the loudspeaker's sound arrives; None before it was found."""

    echo_active: bool
    """The loudspeaker is playing."""

    noise_floor_dbfs: float
    """Floor of the detector branch's level."""

    snr_db: float
    """Detector branch over its floor."""

    doa_deg: float | None
    """Direction of arrival; not estimated yet, always None."""


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
        self.erle_db: float | None = None
        self.floor_power: float | None = None
        self.clipped_samples = 0
        self.bad_samples = 0
        self._erle = np.zeros(2)

    @property
    def echo_active(self) -> bool:
        """Whether the reference has played within the last moments."""
        return power_to_db(self.reference_power) > ECHO_ACTIVE_DBFS

    def update(
        self, mics: FloatArray, reference: FloatArray, residual: FloatArray, used: int
    ) -> None:
        """Take one block: microphones [m, n], reference [n], residual [n] of microphone `used`."""
        powers = (mics.astype(np.float64) ** 2).mean(axis=1)
        self.mic_power += SMOOTHING * (powers - self.mic_power)
        played = float((reference.astype(np.float64) ** 2).mean())
        self.reference_power += SMOOTHING * (played - self.reference_power)
        left = float((residual.astype(np.float64) ** 2).mean())
        self.residual_power += SMOOTHING * (left - self.residual_power)
        if self.floor_power is None:
            self.floor_power = max(left, 1e-12)
        self.floor_power = max(1e-12, min(self.residual_power, self.floor_power * NOISE_RISE))
        if self.echo_active:
            self._erle += SMOOTHING * (np.array([powers[used], left]) - self._erle)
            self.erle_db = power_to_db(self._erle[0]) - power_to_db(self._erle[1])

    def snapshot(self, has_reference: bool, delay_samples: int | None) -> FrontEndMetrics:
        """The present values."""
        floor_db = power_to_db(self.floor_power or 0.0)
        return FrontEndMetrics(
            mic_level_dbfs=tuple(power_to_db(float(power)) for power in self.mic_power),
            reference_level_dbfs=power_to_db(self.reference_power) if has_reference else None,
            clipped_samples=self.clipped_samples,
            bad_samples=self.bad_samples,
            erle_db=self.erle_db,
            echo_delay_ms=None if delay_samples is None else delay_samples / 16.0,
            echo_active=has_reference and self.echo_active,
            noise_floor_dbfs=floor_db,
            snr_db=power_to_db(self.residual_power) - floor_db,
            doa_deg=None,
        )
