"""What a configuration makes: models, chain and pre-roll on an input, all of it or nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from kwsd.assemble import OpenModel, build_chain, open_models
from kwsd.chain import Chain, Tap
from kwsd.config import Config
from kwsd.preroll import PreRoll
from kwsd.source.live import LiveInput

AIPU_START_PATIENCE_S, AIPU_RELOAD_PATIENCE_S = 30.0, 1.5
"""Longest wait for an AIPU that does not start, by all models together: the CPU serves until it
does. A reload waits while audio gathers in a ring of 4 s."""


@dataclass(frozen=True)
class Listening:
    """What listens now."""

    config: Config
    """What it was made from."""

    source: LiveInput
    """Where its audio comes from."""

    models: Sequence[OpenModel]
    """Opened, each with its runtime."""

    chain: Chain
    """What they hear."""

    preroll: PreRoll | None
    """The last seconds of the voice branch; None where none are wanted."""

    def close(self) -> None:
        """Release the input and the models."""
        self.source.close()
        self.close_models()

    def close_models(self) -> None:
        """Release the models alone: another one listens to the input."""
        for model in self.models:
            model.close()


def listen(
    config: Config, source: LiveInput, taps: Sequence[Tap], before: Listening | None = None
) -> Listening:
    """Open the models, build the chain, and let another input take the place of the old one.

    Parameters
    ----------
    config : Config
        Checked configuration.
    source : LiveInput
        The input; nothing is read from it yet. Where it is another one than that of `before`, it
        goes on from that one (`LiveInput.go_on_from`).
    taps : sequence of Tap
        Listeners beside the pre-roll.
    before : Listening, optional
        What this replaces; its models stay open. On the same input its front end and its pre-roll
        go on where the configuration lets them.

    Returns
    -------
    Listening

    Raises
    ------
    KwsdError
        Something of it cannot be had; nothing is left open then, and `before` goes on, behind a
        gap where it was the device that cannot be had.
    """
    patience_s = AIPU_START_PATIENCE_S if before is None else AIPU_RELOAD_PATIENCE_S
    replaced: LiveInput | None = None
    if before is not None and source is not before.source:
        replaced, before = before.source, None
    with ExitStack() as opened:
        models = open_models(config, source.info, time.monotonic() + patience_s)
        for model in models:
            opened.callback(model.close)
        preroll = _preroll(config, before)
        kept = [] if preroll is None else [preroll]
        chain = build_chain(
            config,
            source.info,
            models,
            [*taps, *kept],
            preroll is not None,
            None if before is None else before.chain,
        )
        if replaced is not None:
            # Last: this interrupts what is heard, which nothing else that is wrong may cost.
            source.go_on_from(replaced)
        opened.pop_all()
    return Listening(config, source, models, chain, preroll)


def _preroll(config: Config, before: Listening | None) -> PreRoll | None:
    if before is not None and before.preroll and config.preroll == before.config.preroll:
        return before.preroll
    length_s = config.preroll.length_s
    return PreRoll(length_s) if length_s > 0 else None
