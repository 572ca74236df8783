"""What a training run is asked for, and the corpora and pools that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kwsd.errors import UsageError
from kwsd.evaluate.label import letters
from kwsd.model.package import ModelPackage
from kwsd.progress import Report
from kwsd.train.corpus import RENDERING, build_corpus, phrase_number
from kwsd.train.file_stamp import stamp
from kwsd.train.fit import FitConfig
from kwsd.train.kokoro import Kokoro
from kwsd.train.lessons import load_lessons, prepare_lessons, save_lessons
from kwsd.train.phrase import lint, phones, spoken_form
from kwsd.train.pools import Amounts, Pools, Spoken, load, prepare, recipe_key, save
from kwsd.train.recordings import Recording
from kwsd.train.stored import read_stored
from kwsd.train.teacher import Lesson

RECIPE = 6
"""Raise it where what pools or lessons hold changes: those of before are not used then."""


KEPT = ("pools-*.npz", "lessons-*.npz", "checkpoint-*.pt")
"""What a training leaves in the work folder for itself alone, beside corpora. What was heard of
development recordings serves any."""


@dataclass(frozen=True)
class Target:
    """A phrase and, where one is wanted, its package."""

    phrase: str
    """What is said."""

    name: str
    """Of the model."""

    out: Path | None
    """Package folder to write; None: learnt for the sake of the others."""


@dataclass(frozen=True)
class Plan:
    """What a training run is asked for."""

    targets: tuple[Target, ...]
    """Phrases that are trained together: each is a negative for the others."""

    work: Path
    """Corpora, pools and checkpoints are kept here."""

    seed: int
    """Of everything."""

    amounts: Amounts
    """How much synthetic speech, rooms and residue."""

    train: Sequence[Recording]
    """Recordings that train."""

    develop: Sequence[Recording]
    """Recordings that choose the thresholds; their speakers do not train."""

    fit: FitConfig
    """Length of the training."""

    workers: int
    """Processes."""

    command: str
    """For the card."""

    precision: str = "int8"
    """In `kwsd.train.quantise.PRECISIONS`."""

    responses: tuple[Path, ...] = ()
    """Measured impulse responses of rooms."""

    teacher: bool = True
    """Whether the teacher hears the speech that trains."""

    start: ModelPackage | None = None
    """Whose layers, all but the last, the first network begins with; None: at random."""

    networks: int = 1
    """Of several the best at a phrase learns what all say of it."""

    @property
    def synthesises(self) -> bool:
        """Whether synthetic speech is wanted at all."""
        amounts = self.amounts
        return any(amounts.renderings.values()) or amounts.sayings > 0 or amounts.bulk_seconds > 0


def make_corpora(plan: Plan, report: Report) -> tuple[Spoken, ...]:
    """Render what is missing.

    Raises
    ------
    UsageError
        A phrase cannot make a wake word, or one of them is a part of another.
    RuntimeUnavailable
        The synthesizer cannot be had.
    """
    _check_apart([letters(target.phrase) for target in plan.targets], plan)
    if not plan.synthesises:
        return tuple(Spoken(target.phrase) for target in plan.targets)
    cache = plan.work / "kokoro"
    voice = Kokoro(cache)
    said = {target.phrase: voice.phonemes(spoken_form(target.phrase)) for target in plan.targets}
    british = {phrase: voice.phonemes(spoken_form(phrase), british=True) for phrase in said}
    for phrase, phonemes in said.items():
        lint(phrase, phonemes)
        report(f"{phrase!r} is said {phonemes}, British {british[phrase]}")
    _check_apart([phones(said[target.phrase]) for target in plan.targets], plan)
    del voice
    spoken = []
    for target in plan.targets:
        folder = corpus_folder(plan, target)
        done = 0
        for done, _ in enumerate(
            build_corpus(
                target.phrase, folder, cache, plan.seed, plan.amounts.renderings, plan.workers
            ),
            1,
        ):
            if done % 50 == 0:
                report(f"rendered {done}")
        report(f"corpus: {folder}, {done} new renderings")
        phonemes, other = said[target.phrase], british[target.phrase]
        spoken.append(Spoken(target.phrase, folder, phonemes, phones(phonemes), phones(other)))
    return tuple(spoken)


def corpus_folder(plan: Plan, target: Target) -> Path:
    """Where the renderings of a phrase are kept; those of another one of the same name are not."""
    number = phrase_number(target.phrase)
    return plan.work / target.name / f"corpus-{RENDERING}-{plan.seed}-{number}"


def _check_apart(spelt: Sequence[str], plan: Plan) -> None:
    """A phrase that holds another one would have to be that and not be that."""
    for one, target in zip(spelt, plan.targets, strict=True):
        for other, longer in zip(spelt, plan.targets, strict=True):
            if longer != target and one in other:
                raise UsageError(
                    f"{longer.phrase!r} contains {target.phrase!r}: each would be a negative of "
                    "the other; train them apart"
                )


def pools_key(plan: Plan, spoken: Sequence[Spoken]) -> str:
    """Names what the pools of a plan are made from."""
    return recipe_key(
        [RECIPE, spoken, plan.seed, plan.amounts, *map(stamp, plan.responses)]
        + [(stamp(item.path), item.role, item.phrase) for item in plan.train]
    )


def checkpoint_key(plan: Plan, spoken: Sequence[Spoken], start_sha256: str = "") -> str:
    """Names what a training has learnt from, how, and chosen by: another one keeps its own.

    `start_sha256` is that of the network it begins with, as it was read.
    """
    return recipe_key(
        [pools_key(plan, spoken), plan.teacher, [target.out is None for target in plan.targets]]
        + [replace(plan.fit, loaders=0), start_sha256]
        + [(stamp(item.path), item.role, item.phrase) for item in plan.develop]
    )


def make_pools(plan: Plan, spoken: Sequence[Spoken], report: Report) -> Pools:
    """Pools of this plan, from the cache if they were made before.

    Raises
    ------
    AudioError
        Too little of a phrase can be read.
    """
    cached = plan.work / f"pools-{pools_key(plan, spoken)}.npz"
    found = read_stored(cached, load, report)
    if found is not None:
        report(f"pools: {cached}")
        for why in found.skipped.values():
            report(f"skipped: {why}")
        return found
    tell_of_others(plan.work, report)
    pools = prepare(
        spoken, plan.train, plan.amounts, plan.seed, report, plan.responses, plan.workers
    )
    save(pools, cached)
    return pools


def tell_of_others(work: Path, report: Report) -> None:
    """Say what lies there of other recordings or options: it does not serve, and takes room."""
    others = [path for kind in KEPT for path in sorted(work.glob(kind))]
    if others:
        size_gb = sum(path.stat().st_size for path in others) / 1e9
        report(
            f"{work} holds pools, lessons or checkpoints of other recordings or options "
            f"({size_gb:.1f} GB): made anew beside them, remove what is no longer needed"
        )


def make_lessons(plan: Plan, spoken: Sequence[Spoken], report: Report) -> list[Lesson]:
    """What the teacher says of the speech of this plan, from the cache if it said so before.

    Raises
    ------
    RuntimeUnavailable
        There is no teacher.
    """
    if not plan.teacher:
        return []
    cached = plan.work / f"lessons-{pools_key(plan, spoken)}.npz"
    found = read_stored(cached, load_lessons, report)
    if found is not None:
        report(f"lessons: {cached}")
        return found
    lessons = prepare_lessons(spoken, plan.train, plan.amounts, plan.seed, report, plan.workers)
    save_lessons(lessons, cached)
    return lessons
