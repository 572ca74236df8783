"""Ranking: what a word is missed for is the loudest of what is no word, so these two are compared.

A detector has one threshold, which lies where few false accepts are left. A loss of each step by
itself spends most of its say on steps that are far from there. Partial AUC asks for what counts
instead: that words score above the few highest of the others (Narasimhan and Agarwal, "A structural
SVM based approach for optimizing partial AUC", ICML 2013).
"""

from __future__ import annotations

import torch
from torch.nn import functional

LOUDEST = 10
"""Windows without a phrase that it is compared with, those which sound most like it."""

SOON_STEPS = 4
"""From the end of a word on: who may be loud at any time of the label is loud late."""

MARGIN = 2.0
"""Of logits, by which a word is to be above them."""

RANK_SOFTNESS = 2.0
"""Logits are divided by it: a word that is far above no longer counts."""


def ranking_loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """How far words are below the loudest windows without them.

    Parameters
    ----------
    logits : Tensor, float32 [windows, steps, phrases]
        What a network says.
    label : Tensor, float32 [windows, steps, phrases]
        1 where a phrase has just ended. In the first steps of that its highest logit counts; in
        windows without the phrase the highest of all does.

    Returns
    -------
    Tensor, float32 []
        Mean over phrases that are said and not said in some windows; 0 without any.
    """
    losses = []
    for said, heard in zip(label.unbind(-1), logits.unbind(-1), strict=True):
        own = said.amax(1) > 0
        soon = (said[own] > 0) & (said[own].cumsum(1) <= SOON_STEPS)
        words = heard[own].masked_fill(~soon, -torch.inf).amax(1)
        others = heard[~own].amax(1)
        if len(words) and len(others):
            loudest = others.topk(min(LOUDEST, len(others))).values
            apart = loudest[None] - words[:, None] + MARGIN
            losses.append(functional.softplus(apart / RANK_SOFTNESS).mean())
    return torch.stack(losses).mean() if losses else logits.new_zeros(())
