"""The tests' virtual microphone, for the benchmarks: PulseAudio as an ordinary process."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from virtual_microphone import VirtualMicrophone, missing  # noqa: E402


def plug_in(folder: Path, channels: int) -> VirtualMicrophone:
    """A microphone called ``virtmic``; exits where the programs for it are not there."""
    if missing():
        sys.exit(f"no {missing()}: install pulseaudio and libasound2-plugins")
    return VirtualMicrophone(folder, channels)


__all__ = ["VirtualMicrophone", "plug_in"]
