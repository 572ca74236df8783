"""Committee: the networks of a plan are trained, and one for each phrase learns what all say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kwsd.progress import Report
from kwsd.train.at_once import shared_out, work_ahead
from kwsd.train.distil import Learnt, as_it_is, distil, seeds
from kwsd.train.fit import fit
from kwsd.train.float_scores import development_cost, development_curves
from kwsd.train.layers import FloatNet
from kwsd.train.network import Network
from kwsd.train.plan import Plan
from kwsd.train.pools import Pools
from kwsd.train.rehearsal import Rehearsal
from kwsd.train.teacher import Lesson


def learn(
    plan: Plan,
    pools: Pools,
    lessons: Sequence[Lesson],
    rehearsal: Rehearsal,
    checkpoints: Sequence[Path],
    start: FloatNet | None,
    wanted: Sequence[int],
    report: Report,
) -> dict[int, Learnt]:
    """Train as many networks as there are checkpoints, as many at once as the plan has workers.

    Parameters
    ----------
    plan : Plan
        Length, seed and processes.
    pools : Pools
        What windows are drawn from.
    lessons : sequence of Lesson
        What a teacher says of speech.
    rehearsal : Rehearsal
        Chooses among candidates.
    checkpoints : sequence of Path
        One a network; removed by the caller.
    start : FloatNet or None
        What the first network begins with.
    wanted : sequence of int
        Numbers of the phrases that get a network.
    report : callable
        Gets one line now and then.

    Returns
    -------
    dict of int to Learnt
        By phrase.
    """
    cost = partial(development_cost, rehearsal=rehearsal)
    judge = partial(development_curves, rehearsal=rehearsal)
    phrases = len(plan.targets)
    configs = seeds(plan.fit, len(checkpoints))
    # Networks that begin alike agree, also where they are wrong: one alone begins with `start`.
    starts = [start, *[None] * (len(checkpoints) - 1)]

    def trainings(at_once: int) -> dict[str, Callable[[Report], Network]]:
        loaders = plan.workers // at_once - 1
        return {
            f"network {number}": partial(
                fit,
                pools,
                replace(config, loaders=loaders),
                checkpoint,
                cost=cost,
                phrases=phrases,
                lessons=lessons,
                start=begin,
            )
            for number, (config, checkpoint, begin) in enumerate(
                zip(configs, checkpoints, starts, strict=True), 1
            )
        }

    at_once = shared_out(len(checkpoints), plan.workers)
    work_ahead(trainings(at_once), at_once, report)
    networks = [training(report) for training in trainings(1).values()]
    if len(networks) == 1:
        return as_it_is(networks[0], wanted, judge)
    at_once = shared_out(len(wanted), plan.workers)
    config = replace(plan.fit, loaders=plan.workers // at_once - 1)
    return distil(networks, pools, config, report, judge, phrases, wanted, at_once)
