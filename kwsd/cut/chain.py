"""The cut network as it runs: part after part, tensors handed on by name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from kwsd.cut.manifest import CutManifest, read_manifest
from kwsd.runtime.litert import LiteRtSession

Tensors = dict[str, NDArray[Any]]


class CutChain:
    """Every part of a cut, loaded on the CPU.

    Bodies run on the CPU too, by the same reference kernels as the uncut network, so that both give
    the same bytes; what a compiled body gives on a board is compared by its own package.

    Parameters
    ----------
    folder : Path
        Made by `kwsmodel cut`.

    Raises
    ------
    MissingFileError, ModelError
        It is not whole.
    RuntimeUnavailable
        There is no interpreter.
    """

    def __init__(self, folder: Path) -> None:
        self.manifest: CutManifest = read_manifest(folder)
        self._sessions = [
            LiteRtSession((folder / part.file).read_bytes(), part.file, delegates=False)
            for part in self.manifest.parts
        ]
        self.times_s: list[list[float]] = [[] for _ in self._sessions]
        """Wall time of each run of each part."""

    def step(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """All inputs of the network by name to all of its outputs."""
        known: Tensors = dict(inputs)
        for part, session, times in zip(
            self.manifest.parts, self._sessions, self.times_s, strict=True
        ):
            begun = time.perf_counter()
            known.update(session.step({name: known[name] for name in part.inputs}))
            times.append(time.perf_counter() - begun)
        return {name: known[name] for name in self.manifest.outputs}

    def close(self) -> None:
        """Release every part."""
        for session in self._sessions:
            session.close()
