"""The card of a model: what it was made from, how, and what was measured, for people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kwsd.evaluate.curve import Point
from kwsd.evaluate.result import Result
from kwsd.model.write import PackageContent
from kwsd.train.layers import FloatNet


@dataclass(frozen=True)
class CardFacts:
    """What a card states."""

    content: PackageContent
    """The package."""

    command: str
    """The command that makes the model again."""

    net: FloatNet
    """The network before it was quantised."""

    result: Result
    """Scores of the development recordings."""

    points: dict[str, Point]
    """The chosen sensitivities."""


def _percent(point: Point) -> str:
    low, high = point.miss_interval
    return (
        f"{100 * point.miss_rate:.1f} % [{100 * low:.1f}-{100 * high:.1f}] "
        f"({point.misses} of {point.positives})"
    )


def _rate_rows(result: Result) -> list[str]:
    rows = []
    for rate in (1.0, 0.5, 0.1):
        point = result.curve.at_rate(rate)
        if point is None:
            rows.append(f"| {rate:g} | - | not resolvable in {result.hours:.2f} h |")
        else:
            rows.append(f"| {rate:g} | {point.threshold:.3f} | {_percent(point)} |")
    none = result.curve.at_none_seen()
    rows.append(f"| none seen | {none.threshold:.3f} | {_percent(none)} |")
    return rows


def _speaker_rows(result: Result, threshold: float) -> list[str]:
    groups: dict[str, list[float]] = {}
    for heard in result.heard:
        groups.setdefault(heard.speaker or "unknown", []).append(heard.score)
    worst = sorted(
        ((sum(s < threshold for s in scores), len(scores), who) for who, scores in groups.items()),
        reverse=True,
    )
    return [f"| {who} | {misses} of {count} |" for misses, count, who in worst[:8]]


def write_card(facts: CardFacts) -> str:
    """Markdown text of a card."""
    content, result, points = facts.content, facts.result, facts.points
    latencies = result.latencies_ms(points["medium"].threshold)
    median, p90 = np.percentile(latencies, [50, 90]) if latencies else (float("nan"),) * 2
    lines = [
        f"# {content.name}",
        "",
        f'Wake word "{content.phrase}". int8 streaming network, {facts.net.parameters} parameters, '
        f"{facts.net.multiplies_per_step * 50 / 1e6:.2f} M multiply-accumulates per second of "
        f"audio, {len(content.network)} bytes, a step every 20 ms. Weights: Apache-2.0.",
        "",
        "## Measured",
        "",
        "int8 model through the whole chain (one microphone, no playback) on development "
        f"recordings of speakers who did not train: {len(result.heard)} recordings of the word, "
        f"{result.hours:.2f} h of other real audio. Misses with Wilson 95 % intervals. The "
        "thresholds were chosen on these same recordings, so expect somewhat more of both errors "
        "elsewhere; speakers of the positives were separated by clustering, so approximately.",
        "",
        "| false accepts per hour | threshold | misses |",
        "| --- | --- | --- |",
        *_rate_rows(result),
        "",
        "Sensitivities as shipped:",
        "",
        "| sensitivity | threshold | misses | false accepts |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {point.threshold:.3f} | {_percent(point)} | {point.claim} |"
            for name, point in points.items()
        ),
        "",
        f"End of the word to detection at medium: median {median:.0f} ms, 90th percentile "
        f"{p90:.0f} ms (end of the word by energy, good to some 50 ms).",
        "",
        "Speakers with most misses at medium:",
        "",
        "| speaker | misses |",
        "| --- | --- |",
        *_speaker_rows(result, points["medium"].threshold),
        "",
        "## Not measured",
        "",
        "Real rooms, a board's own microphones, the AIPU. Speakers are those of one crowd-sourced "
        "collection; children and most accents are missing among the positives.",
        "",
        "## Made by",
        "",
        "```sh",
        facts.command,
        "```",
        "",
        "## Data",
        "",
        "| set | licence | amount |",
        "| --- | --- | --- |",
        *(f"| {row.name} | {row.licence} | {row.amount} |" for row in content.data),
        "",
    ]
    return "\n".join(lines)
