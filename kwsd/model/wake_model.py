"""What the decision needs to know of a model, whatever format its package has."""

from __future__ import annotations

from typing import Protocol

from kwsd.model.parts import Timing


class WakeModel(Protocol):
    """A wake-word model: `kwsd.model.package.ModelPackage` is one."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def version(self) -> str:
        """Version of its weights."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What it detects; the first is the keyword."""

    @property
    def smoothing_steps(self) -> int:
        """Steps of the moving average of the score."""

    @property
    def timing(self) -> Timing:
        """Typical times."""

    @property
    def highest_score(self) -> float:
        """What no score is above."""

    @property
    def has_sensitivities(self) -> bool:
        """Whether low, medium and high differ."""

    def threshold(self, sensitivity: str) -> float:
        """Smoothed score that is a detection at low, medium or high sensitivity."""
