"""What decides how sure a model must be: ``kwsctl set``, the keyword's own settings, or ``[wake]``.

A keyword's own setting wins over ``[wake]``, a number over a sensitivity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from kwsd.config import Config
from kwsd.config_schema import KEYWORD_SECTION
from kwsd.model.wake_model import WakeModel

SET_BY_KWSCTL = "kwsctl set"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Where a threshold comes from."""

    sensitivity: str | None
    """The package's operating point; None where a threshold was given as a number."""

    origin: str
    """``kwsctl set``, or the key of the configuration that decides."""

    threshold: float | None = None
    """That number; None where the package's operating point counts."""


def operating_point(
    config: Config, keyword: str, sensitivities: Mapping[str, str] = MappingProxyType({})
) -> OperatingPoint:
    """What decides for a keyword; `sensitivities` are those that kwsctl set, by keyword."""
    own, wake, section = config.keyword(keyword), config.wake, f"{KEYWORD_SECTION}.{keyword}"
    if keyword in sensitivities:
        return OperatingPoint(sensitivities[keyword], SET_BY_KWSCTL)
    if own.threshold is not None:
        return OperatingPoint(None, f"{section}.threshold", own.threshold)
    if own.sensitivity is not None:
        return OperatingPoint(own.sensitivity, f"{section}.sensitivity")
    if wake.threshold is not None:
        return OperatingPoint(None, "wake.threshold", wake.threshold)
    return OperatingPoint(wake.sensitivity, "wake.sensitivity")


def threshold_of(point: OperatingPoint, package: WakeModel) -> float:
    """Smoothed score from which on a package wakes."""
    if point.threshold is not None:
        return point.threshold
    assert point.sensitivity is not None
    return package.threshold(point.sensitivity)


def with_set(config: Config, keyword: str, sensitivities: Mapping[str, str]) -> Config:
    """The configuration with what kwsctl set for a keyword over it."""
    if keyword not in sensitivities:
        return config
    own = replace(config.keyword(keyword), sensitivity=sensitivities[keyword], threshold=None)
    return replace(config, keywords={**config.keywords, keyword: own})
