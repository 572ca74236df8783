"""Blend windows and their labels, so that between a word and anything else lies a slope, no cliff.

After Zhang et al., "mixup: beyond empirical risk minimization" (ICLR 2018). It is not noise under
a word: features are blended, behind all compression, and the label with them.
"""

from __future__ import annotations

import numpy as np

from kwsd.train.augment import Batch

BETA = 0.4
"""Of the distribution of shares: most windows stay nearly what they were."""

FAINT = 0.05
"""A partner of a smaller share is not asked where it would rather not be."""


def blend(rng: np.random.Generator, batch: Batch) -> Batch:
    """Mix every window with another one of its batch, of which it keeps the larger share.

    Parameters
    ----------
    rng : Generator
        Of the draws.
    batch : Batch
        Stays as it is.

    Returns
    -------
    Batch
        Labels between 0 and 1. A step is asked for where both windows ask for it.
    """
    count = len(batch.features)
    share = rng.beta(BETA, BETA, count).astype(np.float32)
    share = np.maximum(share, 1.0 - share)[:, None, None]
    partner = rng.permutation(count)
    features, label = (
        share * part + (1.0 - share) * part[partner] for part in (batch.features, batch.label)
    )
    faint = share > 1.0 - FAINT
    weight = batch.weight * np.where(faint, np.float32(1.0), batch.weight[partner])
    return Batch(features, label, weight)
