"""Model package: a folder with the network, its numbers and its proof, checked on load.

See docs/model-package.md for the format. A package that does not hold what it says is refused
before any of it runs.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from kwsd.dsp import features
from kwsd.errors import MissingFileError, ModelError
from kwsd.model.check import check_files, check_graph
from kwsd.model.fields import Fields
from kwsd.model.parts import Sensitivity, StatePair, TensorSpec, Timing, Vectors

__all__ = [
    "ModelPackage",
    "Sensitivity",
    "StatePair",
    "TensorSpec",
    "Timing",
    "Vectors",
    "feature_table",
    "load_package",
]

FORMAT = 1
DESCRIPTION_FILE = "model.toml"
NETWORK_FILE = "model.tflite"
LARGEST_DESCRIPTION_BYTES = 1 << 20
SENSITIVITIES = ("low", "medium", "high")
KINDS = ("wake", "sound", "verifier")
DTYPES = ("int8", "uint8", "int16")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Of a package and of its labels: they become folders and topics."""


@dataclass(frozen=True)
class ModelPackage:
    """A checked package."""

    path: Path
    """Folder."""

    name: str
    """Name, equal to the folder's by convention."""

    version: str
    """Version of the weights."""

    kind: str
    """wake, sound or verifier."""

    phrase: str
    """What is said."""

    labels: tuple[str, ...]
    """What a score stands for; a wake package has one."""

    frames_per_step: int
    """Feature frames of one step."""

    feature_input: str
    """Input tensor of the features."""

    score_output: str
    """Output tensor of the score."""

    smoothing_steps: int
    """Steps of the moving average of the score."""

    inputs: tuple[TensorSpec, ...]
    """All inputs, states included."""

    outputs: tuple[TensorSpec, ...]
    """All outputs, states included."""

    states: tuple[StatePair, ...]
    """State pairs."""

    sensitivities: Mapping[str, Sensitivity]
    """low, medium and high."""

    timing: Timing
    """Typical times."""

    vectors: Vectors
    """Proof steps."""

    licence: str
    """Licence of the weights."""

    @property
    def network(self) -> Path:
        """The network file."""
        return self.path / NETWORK_FILE

    has_sensitivities = True

    @property
    def highest_score(self) -> float:
        """What no score is above: an integer output ends a step below 1."""
        score = self.tensor(self.score_output)
        if not np.issubdtype(score.dtype, np.integer):
            return 1.0
        return float((np.iinfo(score.dtype).max - score.zero_point) * score.scale)

    def threshold(self, sensitivity: str) -> float:
        """Smoothed score that is a detection at low, medium or high sensitivity."""
        return self.sensitivities[sensitivity].threshold

    def tensor(self, name: str) -> TensorSpec:
        """Input or output by name."""
        return next(t for t in (*self.inputs, *self.outputs) if t.name == name)


def load_package(path: Path) -> ModelPackage:
    """Read and check a package; the network itself is checked against it by the runtime.

    Parameters
    ----------
    path : Path
        Package folder.

    Returns
    -------
    ModelPackage

    Raises
    ------
    MissingFileError
        The folder, its description or a file that it lists is not there.
    ModelError
        Anything in it is not as it must be.
    """
    description = path / DESCRIPTION_FILE
    if not path.is_dir():
        raise MissingFileError(f"model package {path} is not a folder: name a folder or a model")
    if not description.is_file():
        raise MissingFileError(f"{path} is no model package: it has no {DESCRIPTION_FILE}")
    try:
        size = description.stat().st_size
        if size > LARGEST_DESCRIPTION_BYTES:
            raise ModelError(
                f"{description} has {size} bytes, allowed {LARGEST_DESCRIPTION_BYTES}; "
                "install the package again"
            )
        table = tomllib.loads(description.read_text(encoding="utf-8"))
    # Not TOMLDecodeError alone: Python itself refuses long numbers and deep nesting.
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{description}: not valid TOML ({error}); install the package again"
        ) from None
    except OSError as error:
        raise MissingFileError(f"{description} cannot be read: {error.strerror}") from None
    root = Fields(str(description), "", table)
    if root.integer("format", 1, 1 << 16) != FORMAT:
        raise ModelError(
            f"{description}: format = {table['format']}, this version reads {FORMAT}; "
            "update kwsd or take a package for it"
        )
    _check_features(root.table("feature"))
    package = _read(path, root)
    check_files(path, root.table("files"), (NETWORK_FILE, package.vectors.file))
    root.finish()
    check_graph(str(description), package)
    return package


def _check_features(table: Fields) -> None:
    """The package must have been trained on exactly the features that this version computes."""
    expected: dict[str, Any] = feature_table()
    for key, want in expected.items():
        if isinstance(want, str):
            got: Any = table.text(key)
        else:
            got = table.number(key, -1e9, 1e9)
        if got != want:
            raise ModelError(
                f"{table.where(key)} = {got!r}, this version computes {want!r}; the model was made "
                "for other features: train it again or take another version"
            )
    table.finish()


def feature_table() -> dict[str, Any]:
    """The feature definition as a package states it."""
    return {
        "sample_rate_hz": features.SAMPLE_RATE_HZ,
        "frame_samples": features.FRAME_SAMPLES,
        "hop_samples": features.HOP_SAMPLES,
        "fft_size": features.FFT_SIZE,
        "bands": features.BANDS,
        "low_hz": features.LOW_HZ,
        "high_hz": features.HIGH_HZ,
        "compression": "pcen",
        "pcen_smoothing": features.PCEN_SMOOTHING,
        "pcen_alpha": features.PCEN_ALPHA,
        "pcen_delta": features.PCEN_DELTA,
        "pcen_root": features.PCEN_ROOT,
        "pcen_eps": features.PCEN_EPS,
        "pcen_scale": features.PCEN_SCALE,
        "pcen_offset": features.PCEN_OFFSET,
    }


def _read(path: Path, root: Fields) -> ModelPackage:
    stream, timing, vectors = root.table("stream"), root.table("timing"), root.table("vectors")
    licence, levels = root.table("licence"), root.table("sensitivity")
    tensors: dict[str, list[TensorSpec]] = {"input": [], "output": []}
    for row in root.rows("tensor"):
        role = row.choice("role", ("input", "output"))
        tensors[role].append(
            TensorSpec(
                row.text("name"),
                row.shape("shape"),
                row.choice("dtype", DTYPES),
                row.number("scale", 1e-30, 1e6),
                row.integer("zero_point", -(1 << 15), 1 << 15),
            )
        )
        row.finish()
    states = []
    for row in root.rows("state", allow_none=True):
        states.append(StatePair(row.text("name"), row.text("input"), row.text("output")))
        row.finish()
    sensitivities = {}
    for name in SENSITIVITIES:
        row = levels.table(name)
        sensitivities[name] = Sensitivity(
            row.number("threshold", 0.0, 1.0),
            row.number("false_accepts_per_hour", 0.0, 1e6),
            row.number("miss_rate", 0.0, 1.0),
        )
        row.finish()
    for row in root.rows("data", allow_none=True):
        row.text("name"), row.text("licence"), row.text("amount")
        row.finish()
    package = ModelPackage(
        path=path,
        name=_plain_name(root, "name"),
        version=root.text("version"),
        kind=root.choice("kind", KINDS),
        phrase=root.text("phrase"),
        labels=_labels(root),
        frames_per_step=stream.integer("frames_per_step", 1, 64),
        feature_input=stream.text("feature_input"),
        score_output=stream.text("score_output"),
        smoothing_steps=stream.integer("smoothing_steps", 1, 64),
        inputs=tuple(tensors["input"]),
        outputs=tuple(tensors["output"]),
        states=tuple(states),
        sensitivities=MappingProxyType(sensitivities),
        timing=Timing(
            timing.number("delay_ms", 0.0, 2000.0), timing.number("word_ms", 1.0, 10_000.0)
        ),
        vectors=Vectors(
            vectors.text("file"),
            vectors.integer("steps", 1, 10_000),
            vectors.integer("tolerance", 0, 127),
        ),
        licence=licence.text("weights"),
    )
    for table in (stream, timing, vectors, licence, levels):
        table.finish()
    return package


def _plain_name(table: Fields, key: str) -> str:
    """A name that can be part of a path and of a topic."""
    name = table.text(key)
    if not NAME.fullmatch(name):
        raise ModelError(
            f"{table.where(key)} = {name!r}: up to 64 letters, digits, '_', '-' and '.' expected"
        )
    return name


def _labels(table: Fields) -> tuple[str, ...]:
    labels = table.texts("labels")
    wrong = [label for label in labels if not NAME.fullmatch(label)]
    if wrong or len(set(labels)) != len(labels):
        raise ModelError(
            f"{table.where('labels')} = {list(labels)}: different names of up to 64 letters, "
            "digits, '_', '-' and '.' expected"
        )
    return labels
