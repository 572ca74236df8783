"""Linear echo canceller: a partitioned-block frequency-domain Kalman filter, one per microphone.

Sources: G. Enzner and P. Vary, "Frequency-domain adaptive Kalman filter for acoustic echo
control in hands-free telephones", Signal Processing 86 (2006); F. Kuech, E. Mabande, G. Enzner,
"State-space architecture of the partitioned-block-based acoustic echo controller", ICASSP 2014.
Variant: diagonal state covariance, overlap-save with half-filled blocks. The Kalman gain takes
the place of a double-talk detector: it falls where the near end is loud.

Limits: the gradient constraint is applied to a third of the partitions in turn, which costs a
little convergence; what the loudspeaker distorts stays in the residual.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ComplexArray = NDArray[np.complex64]

HOP_SAMPLES = 256
"""Block of the canceller: 16 ms."""

BINS = HOP_SAMPLES + 1
KEEP = 0.9990
"""State transition: how much of the echo path is expected to stay from block to block."""

START_VARIANCE = 0.5
CONSTRAINT_GROUPS = 4


class ReferenceSpectra:
    """Spectra of the last blocks of the reference, shared by the filters of all microphones."""

    def __init__(self, partitions: int) -> None:
        self.spectra = np.zeros((partitions, BINS), np.complex64)
        self.power = np.zeros((partitions, BINS), np.float32)
        self._past = np.zeros(HOP_SAMPLES, np.float32)

    def reset(self) -> None:
        """Forget the past: nothing of it may be cancelled with after a gap."""
        self.spectra[:] = 0
        self.power[:] = 0
        self._past[:] = 0

    def push(self, block: FloatArray) -> None:
        """Take the next float32 [HOP_SAMPLES] of the reference."""
        frame = np.concatenate([self._past, block])
        self._past = block.copy()
        self.spectra[1:] = self.spectra[:-1]
        self.power[1:] = self.power[:-1]
        newest = np.fft.rfft(frame).astype(np.complex64)
        self.spectra[0] = newest
        self.power[0] = newest.real**2 + newest.imag**2


class KalmanCanceller:
    """Echo path of one microphone.

    Parameters
    ----------
    partitions : int
        Length of the echo path in blocks of 16 ms.
    """

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.reset()

    def reset(self) -> None:
        """Forget the echo path."""
        shape = (self.partitions, BINS)
        self.path = np.zeros(shape, np.complex64)
        self._variance = np.full(shape, START_VARIANCE, np.float32)
        self._near_power = np.full(BINS, 1e-6, np.float32)
        self._mic_power = self._error_power = 1e-9
        self._turn = 0

    def shift(self, partitions: int) -> None:
        """Move the path by whole partitions after the reference was delayed by as many fewer."""
        for state, fill in ((self.path, 0.0), (self._variance, START_VARIANCE)):
            state[:] = np.roll(state, partitions, axis=0)
            if partitions > 0:
                state[:partitions] = fill
            elif partitions < 0:
                state[partitions:] = fill

    def _echo(self, reference: ReferenceSpectra) -> FloatArray:
        spectrum = np.einsum("pk,pk->k", self.path, reference.spectra)
        return np.asarray(np.fft.irfft(spectrum)[HOP_SAMPLES:], dtype=np.float32)

    def process(
        self, mic: FloatArray, reference: ReferenceSpectra
    ) -> tuple[FloatArray, FloatArray]:
        """Cancel one block.

        Parameters
        ----------
        mic : ndarray, float32 [HOP_SAMPLES]
            Microphone.
        reference : ReferenceSpectra
            Already holds the reference of this block.

        Returns
        -------
        error, echo : ndarray, float32 [HOP_SAMPLES]
            What is left of the microphone after this block's update, and the echo estimate.
        """
        prior = mic - self._echo(reference)
        half_filled = np.concatenate([np.zeros(HOP_SAMPLES, np.float32), prior])
        error = np.fft.rfft(half_filled).astype(np.complex64)
        error_power = error.real**2 + error.imag**2
        expected = np.einsum("pk,pk->k", self._variance, reference.power)
        # Near end and noise: the error power less what the filter itself still expects to be wrong.
        near = np.maximum(error_power - 0.5 * expected, 0.1 * error_power)
        self._near_power += np.float32(0.2) * (near - self._near_power)
        gain = self._variance / (expected + 2.0 * self._near_power + np.float32(1e-10))
        self.path += gain * np.conj(reference.spectra) * error
        self._constrain()
        shrink = np.maximum(1.0 - 0.5 * gain * reference.power, 0.05)
        keep2 = np.float32(KEEP**2)
        path_power = self.path.real**2 + self.path.imag**2
        self._variance = keep2 * shrink * self._variance + (1 - keep2) * path_power + 1e-12
        self._recover(mic, prior)
        echo = self._echo(reference)
        return mic - echo, echo

    def _constrain(self) -> None:
        """Force a group of partitions, in turn, back to responses that fit into a block."""
        group = slice(self._turn, None, CONSTRAINT_GROUPS)
        self._turn = (self._turn + 1) % CONSTRAINT_GROUPS
        response = np.fft.irfft(self.path[group], axis=1)
        response[:, HOP_SAMPLES:] = 0.0
        self.path[group] = np.fft.rfft(response, axis=1)

    def _recover(self, mic: FloatArray, error: FloatArray) -> None:
        """If the error is louder than the microphone the path has changed: learn it anew."""
        self._mic_power = 0.9 * self._mic_power + 0.1 * float(mic @ mic)
        self._error_power = 0.9 * self._error_power + 0.1 * float(error @ error)
        if self._error_power > 2.0 * self._mic_power + 1e-9:
            self.path *= np.float32(0.3)
            self._variance = np.maximum(self._variance, np.float32(0.1 * START_VARIANCE))
            self._error_power = self._mic_power
