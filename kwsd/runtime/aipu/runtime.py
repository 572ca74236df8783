"""Runtime `aipu`: looks from outside first, then opens a session in a child process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kwsd.model.package import ModelPackage
from kwsd.runtime.aipu.manifest import TARGET, load_manifest
from kwsd.runtime.aipu.probe import DEVICE, check_device, check_library, find_library
from kwsd.runtime.aipu.session import AipuSession, Limits
from kwsd.runtime.base import Probe
from kwsd.runtime.failure import RuntimeFailure


@dataclass(frozen=True)
class AipuSettings:
    """Where things are, and times."""

    device: Path = DEVICE
    """Device node."""

    library: Path | None = None
    """Driver library; None looks in the system's folders."""

    target: str = TARGET
    """Target for which graphs must be compiled."""

    limits: Limits = field(default_factory=Limits)
    """Time limits."""


class AipuRuntime:
    """The Zhouyi processor through the Compass driver.

    Parameters
    ----------
    settings : AipuSettings
        Device, library, target, limits.
    """

    name = "aipu"

    def __init__(self, settings: AipuSettings | None = None) -> None:
        self._settings = settings or AipuSettings()

    def probe(self) -> Probe:
        """Device node and library, without opening or loading either."""
        try:
            library = self._library()
        except RuntimeFailure as failure:
            return Probe(False, str(failure))
        return Probe(True, f"{self._settings.target} with {library}")

    def open(self, package: ModelPackage) -> AipuSession:
        """Check device, library, manifest and graph, then start an engine and prove it.

        Raises
        ------
        RuntimeFailure
            With its reason word.
        """
        library = self._library()
        manifest = load_manifest(package, self._settings.target)
        return AipuSession(package, manifest, library, self._settings.limits)

    def _library(self) -> Path:
        check_device(self._settings.device)
        library = find_library(self._settings.library)
        check_library(library)
        return library
