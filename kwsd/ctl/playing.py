"""Plays a test signal through the loudspeaker while somebody listens."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf

from kwsd.doctor.chirp import chirps
from kwsd.errors import RuntimeUnavailable

RATE_HZ = 48_000
"""Of the clock that codecs share with 16 kHz capture; 44.1 kHz would add a drift."""


@contextmanager
def play_chirps(device: str, seconds: float) -> Iterator[None]:
    """Sweeps by ``aplay``, or sounddevice where that is missing; stopped at the end.

    Raises
    ------
    RuntimeUnavailable
        Neither is there, or the device cannot be opened.
    """
    signal = np.repeat(chirps(RATE_HZ, seconds)[:, None], 2, axis=1)
    if shutil.which("aplay") is None:
        with _sounddevice(device, signal):
            yield
        return
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        path = Path(folder) / "chirps.wav"
        sf.write(path, signal, RATE_HZ, subtype="PCM_16")
        player = subprocess.Popen(
            ["aplay", "-q", "-D", device, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield
            if player.poll():
                said = (player.stderr.read() if player.stderr else "").strip().splitlines()
                raise RuntimeUnavailable(
                    f"--play-device {device} cannot be played to: "
                    f"{said[-1] if said else 'aplay failed'}; aplay -L lists devices"
                )
        finally:
            player.terminate()
            player.communicate()


@contextmanager
def _sounddevice(device: str, signal: np.ndarray) -> Iterator[None]:
    try:
        import sounddevice
    except (ImportError, OSError):
        raise RuntimeUnavailable(
            "--play needs aplay or sounddevice: install alsa-utils or kwsd[audio]"
        ) from None
    try:
        sounddevice.play(signal, RATE_HZ, device=None if device == "default" else device)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise RuntimeUnavailable(f"--play-device {device} cannot be played to: {error}") from None
    try:
        yield
    finally:
        sounddevice.stop()
