"""Report: the figures of an evaluation as text, JSON, CSV and a DET plot."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kwsd.evaluate.curve import Point
from kwsd.evaluate.intervals import poisson_upper, wilson
from kwsd.evaluate.result import Heard, Result
from kwsd.model.package import ModelPackage

RATES_PER_HOUR = (5.0, 2.0, 1.0, 0.5, 0.2, 0.1)
"""False-accept rates for which misses are stated, as far as the hours show them."""

LATENCY_PERCENTILES = (50, 90, 95)
LOUDEST_SHOWN = 10
SKIPPED_SHOWN = 10


@dataclass(frozen=True)
class Report:
    """A result with what was judged and how."""

    package: ModelPackage
    """The model."""

    result: Result
    """What was heard."""

    condition: str
    """``clean``, or the noise and its ratio."""

    seed: int
    """Of every random choice."""

    def sensitivities(self) -> Iterator[tuple[str, Point]]:
        """The package's own operating points, through the daemon's decision."""
        for name, sensitivity in self.package.sensitivities.items():
            yield name, self.result.point(name, sensitivity.threshold)

    def speaker_threshold(self) -> tuple[str, float]:
        """Where speaker groups are compared, and what that point is called."""
        curve = self.result.curve
        point = curve.at_rate(1.0)
        if point is not None:
            return "1 FA/h", point.threshold
        return "no false accept seen", curve.at_none_seen().threshold


def text(report: Report) -> str:
    """The report for people."""
    result, package = report.result, report.package
    lines = [
        f"{package.name} {package.version}: {positives_text(result)}{_drawn(result)}, "
        f"{result.hours:.2f} h of negatives, {report.condition}, seed {report.seed}",
        "",
        "Misses against false accepts per hour (FA/h), 95 % intervals",
        "  Those of misses are over recordings, not over people: too narrow for other people.",
        f"  {'asked':>22}  {'threshold':>9}  {'misses':<42}  seen",
    ]
    curve = result.curve
    for rate in RATES_PER_HOUR:
        point = curve.at_rate(rate)
        asked = f"at most {rate:g} FA/h"
        if point is None:
            lines.append(
                f"  {asked:>22}  cannot be shown: needs {1 / rate:g} h of negatives or more"
            )
        else:
            lines.append(_row(asked, point, result.said_by))
    lines.append(_row("no false accept seen", curve.at_none_seen(), result.said_by))
    lines += ["", "The package's sensitivities, through the daemon's decision and level gate"]
    for name, point in report.sensitivities():
        latency = latency_text(result.latencies_ms(point.threshold))
        lines.append(f"{_row(name, point, result.said_by)}; latency {latency}")
    lines.append(
        "  Latency: from the end of the speech by energy (good to 50 ms) to the threshold."
    )
    lines += _speaker_lines(report)
    lines += ["", "Loudest negatives"]
    lines += [
        f"  {peak.score:.4f}  {peak.path} at {peak.time_s:.2f} s"
        for peak in result.peaks[:LOUDEST_SHOWN]
    ] or ["  none scored above the floor"]
    if result.skipped:
        lines += ["", f"{len(result.skipped)} recordings left out"]
        lines += [f"  {reason}" for reason in result.skipped[:SKIPPED_SHOWN]]
        if len(result.skipped) > SKIPPED_SHOWN:
            lines.append(f"  and {len(result.skipped) - SKIPPED_SHOWN} more (see --json)")
    # Names of files may hold bytes that are no text, which standard output refuses.
    return ("\n".join(lines) + "\n").encode(errors="replace").decode()


def positives_text(result: Result) -> str:
    """How many positives, and by how many people as far as that is known."""
    by = f" by {result.said_by}" if result.said_by else ""
    return f"{result.recordings} positives{by}"


def _drawn(result: Result) -> str:
    return f" in {result.draws} draws each" if result.draws > 1 else ""


def latency_text(latencies_ms: list[float]) -> str:
    """Median, 90th and 95th percentile in words."""
    if not latencies_ms:
        return "unknown: no hit"
    median, p90, p95 = np.percentile(latencies_ms, LATENCY_PERCENTILES)
    return f"{median:.0f} ms median, {p90:.0f} ms p90, {p95:.0f} ms p95"


def _row(asked: str, point: Point, said_by: str) -> str:
    threshold = f"{point.threshold:.4f}" if point.threshold <= 1 else "above 1"
    return f"  {asked:>22}  {threshold:>9}  {_misses(point, said_by):<42}  {point.claim}"


def _misses(point: Point, said_by: str) -> str:
    low, high = (100 * end for end in point.miss_interval)
    share = f"{100 * point.miss_rate:.1f} % [{low:.1f}-{high:.1f}]"
    who = f" ({said_by})" if said_by else ""
    return f"{share} {point.misses}/{point.positives}{who}"


def speakers(heard: tuple[Heard, ...], threshold: float) -> dict[str, tuple[int, int]]:
    """(misses, positives) of each known speaker, every draw counted."""
    groups: dict[str, tuple[int, int]] = {}
    for item in heard:
        if item.speaker:
            misses, total = groups.get(item.speaker, (0, 0))
            groups[item.speaker] = misses + (item.score < threshold), total + 1
    return dict(sorted(groups.items()))


def _speaker_lines(report: Report) -> list[str]:
    name, threshold = report.speaker_threshold()
    result = report.result
    groups = speakers(result.heard, threshold)
    if not groups:
        return []
    lines = ["", f"Speakers, at {name} (threshold {threshold:.4f})"]
    for speaker, (misses, total) in groups.items():
        interval = wilson(misses / result.draws, total / result.draws)
        low, high = (100 * end for end in interval)
        lines.append(
            f"  {speaker:>22}  {100 * misses / total:5.1f} % [{low:.1f}-{high:.1f}] "
            f"{misses}/{total}"
        )
    return lines


def as_dict(report: Report) -> dict[str, Any]:
    """The report for programs: plain numbers, rates in 1/h, times in ms."""
    result, curve = report.result, report.result.curve
    name, threshold = report.speaker_threshold()
    groups = speakers(result.heard, threshold)
    return {
        "model": report.package.name,
        "model_version": report.package.version,
        "condition": report.condition,
        "seed": report.seed,
        "positives": result.recordings,
        "draws": result.draws,
        "negative_hours": round(result.hours, 4),
        "rates": [
            {"asked_per_hour": rate, "resolvable": point is not None, **_point_dict(point)}
            for rate in RATES_PER_HOUR
            for point in (curve.at_rate(rate),)
        ],
        "none_seen": _point_dict(curve.at_none_seen()),
        "sensitivities": {
            key: {**_point_dict(point), **_latency_dict(result.latencies_ms(point.threshold))}
            for key, point in report.sensitivities()
        },
        "speakers": {
            "at": name,
            "threshold": threshold,
            "count": len(groups),
            "said_by": result.said_by,
            "groups": {
                speaker: {"misses": misses, "positives": total}
                for speaker, (misses, total) in groups.items()
            },
        },
        "skipped": list(result.skipped),
    }


def _point_dict(point: Point | None) -> dict[str, Any]:
    if point is None:
        return {}
    return {
        "threshold": point.threshold,
        "misses": point.misses,
        "miss_rate": round(point.miss_rate, 5),
        "miss_interval": [round(end, 5) for end in point.miss_interval],
        "false_accepts": point.false_accepts,
        "false_accepts_per_hour": round(point.rate, 5),
        "rate_interval": [round(end, 5) for end in point.rate_interval],
        "rate_upper_bound": round(poisson_upper(point.false_accepts, point.hours), 5),
    }


def _latency_dict(latencies_ms: list[float]) -> dict[str, float | None]:
    names = ("latency_median_ms", "latency_p90_ms", "latency_p95_ms")
    if not latencies_ms:
        return dict.fromkeys(names)
    shown = np.percentile(latencies_ms, LATENCY_PERCENTILES)
    return {name: round(float(ms), 1) for name, ms in zip(names, shown, strict=True)}


def write_json(report: Report, path: Path) -> None:
    """`as_dict` as a file."""
    path.write_text(json.dumps(as_dict(report), indent=2) + "\n", encoding="utf-8")


def write_scores(report: Report, path: Path) -> None:
    """One row a positive and draw, and one a peak of the negatives."""
    # Names of files may hold bytes that are no text.
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("kind", "path", "time_s", "speaker", "score"))
        for heard in report.result.heard:
            rows.writerow(("positive", heard.path, "", heard.speaker, f"{heard.score:.5f}"))
        for peak in report.result.peaks:
            rows.writerow(("negative", peak.path, f"{peak.time_s:.2f}", "", f"{peak.score:.5f}"))
