"""Model package: a folder with the network, its numbers and its proof, checked on load.

See docs/model-package.md for the format. A package that does not hold what it says is refused
before any of it runs.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kwsd.dsp import features
from kwsd.errors import MissingFileError, ModelError
from kwsd.model.fields import Fields

FORMAT = 1
DESCRIPTION_FILE = "model.toml"
NETWORK_FILE = "model.tflite"
LARGEST_FILE_BYTES = 16 << 20
SENSITIVITIES = ("low", "medium", "high")
KINDS = ("wake", "sound", "verifier")
DTYPES = ("int8", "uint8", "int16", "float32")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a step."""

    name: str
    """Name in the network file."""

    shape: tuple[int, ...]
    """Static shape."""

    dtype: str
    """numpy name of the type."""

    scale: float
    """``real = scale * (stored - zero_point)``; 0 for a float tensor."""

    zero_point: int
    """Stored value of real zero."""


@dataclass(frozen=True)
class StatePair:
    """A tensor that goes from the output of one step to the input of the next."""

    name: str
    """Name of the state."""

    input: str
    """Input tensor."""

    output: str
    """Output tensor, same shape, type, scale and zero point."""


@dataclass(frozen=True)
class Sensitivity:
    """A threshold and what was measured at it."""

    threshold: float
    """Smoothed score that counts as the word, between 0 and 1."""

    false_accepts_per_hour: float
    """Stated false-accept rate."""

    miss_rate: float
    """Share of missed words on the same recordings that set the threshold."""


@dataclass(frozen=True)
class Timing:
    """Typical times, for the estimates of an event."""

    delay_ms: float
    """From the end of the word to its detection."""

    word_ms: float
    """Length of the word."""


@dataclass(frozen=True)
class Vectors:
    """Recorded steps that a runtime must reproduce."""

    file: str
    """Name of the file in the package."""

    steps: int
    """Number of steps."""

    tolerance: int
    """Largest difference of an output, in stored units."""


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
        table = tomllib.loads(description.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{description}: not valid TOML ({error}); install the package again"
        ) from None
    except OSError as error:
        raise MissingFileError(f"{description}: {error.strerror}") from None
    root = Fields(str(description), "", table)
    if root.integer("format", 1, 1 << 16) != FORMAT:
        raise ModelError(
            f"{description}: format = {table['format']}, this version reads {FORMAT}; "
            "update kwsd or take a package for it"
        )
    _check_features(root.table("feature"))
    package = _read(path, root)
    _check_files(path, root.table("files"), package.vectors.file)
    root.finish()
    _check_graph(str(description), package)
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
                row.number("scale", 0.0, 1e6),
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
        name=root.text("name"),
        version=root.text("version"),
        kind=root.choice("kind", KINDS),
        phrase=root.text("phrase"),
        labels=root.texts("labels"),
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


def _check_files(path: Path, table: Fields, vectors: str) -> None:
    """Every listed file is there, is small enough and has its hash; the needed ones are listed."""
    names = table.keys()
    for needed in (NETWORK_FILE, vectors):
        if needed not in names:
            raise ModelError(f"{table.where(needed)} is missing: the file is part of every package")
    for name in names:
        want = table.text(name)
        if Path(name).name != name or name in ("", ".", ".."):
            raise ModelError(f"{table.where(name)}: only plain file names inside the package")
        file = path / name
        if not file.is_file():
            raise MissingFileError(f"model package {path} lacks {name}: install the package again")
        if file.stat().st_size > LARGEST_FILE_BYTES:
            raise ModelError(
                f"{file} has {file.stat().st_size} bytes, allowed {LARGEST_FILE_BYTES}"
            )
        got = hashlib.sha256(file.read_bytes()).hexdigest()
        if got != want:
            raise ModelError(
                f"{file} has sha256 {got[:12]}…, {DESCRIPTION_FILE} says {want[:12]}…: the file "
                "was changed or damaged; install the package again"
            )
    table.finish()


def _check_graph(where: str, package: ModelPackage) -> None:
    """Names, shapes and scales fit each other."""
    inputs = {tensor.name: tensor for tensor in package.inputs}
    outputs = {tensor.name: tensor for tensor in package.outputs}
    if len(inputs) != len(package.inputs) or len(outputs) != len(package.outputs):
        raise ModelError(f"{where}: two tensors of one role share a name")
    if package.feature_input not in inputs or package.score_output not in outputs:
        raise ModelError(
            f"{where}: stream.feature_input = {package.feature_input!r} and stream.score_output = "
            f"{package.score_output!r} must name an input and an output of [[tensor]]"
        )
    fed = inputs[package.feature_input]
    if fed.shape != (1, package.frames_per_step, 1, features.BANDS):
        raise ModelError(
            f"{where}: tensor {fed.name} has shape {list(fed.shape)}, expected "
            f"[1, {package.frames_per_step}, 1, {features.BANDS}]"
        )
    for state in package.states:
        if state.input not in inputs or state.output not in outputs:
            raise ModelError(f"{where}: state {state.name} names a tensor that is not there")
        a, b = inputs[state.input], outputs[state.output]
        if (a.shape, a.dtype, a.scale, a.zero_point) != (b.shape, b.dtype, b.scale, b.zero_point):
            raise ModelError(
                f"{where}: state {state.name}: input and output differ in shape, type, scale or "
                "zero point; a state must go round unchanged"
            )
    fed_names = {package.feature_input, *(state.input for state in package.states)}
    if fed_names != set(inputs):
        raise ModelError(
            f"{where}: inputs {sorted(set(inputs) - fed_names)} are neither features nor states"
        )
    levels = [package.sensitivities[name].threshold for name in SENSITIVITIES]
    if not 1.0 > levels[0] >= levels[1] >= levels[2] > 0.0:
        raise ModelError(
            f"{where}: thresholds low, medium, high = {levels} must fall and lie between 0 and 1"
        )
    if package.kind == "wake" and len(package.labels) != 1:
        raise ModelError(f"{where}: labels = {list(package.labels)}, a wake package has one")
