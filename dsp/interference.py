"""Interference canceller: what the second microphone can predict of the first is taken out of it.

A noise that sounds on (a television, a fan, what the echo canceller left of a loudspeaker) comes
over a fixed path to both microphones, so the first can be predicted from the second; a talker who
begins comes over another path and stays. The filter must not have the time to learn the talker:
it is slow, it rests while the level jumps above its average, and what leaves is the error before
the update. The first microphone is delayed a little, so that it may be predicted from sound that
reaches the second one later.

An adaptive noise canceller after B. Widrow et al., "Adaptive noise cancelling: principles and
applications", Proc. IEEE 63 (1975), with the filter of `kwsd.dsp.kalman`. Speech from the direction
of the noise is taken out with it, and low frequencies, which differ little between microphones,
are weakened: the features' gain control takes that, a listener would not, so the voice branch
does without. Two channels that carry one signal (a mono recording stored as two) are recognised and
passed on: there the talker would go with the noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.kalman import HOP_SAMPLES, KalmanCanceller, ReferenceSpectra

FloatArray = NDArray[np.float32]

DELAY_SAMPLES = 128
"""Lag of the output: 8 ms."""

PARTITIONS = 4
KEEP = 0.9999
"""State transition: slow enough that a word leaves little in the filter."""

JUMP_POWER = 4.0
"""A block this much above the average power is somebody who begins to speak: nothing is learnt."""

AVERAGE_SHARE = 0.008
"""Share of a new 16 ms block in that average: time constant 2 s."""

LOWEST_POWER = 1e-10

COPY_RATIO = 0.01
"""Rooms leave more than this of a noise; what leaves less is one signal on two channels."""

COPY_SHARE = 0.03
WARM_BLOCKS = 94
"""Calm blocks, 1.5 s, before the filter is trusted."""


class InterferenceCanceller:
    """Two microphones to one signal, a block of `HOP_SAMPLES` at a time."""

    def __init__(self) -> None:
        self._second = ReferenceSpectra([PARTITIONS])
        self._filter = KalmanCanceller([PARTITIONS], keep=KEEP)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._filter.reset()
        self._average = np.float32(0.0)
        self._calm_power = self._left_power = np.float32(0.0)
        self._calm_blocks = 0
        self.restart()

    def restart(self) -> None:
        """Forget signals, keep what was learnt of the room: after a gap."""
        self._second.reset()
        self._past = np.zeros(DELAY_SAMPLES, np.float32)

    def process(
        self, first: FloatArray, second: FloatArray, usable: bool, learn: bool = True
    ) -> FloatArray:
        """Take a block of each microphone, float32 [HOP_SAMPLES]; the result lags.

        Parameters
        ----------
        first : ndarray
            Microphone that is listened to.
        second : ndarray
            The other one.
        usable : bool
            Whether it is fit to predict from; the first passes unchanged otherwise.
        learn : bool
            Whether the block may change the filter; a padded one may not.
        """
        joined = np.concatenate([self._past, first])
        delayed = joined[:HOP_SAMPLES]
        self._past = joined[HOP_SAMPLES:]
        self._second.push(second[None])
        power = np.float32(np.mean(first * first, dtype=np.float32)) + np.float32(LOWEST_POWER)
        if self._average == 0.0:
            self._average = power
        calm = power < np.float32(JUMP_POWER) * self._average
        bounded = min(power, np.float32(JUMP_POWER) * self._average)
        self._average += np.float32(AVERAGE_SHARE) * (bounded - self._average)
        if not usable:
            return delayed
        left = self._filter.predict(delayed, self._second, learn=bool(calm) and learn)
        if calm:
            self._calm_blocks = min(self._calm_blocks + 1, WARM_BLOCKS)
            share = np.float32(COPY_SHARE)
            self._calm_power += share * (np.float32(np.mean(delayed * delayed)) - self._calm_power)
            self._left_power += share * (np.float32(np.mean(left * left)) - self._left_power)
        copies = self._left_power < np.float32(COPY_RATIO) * self._calm_power
        # Wind or a finger at the second microphone, or a noise that has moved.
        adds = self._left_power > self._calm_power
        return delayed if copies or adds or self._calm_blocks < WARM_BLOCKS else left
