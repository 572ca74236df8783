"""The whole recipe: from phrases and folders to packages, each stage kept for the next run."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kwsd.digest import sha256_hex
from kwsd.errors import AudioError
from kwsd.evaluate.index import voice
from kwsd.evaluate.jobs import Job, check_enough, repeated
from kwsd.evaluate.jobs import plan as plan_jobs
from kwsd.evaluate.judge import Question, judge
from kwsd.evaluate.result import Heard, Result
from kwsd.evaluate.rooms import far_rooms
from kwsd.evaluate.selection import Positive, Selection
from kwsd.evaluate.surroundings import Surroundings
from kwsd.model.package import ModelPackage, Sensitivity, Timing
from kwsd.model.write import DataSource, PackageContent, write_package
from kwsd.progress import Report
from kwsd.train.augment import Windows
from kwsd.train.card import CardFacts, write_card
from kwsd.train.committee import learn
from kwsd.train.corpus import held_out
from kwsd.train.float_scores import SMOOTHING_STEPS, operating_logits
from kwsd.train.layers import FloatNet, centred, save_net
from kwsd.train.network import to_float_net
from kwsd.train.operating_points import RATES_PER_HOUR, choose_points, sensitivities
from kwsd.train.plan import (
    Plan,
    Target,
    checkpoint_key,
    make_corpora,
    make_lessons,
    make_pools,
)
from kwsd.train.pools import MIN_POSITIVES, Pools, Spoken
from kwsd.train.quantise import calibrate
from kwsd.train.recordings import amounts
from kwsd.train.rehearsal import Rehearsal, rehearse
from kwsd.train.teacher import the_teacher
from kwsd.train.tflite_reader import read_net
from kwsd.train.tflite_writer import write_tflite
from kwsd.train.vectors import record
from kwsd.train.work_file import work_file

FloatArray = NDArray[np.float32]

JUDGED_POSITIVES = 5
"""With fewer real development recordings the held-out voices choose the thresholds."""

FAR_DRAWS = 4
"""Rooms for each positive: in one each, the same network missed 1 or 9 of 48 by the draw
(docs/benchmarks/training_trials.md)."""

VECTOR_STEPS = 32
VECTOR_TOLERANCE = 10
"""Two TFLite runtimes were seen to differ by 8 stored units on the score."""

CALIBRATION_BATCHES = 8
CALIBRATION_WINDOWS = (24, 40)
"""With phrases and with none, in each of them."""

FLOAT_NET = "float.npz"
"""The network before it was quantised, in the work folder (`benchmarks/quantisation.py`)."""

VERSION = "0.1.0"


def train(plan: Plan, report: Report) -> list[ModelPackage]:
    """Run the recipe.

    Parameters
    ----------
    plan : Plan
        What to make.
    report : callable
        Gets one line of progress at a time.

    Returns
    -------
    list of ModelPackage
        The packages of the targets that shall have one, loaded and checked.

    Raises
    ------
    UsageError
        A phrase cannot make a wake word.
    AudioError
        Too few recordings.
    ModelError
        The package to start from holds no network of this kind.
    RuntimeUnavailable
        A package of the extra ``train`` is missing.
    """
    _check_positives(plan)
    start, start_sha256 = None, ""
    if plan.start is not None:
        start = read_net(plan.start.network)
        start_sha256 = sha256_hex(plan.start.network.read_bytes())
    if plan.teacher:
        the_teacher()  # missing, it is said before an hour of speech is made
    spoken = make_corpora(plan, report)
    selections = {
        i: _selection(plan, target, spoken[i])
        for i, target in enumerate(plan.targets)
        if target.out is not None
    }
    # Too little to judge by is said before the training, not after it: here what the headers tell.
    jobs = {i: plan_jobs(selection) for i, selection in selections.items()}
    pools = make_pools(plan, spoken, report)
    lessons = make_lessons(plan, spoken, report)
    shipped = {plan.targets[i].phrase for i in selections}
    rehearsal = rehearse(
        [(i, positive) for i, some in selections.items() for positive in some.positives],
        [r for r in plan.develop if r.role != "positive" or r.phrase not in shipped],
        plan.work,
        report,
        workers=plan.workers,
    )
    for i in selections:
        _check_judges(plan.targets[i].phrase, i, rehearsal)
    key = checkpoint_key(plan, spoken, start_sha256)
    checkpoints = [plan.work / f"checkpoint-{key}-{n}.pt" for n in range(plan.networks)]
    learnt = learn(plan, pools, lessons, rehearsal, checkpoints, start, list(selections), report)
    phrases = len(plan.targets)
    signals = calibration_signals(pools, phrases, plan.seed, plan.fit.varied)
    nets = {
        i: centred(to_float_net(one.network, i), *operating_logits(one.curve))
        for i, one in learnt.items()
    }
    contents = {i: _content(plan, i, net, signals, pools) for i, net in nets.items()}
    judged = _judged(plan, contents, jobs)
    packages = [
        _package(
            plan, i, spoken[i], nets[i], contents[i], judged[i], start_sha256, learnt[i].distilled
        )
        for i in selections
    ]
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)  # the same command may have been run twice at once
    for package in packages:
        report(f"package: {package.path}")
    return packages


def calibration_signals(
    pools: Pools, phrases: int, seed: int, varied: bool = False
) -> list[FloatArray]:
    """Feature signals for the ranges of activations, the same for every phrase."""
    windows = Windows(pools, phrases, varied=varied)
    rng = np.random.default_rng([seed, 3])
    positives, negatives = CALIBRATION_WINDOWS
    each = max(1, positives // phrases)
    return [
        np.ascontiguousarray(features.T)
        for _ in range(CALIBRATION_BATCHES)
        for features in windows.batch(rng, each, negatives).features
    ]


def _content(
    plan: Plan, number: int, net: FloatNet, signals: list[FloatArray], pools: Pools
) -> PackageContent:
    """Quantise: the package of one phrase, but for what is known only when it was judged."""
    target = plan.targets[number]
    with work_file(plan.work / target.name / FLOAT_NET) as place:
        save_net(net, place)
    blob = write_tflite(net, calibrate(net, signals), plan.precision)
    # A stretch with phrases in it, where there are not too many of them.
    recorded = record(blob, np.concatenate(signals[:24]), VECTOR_STEPS)
    return PackageContent(
        name=target.name,
        version=VERSION,
        phrase=target.phrase,
        labels=(target.name,),
        network=blob,
        inputs=recorded.inputs,
        outputs=recorded.outputs,
        states=recorded.states,
        vectors=recorded.vectors,
        sensitivities={name: Sensitivity(0.5, 0.0, 0.0) for name in RATES_PER_HOUR},
        timing=Timing(delay_ms=100.0, word_ms=_word_length_ms(pools, number)),
        licence="Apache-2.0",
        card="draft",
        data=_data_rows(plan, pools),
        smoothing_steps=SMOOTHING_STEPS,
        tolerance=VECTOR_TOLERANCE,
    )


def _judged(
    plan: Plan,
    contents: dict[int, PackageContent],
    jobs: dict[int, tuple[list[Job], list[str]]],
) -> dict[int, tuple[Result, Result]]:
    """What each phrase's package makes of the development recordings: close by, far away."""
    rooms = Surroundings(rooms=far_rooms(), far=True)
    with tempfile.TemporaryDirectory() as folder:
        once, often = [], []
        for i, content in contents.items():
            draft = write_package(Path(folder) / str(i), content)
            planned, skipped = jobs[i]
            once.append(Question(draft, planned, skipped))
            often.append(Question(draft, repeated(planned, FAR_DRAWS), skipped))
        close = judge(once, workers=plan.workers)
        far = judge(often, rooms, workers=plan.workers)
    return dict(zip(contents, zip(close, far, strict=True), strict=True))


def _package(
    plan: Plan,
    number: int,
    spoken: Spoken,
    net: FloatNet,
    draft: PackageContent,
    judged: tuple[Result, Result],
    start_sha256: str,
    distilled: bool,
) -> ModelPackage:
    """Choose the thresholds of one phrase, and write its package with its card."""
    target, (close, far) = plan.targets[number], judged
    renderings = _renderings(close, spoken)
    assert target.out is not None
    points = choose_points(close.curve, far.curve)
    delays = close.latencies_ms(points["medium"].close.threshold)
    delay_ms = max(0.0, float(np.median(delays or [100.0])))
    content = replace(
        draft,
        sensitivities=sensitivities(points),
        timing=replace(draft.timing, delay_ms=delay_ms),
    )
    facts = CardFacts(
        content,
        plan.command,
        net,
        close,
        far,
        points,
        len(renderings),
        sum(not held_out(heard.speaker.split("+")) for heard in renderings),
        tuple(t.phrase for t in plan.targets if t != target),
        plan.start,
        start_sha256,
        plan.networks,
        distilled,
    )
    return write_package(target.out, replace(content, card=write_card(facts)), replace=True)


def _check_positives(plan: Plan) -> None:
    for target in plan.targets:
        found = sum(r.role == "positive" and r.phrase == target.phrase for r in plan.train)
        synthetic = plan.amounts.renderings.get("positive", 0) + plan.amounts.sayings
        if found + synthetic < MIN_POSITIVES:
            raise AudioError(
                f"{found} recordings and {synthetic} synthetic sayings of {target.phrase!r}: at "
                f"least {MIN_POSITIVES} are needed; add recordings, or ask for more --renderings"
            )


def _check_judges(phrase: str, number: int, rehearsal: Rehearsal) -> None:
    """Refuse recordings to judge by of which too few can be heard (`AudioError`)."""
    try:
        check_enough(rehearsal.said[number], rehearsal.negatives_s)
    except AudioError as error:
        raise AudioError(
            f"to judge {phrase!r} by: {error}; silent and unreadable recordings do not count"
        ) from None


def _word_length_ms(pools: Pools, phrase: int) -> float:
    """Median length of the synthetic words of a phrase; without any, of its recordings."""
    words = [word for word in pools.words if word.phrase == phrase]
    some = [word for word in words if not word.real] or words
    return float(np.median([max(1, word.end - word.first) for word in some]) * 10.0)


def _data_rows(plan: Plan, pools: Pools) -> tuple[DataSource, ...]:
    rows = amounts([r for r in plan.train if str(r.path.resolve()) not in pools.skipped])
    if plan.responses:
        rows.append(("measured rooms", "as supplied", f"{len(plan.responses)} impulse responses"))
    if plan.synthesises:
        total = len(plan.targets) * sum(plan.amounts.renderings.values())
        rows.append(("Kokoro-82M, synthetic speech", "Apache-2.0", f"{total} renderings"))
    fast = []
    if plan.amounts.sayings:
        fast.append(f"{len(plan.targets) * plan.amounts.sayings} sayings")
    if plan.amounts.bulk_seconds > 0:
        fast.append(f"{plan.amounts.bulk_seconds / 3600:g} h of random words")
    if fast:
        rows.append(("hibari-tts, synthetic speech", "Apache-2.0", ", ".join(fast)))
    if plan.teacher:
        rows.append(("Google speech embedding, as a teacher", "Apache-2.0", "no audio"))
    if plan.start is not None:
        name = f"{plan.start.name} {plan.start.version}, the layers to begin with"
        rows.append((name, plan.start.licence, "what its own card lists"))
    return tuple(DataSource(*row) for row in rows)


def _renderings(result: Result, spoken: Spoken) -> list[Heard]:
    """Those of the positives that were heard which are renderings."""
    if spoken.corpus is None:
        return []
    return [heard for heard in result.heard if heard.path.is_relative_to(spoken.corpus)]


def _selection(plan: Plan, target: Target, spoken: Spoken) -> Selection:
    """Development recordings; without any of the word, the voices held out of training.

    Those without any phrase come first: they are the same for all phrases, and played once.
    """
    own: list[Positive] = []
    others: list[Path] = []
    for recording in plan.develop:
        if recording.role == "positive" and recording.phrase == target.phrase:
            own.append(Positive(recording.path, voice(recording.set, recording.speaker)))
        elif recording.role == "positive":
            others.append(recording.path)
    negatives = [r.path for r in plan.develop if r.role != "positive"] + others
    if len(own) < JUDGED_POSITIVES:
        own += [
            Positive(path, "+".join(item.voices))
            for path, item in spoken.rendered("dev", plan.amounts.renderings)
            if item.kind == "positive"
        ]
    return Selection(tuple(own), tuple(negatives))
