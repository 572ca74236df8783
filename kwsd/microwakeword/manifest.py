"""Manifest of a microWakeWord package, versions 1 and 2, with the network that it names.

The format is ESPHome's; keys that kwsd has no use for (author, arena size, ...) are ignored.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kwsd.digest import sha256_hex
from kwsd.errors import MissingFileError, ModelError
from kwsd.model.fields import Fields
from kwsd.model.parts import Timing

LARGEST_MANIFEST_BYTES = 1 << 20
LARGEST_NETWORK_BYTES = 64 << 20
STEPS_MS = (10, 20)
_STEP_MS_V1 = 20
"""Version 1 does not say it: all its models were trained on frames every 20 ms."""

# The manifest holds no times. These make onset_s and end_s of an event fair guesses only.
_DELAY_MS = 150.0
_LETTER_MS = 75.0
_SHORTEST_WORD_MS = 450.0


@dataclass(frozen=True)
class MicroModel:
    """A microWakeWord package that has been read; a `kwsd.model.wake_model.WakeModel`."""

    path: Path
    """The manifest."""

    name: str
    """File name of the manifest without its suffix."""

    version: str
    """First 8 hexadecimal digits of the network's SHA-256: the format has no version of weights."""

    phrase: str
    """What is said."""

    labels: tuple[str, ...]
    """One: the phrase as a keyword, ``Hey Jarvis`` as ``hey_jarvis``."""

    cutoff: float
    """Mean score that is a detection, above 0, at most 1."""

    smoothing_steps: int
    """Steps of the mean."""

    step_ms: int
    """Distance of two feature frames."""

    timing: Timing
    """Guesses; see the documentation."""

    network: Path
    """The network file."""

    content: bytes = field(repr=False)
    """What is in it."""

    highest_score = 1.0
    has_sensitivities = False
    """The format knows none."""

    def threshold(self, sensitivity: str) -> float:
        """The one cutoff."""
        return self.cutoff


def load_manifest(path: Path) -> MicroModel:
    """Read a manifest and its network file; the network itself is checked when it is opened.

    Parameters
    ----------
    path : Path
        The ``.json`` file.

    Returns
    -------
    MicroModel

    Raises
    ------
    MissingFileError
        The manifest or the network is not there or cannot be read.
    ModelError
        The manifest is not as it must be.
    """
    root = Fields(str(path), "", _read_json(path))
    if "type" not in root.keys() or root.text("type") != "micro":
        raise ModelError(
            f'{path} is no microWakeWord manifest: type = "micro" expected; name the .json file '
            "that came with the .tflite"
        )
    version = root.integer("version", 1, 2)
    micro = root.table("micro")
    phrase = root.text("wake_word").strip()
    network = _network_path(path, root)
    cutoff = micro.number("probability_cutoff", 0.0, 1.0)
    if cutoff == 0.0:
        raise ModelError(
            f"{micro.where('probability_cutoff')} = 0: everything would be the word; "
            "a number above 0 and at most 1 expected"
        )
    window = "sliding_window_size" if version == 2 else "sliding_window_average_size"
    content = _read_bytes(network, LARGEST_NETWORK_BYTES, "put the model's .tflite there")
    name = _plain(path.stem)
    return MicroModel(
        path=path,
        name=name or "model",
        version=sha256_hex(content)[:8],
        phrase=phrase,
        labels=(_plain(phrase).lower() or name or "model",),
        cutoff=cutoff,
        smoothing_steps=micro.integer(window, 1, 1000),
        step_ms=_step_ms(version, micro),
        timing=Timing(_DELAY_MS, max(_SHORTEST_WORD_MS, min(_LETTER_MS * len(phrase), 3000.0))),
        network=network,
        content=content,
    )


def _read_bytes(path: Path, largest: int, next_step: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > largest:
            raise ModelError(f"{path} has {size} bytes, allowed {largest}; install it again")
        return path.read_bytes()
    # A name with a NUL character is a ValueError.
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise MissingFileError(f"{path} cannot be read: {why}; {next_step}") from None


def _read_json(path: Path) -> dict[str, Any]:
    content = _read_bytes(path, LARGEST_MANIFEST_BYTES, "name a microWakeWord .json file")
    try:
        table = json.loads(content.decode("utf-8"))
    # Deep nesting is a RecursionError; broken UTF-8, JSON and huge numbers are ValueErrors.
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON ({error}); install the model again") from None
    if not isinstance(table, dict):
        raise ModelError(f"{path}: a JSON object expected; name a microWakeWord .json file")
    return table


def _network_path(path: Path, root: Fields) -> Path:
    name = root.text("model")
    if "://" in name or name in (".", "..") or Path(name).name != name:
        raise ModelError(
            f"{root.where('model')} = {name!r}: the name of a .tflite file beside the manifest "
            "expected; copy it there and put its name here"
        )
    return path.parent / name


def _step_ms(version: int, micro: Fields) -> int:
    if version == 1:
        return _STEP_MS_V1
    step_ms = micro.integer("feature_step_size", 0, 1000)
    if step_ms not in STEPS_MS:
        allowed = " or ".join(str(step) for step in STEPS_MS)
        raise ModelError(
            f"{micro.where('feature_step_size')} = {step_ms}: {allowed} (ms) expected; "
            "kwsd cannot compute the features of this model"
        )
    return step_ms


def _plain(text: str) -> str:
    """As part of a topic: letters and digits of ASCII, ``_`` ``-`` ``.``; accents are dropped."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", ascii_text).strip("_.-")[:64]
