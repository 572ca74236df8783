"""Parts of a model package: tensors, states, thresholds, times, proof."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a step."""

    name: str
    """Name in the network file."""

    shape: tuple[int, ...]
    """Static shape."""

    dtype: str
    """numpy name of the type."""

    scale: float
    """``real = scale * (stored - zero_point)``, above 0."""

    zero_point: int
    """Stored value of real zero."""


@dataclass(frozen=True)
class StatePair:
    """A tensor that goes from the output of one step to the input of the next."""

    name: str
    """Name of the state."""

    input: str
    """Input tensor."""

    output: str
    """Output tensor, same shape, type, scale and zero point."""


@dataclass(frozen=True)
class Sensitivity:
    """A threshold and what was measured at it."""

    threshold: float
    """Smoothed score that counts as the word, between 0 and 1."""

    false_accepts_per_hour: float
    """Stated false-accept rate."""

    miss_rate: float
    """Share of missed words on the same recordings that set the threshold."""


@dataclass(frozen=True)
class Timing:
    """Typical times, for the estimates of an event."""

    delay_ms: float
    """From the end of the word to its detection."""

    word_ms: float
    """Length of the word."""


@dataclass(frozen=True)
class Vectors:
    """Recorded steps that a runtime must reproduce."""

    file: str
    """Name of the file in the package."""

    steps: int
    """Number of steps."""

    tolerance: int
    """Largest difference of an output, in stored units."""
