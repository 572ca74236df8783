"""Which channel is the loudspeaker's reference: the one that all others follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kwsd.block import FloatArray
from kwsd.doctor.channel import ChannelFacts, Life
from kwsd.doctor.relation import Relation, relate

SEARCH_MS = 500.0
LEAST_DELAY_MS = 0.4
"""14 cm of air: two microphones of one board are nearer to each other in time."""

QUIETER_FLOOR_DB = 10.0
"""Where the loudspeaker is nearer than that, a reference shows by pauses that are so much deeper
below its own level."""


@dataclass(frozen=True, slots=True)
class Loopback:
    """A channel that leads the others."""

    channel: int
    delay_ms: Mapping[int, float]
    """By how much each other channel comes later."""

    confidence: float
    """The smallest of all pairs."""


def find_loopback(
    samples: FloatArray, rate_hz: int, facts: Sequence[ChannelFacts]
) -> Loopback | None:
    """The reference channel, None where no channel is one or nothing was played.

    Parameters
    ----------
    samples : ndarray, float32 [frames, channels]
        All channels.
    rate_hz : int
        Their sample rate.
    facts : sequence of ChannelFacts
        Of each.
    """
    live = [channel for channel, fact in enumerate(facts) if fact.life is Life.LIVE]
    if len(live) < 2:
        return None
    pairs: dict[tuple[int, int], Relation] = {}
    for i, first in enumerate(live):
        for second in live[i + 1 :]:
            found = relate(samples[:, first], samples[:, second], rate_hz, SEARCH_MS)
            pairs[first, second] = found
            pairs[second, first] = Relation(-found.lag_samples, found.sign, found.confidence)
    found_ones = []
    for channel in live:
        others = [other for other in live if other != channel]
        relations = [pairs[channel, other] for other in others]
        delays_ms = [1000.0 * relation.lag_samples / rate_hz for relation in relations]
        clean = _range_db(facts[channel]) >= QUIETER_FLOOR_DB + max(
            _range_db(facts[other]) for other in others
        )
        least_ms = 0.0 if clean else LEAST_DELAY_MS
        if all(relation.sure for relation in relations) and min(delays_ms) >= least_ms:
            confidence = min(relation.confidence for relation in relations)
            delays = dict(zip(others, delays_ms, strict=True))
            found_ones.append(Loopback(channel, delays, confidence))
    # Two clean ones at no distance would be two references: not what this can tell.
    return found_ones[0] if len(found_ones) == 1 else None


def _range_db(facts: ChannelFacts) -> float:
    """Level over floor: unlike the floor alone it does not change with a gain."""
    return facts.level_dbfs - facts.floor_dbfs
