"""Branch ears: models on further branches, awake while the loudspeaker plays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwsd.assemble import build_chain, further_branches
from kwsd.block import Block
from kwsd.branch_ear import BranchEar
from kwsd.chain import Chain, Keyword
from kwsd.config import default_config
from kwsd.decision import Decision, DecisionConfig
from kwsd.dsp.frontend_frame import BranchDelays, FrontEndFrame
from kwsd.dsp.metrics import FrontEndMetrics
from kwsd.event import Event, ModelIdentity
from kwsd.loudspeaker import LoudspeakerActivity
from kwsd.model.stream import Score
from kwsd.source.base import SourceInfo

RATE = 16_000
HOP = 160


class Loudness:
    """Scores 1 where frames rise above the usual; a step each two frames."""

    def __init__(self) -> None:
        self.steps = 0
        self.reset()

    def reset(self) -> None:
        self._held: list[float] = []

    def process(self, frames: np.ndarray, end_sample: int) -> list[Score]:
        scores = []
        for index, frame in enumerate(frames):
            self._held.append(float(frame.mean()))
            if len(self._held) == 2:
                end = end_sample - HOP * (len(frames) - 1 - index)
                scores.append(Score(end, float(min(self._held) > -0.75)))
                self._held = []
                self.steps += 1
        return scores


LAG = 800


class Branches:
    """A front end whose signals are given by channels: detector, residual; plays the reference."""

    def process(self, block: Block) -> FrontEndFrame:
        heard = block.mics
        reference = np.zeros(block.samples, np.float32)
        if block.reference is not None:
            reference = block.reference
        metrics = FrontEndMetrics((-20.0,), -20.0, 0, 0, None, None, None, True, -60.0, 20.0, None)
        return FrontEndFrame(
            *(block.start_sample, heard[0], heard[0], heard[1], reference, metrics),
            delays=BranchDelays(detector_samples=LAG),
        )

    def flush(self) -> FrontEndFrame:
        return self.process(Block(0, np.zeros((2, 0), np.float32), np.zeros(0, np.float32)))


CONFIG = DecisionConfig(0.7, 0.4, 0.5, 4, -60.0, 0.3, 800, 3200)


def wakes(
    detector: np.ndarray,
    residual: np.ndarray,
    reference: np.ndarray,
    hole_at: int | None = None,
) -> list[Event]:
    """What is found; ten seconds are missing at a block, if one is given."""
    ears = [BranchEar("residual", Loudness(), 4)]
    keyword = Keyword(ModelIdentity("w", "w", "1", "fake"), Loudness(), Decision(CONFIG), ears=ears)
    chain = Chain(Branches(), [keyword])
    found = []
    missing = 0
    for start in range(0, len(detector), 480):
        part = slice(start, start + 480)
        gap = start == hole_at
        missing += gap * 10 * RATE
        heard = np.stack([detector, residual])[:, part]
        found += chain.process(Block(start + missing, heard, reference[part], gap))
    return found + chain.flush()


def events(detector: np.ndarray, residual: np.ndarray, reference: np.ndarray) -> list[int]:
    return [event["sample"] for event in wakes(detector, residual, reference)]


def tone(seconds: float, *bursts: float) -> np.ndarray:
    audio = 1e-3 * np.random.default_rng(1).standard_normal(round(seconds * RATE))
    for start_s in bursts:
        part = slice(round(start_s * RATE), round((start_s + 0.4) * RATE))
        audio[part] += 0.3 * np.random.default_rng(2).standard_normal(part.stop - part.start)
    return audio.astype(np.float32)


PLAYS = 0.1 * np.ones(4 * RATE, np.float32)
SILENT = np.zeros(4 * RATE, np.float32)


def test_a_word_that_one_branch_lost_is_found_on_another_under_playback() -> None:
    quiet, word = tone(4.0), tone(4.0, 2.0)
    assert len(events(quiet, word, PLAYS)) == 1
    assert len(events(word, quiet, PLAYS)) == 1
    assert len(events(word, word, PLAYS)) == 1, "one word is one event"


def test_a_word_was_when_the_branch_that_has_it_says() -> None:
    quiet, word = tone(4.0), tone(4.0, 2.0)
    (late,), (prompt,) = wakes(word, quiet, PLAYS), wakes(quiet, word, PLAYS)
    assert late["sample"] == prompt["sample"]
    assert late["onset_s"] == pytest.approx(prompt["onset_s"] - LAG / RATE)


def test_without_playback_the_detector_branch_decides_alone() -> None:
    quiet, word = tone(4.0), tone(4.0, 2.0)
    assert events(quiet, word, SILENT) == []
    assert len(events(word, quiet, SILENT)) == 1


def test_what_an_ear_heard_before_a_gap_wakes_nobody_behind_it() -> None:
    quiet, word = 3.0 * tone(4.0), tone(4.0, 2.0)
    within = 75 * 480  # a quarter of a second into the word
    word[within:] = quiet[within:]
    (event,) = wakes(quiet, word, PLAYS, hole_at=within)
    assert event["sample"] < within


def test_an_ear_costs_nothing_without_playback_and_forgets() -> None:
    stream = Loudness()
    ear = BranchEar("voice", stream, 4)
    loud = np.ones((2, 40), np.float32)
    ear.process(loud, 320, False)
    assert stream.steps == 0 and ear.smoothed_at(320) == 0.0
    for step in range(4):
        ear.process(loud, 320 * (step + 2), True)
    assert ear.smoothed_at(320 * 5) == 1.0
    ear.process(loud, 320 * 6, False)
    assert ear.smoothed_at(320 * 6) == 0.0


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(1, 300))
def test_the_newest_step_that_ended_by_then(cuts: list[int], asked_every: int) -> None:
    """Against all steps in a list, however they come in and whenever one asks."""
    ear, plain = BranchEar("voice", Loudness(), 1), Loudness()
    rng = np.random.default_rng(sum(cuts))
    history: list[Score] = []
    end = 0
    for cut in cuts:
        frames = np.repeat(rng.uniform(-0.85, -0.3, (cut, 1)), 40, axis=1).astype(np.float32)
        end += cut * HOP
        ear.process(frames, end, True)
        history += plain.process(frames, end)
        for sample in range(max(0, end - cut * HOP), end, asked_every * 10):
            past = [score.value for score in history if score.end_sample <= sample]
            assert ear.smoothed_at(sample) == (past[-1] if past else 0.0)


def test_the_loudspeaker_counts_as_playing_for_a_second_behind_its_last_sound() -> None:
    activity = LoudspeakerActivity()
    sound, silence = np.full(1600, 0.01, np.float32), np.zeros(1600, np.float32)
    assert not activity.process(silence)
    assert activity.process(sound)
    assert [activity.process(silence) for _ in range(12)] == [True] * 9 + [False] * 3
    assert activity.process(sound)
    activity.reset()
    assert not activity.process(silence)


@pytest.mark.parametrize(
    ("microphones", "reference", "settings", "wanted"),
    [
        (2, True, {}, ["voice", "residual"]),
        (1, True, {}, ["voice"]),
        (2, False, {}, []),
        (2, True, {"aec": False}, []),
        (2, True, {"combine": False}, ["voice"]),
        (2, True, {"voice_branch": False}, ["residual"]),
    ],
)
def test_branches_that_differ(
    microphones: int, reference: bool, settings: dict[str, bool], wanted: list[str]
) -> None:
    config = default_config()
    config = replace(config, frontend=replace(config.frontend, **settings))
    assert further_branches(config, microphones, reference) == wanted
    off = replace(config, wake=replace(config.wake, all_branches=False))
    assert further_branches(off, microphones, reference) == []


@pytest.mark.parametrize(("hears", "takes", "wanted"), [(1, 0, True), (0, 1, True), (0, 0, False)])
def test_the_voice_branch_is_computed_for_those_who_take_it(
    hears: int, takes: int, wanted: bool
) -> None:
    ears = [BranchEar("voice", Loudness(), 4)] * hears
    keyword = Keyword(ModelIdentity("w", "w", "1", "fake"), Loudness(), Decision(CONFIG), ears=ears)
    info = SourceInfo("test", 1, True, RATE, 2, None)
    chain = build_chain(default_config(), info, [keyword], takes_voice=bool(takes))
    assert chain.front_end.config.voice_branch is wanted
