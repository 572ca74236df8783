"""What a network is taught by: labels of words, their rank and the answers of a teacher."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from kwsd.train.augment import Batch
from kwsd.train.lessons import LessonBatch
from kwsd.train.network import Network
from kwsd.train.ranking import ranking_loss
from kwsd.train.teacher import SIZE as ANSWER_SIZE

TEACHER_WEIGHT = 0.5
"""Of the squared error of what the teacher says, in units of its variance, against the words."""

RANKING_WEIGHT = 0.1
"""Of the rank of words, against their labels (docs/benchmarks/training_trials.md)."""


class Pupil(nn.Module):
    """A network that learns from labelled words, their rank and a teacher at once.

    Parameters
    ----------
    network : Network
        Learns.
    positive_weight : float
        Of a step with a phrase against one without.
    """

    def __init__(self, network: Network, positive_weight: float) -> None:
        super().__init__()
        self.network = network
        self.answer = nn.Linear(network.head.in_features, ANSWER_SIZE)
        self._positive_weight = positive_weight

    def loss(self, batch: Batch, lesson: LessonBatch | None) -> torch.Tensor:
        """What is made small; both kinds of windows pass the network together."""
        device = self.answer.weight.device
        features, label, weight = (torch.as_tensor(part).to(device) for part in batch)
        words = len(features)
        if lesson is not None:
            features = torch.cat([features, torch.as_tensor(lesson.features).to(device)])
        deep = self.network.trunk(features)
        logits = self.network.head(deep[:words])
        losses = functional.binary_cross_entropy_with_logits(
            logits,
            label,
            reduction="none",
            pos_weight=torch.tensor(self._positive_weight, device=device),
        )
        loss = (losses * weight).sum() / weight.sum()
        loss = loss + RANKING_WEIGHT * ranking_loss(logits, label)
        if lesson is not None:
            answers = torch.as_tensor(lesson.answers).to(device)
            asked = ~torch.isnan(answers[..., 0])
            error = self.answer(deep[words:][asked]) - answers[asked]
            loss = loss + TEACHER_WEIGHT * (error**2).mean()
        return loss
