"""A microphone without a sound card: a private PulseAudio whose null sink is the ALSA input."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

_MAPS = {1: "mono", 2: "front-left,front-right", 3: "front-left,front-right,aux0"}


def missing() -> str:
    """What is not installed, empty if all is there."""
    for program in ("pulseaudio", "paplay", "pactl"):
        if shutil.which(program) is None:
            return program
    plugins = [*Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")]
    return "" if plugins else "ALSA's pulse plugin (libasound2-plugins)"


class VirtualMicrophone:
    """Plays recordings into an ALSA capture device called ``virtmic``.

    Parameters
    ----------
    folder : Path
        Private state; short, since it holds a socket.
    channels : int
        1 to 3.
    """

    def __init__(self, folder: Path, channels: int) -> None:
        self._folder = folder
        self._map = _MAPS[channels]
        self._channels = channels
        for name in ("home", "run/pulse"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "asound.conf").write_text('pcm.virtmic { type pulse device "virtmic" }\n')
        self.environment = {
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "PULSE_SERVER": f"unix:{folder}/run/native",
            "PULSE_COOKIE": str(folder / "cookie"),
            "HOME": str(folder / "home"),
        }
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Plug it in."""
        sink = f"sink_name=virtsink rate=16000 channels={self._channels} channel_map={self._map}"
        source = (
            f"source_name=virtmic master=virtsink.monitor channels={self._channels} "
            f"channel_map={self._map} master_channel_map={self._map} remix=no"
        )
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"]
        command += ["--use-pid-file=no", "--disallow-exit", "--realtime=no", "--high-priority=no"]
        command += [
            f"--load=module-native-protocol-unix socket={self._folder}/run/native auth-anonymous=1",
            f"--load=module-null-sink {sink} format=s16le",
            f"--load=module-remap-source {source} rate=16000 format=s16le",
        ]
        runtime = {
            **os.environ,
            **self.environment,
            "XDG_RUNTIME_DIR": f"{self._folder}/run",
            "PULSE_RUNTIME_PATH": f"{self._folder}/run/pulse",
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        }
        self._runtime = runtime
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(command, env=runtime, stdout=log, stderr=log)
        for _ in range(100):
            if self._pactl("info") == 0:
                return
            time.sleep(0.1)
        self.stop()
        pytest.skip(f"pulseaudio does not start: {(self._folder / 'log').read_text()[-300:]}")

    def stop(self) -> None:
        """Unplug it, at once."""
        if self._server is not None:
            self._server.send_signal(signal.SIGKILL)
            self._server.wait()
            self._server = None

    @property
    def pid(self) -> int:
        """The process that delivers the samples."""
        if self._server is None:
            raise RuntimeError("unplugged")
        return self._server.pid

    def starve(self, starved: bool) -> None:
        """Deliver nothing more though the device stays, or deliver again."""
        if self._pactl("suspend-source", "virtmic", str(int(starved))) != 0:
            raise RuntimeError("pulseaudio does not suspend the source")

    def play(self, samples: np.ndarray) -> None:
        """Play int16 or float32 [n, channels] at 16 kHz to its end."""
        path = self._folder / "play.wav"
        # The first tens of milliseconds that are played after a pause get lost.
        lead = np.zeros((8000, self._channels), samples.dtype)
        sf.write(path, np.concatenate([lead, samples]), 16_000, subtype="PCM_16")
        subprocess.run(
            ["paplay", "--device=virtsink", f"--channel-map={self._map}", "--no-remix", str(path)],
            env=self._runtime,
            check=True,
        )

    def _pactl(self, *words: str) -> int:
        return subprocess.run(
            ["pactl", *words], env=self._runtime, capture_output=True, check=False
        ).returncode
