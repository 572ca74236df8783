"""A reload keeps what the front end has learnt, as long as its own settings stay."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_chain import LOW, BandModel, HoldingFrontEnd, keyword

from kwsd.assemble import build_chain, open_models
from kwsd.block import BLOCK_SAMPLES, Block
from kwsd.chain import Chain, Keyword
from kwsd.config import Config, load_config
from kwsd.daemon import listening
from kwsd.decision import Decision
from kwsd.dsp.frontend_frame import FrontEndFrame
from kwsd.event import Event, ModelIdentity
from kwsd.feature_track import PCEN
from kwsd.source.base import SourceInfo

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.service import soak_day  # noqa: E402
from benchmarks.service.soak_day import run_day  # noqa: E402
from benchmarks.service.soak_world import Fault, Kind, living_room_cycle  # noqa: E402

INFO = SourceInfo("test", 2, True, 16_000, 3, None)


def config_of(folder: Path, *lines: str) -> Config:
    file = folder / "kwsd.toml"
    file.write_text("\n".join(["wake.models = ['computer']", *lines]) + "\n")
    return load_config(file=file)


class Ears:
    """A tap that keeps what it hears."""

    def __init__(self) -> None:
        self.frames: list[FrontEndFrame] = []
        self.scores: list[tuple[int, float]] = []
        self.ends: defaultdict[str, list[int]] = defaultdict(list)

    def frame(self, frame: FrontEndFrame) -> None:
        self.frames.append(frame)

    def score(self, keyword: str, end_sample: int, smoothed: float) -> None:
        self.scores.append((end_sample, smoothed))
        self.ends[keyword].append(end_sample)


Hearing = tuple[list[Event], Ears]


def listen(config: Config, then: Config, reload_at_s: float) -> Hearing:
    """The sample through a chain that is replaced once, as a reload does it."""
    audio = living_room_cycle((0.0,), seed=1)
    ears = Ears()
    chain: Chain = build_chain(config, INFO, open_models(config, INFO), [ears])
    events: list[Event] = []
    for start in range(0, len(audio) - BLOCK_SAMPLES, BLOCK_SAMPLES):
        if reload_at_s * 16_000 <= start < reload_at_s * 16_000 + BLOCK_SAMPLES:
            chain = build_chain(then, INFO, open_models(then, INFO), [ears], before=chain)
        part = audio[start : start + BLOCK_SAMPLES].T
        events += chain.process(Block(start, part[:2].copy(), part[2].copy()))
    return events, ears


# Without the canceller the word lies near the threshold of medium, where a frame decides.
@pytest.mark.parametrize(
    "more", ["", "dsp.backend = 'numpy'\ndsp.aec = false\nwake.sensitivity = 'high'"]
)
def test_signals_go_on_bit_for_bit_and_the_word_behind_it_is_found(
    tmp_path: Path, more: str
) -> None:
    config = config_of(tmp_path, more)
    plain_events, plain = listen(config, config, 1e9)
    words_s = [event["onset_s"] for event in plain_events]
    # Two seconds suffice for the model's memory, not for a canceller that begins anew.
    at_s = words_s[-1] - 2.0
    events, ears = listen(config, config, at_s)
    assert len(ears.frames) == len(plain.frames)
    for one, other in zip(ears.frames, plain.frames, strict=True):
        assert one.start_sample == other.start_sample
        np.testing.assert_array_equal(one.detector, other.detector)
        np.testing.assert_array_equal(one.voice, other.voice)
    assert abs(len(ears.scores) - len(plain.scores)) <= 1
    # The models' steps of two frames may lie a frame apart.
    found = np.array([event["sample"] for event in events if event["onset_s"] > at_s])
    wanted = np.array([event["sample"] for event in plain_events if event["onset_s"] > at_s])
    assert len(found) == len(wanted) == 1
    assert abs(found - wanted).max() <= 320


@pytest.mark.parametrize(
    ("then", "kept"),
    [
        ("wake.sensitivity = 'high'", True),
        ("wake.reference_rule = false", True),
        ("dsp.tail_ms = 160", False),
        ("wake.models = ['computer', 'snowboy']", True),
    ],
)
def test_what_makes_a_front_end_begin_anew(tmp_path: Path, then: str, kept: bool) -> None:
    old = config_of(tmp_path)
    new_file = tmp_path / "new.toml"
    new_file.write_text(then + "\n")
    new = load_config(file=new_file)
    before = build_chain(old, INFO, open_models(old, INFO))
    after = build_chain(new, INFO, open_models(new, INFO), before=before)
    assert (after.front_end is before.front_end) is kept


def test_a_model_with_features_of_its_own_begins_where_the_stream_is() -> None:
    audio = np.random.default_rng(1).normal(0.0, 1e-3, 11 * 16_000).astype(np.float32)
    first = keyword("first", LOW)
    before = Chain(HoldingFrontEnd(held=0), [first])
    identity = ModelIdentity("second", "second", "1", "fake")
    decision = Decision(first.decision.config)
    features = replace(PCEN, name="of another maker")
    second = Keyword(identity, BandModel(LOW), decision, features=features)
    ears = Ears()
    after = Chain(before.front_end, [keyword("first", LOW), second], [ears])
    before.process(Block(0, audio[None, :160_000], None))
    after.go_on_from(before)
    after.process(Block(160_000, audio[None, 160_000:], None))
    ends = ears.ends["second"]
    assert len(ends) > 45 and 160_000 < ends[0] < ends[-1] <= 176_000


def test_features_that_nobody_took_take_a_new_front_end(tmp_path: Path) -> None:
    old = config_of(tmp_path, "wake.reference_rule = false")
    new = config_of(tmp_path, "wake.reference_rule = true")
    before = build_chain(old, INFO, open_models(old, INFO))
    after = build_chain(new, INFO, open_models(new, INFO), before=before)
    assert after.front_end is not before.front_end


def chains_of_a_day(
    monkeypatch: pytest.MonkeyPatch, reload: Callable[[Config], Config]
) -> list[Any]:
    """Front ends of the service's chains on a day with two reloads."""
    stages: list[Any] = []
    build, load = listening.build_chain, soak_day.load_config

    def noted(*arguments: Any) -> Chain:
        chain = build(*arguments)
        stages.append(chain.front_end)
        return chain

    loads: list[Config] = []

    def other(**arguments: Any) -> Config:
        config: Config = load(**arguments)
        loads.append(config if not loads else reload(config))
        return loads[-1]

    monkeypatch.setattr(listening, "build_chain", noted)
    monkeypatch.setattr(soak_day, "load_config", other)
    faults = [Fault(1.0, Kind.RELOAD, 0.0), Fault(2.0, Kind.RELOAD, 0.0)]
    run_day(living_room_cycle((0.0,), seed=1), faults, 3.0)
    return stages


def test_the_service_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = chains_of_a_day(monkeypatch, lambda config: config)
    assert len(others) == 2 and all(stage is first for stage in others)


def test_the_service_opens_another_for_another_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def louder(config: Config) -> Config:
        return replace(config, audio=replace(config.audio, discard_ms=200))

    first, *others = chains_of_a_day(monkeypatch, louder)
    assert others[0] is not first and others[1] is others[0]
