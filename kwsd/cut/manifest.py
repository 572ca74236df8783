"""Manifest of a cut: parts in order, their borders, and the hashes of everything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kwsd.errors import MissingFileError, ModelError

MANIFEST = "manifest.json"
FORMAT = 1
KINDS = ("body", "cpu")


@dataclass(frozen=True)
class CutTensor:
    """A tensor at a border."""

    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    """Empty where it is not quantised."""

    zero_points: tuple[int, ...]


@dataclass(frozen=True)
class CutPart:
    """One part."""

    name: str
    kind: str
    file: str
    """Its network, below the folder of the cut."""

    sha256: str
    inputs: tuple[str, ...]
    """Tensors in the order of its inputs."""

    outputs: tuple[str, ...]
    operators: tuple[str, ...]
    """``place NAME``, and on the CPU why it is there."""

    multiplies: int


@dataclass(frozen=True)
class CutManifest:
    """A whole cut."""

    network: str
    """Name of the file that was cut."""

    network_sha256: str
    target: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[tuple[str, str], ...]
    """Input and output of each state pair; both ends have the same type and scale."""

    parts: tuple[CutPart, ...]
    tensors: dict[str, CutTensor]
    vectors: str
    """Recorded steps of the uncut network."""

    vectors_sha256: str


def sha256(data: bytes) -> str:
    """Hash as it stands in a manifest."""
    return hashlib.sha256(data).hexdigest()


def write_manifest(folder: Path, manifest: CutManifest) -> None:
    """Store it in a folder."""
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(folder: Path) -> CutManifest:
    """Read it and check every file that it names.

    Raises
    ------
    MissingFileError
        There is no manifest, or a file of it is missing.
    ModelError
        It is malformed, or a file is not what it says.
    """
    path = folder / MANIFEST
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(
            f"{path} cannot be read: {error.strerror}; name a folder made by kwsmodel cut"
        ) from None
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}; cut the network again") from None
    try:
        manifest = _parse(rows)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path} is no manifest of a cut ({type(error).__name__}: {error}); "
            "cut the network again"
        ) from None
    _check(folder, manifest)
    return manifest


def _parse(rows: Mapping[str, Any]) -> CutManifest:
    if rows["format"] != FORMAT:
        raise ValueError(f"format {rows['format']}, this version reads {FORMAT}")
    parts = tuple(
        CutPart(
            name=str(row["name"]),
            kind=_one_of(row["kind"], KINDS),
            file=str(row["file"]),
            sha256=str(row["sha256"]),
            inputs=tuple(map(str, row["inputs"])),
            outputs=tuple(map(str, row["outputs"])),
            operators=tuple(map(str, row["operators"])),
            multiplies=int(row["multiplies"]),
        )
        for row in rows["parts"]
    )
    tensors = {
        str(name): CutTensor(
            tuple(map(int, row["shape"])),
            str(row["dtype"]),
            tuple(map(float, row["scales"])),
            tuple(map(int, row["zero_points"])),
        )
        for name, row in rows["tensors"].items()
    }
    return CutManifest(
        network=str(rows["network"]),
        network_sha256=str(rows["network_sha256"]),
        target=str(rows["target"]),
        inputs=tuple(map(str, rows["inputs"])),
        outputs=tuple(map(str, rows["outputs"])),
        states=tuple((str(a), str(b)) for a, b in rows["states"]),
        parts=parts,
        tensors=tensors,
        vectors=str(rows["vectors"]),
        vectors_sha256=str(rows["vectors_sha256"]),
    )


def _one_of(value: object, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{value!r}, allowed are {', '.join(allowed)}")
    return str(value)


def _check(folder: Path, manifest: CutManifest) -> None:
    files = [(part.file, part.sha256) for part in manifest.parts]
    for name, expected in (*files, (manifest.vectors, manifest.vectors_sha256)):
        path = folder / name
        if path.resolve().parent != folder.resolve() and (
            folder.resolve() not in path.resolve().parents
        ):
            raise ModelError(f"{folder / MANIFEST}: {name} lies outside of the cut")
        try:
            found = sha256(path.read_bytes())
        except OSError as error:
            raise MissingFileError(f"{path} cannot be read: {error.strerror}; cut again") from None
        if found != expected:
            raise ModelError(f"{path} is not the file of the manifest (sha256 {found[:12]}…)")
    known = set(manifest.inputs)
    for part in manifest.parts:
        missing = [name for name in part.inputs if name not in known]
        if missing:
            raise ModelError(f"{folder / MANIFEST}: {part.name} needs {missing[0]} too early")
        known.update(part.outputs)
    missing = [name for name in manifest.outputs if name not in known]
    if missing:
        raise ModelError(f"{folder / MANIFEST}: nothing gives {missing[0]}")
