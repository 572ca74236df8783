"""Writer of NCNN's two files: layers as text, weights as bytes in the order of the layers.

Format: the public NCNN documentation, "param and model file structure".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = 7767517
"""First line of every text parameter file."""

HALF = 0x01306B47
"""Tag of weights that are stored as float16."""


@dataclass(frozen=True)
class NcnnFiles:
    """The two files of a network."""

    param: bytes
    """Text: layers."""

    weights: bytes
    """Weights in the order of the layers."""


@dataclass(frozen=True)
class _Layer:
    kind: str
    sources: tuple[str, ...]
    blob: str
    parameters: str
    weights: bytes


class NcnnGraph:
    """Collects layers; a layer is named like the blob that it gives."""

    def __init__(self) -> None:
        self._layers: list[_Layer] = []
        self._named: set[str] = set()

    def add(
        self,
        kind: str,
        sources: Sequence[str],
        parameters: str = "",
        weights: bytes = b"",
        blob: str = "",
    ) -> str:
        """Append a layer with one output; gives its blob.

        Parameters
        ----------
        kind : str
            NCNN's name of the layer.
        sources : sequence of str
            Blobs that it reads.
        parameters : str
            As in the file: ``0=64 1=1``.
        weights : bytes
            As in the file: `half` and `single`.
        blob : str, optional
            Name of the output; made up if empty.
        """
        blob = blob or f"made{len(self._layers)}"
        if blob in self._named:
            raise ValueError(f"two blobs named {blob}")
        self._named.add(blob)
        self._layers.append(_Layer(kind, tuple(sources), blob, parameters, weights))
        return blob

    def write(self) -> NcnnFiles:
        """Both files. A blob with several readers gets a copy for each, as NCNN wants it."""
        readers: dict[str, int] = {}
        for layer in self._layers:
            for source in layer.sources:
                readers[source] = readers.get(source, 0) + 1
        free: dict[str, list[str]] = {}
        lines: list[str] = []
        blobs = 0
        for layer in self._layers:
            sources = [free[source].pop(0) for source in layer.sources]
            lines.append(_line(layer.kind, layer.blob, sources, [layer.blob], layer.parameters))
            copies = [layer.blob]
            if readers.get(layer.blob, 0) > 1:
                copies = [f"{layer.blob}_{copy}" for copy in range(readers[layer.blob])]
                lines.append(_line("Split", f"{layer.blob}_split", [layer.blob], copies, ""))
                blobs += len(copies)
            free[layer.blob] = copies
            blobs += 1
        text = f"{MAGIC}\n{len(lines)} {blobs}\n" + "\n".join(lines) + "\n"
        return NcnnFiles(text.encode("ascii"), b"".join(layer.weights for layer in self._layers))


def _line(kind: str, name: str, sources: list[str], blobs: list[str], parameters: str) -> str:
    words = [kind, name, str(len(sources)), str(len(blobs)), *sources, *blobs, parameters]
    return " ".join(word for word in words if word)


def half(values: NDArray[Any]) -> bytes:
    """Filter weights with their tag, in float16: exact for whole numbers up to 2048."""
    data = np.ascontiguousarray(values, "<f2").tobytes()
    return np.array(HALF, "<u4").tobytes() + data + bytes(-len(data) % 4)


def single(values: NDArray[Any]) -> bytes:
    """Bias or scale, which have no tag, in float32."""
    return np.ascontiguousarray(values, "<f4").tobytes()
