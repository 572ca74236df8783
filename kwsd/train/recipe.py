"""The whole recipe: from a phrase and folders to a package, each stage kept for the next run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kwsd.errors import AudioError
from kwsd.evaluate.judge import judge
from kwsd.evaluate.result import Result
from kwsd.evaluate.selection import Positive, Selection
from kwsd.model.package import ModelPackage, Sensitivity, Timing
from kwsd.model.write import DataSource, PackageContent, write_package
from kwsd.train.augment import Windows
from kwsd.train.card import CardFacts, write_card
from kwsd.train.corpus import build_corpus, load_manifest
from kwsd.train.fit import SMOOTHING_STEPS, FitConfig, development_cost, fit
from kwsd.train.kokoro import Kokoro
from kwsd.train.layers import FloatNet
from kwsd.train.network import to_float_net
from kwsd.train.operating_points import RATES_PER_HOUR, choose_points, sensitivities
from kwsd.train.phrase import lint, phones, plain_name
from kwsd.train.pools import (
    MIN_POSITIVES,
    RESIDUE_SECONDS,
    ROOMS,
    Pools,
    load,
    prepare,
    recipe_key,
    save,
)
from kwsd.train.quantise import calibrate
from kwsd.train.recordings import Recording, amounts
from kwsd.train.rehearsal import rehearse
from kwsd.train.tflite_writer import write_tflite
from kwsd.train.vectors import record

Report = Callable[[str], None]
FloatArray = NDArray[np.float32]

JUDGED_POSITIVES = 5
"""With fewer real development recordings the held-out voices choose the thresholds."""

VECTOR_STEPS = 32
VECTOR_TOLERANCE = 10
"""Two TFLite runtimes were seen to differ by 8 stored units on the score."""

CALIBRATION_BATCHES = 8
VERSION = "0.1.0"


@dataclass(frozen=True)
class Plan:
    """What a training run is asked for."""

    phrase: str
    name: str
    work: Path
    """Corpus, pools and checkpoints are kept here."""

    out: Path
    """Package folder to write."""

    seed: int
    renderings: dict[str, int]
    """Synthetic items of each kind; all 0 for none."""

    train: Sequence[Recording]
    develop: Sequence[Recording]
    """Recordings that choose the thresholds; their speakers do not train."""

    fit: FitConfig
    workers: int
    command: str
    precision: str = "int8"
    """In `kwsd.train.quantise.PRECISIONS`."""

    rooms: int = ROOMS
    residue_seconds: float = RESIDUE_SECONDS
    bulk_seconds: float = 0.0
    """Length of the bulk speech."""

    other_phrases: tuple[str, ...] = ()
    """Phrases whose corpora are rendered too, as negatives."""

    other_renderings: dict[str, int] = field(default_factory=dict)
    """Items of each kind for every one of them."""

    @property
    def synthesises(self) -> bool:
        """Whether synthetic speech is wanted at all."""
        return any(self.renderings.values())


@dataclass(frozen=True)
class Corpora:
    """Synthetic speech of a plan."""

    folder: Path
    """The phrase itself."""

    others: tuple[Path, ...]
    """Other phrases."""

    phones: str
    """Pronunciation of the phrase."""


def make_corpora(plan: Plan, report: Report) -> Corpora | None:
    """Render what is missing."""
    if not plan.synthesises:
        return None
    cache = plan.work / "kokoro"
    voice = Kokoro(cache)
    pronunciation = voice.phonemes(plan.phrase)
    lint(plan.phrase, pronunciation)
    del voice
    wanted = [(plan.name, plan.phrase, plan.renderings)]
    wanted += [(plain_name(p), p, plan.other_renderings) for p in plan.other_phrases]
    folders = []
    for name, phrase, counts in wanted:
        folder = plan.work / name / "corpus"
        done = 0
        for done, _ in enumerate(
            build_corpus(phrase, folder, cache, plan.seed, counts, plan.workers), 1
        ):
            if done % 50 == 0:
                report(f"rendered {done}")
        report(f"corpus: {folder}, {done} new renderings")
        folders.append(folder)
    return Corpora(folders[0], tuple(folders[1:]), phones(pronunciation))


def pools_key(plan: Plan, corpora: Corpora | None) -> str:
    """Names what the pools of a plan are made from."""
    return recipe_key(
        [plan.phrase, plan.seed, plan.renderings, plan.rooms, plan.residue_seconds]
        + [corpora, plan.other_renderings, plan.bulk_seconds]
        + [recording.path for recording in plan.train]
    )


def make_pools(plan: Plan, corpora: Corpora | None, report: Report) -> Pools:
    """Pools of this plan, from the cache if they were made before."""
    key = pools_key(plan, corpora)
    cached = plan.work / plan.name / f"pools-{key}.npz"
    if cached.is_file():
        report(f"pools: {cached}")
        return load(cached)
    cached.parent.mkdir(parents=True, exist_ok=True)
    pools = prepare(
        corpora.folder if corpora else None,
        plan.renderings,
        plan.train,
        plan.seed,
        report,
        rooms_wanted=plan.rooms,
        residue_seconds=plan.residue_seconds,
        phrase_phones=corpora.phones if corpora else "",
        other_corpora=corpora.others if corpora else (),
        other_counts=plan.other_renderings,
        bulk_seconds=plan.bulk_seconds,
    )
    save(pools, cached)
    return pools


def quantise(
    net: FloatNet, pools: Pools, seed: int, precision: str
) -> tuple[bytes, list[FloatArray]]:
    """Quantised network, and the feature signals that calibrated it."""
    windows = Windows(pools, np.random.default_rng([seed, 3]))
    signals = [
        np.ascontiguousarray(features.T)
        for _ in range(CALIBRATION_BATCHES)
        for features in windows.batch(24, 40).features
    ]
    return write_tflite(net, calibrate(net, signals), precision), signals


def word_length_ms(pools: Pools) -> float:
    """Median length of the synthetic words, or of all."""
    ends = [word.end for word in pools.words if not word.real]
    return float(np.median(ends or [word.end for word in pools.words]) * 10.0)


def train(plan: Plan, report: Report) -> ModelPackage:
    """Run the recipe.

    Parameters
    ----------
    plan : Plan
        What to make.
    report : callable
        Gets one line of progress at a time.

    Returns
    -------
    ModelPackage
        The package in ``plan.out``, loaded and checked.

    Raises
    ------
    UsageError
        The phrase cannot make a wake word.
    AudioError
        Too few recordings.
    RuntimeUnavailable
        A package of the extra ``train`` is missing.
    """
    positives = sum(r.role == "positive" for r in plan.train)
    if positives + plan.renderings.get("positive", 0) < MIN_POSITIVES:
        raise AudioError(
            f"{positives} recordings and no synthetic speech for {plan.phrase!r}: at least "
            f"{MIN_POSITIVES} are needed; add recordings or leave out --no-synthesis"
        )
    corpora = make_corpora(plan, report)
    pools = make_pools(plan, corpora, report)
    selection = _selection(plan, corpora)
    rehearsal = rehearse(
        selection.positives, [r for r in plan.develop if r.role != "positive"], plan.work, report
    )
    # Named after the data: a run on other data must not go on from here.
    checkpoint = plan.work / plan.name / f"checkpoint-{pools_key(plan, corpora)}.pt"
    cost = None
    if rehearsal is not None:
        cost = partial(development_cost, rehearsal=rehearsal)
    network = fit(pools, plan.fit, checkpoint, report, cost=cost)
    net = to_float_net(network)
    blob, signals = quantise(net, pools, plan.seed, plan.precision)
    recorded = record(blob, np.concatenate(signals[:24]), VECTOR_STEPS)
    content = PackageContent(
        name=plan.name,
        version=VERSION,
        phrase=plan.phrase,
        labels=(plan.name,),
        network=blob,
        inputs=recorded.inputs,
        outputs=recorded.outputs,
        states=recorded.states,
        vectors=recorded.vectors,
        sensitivities={name: Sensitivity(0.5, 0.0, 0.0) for name in RATES_PER_HOUR},
        timing=Timing(delay_ms=100.0, word_ms=word_length_ms(pools)),
        licence="Apache-2.0",
        card="draft",
        data=_data_rows(plan),
        smoothing_steps=SMOOTHING_STEPS,
        tolerance=VECTOR_TOLERANCE,
    )
    with tempfile.TemporaryDirectory() as folder:
        draft = write_package(Path(folder) / "draft", content)
        result = judge(draft, selection, workers=plan.workers)
        points = choose_points(result.curve)
        delays = result.latencies_ms(points["medium"].threshold)
        content = replace(
            content,
            sensitivities=sensitivities(points),
            timing=Timing(max(0.0, float(np.median(delays or [100.0]))), word_length_ms(pools)),
        )
    card = write_card(
        CardFacts(content, plan.command, net, result, points, _synthetic(result, corpora))
    )
    package = write_package(plan.out, replace(content, card=card), replace=True)
    checkpoint.unlink(missing_ok=True)
    report(f"package: {plan.out}")
    return package


def _data_rows(plan: Plan) -> tuple[DataSource, ...]:
    rows = amounts(plan.train)
    if plan.synthesises:
        total = sum(plan.renderings.values())
        total += len(plan.other_phrases) * sum(plan.other_renderings.values())
        rows.append(("Kokoro-82M, synthetic speech", "Apache-2.0", f"{total} renderings"))
    if plan.bulk_seconds > 0:
        amount = f"{plan.bulk_seconds / 3600:g} h of random words"
        rows.append(("hibari-tts, synthetic speech", "Apache-2.0", amount))
    return tuple(DataSource(*row) for row in rows)


def _synthetic(result: Result, corpora: Corpora | None) -> int:
    """How many of the positives that were heard are renderings."""
    if corpora is None:
        return 0
    return sum(heard.path.is_relative_to(corpora.folder) for heard in result.heard)


def _selection(plan: Plan, corpora: Corpora | None) -> Selection:
    """Development recordings; without any of the word, the voices held out of training."""
    positives = [Positive(r.path, r.speaker) for r in plan.develop if r.role == "positive"]
    if len(positives) < JUDGED_POSITIVES and corpora is not None:
        positives += [
            Positive(corpora.folder / item.path, "+".join(item.voices))
            for item in load_manifest(corpora.folder, plan.renderings)
            if item.kind == "positive" and item.split == "dev"
        ]
    negatives = tuple(r.path for r in plan.develop if r.role != "positive")
    return Selection(tuple(positives), negatives)
