"""A committee: networks of one recipe and several seeds, whose logits are averaged.

What two trainings do not agree on is mostly wrong, so their mean misses fewer words than either
(docs/benchmarks/models.md). It is too large to ship; another network learns what it says.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence

import torch
from torch import nn

from kwsd.errors import RuntimeUnavailable
from kwsd.progress import Report
from kwsd.train.network import Network

SEEDS_APART = 1000
"""Between a seed of the user's and those of its committee."""


class Committee(nn.Module):
    """Networks that speak with one voice.

    Parameters
    ----------
    members : sequence of Network
        At least one; they learn nothing more.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members).eval().requires_grad_(False)

    def __len__(self) -> int:
        return len(self.members)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[batch, BANDS, frames] to mean logits [batch, steps, phrases]."""
        return torch.stack([member(features) for member in self.members]).mean(dim=0)

    def train(self, mode: bool = True) -> Committee:
        """Nothing: members always compute as they do in evaluation mode."""
        return self


def member_seed(seed: int, number: int) -> int:
    """Seed of a member, counted from 1."""
    return seed + SEEDS_APART * number


def train_members(
    train: Callable[[int, Report], Network], size: int, workers: int, report: Report
) -> Committee:
    """Train a committee, as many members at once as there are processes.

    Parameters
    ----------
    train : callable
        Gets the number of a member, from 1, and whom to report to. Called again for a member that
        is complete it gives the same network at once.
    size : int
        Number of members.
    workers : int
        Processes; they change nothing in the result.
    report : callable
        Gets lines that name the member.

    Raises
    ------
    RuntimeUnavailable
        A process was ended from outside.
    """
    numbers = range(1, size + 1)
    if workers > 1:
        # Forked, so that pools are not copied; a member leaves what it learnt in its checkpoint.
        context = multiprocessing.get_context("fork")
        for first in range(0, size, workers):
            _run_all(
                [
                    context.Process(target=_alone, args=(train, number, report, os.getpid()))
                    for number in numbers[first : first + workers]
                ]
            )
    return Committee([train(number, _named(number, report)) for number in numbers])


def _named(number: int, report: Report) -> Report:
    return lambda line: report(f"network {number}: {line}")


def _alone(
    train: Callable[[int, Report], Network], number: int, report: Report, parent: int
) -> None:
    """Work of a process."""

    def watched(line: str) -> None:
        if os.getppid() != parent:
            sys.exit("the command that started this training is gone")
        report(line)

    try:
        train(number, _named(number, watched))
    except KeyboardInterrupt:
        sys.exit(130)  # the command says what there is to say


def _run_all(processes: Sequence[multiprocessing.process.BaseProcess]) -> None:
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
    failed = [process for process in processes if process.exitcode]
    if failed:
        raise RuntimeUnavailable(
            f"the training of {len(failed)} of {len(processes)} networks ended with exit code "
            f"{failed[0].exitcode}: the same command goes on from the last checkpoints"
        )
