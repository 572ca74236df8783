"""The doctor's round: every check over one recording, each with a verdict and the next step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kwsd.block import FloatArray
from kwsd.doctor.channel import ChannelFacts, Life, measure
from kwsd.doctor.loopback import Loopback, find_loopback
from kwsd.doctor.relation import relate

PLAYED_FLOOR_DBFS = -60.0
"""A reference that is never below this plays all the time: the room's floor cannot be heard."""

QUIET_DBFS, FAINT_PEAK_DBFS = -65.0, -40.0
NOISY_FLOOR_DBFS = -45.0
OFFSET_LIMIT = 0.01
CLIPPED_WARN, CLIPPED_FAIL = 1e-4, 1e-2
GAIN_WARN_DB, GAIN_FAIL_DB = 3.0, 10.0
MICROPHONES_APART_MS = 1.0
"""34 cm: microphones of one board hear a sound within this time of each other."""

LEAST_S = 1.0


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    """The recording does not tell."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    check: str
    verdict: Verdict
    detail: str
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found."""

    findings: tuple[Finding, ...]
    facts: tuple[ChannelFacts, ...]
    loopback: Loopback | None
    mics: tuple[int, ...]
    """Microphones as they should be configured."""

    reference: tuple[int, ...]
    """Reference as it should be configured, or empty."""

    map_heard: bool
    """Whether the recording tells this map; else it is the one in use, without dead channels."""

    @property
    def worst(self) -> Verdict:
        """FAIL, WARN, or OK."""
        found = {finding.verdict for finding in self.findings}
        return next((v for v in (Verdict.FAIL, Verdict.WARN) if v in found), Verdict.OK)


def examine(
    samples: FloatArray, rate_hz: int, mics: Sequence[int], reference: Sequence[int]
) -> Examination:
    """Look at a recording of all channels.

    Parameters
    ----------
    samples : ndarray, float32 [frames, channels]
        As the device gave them, at least `LEAST_S` long, full scale 1.0.
    rate_hz : int
        Sample rate.
    mics, reference : sequence of int
        The channel map in use.

    Raises
    ------
    ValueError
        Too short, or a channel of the map is not there.
    """
    if len(samples) < LEAST_S * rate_hz:
        raise ValueError(f"{len(samples) / rate_hz:.2f} s of audio: at least {LEAST_S:g} s")
    if not set((*mics, *reference)) <= set(range(samples.shape[1])):
        raise ValueError(f"channels {[*mics, *reference]}: the audio has {samples.shape[1]}")
    facts = tuple(measure(samples[:, i], rate_hz) for i in range(samples.shape[1]))
    loopback = find_loopback(samples, rate_hz, facts)
    findings: list[Finding] = []
    playing = max((facts[i].floor_dbfs for i in reference), default=-120.0) > PLAYED_FLOOR_DBFS
    for number, channel in enumerate(mics):
        findings += _microphone(f"microphone {number} (channel {channel})", facts[channel], playing)
    for channel in reference:
        findings += _reference_channel(channel, facts[channel])
    if len(mics) == 2:
        findings += _pair(samples, rate_hz, mics, facts)
    findings += _order(loopback, mics, reference, facts)
    proposed_mics, proposed_reference = _proposal(loopback, mics, reference, facts)
    live = [channel for channel, fact in enumerate(facts) if fact.life is Life.LIVE]
    # Where none is the loudspeaker's, only a map that leaves no channel open is no guess.
    whole = not proposed_reference and live == sorted(mics)
    heard = bool(live) and (loopback is not None or whole)
    return Examination(tuple(findings), facts, loopback, proposed_mics, proposed_reference, heard)


def _microphone(name: str, facts: ChannelFacts, playing: bool) -> Iterator[Finding]:
    if facts.life is not Life.LIVE:
        what = "zeros only" if facts.life is Life.ZERO else f"one value, {facts.offset:.4f}"
        yield Finding(
            name, Verdict.FAIL, what, "unmute it in the mixer, check the wire, name another channel"
        )
        return
    level = f"level {facts.level_dbfs:.1f} dBFS, peak {facts.peak_dbfs:.1f} dBFS"
    if facts.level_dbfs < QUIET_DBFS and facts.peak_dbfs < FAINT_PEAK_DBFS:
        yield Finding(
            f"{name} level", Verdict.WARN, level, "speak during the test; else raise the gain"
        )
    else:
        yield Finding(f"{name} level", Verdict.OK, level)
    yield from _clipping(name, facts, "lower the microphone's gain by 6 dB and test again")
    if abs(facts.offset) > OFFSET_LIMIT:
        yield Finding(
            f"{name} offset",
            Verdict.WARN,
            f"DC {100 * facts.offset:+.1f} % of full scale",
            "switch the codec's high-pass on; kwsd removes it, but the range is lost",
        )
    else:
        yield Finding(f"{name} offset", Verdict.OK, f"DC {100 * facts.offset:+.2f} %")
    floor = f"{facts.floor_dbfs:.1f} dBFS in the quietest tenth"
    if facts.floor_dbfs > NOISY_FLOOR_DBFS and playing:
        yield Finding(
            f"{name} noise floor",
            Verdict.UNKNOWN,
            f"{floor}, while the loudspeaker plays",
            "test again with the loudspeaker quiet for some seconds",
        )
    elif facts.floor_dbfs > NOISY_FLOOR_DBFS:
        yield Finding(
            f"{name} noise floor",
            Verdict.WARN,
            floor,
            "test in a quiet room; else lower the gain, look for supply noise",
        )
    else:
        yield Finding(f"{name} noise floor", Verdict.OK, floor)


def _clipping(name: str, facts: ChannelFacts, next_step: str) -> Iterator[Finding]:
    share = f"{100 * facts.clipped_share:.3f} % of samples in flat tops"
    if facts.clipped_share <= CLIPPED_WARN:
        yield Finding(f"{name} clipping", Verdict.OK, share)
        return
    verdict = Verdict.FAIL if facts.clipped_share > CLIPPED_FAIL else Verdict.WARN
    yield Finding(f"{name} clipping", verdict, share, next_step)


def _reference_channel(channel: int, facts: ChannelFacts) -> Iterator[Finding]:
    name = f"reference (channel {channel})"
    if facts.life is Life.STUCK:
        yield Finding(name, Verdict.FAIL, f"one value, {facts.offset:.4f}", "check the wire")
    elif facts.life is Life.ZERO or facts.level_dbfs < QUIET_DBFS:
        yield Finding(
            name,
            Verdict.UNKNOWN,
            "silent" if facts.life is Life.LIVE else "zeros only",
            "play something, or run kwsctl doctor --play",
        )
    else:
        yield Finding(name, Verdict.OK, f"level {facts.level_dbfs:.1f} dBFS")
        yield from _clipping(
            name, facts, "lower the loop-back's gain: a clipped reference cancels badly"
        )


def _pair(
    samples: FloatArray, rate_hz: int, mics: Sequence[int], facts: Sequence[ChannelFacts]
) -> Iterator[Finding]:
    if any(facts[channel].life is not Life.LIVE for channel in mics):
        return
    first, second = mics
    difference_db = facts[second].level_dbfs - facts[first].level_dbfs
    detail = f"channel {second} is {difference_db:+.1f} dB against channel {first}"
    if abs(difference_db) > GAIN_WARN_DB:
        verdict = Verdict.FAIL if abs(difference_db) > GAIN_FAIL_DB else Verdict.WARN
        yield Finding(
            "microphone gains",
            verdict,
            detail,
            "set both gains to one value in the mixer; look for a covered port",
        )
    else:
        yield Finding("microphone gains", Verdict.OK, detail)
    relation = relate(samples[:, first], samples[:, second], rate_hz, MICROPHONES_APART_MS)
    if not relation.sure:
        yield Finding(
            "microphone polarity",
            Verdict.UNKNOWN,
            f"they hear different things (confidence {relation.confidence:.1f})",
            "speak or clap near the board during the test",
        )
        return
    lag_ms = 1000.0 * relation.lag_samples / rate_hz
    detail = f"lag {lag_ms:+.2f} ms, confidence {relation.confidence:.0f}"
    if relation.sign < 0:
        yield Finding(
            "microphone polarity",
            Verdict.FAIL,
            f"opposite; {detail}",
            "swap the wires of one microphone, or use one alone: audio.mics = "
            f"[{first}]; the second would cancel the voice",
        )
    else:
        yield Finding("microphone polarity", Verdict.OK, f"equal; {detail}")


def _order(
    loopback: Loopback | None,
    mics: Sequence[int],
    reference: Sequence[int],
    facts: Sequence[ChannelFacts],
) -> Iterator[Finding]:
    if loopback is None:
        missing = "no channel leads the others"
        if not reference:
            yield Finding("loop-back", Verdict.OK, f"none configured, {missing}")
            return
        played = facts[reference[0]].life is Life.LIVE
        played = played and facts[reference[0]].level_dbfs >= QUIET_DBFS
        step = (
            "the reference carries sound that no microphone hears: turn the loudspeaker up, or "
            "check that the channel is its loop-back"
            if played
            else "play something, or run kwsctl doctor --play"
        )
        yield Finding("loop-back", Verdict.WARN if played else Verdict.UNKNOWN, missing, step)
        return
    channel = loopback.channel
    delays = ", ".join(f"channel {c} +{ms:.1f} ms" for c, ms in loopback.delay_ms.items())
    detail = f"channel {channel} leads: {delays}; confidence {loopback.confidence:.0f}"
    if [channel] == list(reference):
        yield Finding("loop-back", Verdict.OK, detail)
    elif reference or channel in mics:
        yield Finding(
            "loop-back",
            Verdict.FAIL,
            f"{detail}, but audio.reference = {list(reference)}",
            f"set audio.reference = [{channel}] and the microphones to others",
        )
    else:
        yield Finding(
            "loop-back",
            Verdict.WARN,
            f"{detail}, but none is configured",
            f"set audio.reference = [{channel}]: echo cancellation needs it",
        )


def _proposal(
    loopback: Loopback | None,
    mics: Sequence[int],
    reference: Sequence[int],
    facts: Sequence[ChannelFacts],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The channel map as it should be; what the recording does not tell stays."""
    chosen = tuple(reference) if loopback is None else (loopback.channel,)
    wanted = [channel for channel in mics if channel not in chosen]
    wanted += [channel for channel in range(len(facts)) if channel not in (*wanted, *chosen)]
    live = [channel for channel in wanted if facts[channel].life is Life.LIVE]
    return tuple(sorted(live[: max(1, len(mics))])) or tuple(mics), chosen
