"""``kwsctl explain``: why a word was not taken for a wake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LEVELS = " ▁▂▃▄▅▆▇█"
_WIDTH = 60

_ADVICE = {
    "below threshold": "speak nearer, or kwsctl set KEYWORD high, or lower "
    "keyword.KEYWORD.threshold",
    "too quiet": "raise the microphone's gain, or lower wake.level_gate_dbfs",
    "refractory": "it came too soon behind the wake before; wake.refractory_s sets how soon",
    "loudspeaker said it": "the reference itself held the word; "
    "wake.reference_rule=false allows it",
}


def as_text(misses: Sequence[Mapping[str, Any]]) -> str:
    """Near misses for people, the latest last."""
    if not misses:
        # A reload begins anew with the models, and nothing is left of what the old ones heard.
        return "no near misses: nothing has come close to a wake since the last start or reload\n"
    lines = []
    for miss in misses:
        reason = str(miss["reason"])
        lines.append(
            f"{miss['keyword']} at {miss['at_s']:.1f} s: score {miss['score']:.2f}, needs "
            f"{miss['threshold']:.2f}: {reason}"
        )
        lines.append("  " + curve([score for _, score in miss["curve"]]))
        if reason in _ADVICE:
            lines.append(f"  {_ADVICE[reason]}")
    return "\n".join(lines) + "\n"


def curve(scores: Sequence[float]) -> str:
    """The last scores as a row of blocks, 0 to 1."""
    shown = scores[-_WIDTH:]
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[max(0, min(top, round(score * top)))] for score in shown)
