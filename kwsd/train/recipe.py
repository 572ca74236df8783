"""The whole recipe: from a phrase and folders to a package, each stage kept for the next run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kwsd.errors import AudioError
from kwsd.evaluate.judge import judge
from kwsd.evaluate.selection import Positive, Selection
from kwsd.model.package import ModelPackage, Sensitivity, Timing
from kwsd.model.write import DataSource, PackageContent, write_package
from kwsd.train.augment import Windows
from kwsd.train.card import CardFacts, write_card
from kwsd.train.corpus import build_corpus, load_manifest
from kwsd.train.fit import SMOOTHING_STEPS, FitConfig, fit
from kwsd.train.kokoro import Kokoro
from kwsd.train.layers import FloatNet
from kwsd.train.network import to_float_net
from kwsd.train.operating_points import RATES_PER_HOUR, choose_points, sensitivities
from kwsd.train.phrase import lint
from kwsd.train.pools import MIN_POSITIVES, ROOMS, Pools, load, prepare, recipe_key, save
from kwsd.train.quantise import calibrate
from kwsd.train.recordings import Recording, amounts
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
    rooms: int = ROOMS
    residue_seconds: float = 900.0

    @property
    def synthesises(self) -> bool:
        """Whether synthetic speech is wanted at all."""
        return any(self.renderings.values())


def make_corpus(plan: Plan, report: Report) -> Path | None:
    """Render what is missing."""
    if not plan.synthesises:
        return None
    cache = plan.work / "kokoro"
    folder = plan.work / plan.name / "corpus"
    voice = Kokoro(cache)
    lint(plan.phrase, voice.phonemes(plan.phrase))
    del voice
    made = build_corpus(plan.phrase, folder, cache, plan.seed, plan.renderings, plan.workers)
    done = 0
    for done, _ in enumerate(made, 1):
        if done % 50 == 0:
            report(f"rendered {done}")
    report(f"corpus: {folder}, {done} new renderings")
    return folder


def pools_key(plan: Plan, corpus: Path | None) -> str:
    """Names what the pools of a plan are made from."""
    return recipe_key(
        [plan.phrase, plan.seed, plan.renderings, plan.rooms, plan.residue_seconds, corpus]
        + [recording.path for recording in plan.train]
    )


def make_pools(plan: Plan, corpus: Path | None, report: Report) -> Pools:
    """Pools of this plan, from the cache if they were made before."""
    key = pools_key(plan, corpus)
    cached = plan.work / plan.name / f"pools-{key}.npz"
    if cached.is_file():
        report(f"pools: {cached}")
        return load(cached)
    cached.parent.mkdir(parents=True, exist_ok=True)
    pools = prepare(
        corpus,
        plan.renderings,
        plan.train,
        plan.seed,
        report,
        rooms_wanted=plan.rooms,
        residue_seconds=plan.residue_seconds,
    )
    save(pools, cached)
    return pools


def quantise(net: FloatNet, pools: Pools, seed: int) -> tuple[bytes, list[FloatArray]]:
    """int8 network, and the feature signals that calibrated it."""
    windows = Windows(pools, np.random.default_rng([seed, 3]))
    signals = [
        np.ascontiguousarray(features.T)
        for _ in range(CALIBRATION_BATCHES)
        for features in windows.batch(24, 40).features
    ]
    return write_tflite(net, calibrate(net, signals)), signals


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
    corpus = make_corpus(plan, report)
    pools = make_pools(plan, corpus, report)
    # Named after the data: a run on other data must not go on from here.
    checkpoint = plan.work / plan.name / f"checkpoint-{pools_key(plan, corpus)}.pt"
    network = fit(pools, plan.fit, checkpoint, report)
    net = to_float_net(network)
    blob, signals = quantise(net, pools, plan.seed)
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
    selection = _selection(plan, corpus)
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
    card = write_card(CardFacts(content, plan.command, net, result, points))
    package = write_package(plan.out, replace(content, card=card), replace=True)
    checkpoint.unlink(missing_ok=True)
    report(f"package: {plan.out}")
    return package


def _data_rows(plan: Plan) -> tuple[DataSource, ...]:
    rows = amounts(plan.train)
    if plan.synthesises:
        total = sum(plan.renderings.values())
        rows.append(("Kokoro-82M, synthetic speech", "Apache-2.0", f"{total} renderings"))
    return tuple(DataSource(*row) for row in rows)


def _selection(plan: Plan, corpus: Path | None) -> Selection:
    """Development recordings; without any of the word, the voices held out of training."""
    positives = [Positive(r.path, r.speaker) for r in plan.develop if r.role == "positive"]
    if len(positives) < JUDGED_POSITIVES and corpus is not None:
        positives += [
            Positive(corpus / item.path, "+".join(item.voices))
            for item in load_manifest(corpus, plan.renderings)
            if item.kind == "positive" and item.split == "dev"
        ]
    negatives = tuple(r.path for r in plan.develop if r.role != "positive")
    return Selection(tuple(positives), negatives)
