"""Recording what a running service hears, and the tools that stand on it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from virtual_microphone import VirtualMicrophone, missing

from kwsd import kwsctl
from kwsd.capture import native
from kwsd.capture.raw_ring import FORGET_AFTER_S, LENGTH_S, RawRing
from kwsd.ctl import audio_writer
from kwsd.ctl.audio_writer import AudioWriter
from kwsd.ctl.client import request
from kwsd.ctl.raw_stream import RawStream
from kwsd.errors import AudioError, BusError, OutputError, RuntimeUnavailable, UsageError

ROOT = Path(__file__).parent.parent
RATE_HZ = 16_000

SmallFiles = Callable[[int], AbstractContextManager[None]]


def noise(frames: int, channels: int = 3, seed: int = 1) -> np.ndarray:
    """Whole 16-bit steps as float32."""
    steps = np.random.default_rng(seed).integers(-20_000, 20_000, (frames, channels))
    return (steps / 2**15).astype(np.float32)


class TestRing:
    def test_it_keeps_nothing_until_asked_and_forgets(self) -> None:
        ring = RawRing(RATE_HZ, 3)
        ring.push(noise(1000))
        assert not ring.is_open
        start = ring.fetch(None)
        assert len(start.samples) == 0
        for _ in range(int(FORGET_AFTER_S) + 1):
            assert ring.is_open
            ring.push(noise(RATE_HZ))
        ring.push(noise(1))
        assert not ring.is_open

    def test_what_is_fetched_is_what_came(self) -> None:
        ring = RawRing(RATE_HZ, 3)
        position = ring.fetch(None).next_frame
        sent, got = noise(5 * RATE_HZ), []
        for start in range(0, len(sent), 777):
            ring.push(sent[start : start + 777])
            piece = ring.fetch(position)
            assert (piece.first_frame, piece.lost_frames, piece.holes) == (position, 0, 0)
            got.append(piece.samples)
            position = piece.next_frame
        assert np.array_equal(np.concatenate(got), sent)

    def test_who_comes_late_is_told_what_is_lost(self) -> None:
        ring = RawRing(RATE_HZ, 1)
        ring.fetch(None)
        sent = noise(round(1.25 * LENGTH_S * RATE_HZ), 1)
        for part in np.split(sent, 5):
            ring.push(part, gap=part is sent)
        lost = len(sent) - round(LENGTH_S * RATE_HZ)
        piece = ring.fetch(0)
        assert (piece.first_frame, piece.lost_frames) == (lost, lost)
        assert np.array_equal(piece.samples, sent[lost : lost + RATE_HZ])

    @given(st.lists(st.tuples(st.integers(0, 9000), st.booleans()), max_size=30))
    def test_whatever_the_order_nothing_is_glued_or_told_twice(
        self, steps: list[tuple[int, bool]]
    ) -> None:
        ring = RawRing(2000, 1)
        position = told = ring.fetch(None).next_frame
        pushed = 0
        for frames, fetches in steps:
            ring.push(np.arange(pushed, pushed + frames, dtype=np.float32)[:, None])
            if not ring.is_open:
                return
            pushed += frames
            if fetches:
                piece = ring.fetch(position)
                told += piece.lost_frames + len(piece.samples)
                expected = np.arange(piece.first_frame, piece.next_frame)
                assert np.array_equal(piece.samples[:, 0], expected)
                assert piece.first_frame == position + piece.lost_frames
                position = piece.next_frame
                assert told == position <= pushed

    def test_holes_are_counted(self) -> None:
        ring = RawRing(RATE_HZ, 1)
        ring.fetch(None)
        ring.push(noise(10, 1))
        ring.push(noise(10, 1), gap=True)
        assert ring.fetch(0).holes == 1

    def test_holes_are_counted_from_each_opening_on(self) -> None:
        ring = RawRing(RATE_HZ, 1)
        ring.fetch(None)
        ring.push(noise(10, 1), gap=True)
        ring.close()
        assert ring.fetch(None).holes == 0


class FakeService:
    """Answers as the command ``raw`` does; the script says what else happens."""

    def __init__(self, *script: str) -> None:
        self.script = list(script)
        self.now_s = 0.0
        self.position = 500

    def ask(self, endpoint: str, command: str, **fields: object) -> tuple[Any, bytes]:
        assert command == "raw"
        what = "start" if "from_frame" not in fields else (self.script or ["audio"]).pop(0)
        if what == "muted":
            raise UsageError("the microphone is muted; kwsctl unmute opens it")
        frames = 3200 if what in ("audio", "late", "hole") else 0
        if frames:
            assert fields["from_frame"] == self.position
        self.position += frames
        answer = {
            "stream": "s",
            "next_frame": self.position,
            "lost_frames": 7 if what == "late" else 0,
            "holes": 3 + (what == "hole"),
            "rate_hz": RATE_HZ,
            "channels": 2,
            "mics": [0, 1],
            "reference": [],
            "sample_bits": 16,
            "device": "fake",
            "state": "lost" if what == "nothing" else "running",
            "detail": "unplugged" if what == "nothing" else "",
        }
        return answer, noise(frames, 2).tobytes()

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def stream(self) -> RawStream:
        return RawStream("", self.ask, lambda: self.now_s, self.sleep)


class TestStream:
    def test_it_ends_after_the_time_asked_for(self) -> None:
        stream = FakeService().stream()
        assert sum(map(len, stream.pieces(1.0))) == RATE_HZ
        assert stream.holes == 0
        assert stream.format.settings == "--set audio.mics=0,1 --set audio.reference=none"

    @pytest.mark.parametrize("what", ["late", "hole"])
    def test_missing_audio_is_counted(self, what: str) -> None:
        stream = FakeService("audio", what).stream()
        assert sum(map(len, stream.pieces(0.4))) == 6400
        assert stream.holes == 1

    def test_mute_ends_it(self) -> None:
        pieces = FakeService("audio", "muted").stream().pieces(None)
        assert len(next(pieces)) == 3200
        with pytest.raises(AudioError, match="is muted"):
            next(pieces)

    def test_a_device_that_is_gone_ends_it_after_a_while(self) -> None:
        service = FakeService("audio", *["nothing"] * 100)
        pieces = service.stream().pieces(None)
        next(pieces)
        began_s = service.now_s
        with pytest.raises(AudioError, match="the device is lost: unplugged"):
            next(pieces)
        assert 5.0 <= service.now_s - began_s < 6.0


@pytest.fixture
def keyboard() -> None:
    """An interrupt is one, also where tests run in the background and it would be ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class TestWriter:
    @pytest.mark.parametrize("ending", ["flac", "wav"])
    @pytest.mark.parametrize("bits", [16, 24])
    def test_the_file_holds_exactly_what_was_heard(
        self, tmp_path: Path, ending: str, bits: int
    ) -> None:
        path = tmp_path / f"a.{ending}"
        steps = np.random.default_rng(2).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (70_000, 3))
        samples = (steps / 2 ** (bits - 1)).astype(np.float32)
        with AudioWriter(path, RATE_HZ, 3, bits) as writer:
            for start in range(0, len(samples), 3200):
                writer.write(samples[start : start + 3200])
        assert writer.frames == len(samples)
        read, rate_hz = sf.read(path, dtype="int32")
        assert rate_hz == RATE_HZ
        assert np.array_equal(read >> (32 - bits), steps)
        assert path.stat().st_size < len(samples) * 3 * bits // 8 * 1.01 + 20_000, "reserve is kept"

    def test_a_file_that_is_there_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        path.write_text("mine")
        with pytest.raises(OutputError, match="is there already"):
            AudioWriter(path, RATE_HZ, 1, 16)
        assert path.read_text() == "mine"
        with AudioWriter(path, RATE_HZ, 1, 16, replace=True) as writer:
            writer.write(noise(100, 1))
        assert len(sf.read(path)[0]) == 100

    def test_names(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="must end in"):
            AudioWriter(tmp_path / "a.mp3", RATE_HZ, 1, 16)
        with pytest.raises(UsageError, match="FLAC holds 8"):
            AudioWriter(tmp_path / "a.flac", RATE_HZ, 10, 16)
        with pytest.raises(OutputError, match="No such file"):
            AudioWriter(tmp_path / "no" / "a.wav", RATE_HZ, 1, 16)

    @pytest.mark.usefixtures("keyboard")
    @pytest.mark.parametrize("ending", ["flac", "wav"])
    def test_an_interrupt_in_the_middle_of_a_write_loses_nothing(
        self, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / f"a.{ending}"
        sent = noise(4 * 3200)
        written = audio_writer._ReservedFile.write

        def interrupted(disk: audio_writer._ReservedFile, data: bytes) -> int:
            signal.raise_signal(signal.SIGINT)
            return written(disk, data)

        with AudioWriter(path, RATE_HZ, 3, 16) as writer:
            writer.write(sent[:3200])
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(audio_writer._ReservedFile, "write", interrupted)
                for start in range(3200, len(sent), 3200):
                    writer.write(sent[start : start + 3200])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        read, _ = sf.read(path)
        assert len(read) == writer.frames >= 2 * 3200
        np.testing.assert_allclose(read, sent[: len(read)], atol=1e-4)

    @pytest.mark.parametrize("ending", ["flac", "wav"])
    def test_a_full_disk_leaves_a_valid_file(
        self, tmp_path: Path, ending: str, small_files: SmallFiles
    ) -> None:
        path = tmp_path / f"a.{ending}"
        sent = noise(40 * 3200)
        with small_files(400_000), AudioWriter(path, RATE_HZ, 3, 16) as writer:
            with pytest.raises(OutputError, match="File too large"):
                for part in np.split(sent, 40):
                    writer.write(part)
        assert 20_000 < writer.frames < len(sent)
        read, _ = sf.read(path, dtype="float32")
        assert np.array_equal(read, sent[: writer.frames])

    def test_a_disk_that_is_full_from_the_start_leaves_no_file(
        self, tmp_path: Path, small_files: SmallFiles
    ) -> None:
        with small_files(1000), pytest.raises(OutputError, match="File too large"):
            AudioWriter(tmp_path / "a.flac", RATE_HZ, 3, 16)
        assert not list(tmp_path.iterdir())

    @pytest.mark.usefixtures("keyboard")
    @pytest.mark.parametrize("ending", ["flac", "wav"])
    def test_an_interrupt_before_there_is_anything_leaves_no_file(
        self, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = audio_writer._ReservedFile.reserve

        def interrupted(disk: audio_writer._ReservedFile, count: int) -> None:
            made(disk, count)
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(audio_writer._ReservedFile, "reserve", interrupted)
        with pytest.raises(KeyboardInterrupt):
            AudioWriter(tmp_path / f"a.{ending}", RATE_HZ, 3, 16)
        assert not list(tmp_path.iterdir())


try:
    native.load_library()
    _LIBRARY = ""
except RuntimeUnavailable as error:
    _LIBRARY = str(error)


class TestPlace:
    def test_what_is_no_ordinary_file_stays_as_it_is(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "f.wav")
        (tmp_path / "null.wav").symlink_to("/dev/null")
        for name in ("f.wav", "null.wav"):
            with pytest.raises(OutputError, match="no ordinary file"):
                AudioWriter(tmp_path / name, RATE_HZ, 1, 16, replace=True)
            assert os.path.lexists(tmp_path / name)


class Live:
    """A kwsd process on a virtual microphone."""

    def __init__(self, folder: Path, microphone: VirtualMicrophone) -> None:
        self.folder, self.microphone = folder, microphone
        self.control = f"ipc://{folder}/control.sock"
        config = folder / "kwsd.toml"
        config.write_text(
            "audio.device = 'virtmic'\naudio.channels = 3\n"
            f"bus.endpoint = 'ipc://{folder}/events.sock'\n"
            f"bus.control_endpoint = '{self.control}'\n"
        )
        self.environment = {
            **os.environ,
            **microphone.environment,
            "STATE_DIRECTORY": f"{folder}/state",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kwsd", "--config", str(config)],
            cwd=ROOT,
            env=self.environment,
        )
        self.until_running()

    def until_running(self) -> None:
        for _ in range(200):
            try:
                if request(self.control, "status", 1.0)["audio"]["state"] in ("running", "silent"):
                    return
            except BusError:
                pass
            assert self.process.poll() is None
            time.sleep(0.1)
        pytest.fail("kwsd does not hear")

    def ctl(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "kwsd.kwsctl", "--control", self.control, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.ctl(*words),
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start, and give it back when it records."""
        process = subprocess.Popen(
            self.ctl(*words),
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith(("recording", "listening"))
        return process


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    if missing():
        pytest.skip(f"no {missing()}: install pulseaudio, pulseaudio-utils and libasound2-plugins")
    if _LIBRARY:
        pytest.skip(_LIBRARY)
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        (Path(folder) / "mic").mkdir()
        microphone = VirtualMicrophone(Path(folder) / "mic", 3)
        with (Path(folder) / "mic/asound.conf").open("a") as stream:
            stream.write('pcm.virtspeaker { type pulse device "virtsink" }\n')
        made = Live(Path(folder), microphone)
        yield made
        made.process.kill()
        made.process.wait()
        microphone.stop()


def test_a_recording_is_what_was_played_and_can_be_replayed(live: Live, tmp_path: Path) -> None:
    path = tmp_path / "what was heard.flac"
    samples, _ = sf.read(ROOT / "samples/living_room.flac", dtype="int16")
    sent = samples[: 5 * RATE_HZ]
    recording = live.begin("record", str(path), "--seconds", "8")
    live.microphone.play(sent)
    out, err = recording.communicate(timeout=30)
    assert (recording.returncode, err) == (0, "")
    heard, rate_hz = sf.read(path, dtype="int16")
    assert (rate_hz, heard.shape) == (RATE_HZ, (8 * RATE_HZ, 3))
    loud = int(np.argmax(np.abs(sent[:, 0]) > 100))
    start = next(
        at - loud
        for at in np.flatnonzero(heard[:, 0] == sent[loud, 0])
        if np.array_equal(heard[at : at + 50], sent[loud : loud + 50])
    )
    whole = heard[start + loud : start + len(sent)]
    assert np.array_equal(whole, sent[loud:]), "not the samples that were played"

    command = next(line for line in out.splitlines() if line.startswith("replay it: "))
    words = shlex.split(command.removeprefix("replay it: kwsd "))
    assert words[2:] == ["--set", "audio.mics=0,1", "--set", "audio.reference=2"]
    replayed = subprocess.run(
        [sys.executable, "-m", "kwsd", *words, "--scores", str(tmp_path / "scores.csv")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "error" not in replayed.stderr
    last_s = float((tmp_path / "scores.csv").read_text().splitlines()[-1].split(",")[0])
    assert 7.9 < last_s <= 8.0

    again = live.run("record", str(path), "--seconds", "1")
    assert again.returncode == 73 and "is there already" in again.stderr
    assert len(sf.read(path)[0]) == 8 * RATE_HZ


def test_mute_and_interrupt_keep_what_was_written(live: Live, tmp_path: Path) -> None:
    muted, stopped = tmp_path / "muted.flac", tmp_path / "stopped.wav"
    first, second = live.begin("record", str(muted)), live.begin("record", str(stopped))
    # A microphone that gives zeros only would be opened anew in between.
    live.microphone.play(np.rint(noise(2 * RATE_HZ) * 2**15).astype(np.int16))
    second.send_signal(signal.SIGINT)
    out, err = second.communicate(timeout=20)
    assert (second.returncode, err) == (0, "") and "replay it" in out
    request(live.control, "mute")
    try:
        _, err = first.communicate(timeout=20)
        assert first.returncode == 65
        assert "muted" in err and f"{muted} holds" in err and "Traceback" not in err
        refused = live.run("record", str(tmp_path / "no.flac"))
        assert refused.returncode == 64 and "unmute" in refused.stderr
        assert not (tmp_path / "no.flac").exists()
    finally:
        request(live.control, "unmute")
    for path in (muted, stopped):
        assert len(sf.read(path)[0]) > RATE_HZ // 2
    live.until_running()


def test_a_channel_map_that_cannot_be_is_refused_before_listening(live: Live) -> None:
    for channels in (("--mics", "0,0"), ("--mics", "0,7"), ("--mics", "2", "--reference", "2")):
        refused = live.run("doctor", *channels)
        assert refused.returncode == 78, refused
        assert refused.stdout == "" and "audio." in refused.stderr


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--control", f"ipc://{tmp_path}/no.sock", "record", str(tmp_path / "a.flac")]
    assert kwsctl.main(words) == 69
    assert "no kwsd answers" in capsys.readouterr().err
    assert not (tmp_path / "a.flac").exists()


@pytest.mark.slow
def test_the_doctor_listens_to_the_service(live: Live, tmp_path: Path) -> None:
    samples, _ = sf.read(ROOT / "samples/living_room.flac", dtype="int16")
    profile = tmp_path / "board.toml"
    doctor = live.begin("doctor", "--seconds", "6", "--write-profile", str(profile))
    live.microphone.play(samples[10 * RATE_HZ : 16 * RATE_HZ])
    out, err = doctor.communicate(timeout=40)
    assert "microphone polarity" in out and err == ""
    text = profile.read_text()
    assert 'device = "virtmic"' in text and "channels = 3" in text


@pytest.mark.slow
def test_the_doctor_plays_sweeps(live: Live) -> None:
    if shutil.which("aplay") is None:
        pytest.skip("no aplay: install alsa-utils")
    done = live.run("doctor", "--play", "--play-device", "virtspeaker", "--json")
    assert done.stderr == ""
    found = json.loads(done.stdout)
    # Stereo into three channels: two of them get the sweeps, at the same time.
    assert [facts["life"] for facts in found["channels"]].count("live") >= 2
    assert max(facts["peak_dbfs"] for facts in found["channels"]) > -30.0
    refused = live.run("doctor", "--play", "--play-device", "hw:CARD=nowhere")
    assert refused.returncode == 69 and "--play-device hw:CARD=nowhere" in refused.stderr


def test_the_monitor_shows_the_service(live: Live) -> None:
    live.until_running()
    done = live.run("monitor", "--once")
    assert done.returncode == 0 and done.stderr == ""
    assert "virtmic" in done.stdout and "computer" in done.stdout
    assert "microphone 1" in done.stdout and "reference" in done.stdout
