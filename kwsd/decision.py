"""Decision: scores of one keyword become detections.

A moving average over the last steps of the package is compared with the threshold of the chosen
sensitivity. One utterance fires once: after a detection the keyword is disarmed until the average
has fallen below a lower threshold, and it stays quiet for a refractory time; the model is fed all
the while. A level gate, in dB below full scale and before any gain of the features, keeps silence
silent. What came close is kept as a near miss.

Times are sample positions at 16 kHz. Nothing here depends on how the audio was cut into blocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.errors import ConfigError

NEAR_MISSES_KEPT = 32
CURVE_POINTS = 150

# A slow rise of the score says that the word ended early in it; beyond this it says nothing.
_LONGEST_RISE_SAMPLES = SAMPLE_RATE_HZ // 2


@dataclass(frozen=True, slots=True)
class DecisionConfig:
    """Numbers of one keyword."""

    threshold: float
    """Smoothed score that is a detection, 0 to 1."""

    rearm_threshold: float
    """Smoothed score below which the next detection is armed; at most `threshold`."""

    refractory_s: float
    """Shortest time between two detections."""

    smoothing_steps: int
    """Model steps in the moving average."""

    level_gate_dbfs: float
    """No detection if nothing in the last second was this loud."""

    near_miss_threshold: float
    """Smoothed score from which an excursion is kept as a near miss; at most `threshold`."""

    delay_samples: int
    """Typical time from the end of the word to its detection, from the package."""

    word_samples: int
    """Typical length of the word, from the package."""

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0:
            raise ConfigError(f"threshold {self.threshold:g}: must be above 0 and at most 1")
        if self.rearm_threshold > self.threshold or self.near_miss_threshold > self.threshold:
            raise ConfigError("re-arm and near-miss thresholds must not exceed the threshold")
        if self.smoothing_steps < 1 or self.refractory_s < 0:
            raise ConfigError("smoothing needs at least one step, the refractory time at least 0 s")


@dataclass(frozen=True, slots=True)
class Detection:
    """The keyword was heard."""

    sample: int
    """End of the audio that was needed to say so."""

    score: float
    """Smoothed score at that moment."""

    threshold: float
    """What it had to reach."""

    onset_sample: int
    """Estimated start of the word: its end less the typical length."""

    end_sample: int
    """Estimated end of the word: from the package's typical delay and how fast the score rose."""


@dataclass(frozen=True, slots=True)
class NearMiss:
    """The score came close and fell again."""

    sample: int
    """Position of the highest smoothed score."""

    score: float
    """That score."""

    threshold: float
    """What it would have needed."""

    reason: str
    """``below threshold``, ``too quiet``, ``refractory`` or ``loudspeaker said it``."""

    curve: tuple[tuple[int, float], ...]
    """(sample, smoothed score) of the last steps up to the end of the excursion."""


class Heard(NamedTuple):
    """What a branch says of a moment."""

    score: float = 0.0
    """Smoothed."""

    lag_samples: int = 0
    """By how much the branch lags the stream: a word in it was that much earlier."""


NOTHING = Heard()


class Decision:
    """State machine of one keyword.

    Parameters
    ----------
    config : DecisionConfig
        Thresholds and times.
    """

    def __init__(self, config: DecisionConfig) -> None:
        self.config = config
        self.near_misses: deque[NearMiss] = deque(maxlen=NEAR_MISSES_KEPT)
        self._refractory_samples = round(config.refractory_s * SAMPLE_RATE_HZ)
        self._last_detection: int | None = None
        self.reset()

    def reset(self, start_sample: int = 0) -> None:
        """Forget scores after a gap; the refractory time goes on.

        Parameters
        ----------
        start_sample : int
            Position of the first sample after the gap; no word starts before it.
        """
        self.smoothed = 0.0
        self._start_sample = start_sample
        self._recent: deque[float] = deque(maxlen=self.config.smoothing_steps)
        self._curve: deque[tuple[int, float]] = deque(maxlen=CURVE_POINTS)
        self._armed = True
        self._rise_sample: int | None = None
        self._detected_here = False
        self._peak: tuple[float, int, str] | None = None

    def push(
        self,
        end_sample: int,
        score: float,
        level_dbfs: float,
        *,
        said_by_loudspeaker: bool = False,
        lag_samples: int = 0,
        beside: Heard = NOTHING,
    ) -> Detection | None:
        """Take the score of one model step.

        Parameters
        ----------
        end_sample : int
            End of the audio behind the score; rises from call to call.
        score : float
            Raw score, 0 to 1.
        level_dbfs : float
            Loudest level of the last second.
        said_by_loudspeaker : bool
            The reference itself holds the word: this is the device's own voice.
        lag_samples : int
            By how much what was heard lags the stream.
        beside : Heard
            The same moment on another branch; the larger score counts.

        Returns
        -------
        Detection or None
        """
        config = self.config
        self._recent.append(score)
        # Steps that have not been count as 0: a single high score at the start is not a word.
        own = Heard(sum(self._recent) / config.smoothing_steps, lag_samples)
        self.smoothed, lag_samples = own if own.score >= beside.score else beside
        self._curve.append((end_sample, self.smoothed))
        self._follow_rise(end_sample, score)

        detection = None
        if self.smoothed >= config.threshold and self._armed:
            blocked = self._blocked(end_sample, level_dbfs, said_by_loudspeaker)
            if blocked is None:
                detection = self._detect(end_sample, lag_samples)
            else:
                self._follow_near_miss(end_sample, blocked)
        elif self.smoothed >= config.near_miss_threshold:
            self._follow_near_miss(end_sample, "below threshold")
        if self.smoothed < config.rearm_threshold:
            self._armed = True
        if self.smoothed < config.near_miss_threshold:
            self._end_excursion()
        return detection

    def change(self, config: DecisionConfig) -> None:
        """Other thresholds and times from the next step on; what was learnt stays."""
        self.config = config
        self._refractory_samples = round(config.refractory_s * SAMPLE_RATE_HZ)
        if config.smoothing_steps != self._recent.maxlen:
            self._recent = deque(self._recent, maxlen=config.smoothing_steps)

    def flush(self) -> None:
        """The stream ends: keep a near miss that was under way."""
        self._end_excursion()

    def _blocked(self, end_sample: int, level_dbfs: float, loudspeaker: bool) -> str | None:
        if self._in_refractory(end_sample):
            return "refractory"
        if loudspeaker:
            return "loudspeaker said it"
        return "too quiet" if level_dbfs < self.config.level_gate_dbfs else None

    def _in_refractory(self, sample: int) -> bool:
        last = self._last_detection
        return last is not None and sample - last < self._refractory_samples

    def _detect(self, sample: int, lag_samples: int) -> Detection:
        self._armed = False
        self._detected_here = True
        self._peak = None
        self._last_detection = sample
        rise = sample if self._rise_sample is None else self._rise_sample
        rising = min(sample - rise, _LONGEST_RISE_SAMPLES)
        behind = lag_samples + max(self.config.delay_samples, rising)
        end = max(sample - behind, self._start_sample + 1)
        onset = max(end - self.config.word_samples, self._start_sample)
        return Detection(sample, self.smoothed, self.config.threshold, onset, end)

    def _follow_rise(self, end_sample: int, score: float) -> None:
        if score < self.config.near_miss_threshold:
            self._rise_sample = None
        elif self._rise_sample is None:
            self._rise_sample = end_sample

    def _follow_near_miss(self, sample: int, reason: str) -> None:
        # The slopes of a detection are no near misses of their own.
        if self._detected_here:
            return
        if self._peak is None or self.smoothed > self._peak[0]:
            self._peak = (self.smoothed, sample, reason)

    def _end_excursion(self) -> None:
        self._detected_here = False
        if self._peak is None:
            return
        score, sample, reason = self._peak
        self._peak = None
        self.near_misses.append(
            NearMiss(sample, score, self.config.threshold, reason, tuple(self._curve))
        )
