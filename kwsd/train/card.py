"""The card of a model: what it was made from, how, and what was measured, for people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kwsd.evaluate.curve import Point
from kwsd.evaluate.result import Result
from kwsd.model.package import ModelPackage
from kwsd.model.write import PackageContent
from kwsd.train.layers import FloatNet
from kwsd.train.operating_points import RATES_PER_HOUR, OperatingPoint, exceeded


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

    far: Result
    """Scores of the same recordings far away in rooms."""

    points: dict[str, OperatingPoint]
    """The chosen sensitivities."""

    synthetic: int = 0
    """Judged positives that are synthetic; the others are recordings."""

    mixed: int = 0
    """Of the synthetic ones those of a voice that is held out mixed with one that trained."""

    beside: tuple[str, ...] = ()
    """Phrases that were trained together with this one."""

    start: ModelPackage | None = None
    """Whose layers the training began with, if it did not begin at random."""

    start_sha256: str = ""
    """Of the network of `start` as it was when the training began: its place may be written to."""

    networks: int = 1
    """How many were trained."""

    distilled: bool = False
    """Whether one of several learnt what all say of this phrase on average."""


def _said_by(facts: CardFacts) -> str:
    """Who says the positives: how many people, where that is told."""
    if facts.synthetic >= len(facts.result.heard):
        return "synthetic voices"
    if facts.synthetic:
        return "people and synthetic voices"
    return facts.result.said_by or "not told"


def _percent(point: Point) -> str:
    low, high = point.miss_interval
    return (
        f"{100 * point.miss_rate:.1f} % [{100 * low:.1f}-{100 * high:.1f}] "
        f"({point.misses} of {point.positives})"
    )


def _rate_rows(result: Result, said_by: str) -> list[str]:
    rows = [
        "| false accepts per hour | threshold | misses | said by |",
        "| --- | --- | --- | --- |",
    ]
    for rate in (1.0, 0.5, 0.1):
        point = result.curve.at_rate(rate)
        if point is None:
            rows.append(f"| {rate:g} | - | not resolvable in {result.hours:.2f} h | {said_by} |")
        else:
            rows.append(f"| {rate:g} | {point.threshold:.3f} | {_percent(point)} | {said_by} |")
    none = result.curve.at_none_seen()
    rows.append(f"| none seen | {none.threshold:.3f} | {_percent(none)} | {said_by} |")
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


def _judged_text(facts: CardFacts) -> str:
    """What the figures come from; a synthetic positive must not pass for a recording.

    Only what the data at hand say: a user's own need not tell who speaks.
    """
    result, synthetic = facts.result, facts.synthetic
    recorded = len(result.heard) - synthetic
    words = []
    if recorded:
        named = "" if synthetic else result.said_by
        by = f", by {named} (as their index names them)" if named else ""
        words.append(f"{recorded} development recordings of the word that did not train{by}")
    if synthetic:
        words.append(
            f"{synthetic} synthetic renderings of the word, of the same synthesizer "
            f"({synthetic - facts.mixed} by voices held out of training, {facts.mixed} by mixtures "
            "of such a voice with one that trained)"
        )
    told = (
        "int8 model through the whole chain (one microphone, no playback) on "
        f"{' and '.join(words) or 'no positive'}, and {result.hours:.2f} h of other audio "
        "that did not train; once as they are, once far away: in simulated rooms, RT60 0.3 to "
        f"0.6 s, talkers 1 to 3 m from the microphone, {facts.far.draws} rooms for each positive. "
        "Misses with Wilson 95 % intervals, which take the rooms of a positive for one; they are "
        f"over {'recordings' if recorded else 'renderings'}, not over people, so for other people "
        "they are too narrow. "
    )
    if synthetic:
        told += "Synthetic positives say little about people in front of real microphones. "
    return told + (
        "The thresholds were chosen on these same clips, so expect somewhat more of both errors "
        "elsewhere."
    )


def _latency_text(latencies_ms: list[float]) -> str:
    said = "End of the word to detection at medium: "
    if not latencies_ms:
        return said + "no word was found."
    median, p95 = np.percentile(latencies_ms, [50, 95])
    return (
        f"{said}median {median:.0f} ms, 95th percentile {p95:.0f} ms (end of the word by energy, "
        "good to some 50 ms)."
    )


def _gap_text(facts: CardFacts) -> str:
    told = "Real rooms, a board's own microphones, the AIPU. "
    if facts.synthetic >= len(facts.result.heard):
        return told + "Any person saying the word: no recording of it is among the positives."
    return told + "Other people than those in the recordings of the word."


def _training_text(facts: CardFacts) -> list[str]:
    lines = []
    if facts.beside:
        others = ", ".join(facts.beside)
        same = ": all layers but the last are the same" if facts.networks == 1 else ""
        lines += [f"Trained together with {others}{same}.", ""]
    if facts.networks > 1:
        said = f"{facts.networks} networks were trained, and "
        if facts.distilled:
            said += (
                "the one that is best at this phrase learnt in the end what all say of it on "
                "average."
            )
        else:
            said += (
                "this is the one that is best at this phrase: to learn what all say of it on "
                "average made it no better."
            )
        lines += [said, ""]
    if facts.start is not None:
        began = "Began" if facts.networks == 1 else "The first of them began"
        lines += [
            f"{began} with the layers of {facts.start.name} {facts.start.version}, all but the "
            f"last (SHA-256 of its network: {facts.start_sha256}).",
            "",
        ]
    return lines


def _kept_text(points: dict[str, OperatingPoint]) -> str:
    aims = ", ".join(f"{name} {RATES_PER_HOUR[name]:g}" for name in points)
    said = f"What they aim at, in false accepts an hour ({aims}), is "
    over = exceeded(points)
    if not over:
        return said + "kept in both places:"
    return said + f"not kept or not shown by {', '.join(over)} in these hours, see the rates:"


def write_card(facts: CardFacts) -> str:
    """Markdown text of a card."""
    content, result, points = facts.content, facts.result, facts.points
    medium, said_by = points["medium"].close.threshold, _said_by(facts)
    lines = [
        f"# {content.name}",
        "",
        f'Wake word "{content.phrase}". int8 streaming network, {facts.net.parameters} parameters, '
        f"{facts.net.multiplies_per_step * 50 / 1e6:.2f} M multiply-accumulates per second of "
        f"audio, {len(content.network)} bytes, a step every 20 ms. Weights: Apache-2.0.",
        "",
        "## Measured",
        "",
        _judged_text(facts),
        "",
        "As they are:",
        "",
        *_rate_rows(result, said_by),
        "",
        "Far away:",
        "",
        *_rate_rows(facts.far, said_by),
        "",
        f"Sensitivities as shipped. {_kept_text(points)}",
        "",
        "| sensitivity | threshold | misses as they are | false accepts | misses far away | "
        "false accepts | said by |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {point.close.threshold:.3f} | {_percent(point.close)} | "
            f"{point.close.claim} | {_percent(point.far)} | {point.far.claim} | "
            f"{said_by} |"
            for name, point in points.items()
        ),
        "",
        _latency_text(result.latencies_ms(medium)),
        "",
        "Speakers with most misses at medium:",
        "",
        "| speaker | misses |",
        "| --- | --- |",
        *_speaker_rows(result, medium),
        "",
        "## Not measured",
        "",
        _gap_text(facts),
        "",
        "## Made by",
        "",
        "```sh",
        facts.command,
        "```",
        "",
        *_training_text(facts),
        "## Data",
        "",
        "| set | licence | amount |",
        "| --- | --- | --- |",
        *(f"| {row.name} | {row.licence} | {row.amount} |" for row in content.data),
        "",
    ]
    return "\n".join(lines)
