"""What of the DSP stage runs, the same for both of its twins."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FrontEndConfig:
    """Which pieces run, and how long the echo path may be."""

    backend: str = "auto"
    """native, numpy, or auto; `kwsd.dsp.backend.open_front_end` chooses by it."""

    dc_block: bool = True
    """High-pass at 20 Hz on every channel."""

    aec: bool = True
    """Echo cancellation, where there is a reference."""

    tail_ms: int = 320
    """Length of the echo path behind the bulk delay."""

    delay_search_ms: int = 500
    """Largest bulk delay; 0 switches the search off."""

    drift: bool = True
    """Follow a clock drift between reference and microphones, up to 300 ppm."""

    combine: bool = True
    """Two microphones: cancel in the detector branch what the second predicts of the first."""

    mic_spacing_mm: int = 0
    """Distance of two microphones, for the direction of arrival; 0 is unknown and gives none."""

    suppress_echo: bool = True
    """Residual-echo suppression on the voice branch."""

    noise_reduction: bool = True
    """Noise reduction on the voice branch."""

    voice_branch: bool = True
    """Compute the voice branch at all; without it `voice` repeats the detector branch."""
