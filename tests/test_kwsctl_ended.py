"""A recording that a signal ends: the file is whole, and the exit code names the signal."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from kwsd.daemon.control import Attachment, ControlServer

RATE_HZ = 16_000
PIECE_FRAMES = 3200
HEADER_BYTES = 100
DEADLINE_S = 60.0


class FakeListening:
    """The control socket of a service that hears whole 16-bit steps, counted up."""

    def __init__(self, folder: Path) -> None:
        self.endpoint = f"ipc://{folder}/c"
        self.given = 0
        """Frames that were asked for."""
        self._server = ControlServer(self.endpoint, {"raw": self._raw})
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.wait(0.01):
            self._server.serve()
        self._server.close()

    def _raw(self, request: Mapping[str, object]) -> object:
        first = request.get("from_frame", 0)
        assert isinstance(first, int)
        frames = PIECE_FRAMES if "from_frame" in request else 0
        self.given = first + frames
        answer = {
            "stream": "s",
            "next_frame": self.given,
            "lost_frames": 0,
            "holes": 0,
            "rate_hz": RATE_HZ,
            "channels": 1,
            "mics": [0],
            "reference": [],
            "sample_bits": 16,
            "device": "fake",
            "state": "running",
            "detail": "",
        }
        return Attachment(answer, heard(self.given)[first:].tobytes())

    def until_given(self, frames: int) -> None:
        """Wait until so much was asked for."""
        deadline_s = time.monotonic() + DEADLINE_S
        while self.given < frames:
            assert time.monotonic() < deadline_s, "nobody records"
            time.sleep(0.01)

    def close(self) -> None:
        self._done.set()
        self._thread.join()


def heard(frames: int) -> np.ndarray:
    """What the fake gives, float32 [frames]: never silence."""
    return ((np.arange(frames) % 30_000 + 1) / 2**15).astype(np.float32)


@pytest.fixture
def listening() -> Iterator[FakeListening]:
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        made = FakeListening(Path(folder))
        yield made
        made.close()


def command(listening: FakeListening, path: Path) -> list[str]:
    program = [sys.executable, "-m", "kwsd.kwsctl", "--control", listening.endpoint]
    return [*program, "record", str(path)]


def recorded(path: Path) -> int:
    """Frames of a file that holds what was heard up to somewhere, and nothing else."""
    samples, _ = sf.read(path, dtype="float32")
    assert np.array_equal(samples, heard(len(samples)))
    assert path.stat().st_size <= 2 * len(samples) + HEADER_BYTES, "reserve is kept"
    return len(samples)


@pytest.mark.parametrize("ending", ["flac", "wav"])
@pytest.mark.parametrize(
    ("numbers", "codes"),
    [
        ([signal.SIGTERM], {143}),
        ([signal.SIGHUP], {129}),
        # A shutdown sends both to who is logged in, one right behind the other.
        ([signal.SIGTERM, signal.SIGHUP], {129, 143}),
    ],
)
def test_the_file_is_finished(
    listening: FakeListening,
    kwsd_environment: dict[str, str],
    tmp_path: Path,
    ending: str,
    numbers: list[signal.Signals],
    codes: set[int],
) -> None:
    path = tmp_path / f"a.{ending}"
    with subprocess.Popen(
        command(listening, path),
        env=kwsd_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        listening.until_given(4 * PIECE_FRAMES)
        # Stopped meanwhile, it finds them together.
        for number in (signal.SIGSTOP, *numbers, signal.SIGCONT):
            process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode in codes, err) == (True, ""), process.returncode
    frames = recorded(path)
    assert frames >= 3 * PIECE_FRAMES
    assert f"{path}: {frames / RATE_HZ:.1f} s\nreplay it: kwsd --replay {path}" in out


def test_nobody_needs_to_read_what_it_says(
    listening: FakeListening, kwsd_environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [*command(listening, path), "--seconds", "1"],
        env=kwsd_environment,
        stdout=theirs,
        stderr=subprocess.PIPE,
        timeout=DEADLINE_S,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")
    assert recorded(path) == RATE_HZ


def test_nohup_outlives_its_terminal(
    listening: FakeListening, kwsd_environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    with subprocess.Popen(
        ["nohup", *command(listening, path)],
        env=kwsd_environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        listening.until_given(PIECE_FRAMES)
        process.send_signal(signal.SIGHUP)
        listening.until_given(listening.given + 3 * PIECE_FRAMES)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 143
    assert recorded(path) >= 4 * PIECE_FRAMES


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal")
def test_a_terminal_that_is_closed(
    listening: FakeListening, kwsd_environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "a.flac"
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        command(listening, path),
        env=kwsd_environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        assert select.select([ours], [], [], DEADLINE_S)[0]
        assert os.read(ours, 4096).startswith(b"recording fake")
        listening.until_given(2 * PIECE_FRAMES)
    finally:
        os.close(ours)
    assert process.wait(DEADLINE_S) == 129
    assert recorded(path) >= PIECE_FRAMES
