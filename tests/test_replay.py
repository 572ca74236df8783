"""``kwsd --replay`` as a process: events, outputs, determinism, pipes, signals, memory."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile as sf
import zmq
from conftest import INTERPRETER_NOTE

from kwsd.source.synthetic import Burst, Scene, SyntheticSource

RATE = 16000
WORDS_S = (1.0, 4.0)


def test_events_are_lines_of_json_and_nothing_else(kwsd, recording, validator):
    result = kwsd("--replay", recording)
    assert result.returncode == 0
    assert result.stderr == ""
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(events) == len(WORDS_S)
    for event, start_s in zip(events, WORDS_S, strict=True):
        validator.validate(event)
        assert "seq" not in event and "ts" not in event
        assert start_s < event["detected_s"] < start_s + 0.6
        assert 0.0 <= event["onset_s"] < event["end_s"] <= event["detected_s"]
        assert event["sample"] == round(event["detected_s"] * RATE)


def test_same_file_same_bytes(kwsd, recording, tmp_path):
    outputs = []
    for number in range(2):
        files = [tmp_path / f"{number}{suffix}" for suffix in (".csv", ".wav")]
        result = kwsd("--replay", recording, "--scores", files[0], "--dump-audio", files[1])
        outputs.append([result.stdout, *(path.read_bytes() for path in files)])
    assert outputs[0] == outputs[1]
    assert outputs[0][0] == kwsd("--replay", recording).stdout


def test_every_way_in_gives_the_same_events(kwsd, recording, tmp_path):
    expected = kwsd("--replay", recording).stdout
    audio, _ = sf.read(recording, dtype="int16")
    flac = tmp_path / "a.flac"
    sf.write(flac, audio, RATE, subtype="PCM_16")
    assert kwsd("--replay", flac).stdout == expected
    with recording.open("rb") as stream:
        assert kwsd("--replay", "-", stdin=stream).stdout == expected
    assert kwsd("--replay", "-", input=recording.read_bytes()).stdout == expected


def test_a_word_in_the_last_samples_of_a_recording_is_found(kwsd, recording, tmp_path):
    whole = kwsd("--replay", recording).stdout.splitlines()
    sample = json.loads(whole[-1])["sample"]
    audio, _ = sf.read(recording, dtype="int16")
    sf.write(tmp_path / "a.wav", audio[:sample], RATE, subtype="PCM_16")
    events = [json.loads(line) for line in kwsd("--replay", tmp_path / "a.wav").stdout.splitlines()]
    assert len(events) == len(whole) and events[-1]["sample"] == sample


@pytest.mark.parametrize(
    ("rate_hz", "subtype", "suffix"),
    [(96000, "PCM_24", "wav"), (48000, "FLOAT", "wav"), (44100, "VORBIS", "ogg")],
)
def test_other_formats_wake_too(kwsd, tmp_path, words, rate_hz, subtype, suffix):
    path = tmp_path / f"a.{suffix}"
    sf.write(path, words(rate_hz), rate_hz, subtype=subtype)
    assert len(kwsd("--replay", path).stdout.splitlines()) == len(WORDS_S)


def test_two_microphones_and_reference(kwsd, tmp_path, words):
    mono = words(RATE)
    path = tmp_path / "a.wav"
    sf.write(path, np.stack([mono, mono, np.zeros_like(mono)], axis=1), RATE)
    assert len(kwsd("--replay", path).stdout.splitlines()) == len(WORDS_S)
    silent_mic = kwsd("--replay", path, "--set", "audio.mics=2", "--set", "audio.reference=none")
    assert (silent_mic.returncode, silent_mic.stdout) == (0, "")


@pytest.mark.parametrize("samples", [1, 100, 16000])
def test_silence_and_next_to_nothing(kwsd, tmp_path, samples):
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros(samples), RATE)
    result = kwsd("--replay", path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_scores_dump_and_plot(kwsd, recording, tmp_path):
    csv, wav, png = tmp_path / "s.csv", tmp_path / "d.wav", tmp_path / "p.png"
    result = kwsd("--replay", recording, "--scores", csv, "--dump-audio", wav, "--plot", png)
    assert result.returncode == 0, result.stderr
    rows = [line.split(",") for line in csv.read_text().splitlines()]
    assert rows[0] == ["time_s", "name", "score"]
    times = [float(row[0]) for row in rows[1:]]
    np.testing.assert_allclose(np.diff(times), 0.02, atol=1e-9)
    scores = {row[0]: float(row[2]) for row in rows[1:]}
    for line in result.stdout.splitlines():
        event = json.loads(line)
        assert scores[f"{event['detected_s']:.3f}"] == pytest.approx(event["score"], abs=1e-4)
    info = sf.info(wav)
    assert (info.channels, info.samplerate, info.frames) == (3, RATE, sf.info(recording).frames)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} >= {"s.csv", "d.wav", "p.png"}
    assert not list(tmp_path.glob(".*"))


def test_sensitivity_and_threshold(kwsd, recording):
    low = kwsd("--replay", recording, "--set", "wake.sensitivity=low").stdout
    thresholds = [json.loads(line)["threshold"] for line in low.splitlines()]
    own = kwsd("--replay", recording, "--set", "wake.threshold=0.3").stdout
    assert {json.loads(line)["threshold"] for line in own.splitlines()} == {0.3}
    assert thresholds != [0.3, 0.3]


def test_quiet_sound_does_not_wake(kwsd, recording):
    result = kwsd("--replay", recording, "--set", "wake.level_gate_dbfs=-3")
    assert (result.returncode, result.stdout) == (0, "")


def test_reader_that_leaves(kwsd_command, recording):
    with subprocess.Popen(
        [*kwsd_command, "--replay", str(recording)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read().decode() in ("", INTERPRETER_NOTE)
        assert process.wait(30) == 0


def test_reader_that_leaves_does_not_stop_files(kwsd_command, recording, tmp_path):
    scores = tmp_path / "s.csv"
    command = [*kwsd_command, "--replay", str(recording), "--scores", str(scores)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.wait(30) == 0
    assert len(scores.read_text().splitlines()) > 100


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_leave_nothing_half_written(kwsd_command, recording, tmp_path, number, code):
    scores = tmp_path / "out" / "s.csv"
    scores.parent.mkdir()
    scores.write_text("old")
    command = [*kwsd_command, "--replay", "-", "--scores", str(scores)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        # The header promises more than is sent: kwsd waits for it.
        process.stdin.write(recording.read_bytes()[:100_000])
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while len(list(scores.parent.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(number)
        assert process.stderr.read().decode() in ("", INTERPRETER_NOTE)
        assert process.wait(30) == code
    assert scores.read_text() == "old"
    assert list(scores.parent.iterdir()) == [scores]


@contextmanager
def subscriber(endpoint):
    """Hears everything at the endpoint."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 20_000)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(endpoint)
        yield socket


def test_publish(kwsd_command, recording, tmp_path, validator):
    endpoint = f"ipc://{tmp_path}/bus.sock"
    command = [*kwsd_command, "--replay", str(recording), "--publish"]
    command += ["--set", f"bus.endpoint={endpoint}", "--set", "bus.wait_subscriber_s=20"]
    with subscriber(endpoint) as socket:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            received = []
            while not received or received[-1][0] != "replay/end/":
                topic, payload = socket.recv_multipart()
                received.append((topic.decode(), json.loads(payload)))
            lines, _ = process.communicate(timeout=20)
    for _, message in received:
        validator.validate(message)
        assert message["replay"] is True
    topics = [topic for topic, _ in received]
    assert topics[:2] == ["audio/state/", "runtime/state/"]
    wakes = [message for topic, message in received if topic.startswith("wake/")]
    assert [message["seq"] for message in wakes] == [0, 1]
    for message, line in zip(wakes, lines.splitlines(), strict=True):
        for name, value in json.loads(line).items():
            assert message[name] == value
    assert received[-1][1]["events"] == 2


def test_a_quiet_replay_says_that_it_is_there(kwsd_command, tmp_path, validator):
    endpoint = f"ipc://{tmp_path}/bus.sock"
    command = [*kwsd_command, "--replay", "-", "--publish", "--set", f"bus.endpoint={endpoint}"]
    endless = io.BytesIO()
    sf.write(endless, np.zeros(0, np.int16), RATE, format="WAV", subtype="PCM_16")
    with subscriber(endpoint) as socket:
        with subprocess.Popen(
            [*command, "--set", "bus.wait_subscriber_s=20"], stdin=subprocess.PIPE
        ) as process:
            process.stdin.write(endless.getvalue())
            beats = []
            deadline = time.monotonic() + 60
            while len(beats) < 3 and time.monotonic() < deadline:
                process.stdin.write(bytes(RATE // 5))
                process.stdin.flush()
                while socket.poll(20):
                    topic, payload = socket.recv_multipart()
                    if topic == b"health/beat/":
                        beats.append(json.loads(payload))
            process.stdin.close()
    for beat in beats:
        validator.validate(beat)
        assert beat["replay"] and beat["audio"] == "running" and beat["wakes"] == 0
    assert len(beats) >= 3
    assert [beat["seq"] for beat in beats] == [*range(len(beats))]


@pytest.fixture(scope="module")
def peak_memory_mib(kwsd_environment):
    """Peak resident memory of a replay of so many seconds."""
    code = (
        "import sys; from kwsd.cli import main; code = main(); "
        "text = open('/proc/self/status').read(); "
        "print(text.split('VmHWM:')[1].split()[0], file=sys.stderr); sys.exit(code)"
    )

    def measure(path):
        command = [sys.executable, "-c", code, "--replay", str(path)]
        result = subprocess.run(command, capture_output=True, text=True, env=kwsd_environment)
        assert result.returncode == 0, result.stderr
        return int(result.stderr.split()[-1]) / 1024

    return measure


def write_scene(path, seconds, rate_hz=RATE):
    bursts = tuple(Burst(float(start), 0.3, 1000.0) for start in range(5, int(seconds), 5))
    with sf.SoundFile(path, "w", samplerate=rate_hz, channels=1, subtype="PCM_16") as out:
        for block in SyntheticSource(Scene(seconds, bursts=bursts)).blocks():
            out.write(block.mics.T)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_memory_does_not_grow(tmp_path, peak_memory_mib):
    for name, seconds in (("short.wav", 10.0), ("long.wav", 100.0)):
        write_scene(tmp_path / name, seconds)
    short = peak_memory_mib(tmp_path / "short.wav")
    assert peak_memory_mib(tmp_path / "long.wav") - short < 10.0


@pytest.mark.slow
def test_memory_of_an_hour(tmp_path, peak_memory_mib):
    for name, seconds in (("minute.wav", 60.0), ("hour.wav", 3600.0)):
        write_scene(tmp_path / name, seconds)
    minute = peak_memory_mib(tmp_path / "minute.wav")
    assert peak_memory_mib(tmp_path / "hour.wav") - minute < 10.0
