"""Linear echo canceller: a partitioned-block frequency-domain Kalman filter, one per microphone.

Sources: G. Enzner and P. Vary, "Frequency-domain adaptive Kalman filter for acoustic echo
control in hands-free telephones", Signal Processing 86 (2006); F. Kuech, E. Mabande, G. Enzner,
"State-space architecture of the partitioned-block-based acoustic echo controller", ICASSP 2014.
Variant: diagonal state covariance, overlap-save with half-filled blocks, any number of input
channels (the reference and its companions) with an echo path each. The Kalman gain takes the
place of a double-talk detector: it falls where the near end is loud.

Limits: the gradient constraint is applied to a quarter of the partitions in turn, which costs
a little convergence; a clock drift of 50 ppm between reference and microphone costs more than any
constant here can win back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ComplexArray = NDArray[np.complex64]

HOP_SAMPLES = 256
"""Block of the canceller: 16 ms."""

BINS = HOP_SAMPLES + 1
KEEP = 0.997
"""State transition: how much of the echo path is expected to stay from block to block."""

START_VARIANCE = 0.5
COMPANION_START_VARIANCE = 0.05
"""Of channels behind the first: they are weak, and must not be learnt before it."""

CONSTRAINT_GROUPS = 4
NEAR_SMOOTHING = 0.2
SILENT_POWER = 1e-9
"""Mean power of a reference that plays nothing: -90 dBFS."""

DEAD_POWER = 1e-12
"""Mean power of a microphone that gives nothing: -120 dBFS."""

DIVERGED_RATIO = 2.0
LEVEL_SMOOTHING = 0.25
"""Share of a new block in the averages that recognise a change of level."""

LEVEL_LIKENESS = 0.95
"""Squared correlation of error and echo above which the error is an echo of another level."""

LEVEL_PLAIN = 0.98
"""The same within a single block."""

LEVEL_UNCHANGED = (0.3, 3.0)
"""Changes of amplitude between these are left to the filter."""

LEVEL_LEAST = 0.01
LEVEL_MEMORY_BLOCKS = 125
"""A change of level is believed within 2 s after the paths were good."""

GOOD_RATIO = 0.1
"""Error over microphone, in power, of good paths."""

PATH_SMOOTHING = 0.03
"""Share of a new block in the averages that recognise another path: half a second."""

PATH_LOST = 0.4
"""Part of the expected echo that must be missing for paths to be in doubt."""

PATH_HEARD = 0.8
"""Least power of the expected echo over that of the microphone for which it is asked."""

COUPLING_SMOOTHING = 0.01
"""Share of a new block in what the paths are remembered to pass on: 1.6 s of heard echo."""

HEARD_LIKENESS = 0.1
"""Squared correlation of microphone and expected echo above which that echo is heard."""

MUTED_RATIO = 0.05
"""Expected echo over what the paths are remembered to pass on, in power, below which a
loudspeaker whose echo is not heard is muted."""


class ReferenceSpectra:
    """Spectra of the last blocks of every channel, shared by the filters of all microphones.

    Parameters
    ----------
    partitions : sequence of int
        Blocks that are kept of each channel; the first channel is the reference.
    """

    def __init__(self, partitions: Sequence[int]) -> None:
        self.partitions = tuple(partitions)
        ends = np.cumsum(self.partitions)
        self.rows = tuple(
            slice(int(end) - count, int(end))
            for end, count in zip(ends, self.partitions, strict=True)
        )
        """Rows of each channel in `spectra`, newest block first."""

        total = int(ends[-1])
        self.spectra = np.zeros((total, BINS), np.complex64)
        self.conjugate = np.zeros((total, BINS), np.complex64)
        self.power = np.zeros((total, BINS), np.float32)
        self._block_power = np.zeros(self.partitions[0])
        self._past = np.zeros((len(self.partitions), HOP_SAMPLES), np.float32)

    @property
    def silent(self) -> bool:
        """Whether nothing that the filters can reach has been played."""
        return bool(self._block_power.max() < SILENT_POWER)

    @property
    def played_power(self) -> float:
        """Mean power of what the filters can reach."""
        return float(self._block_power.mean())

    @property
    def newest_silent(self) -> bool:
        """Whether the last block is silent.

        After an under-run the loudspeaker may go on with what the reference does not show: nothing
        is to be learnt from that.
        """
        return bool(self._block_power[0] < SILENT_POWER)

    def reset(self) -> None:
        """Forget the past: nothing of it may be cancelled with after a gap."""
        for state in (self.spectra, self.conjugate, self.power, self._block_power, self._past):
            state[:] = 0

    def push(self, block: FloatArray) -> None:
        """Take the next float32 [channels, HOP_SAMPLES]."""
        newest = np.fft.rfft(np.concatenate([self._past, block], axis=1), axis=1)
        self._past = block.copy()
        for channel, rows in enumerate(self.rows):
            for state in (self.spectra, self.conjugate, self.power):
                state[rows.start + 1 : rows.stop] = state[rows.start : rows.stop - 1]
            self.spectra[rows.start] = newest[channel]
            self.conjugate[rows.start] = np.conj(newest[channel])
            self.power[rows.start] = newest[channel].real ** 2 + newest[channel].imag ** 2
        self._block_power[1:] = self._block_power[:-1]
        self._block_power[0] = np.mean(block[0].astype(np.float64) ** 2)


class KalmanCanceller:
    """Echo paths to one microphone.

    Parameters
    ----------
    partitions : sequence of int
        Length of each channel's path in blocks of 16 ms, as `ReferenceSpectra` has them.
    keep : float
        State transition; nearer to 1 is slower.
    """

    def __init__(self, partitions: Sequence[int], keep: float = KEEP) -> None:
        self.partitions = tuple(partitions)
        self._keep2 = keep**2
        self.reset()

    def reset(self) -> None:
        """Forget the echo paths."""
        shape = (sum(self.partitions), BINS)
        self.path = np.zeros(shape, np.complex64)
        self._variance = np.full(shape, START_VARIANCE, np.float32)
        self._variance[self.partitions[0] :] = COMPANION_START_VARIANCE
        self._near_power = np.full(BINS, 1e-6, np.float32)
        self._mic_power = self._error_power = 1e-9
        self._level = np.zeros(3)
        self._path = np.zeros(3)
        self._path_known = False
        self._coupling = 0.0
        self._muted = False
        self._turn = self._good_blocks = 0

    def shift(self, partitions: int) -> None:
        """Move the paths by whole partitions after the reference was delayed by as many fewer."""
        end = 0
        for channel, count in enumerate(self.partitions):
            start, end = end, end + count
            unknown = START_VARIANCE if channel == 0 else COMPANION_START_VARIANCE
            for state, fill in ((self.path, 0.0), (self._variance, unknown)):
                state[start:end] = np.roll(state[start:end], partitions, axis=0)
                if partitions > 0:
                    state[start : min(start + partitions, end)] = fill
                elif partitions < 0:
                    state[max(start, end + partitions) : end] = fill

    def process(
        self, mic: FloatArray, reference: ReferenceSpectra, learn: bool = True
    ) -> tuple[FloatArray, FloatArray]:
        """Cancel one block.

        Parameters
        ----------
        mic : ndarray, float32 [HOP_SAMPLES]
            Microphone.
        reference : ReferenceSpectra
            Already holds the reference of this block.
        learn : bool
            Whether the block may change the paths; a padded one may not.

        Returns
        -------
        error, echo : ndarray, float32 [HOP_SAMPLES]
            What is left of the microphone after this block's update, and the echo estimate.
            While the reference is silent, or the microphone is, nothing is changed or learnt;
            while the newest block of the reference is, nothing is learnt; while the loudspeaker
            is muted, nothing is changed.
        """
        # A dead or muted microphone has no echo in it; the estimate would be all there is.
        dead = float(mic @ mic) < DEAD_POWER * HOP_SAMPLES
        if reference.silent or dead:
            return mic, np.zeros_like(mic)
        echo = self._echo(reference)
        if learn and not reference.newest_silent:
            prior = mic - echo
            if self._follow_level(prior, echo):
                echo = self._echo(reference)
                prior = mic - echo
            self._doubt_lost_path(mic, prior, echo)
            self._muted = self._is_muted(echo, reference)
            self._learn(prior, reference)
            self._recover(mic, prior)
            # Measured: the estimate after the update finds a fifth more words than the one before.
            echo = self._echo(reference)
        # What muted paths have learnt is whoever talks.
        if self._broken(echo) or self._muted:
            return mic, np.zeros_like(mic)
        return mic - echo, echo

    def _broken(self, echo: FloatArray) -> bool:
        """Forget paths whose echo is not finite: they would never be learnt again."""
        broken = not np.isfinite(float(echo @ echo))
        if broken:
            self.reset()
        return broken

    def predict(
        self, mic: FloatArray, reference: ReferenceSpectra, learn: bool = True
    ) -> FloatArray:
        """What is left of one block by the paths as they were before it, float32 [HOP_SAMPLES].

        Unlike `process` it takes nothing of the block itself out of the block.
        """
        echo = self._echo(reference)
        if self._broken(echo):
            return mic
        prior = mic - echo
        if learn:
            self._learn(prior, reference)
        return prior

    def _echo(self, reference: ReferenceSpectra) -> FloatArray:
        spectrum = np.einsum("pk,pk->k", self.path, reference.spectra)
        return np.asarray(np.fft.irfft(spectrum)[HOP_SAMPLES:], dtype=np.float32)

    def _learn(self, prior: FloatArray, reference: ReferenceSpectra) -> None:
        """Kalman update of the paths from the error before it."""
        half_filled = np.concatenate([np.zeros(HOP_SAMPLES, np.float32), prior])
        error = np.fft.rfft(half_filled).astype(np.complex64)
        error_power = error.real**2 + error.imag**2
        expected = np.einsum("pk,pk->k", self._variance, reference.power)
        # What the filter itself still expects to be wrong is not the near end's.
        near = np.maximum(error_power - 0.5 * expected, 0.1 * error_power)
        self._near_power += np.float32(NEAR_SMOOTHING) * (near - self._near_power)
        # Factors 2 and 0.5: half of each block is padding.
        gain = self._variance / (expected + 2.0 * self._near_power + np.float32(1e-10))
        step = reference.conjugate * error
        step *= gain
        self.path += step
        self._constrain()
        if self._muted:
            return
        gain *= reference.power
        gain *= np.float32(-0.5)
        gain += np.float32(1.0)
        shrink = np.maximum(gain, np.float32(0.05), out=gain)
        path_power = self.path.real**2 + self.path.imag**2
        path_power *= np.float32(1.0 - self._keep2)
        self._variance *= shrink
        self._variance *= np.float32(self._keep2)
        self._variance += path_power
        self._variance += np.float32(1e-12)

    def _constrain(self) -> None:
        """Force a group of partitions, in turn, back to responses that fit into a block."""
        group = slice(self._turn, None, CONSTRAINT_GROUPS)
        self._turn = (self._turn + 1) % CONSTRAINT_GROUPS
        response = np.fft.irfft(self.path[group], axis=1)
        response[:, HOP_SAMPLES:] = 0.0
        self.path[group] = np.fft.rfft(response, axis=1)

    def _follow_level(self, error: FloatArray, echo: FloatArray) -> bool:
        """Turn the paths with a knob that the reference does not see, such as an analogue volume.

        An error that looks like the echo is an echo of another level. To the Kalman gain it would
        be a loud near end: measured, 40 dB up were not learnt within eight seconds.
        """
        # Only where the paths were good a moment ago: before that likeness is chance.
        good = self._error_power < GOOD_RATIO * self._mic_power
        self._path_known |= good
        self._good_blocks = LEVEL_MEMORY_BLOCKS if good else max(0, self._good_blocks - 1)
        now = (float(error @ echo), float(error @ error), float(echo @ echo))
        self._level += LEVEL_SMOOTHING * (np.array(now) - self._level)
        if self._good_blocks == 0:
            return False
        # At once where it is plain, for a single update from such an error spoils the paths.
        factor = _turned(*now, LEVEL_PLAIN)
        if factor == 1.0:
            cross, error_power, echo_power = (float(value) for value in self._level)
            factor = _turned(cross, error_power, echo_power, LEVEL_LIKENESS)
        if factor == 1.0:
            return False
        self.path *= np.float32(factor)
        # Downwards the doubt stays: what looked like a level may have been another path.
        self._variance *= np.float32(max(1.0, factor) ** 2)
        self._level[:] = 0.0
        return True

    def _doubt_lost_path(self, mic: FloatArray, error: FloatArray, echo: FloatArray) -> None:
        """Doubt the paths where the echo that they expect is not there.

        A near end is not correlated with the expected echo, whatever its level; an echo by
        another path is its negative in part. To the Kalman gain both are a loud near end: measured,
        a path of another room was learnt in a minute instead of some ten seconds.
        """
        now = (float(error @ echo), float(echo @ echo), float(mic @ mic))
        self._path += PATH_SMOOTHING * (np.array(now) - self._path)
        missing, expected, heard = (float(value) for value in self._path)
        lost = missing < -PATH_LOST * expected and expected >= PATH_HEARD * heard + 1e-9
        # Before they were good once they are still being learnt.
        if not (lost and self._path_known):
            return
        # Not the companions': distortion is the loudspeaker's, whatever the room.
        room = self._variance[: self.partitions[0]]
        np.maximum(room, np.float32(START_VARIANCE), out=room)
        self._path[:] = 0.0
        self._path_known = False

    def _is_muted(self, echo: FloatArray, reference: ReferenceSpectra) -> bool:
        """Whether the paths have sunk far below what they passed on, and their echo is not heard.

        Behind a muted loudspeaker they are learnt to be nothing, and with every block the filter is
        surer of it: measured, after two seconds it took the echo that came back for a loud near
        end, and was deaf for good. So its doubt stays what it was.
        """
        now, played = float(echo @ echo), HOP_SAMPLES * reference.played_power
        cross, error_power, echo_power = (float(value) for value in self._level)
        likeness = cross + echo_power
        mic_power = error_power + 2.0 * cross + echo_power
        if likeness > 0.0 and likeness**2 > HEARD_LIKENESS * mic_power * echo_power:
            self._coupling += COUPLING_SMOOTHING * (now / played - self._coupling)
            return False
        return now < MUTED_RATIO * self._coupling * played

    def _recover(self, mic: FloatArray, error: FloatArray) -> None:
        """If the error is louder than the microphone the path has changed: learn it anew."""
        self._mic_power = 0.9 * self._mic_power + 0.1 * float(mic @ mic)
        self._error_power = 0.9 * self._error_power + 0.1 * float(error @ error)
        if self._error_power > DIVERGED_RATIO * self._mic_power + 1e-9:
            self.path *= np.float32(0.3)
            # Behind a muted loudspeaker it is whoever talks that would be learnt.
            if not self._muted:
                self._variance = np.maximum(self._variance, np.float32(0.1 * START_VARIANCE))
            self._error_power = self._mic_power


def _turned(cross: float, error: float, echo: float, likeness: float) -> float:
    """By how much an error that looks like the echo says that the paths are to be turned."""
    if cross**2 < likeness * error * echo + 1e-12:
        return 1.0
    factor = 1.0 + cross / echo
    if LEVEL_UNCHANGED[0] < factor < LEVEL_UNCHANGED[1]:
        return 1.0
    return max(factor, LEVEL_LEAST)
