"""From the end of a word to its event at a subscriber, live, through the virtual microphone.

    python -m benchmarks.service.latency --data FOLDER --rounds 2
    python -m benchmarks.service.latency            # the two words of samples/living_room.flac

FOLDER holds recordings of one utterance each. They are played one after the other, with quiet
noise under and between them, into both microphones; the end of each word is found by energy
(`kwsd.evaluate.recording.speech_bounds`, good to some 50 ms). Without FOLDER the words are those of
the sample; under its music nobody can say where they end, so the end is the events' own estimate
(`end_s`) and *stream* is the delay in the model's package, 8 ms more with two
microphones combined: only *transport* is measured then.

Three times for each word that is found: *stream*, from the end of the word to the last sample that
the decision needed (a replay of the same audio; what the model and the blocks cost even with
infinite speed); *total*, from the moment at which the end of the word could be had from the sound
server (`capture_clock.py`) to the event at a ZeroMQ subscriber, on the wall clock; *transport*, the
difference: capture, computing, bus. What the sound server and ALSA's plugin do with the end of a
period before any daemon can see it is measured beside it by a second capture.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import zmq

from benchmarks.service.capture_clock import CaptureClock, CaptureLag
from benchmarks.service.microphone import plug_in
from benchmarks.service.running import RunningDaemon
from kwsd.block import BLOCK_SAMPLES
from kwsd.config import load_config
from kwsd.ctl.client import request
from kwsd.daemon.input import period_ms_of
from kwsd.evaluate.recording import find_recordings, parts_of, read_part, speech_bounds

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 16_000
PAUSE_S = 1.0
PEAK = 0.3
NOISE_DBFS = -65.0
LATEST_S = 1.5
"""An event that comes later than this after a word is not its event."""

EARLIEST_S = -0.6


@dataclass(frozen=True)
class Stream:
    """What is played."""

    samples: np.ndarray
    """int16 [n, 3]."""

    ends: tuple[int, ...]
    """Sample behind each word."""


def stream_of(folder: Path, words: int | None, seed: int) -> Stream:
    """Recordings one after the other."""
    rng = np.random.default_rng(seed)
    paths = find_recordings([folder])
    order = rng.permutation(len(paths))[:words]
    pieces, ends = [np.zeros(2 * RATE_HZ, np.float32)], []
    position = 2 * RATE_HZ
    for index in order:
        word = read_part(parts_of(paths[index])[0])
        word = word * (PEAK / np.max(np.abs(word)))
        ends.append(position + speech_bounds(word)[1])
        pause = np.zeros(round(PAUSE_S * RATE_HZ) + int(rng.integers(480)), np.float32)
        pieces += [word, pause]
        position += len(word) + len(pause)
    mono = np.concatenate(pieces)
    noise = rng.standard_normal((len(mono), 2)) * 10 ** (NOISE_DBFS / 20)
    both = np.zeros((len(mono), 3))
    both[:, :2] = mono[:, None] + noise
    return Stream(np.rint(both * 32767).astype(np.int16), tuple(ends))


def stream_of_sample(rounds: int) -> Stream:
    """The sample recording, again and again."""
    once, _ = sf.read(ROOT / "samples/living_room.flac", dtype="int16")
    lines = (ROOT / "samples/living_room.events.jsonl").read_text().splitlines()
    words_s = [json.loads(line)["end_s"] for line in lines]
    each_s = len(once) / RATE_HZ
    ends = [round((each_s * k + end_s) * RATE_HZ) for k in range(rounds) for end_s in words_s]
    return Stream(np.concatenate([once] * rounds), tuple(ends))


def replay(stream: Stream, folder: Path, settings: list[str]) -> list[int]:
    """Samples at which a replay detects a word."""
    path = folder / "stream.wav"
    sf.write(path, stream.samples, RATE_HZ, subtype="PCM_16")
    config = folder / "replay.toml"
    config.write_text("\n".join(settings) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "kwsd", "--replay", str(path), "--config", str(config)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return [event["sample"] for event in events if event["type"] == "wake"]


class Subscriber:
    """Notes when each wake arrives."""

    def __init__(self, endpoint: str) -> None:
        self.wakes: list[tuple[float, dict[str, Any]]] = []
        self._endpoint = endpoint
        self._stop = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        context: zmq.Context[Any] = zmq.Context()
        channel = context.socket(zmq.SUB)
        channel.setsockopt(zmq.SUBSCRIBE, b"wake/")
        channel.connect(self._endpoint)
        while not self._stop:
            if channel.poll(100):
                message = channel.recv_multipart()[1]
                self.wakes.append((time.monotonic(), json.loads(message)))
        channel.close(0)
        context.term()

    def stop(self) -> None:
        """No more."""
        self._stop = True
        self._thread.join()


def where_played(recorded: np.ndarray, played: np.ndarray) -> int:
    """Position in the recording of the first played sample; exits where they differ."""
    middle = len(played) // 2
    # A stretch from the middle occurs once; the server passes samples on bit for bit.
    key = np.ascontiguousarray(played[middle : middle + 64, 0], "<i2").tobytes()
    at = np.ascontiguousarray(recorded[:, 0], "<i2").tobytes().find(key)
    if at < 0 or at % 2:
        sys.exit("the recording does not hold what was played: the sound server lost audio")
    return at // 2 - middle


def near(end: float, times: np.ndarray) -> int | None:
    """Index of the event of a word that ended then."""
    inside = np.flatnonzero((times >= end + EARLIEST_S) & (times <= end + LATEST_S))
    return int(inside[0]) if len(inside) else None


def waits_text(wake_samples: list[int]) -> str:
    """How long the samples at which words were found waited for the end of their block."""
    if not wake_samples:
        return "no word was found, so none waited for a full block"
    waits_ms = [-sample % BLOCK_SAMPLES * 1000 / RATE_HZ for sample in wake_samples]
    return (
        f"the samples waited {np.median(waits_ms):.1f} ms (most {max(waits_ms):.1f}) "
        "for a full block"
    )


def bus_text(published_s: list[float]) -> str:
    """How long the events took from their making to the subscriber."""
    if not published_s:
        return "bus: no event"
    return f"bus: median {1000 * np.median(published_s):.2f} ms"


def one_round(stream: Stream, detected: list[int], settings: list[str]) -> np.ndarray:
    """Play a stream; rows of (stream, total) seconds, one for each word that was found."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="kwsd") as name:
        folder = Path(name)
        microphone = plug_in(folder / "m", 3)
        lines = ["audio.device = 'virtmic'", "audio.channels = 3", *settings]
        daemon = RunningDaemon(folder / "d", lines, microphone.environment)
        period_ms = period_ms_of(load_config(file=folder / "d/kwsd.toml").audio)
        daemon.wait_ready()
        clock = CaptureClock("virtmic", 3, microphone.environment)
        os.environ.update(microphone.environment)
        lag = CaptureLag("virtmic", 3, period_ms)
        subscriber = Subscriber(daemon.endpoint)
        time.sleep(1.0)
        began_s = daemon.cpu_s()["all"]
        microphone.play(stream.samples)
        time.sleep(2.0)
        busy = (daemon.cpu_s()["all"] - began_s) / (len(stream.samples) / RATE_HZ + 2.0)
        audio = request(daemon.control, "status")["audio"]
        subscriber.stop()
        lag.stop()
        clock.stop()
        daemon.stop()
        microphone.stop()
        warnings = [line for line in daemon.log().splitlines() if "warning" in line]
    recorded = clock.samples()
    first = where_played(recorded, stream.samples)
    arrived = np.array([when_s for when_s, _ in subscriber.wakes])
    published = [when_s - event["mono_ns"] / 1e9 for when_s, event in subscriber.wakes]
    lost = 0
    for end in stream.ends:
        start = max(0, end - RATE_HZ)
        if not np.array_equal(
            recorded[first + start : first + end, 0], stream.samples[start:end, 0]
        ):
            lost += 1  # An underrun of the player moved what follows.
            continue
        in_replay = near(end / RATE_HZ, np.array(detected) / RATE_HZ)
        end_s = clock.time_s(first + end)
        live = near(end_s, arrived)
        if live is not None and in_replay is not None:
            rows.append((detected[in_replay] / RATE_HZ - end / RATE_HZ, arrived[live] - end_s))
    lags_ms = 1000 * lag.lags_s(clock, first - where_played(lag.samples(), stream.samples))
    lags_ms = lags_ms[len(lags_ms) // 10 :]
    print(
        f"of the transport: sound server and ALSA hand over the end of a period {period_ms} ms "
        f"long after {np.median(lags_ms):.1f} ms (p99 {np.quantile(lags_ms, 0.99):.1f}); "
        f"{waits_text([event['sample'] for _, event in subscriber.wakes])}",
        flush=True,
    )
    jitter_ms = 1000 * (clock.offsets_s() - np.quantile(clock.offsets_s(), 0.01))
    print(
        f"{len(stream.ends)} words, {len(detected)} in the replay, {lost} lost to underruns, "
        f"{len(rows)} found in both; "
        f"{len(subscriber.wakes)} events; sound server's jitter: median "
        f"{np.median(jitter_ms):.1f}, p99 {np.quantile(jitter_ms, 0.99):.1f} ms; "
        f"{bus_text(published)}; "
        f"daemon's CPU {100 * busy:.1f} %; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    names = ("state", "overruns", "dropped_periods", "openings", "gaps")
    said = [f"{name} {audio[name]}" for name in names]
    print("service: " + ", ".join(said), *warnings[:5], sep="; ", flush=True)
    return np.array(rows).reshape(-1, 2)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of recordings of one utterance each")
    parser.add_argument("--words", type=int, help="take no more than these")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="LINE", help="configuration")
    options = parser.parse_args()
    all_rows = []
    for number in range(options.rounds):
        if options.data:
            stream = stream_of(options.data, options.words, options.seed + number)
        else:
            stream = stream_of_sample(5)
        with tempfile.TemporaryDirectory(prefix="kwsd") as name:
            detected = replay(stream, Path(name), options.set)
        all_rows.append(one_round(stream, detected, options.set))
    rows = 1000 * np.concatenate(all_rows)
    if not len(rows):
        sys.exit("no word was found")
    rows = np.column_stack([rows, rows[:, 1] - rows[:, 0]])
    print(
        f"{'ms':<10} {'median':>7} {'p90':>7} {'p99':>7} {'least':>7} {'most':>7}   n={len(rows)}"
    )
    for name, column in zip(("stream", "total", "transport"), rows.T, strict=True):
        quantiles = [*np.quantile(column, (0.5, 0.9, 0.99)), column.min(), column.max()]
        print(f"{name:<10} " + " ".join(f"{value:>7.0f}" for value in quantiles))


if __name__ == "__main__":
    main()
