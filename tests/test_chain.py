"""Chain: one front end for several models, gaps, blocks of any size, taps, the reference rule."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_event import metrics

from kwsd.block import Block
from kwsd.chain import Chain, Keyword
from kwsd.decision import Decision, DecisionConfig
from kwsd.dsp.frontend_frame import BranchDelays, FrontEndFrame
from kwsd.event import ModelIdentity
from kwsd.model.stream import Score
from kwsd.reblock import Reblocker
from kwsd.reference_watch import ReferenceWatch

RATE = 16000


class HoldingFrontEnd:
    """Passes microphone 0 through, always `held` samples behind."""

    def __init__(self, held=100):
        self.held = held
        self.calls = 0
        self._pending = None

    def process(self, block):
        self.calls += 1
        if self._pending is None or block.gap:
            self._pending = Block(block.start_sample, block.mics[:, :0], block.mics[0, :0])
        reference = np.zeros(block.samples, np.float32)
        if block.reference is not None:
            reference = block.reference
        mic = np.concatenate([self._pending.mics[0], block.mics[0]])
        reference = np.concatenate([self._pending.reference, reference])
        count = max(0, len(mic) - self.held)
        return self._release(self._pending.start_sample, mic, reference, count)

    def flush(self):
        if self._pending is None:
            return self._release(0, np.zeros(0, np.float32), np.zeros(0, np.float32), 0)
        pending = self._pending
        return self._release(
            pending.start_sample, pending.mics[0], pending.reference, pending.samples
        )

    def _release(self, start, mic, reference, count):
        self._pending = Block(start + count, mic[None, count:], reference[count:])
        heard = mic[:count]
        return FrontEndFrame(start, heard, heard, heard, reference[:count], metrics())


class BandModel:
    """Scores 1 where one feature band stands out, one step every two frames."""

    def __init__(self, band):
        self.band = band
        self.reset()

    def reset(self):
        self._frames = []
        self._end = None

    def process(self, frames, end_sample):
        scores = []
        for index, frame in enumerate(frames):
            self._frames.append(frame)
            if len(self._frames) == 2:
                mean = np.mean(self._frames, axis=0)
                value = 1.0 if mean[self.band] > np.median(mean) + 0.2 else 0.0
                behind = len(frames) - 1 - index
                scores.append(Score(end_sample - 160 * behind, value))
                self._frames = []
        return scores


def keyword(name, band, watch=False):
    config = DecisionConfig(0.7, 0.4, 0.5, 4, -60.0, 0.3, 800, 3200)
    identity = ModelIdentity(name, name, "1", "fake")
    reference = ReferenceWatch(BandModel(band), 0.4, 4) if watch else None
    return Keyword(identity, BandModel(band), Decision(config), reference)


def tones(seconds, *bursts):
    rng = np.random.default_rng(3)
    audio = 1e-3 * rng.standard_normal(round(seconds * RATE)).astype(np.float32)
    time_s = np.arange(len(audio)) / RATE
    for start_s, frequency_hz in bursts:
        inside = (time_s >= start_s) & (time_s < start_s + 0.3)
        audio += np.where(inside, 0.3 * np.sin(2 * np.pi * frequency_hz * time_s), 0.0)
    return audio.astype(np.float32)


LOW, HIGH = 10, 31
LOW_HZ, HIGH_HZ = 770.0, 4400.0


def run(chain, audio, cuts=(480,), reference=None, start=0, gap=False):
    events = []
    position, index = 0, 0
    while position < len(audio):
        end = min(position + cuts[index % len(cuts)], len(audio))
        ref = None if reference is None else reference[position:end]
        block = Block(start + position, audio[None, position:end], ref, gap and position == 0)
        events += chain.process(block)
        position, index = end, index + 1
    return events


def test_two_models_share_front_end_and_features():
    front_end = HoldingFrontEnd()
    chain = Chain(front_end, [keyword("low", LOW), keyword("high", HIGH)])
    audio = tones(4.0, (1.0, LOW_HZ), (2.5, HIGH_HZ))
    events = run(chain, audio) + chain.flush()
    assert [event["name"] for event in events] == ["low", "high"]
    assert 1.0 < events[0]["detected_s"] < 1.4 and 2.5 < events[1]["detected_s"] < 2.9
    assert front_end.calls == -(-len(audio) // 480)


def test_a_word_was_earlier_where_its_branch_lags():
    class Lagging(HoldingFrontEnd):
        def process(self, block):
            return replace(super().process(block), delays=BranchDelays(detector_samples=400))

    audio = tones(2.0, (1.0, LOW_HZ))
    (prompt,), (late,) = (
        run(Chain(stage, [keyword("low", LOW)]), audio) for stage in (HoldingFrontEnd(), Lagging())
    )
    assert late["sample"] == prompt["sample"] and late["detected_s"] == prompt["detected_s"]
    for key in ("onset_s", "end_s"):
        assert late[key] == pytest.approx(prompt[key] - 0.025)
    early = run(Chain(Lagging(), [keyword("low", LOW)]), tones(1.0, (0.1, LOW_HZ)))
    assert early[0]["onset_s"] == 0.0


def test_simultaneous_words_come_in_order_of_the_models():
    audio = tones(2.0, (1.0, LOW_HZ), (1.0, HIGH_HZ))
    for names in (("low", "high"), ("high", "low")):
        models = [keyword(name, LOW if name == "low" else HIGH) for name in names]
        chain = Chain(HoldingFrontEnd(), models)
        events = run(chain, audio) + chain.flush()
        assert sorted(e["name"] for e in events) == ["high", "low"]
        assert [e["sample"] for e in events] == sorted(e["sample"] for e in events)


def test_words_within_one_block_come_in_order_of_time():
    audio = tones(2.0, (0.4, HIGH_HZ), (1.2, LOW_HZ))
    models = [keyword("low", LOW), keyword("high", HIGH)]
    chain = Chain(HoldingFrontEnd(), models, block_samples=2 * RATE)
    events = run(chain, audio) + chain.flush()
    assert chain.front_end.calls == 1
    assert [event["name"] for event in events] == ["high", "low"]


AUDIO = tones(2.0, (0.5, LOW_HZ), (1.3, LOW_HZ))
EXPECTED_CHAIN = Chain(HoldingFrontEnd(), [keyword("low", LOW)])
EXPECTED = run(EXPECTED_CHAIN, AUDIO) + EXPECTED_CHAIN.flush()


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(1, 5000), min_size=1, max_size=8))
def test_blocks_of_any_size_give_the_same_events(cuts):
    assert len(EXPECTED) == 2
    chain = Chain(HoldingFrontEnd(), [keyword("low", LOW)])
    assert run(chain, AUDIO, cuts) + chain.flush() == EXPECTED


def test_word_at_the_very_end_is_found_by_flush():
    audio = tones(1.3, (1.0, LOW_HZ))
    whole = Chain(HoldingFrontEnd(), [keyword("low", LOW)])
    sample = (run(whole, audio) + whole.flush())[0]["sample"]
    chain = Chain(HoldingFrontEnd(held=RATE), [keyword("low", LOW)])
    assert run(chain, audio[: sample + 10]) == []
    assert [event["sample"] for event in chain.flush()] == [sample]


def test_gap_resets_and_positions_go_on():
    chain = Chain(HoldingFrontEnd(), [keyword("low", LOW)])
    audio = tones(1.5, (1.0, LOW_HZ))
    first = run(chain, audio)
    second = run(chain, audio, start=160_000, gap=True) + chain.flush()
    assert len(first) == len(second) == 1
    assert second[0]["sample"] == first[0]["sample"] + 160_000
    assert second[0]["onset_s"] >= 10.0


def test_jump_without_a_mark_is_a_gap_too():
    chain = Chain(HoldingFrontEnd(held=0), [keyword("low", LOW)])
    audio = tones(1.5, (1.0, LOW_HZ))
    first = run(chain, audio)
    second = run(chain, audio, start=160_000)
    assert [e["sample"] for e in second] == [e["sample"] + 160_000 for e in first]


def test_a_marked_gap_resets_though_positions_go_on():
    tap = Recorder()
    chain = Chain(HoldingFrontEnd(held=0), [keyword("low", LOW)], [tap])
    cut = 11 * 480
    run(chain, AUDIO[:cut])
    run(chain, AUDIO[cut:], start=cut, gap=True)
    chain.flush()
    ends = [end for _, end, _ in tap.scores if end > cut]
    assert ends == list(range(cut + 560, len(AUDIO) + 1, 320))


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 480])
def test_next_to_no_audio(samples):
    chain = Chain(HoldingFrontEnd(), [keyword("low", LOW)])
    assert run(chain, np.zeros(samples, np.float32)) + chain.flush() == []


def test_no_models_no_events():
    chain = Chain(HoldingFrontEnd(), [])
    assert run(chain, AUDIO) + chain.flush() == []


class Recorder:
    def __init__(self):
        self.samples = 0
        self.scores = []

    def frame(self, frame):
        assert frame.start_sample == self.samples
        self.samples += len(frame.detector)

    def score(self, keyword, end_sample, smoothed):
        self.scores.append((keyword, end_sample, smoothed))


def test_taps_see_all_audio_and_every_step():
    tap = Recorder()
    chain = Chain(HoldingFrontEnd(), [keyword("low", LOW)], [tap])
    events = run(chain, AUDIO) + chain.flush()
    assert tap.samples == len(AUDIO)
    ends = [end for _, end, _ in tap.scores]
    assert ends == list(range(560, len(AUDIO) + 1, 320))
    scores = {end: score for _, end, score in tap.scores}
    for event in events:
        assert scores[event["sample"]] >= event["threshold"]


def test_word_that_the_reference_says_does_not_wake():
    audio = tones(6.0, (1.0, LOW_HZ), (4.0, LOW_HZ))
    reference = tones(6.0, (1.0, LOW_HZ))
    watched = Chain(HoldingFrontEnd(), [keyword("low", LOW, watch=True)])
    events = run(watched, audio, reference=reference) + watched.flush()
    assert [round(event["detected_s"]) for event in events] == [4]
    plain = Chain(HoldingFrontEnd(), [keyword("low", LOW)])
    assert len(run(plain, audio, reference=reference) + plain.flush()) == 2


@pytest.mark.parametrize(("missing", "wakes"), [(0, 0), (480, 1)])
def test_what_the_reference_said_before_a_gap_refuses_no_word_behind_it(missing, wakes):
    audio = tones(2.0, (1.5, LOW_HZ))
    reference = tones(2.0, (1.0, LOW_HZ))
    chain = Chain(HoldingFrontEnd(held=0), [keyword("low", LOW, watch=True)])
    cut = 45 * 480
    events = run(chain, audio[:cut], reference=reference[:cut])
    events += run(chain, audio[cut:], reference=reference[cut:], start=cut + missing)
    assert len(events) == wakes


@given(cuts=st.lists(st.integers(1, 2000), max_size=12))
def test_reblocker_keeps_every_sample(cuts):
    reblocker = Reblocker()
    total = sum(cuts)
    audio = np.arange(total, dtype=np.float32)
    out, position = [], 0
    for count in cuts:
        piece = audio[position : position + count]
        out += reblocker.process(Block(position, piece[None], piece))
        position += count
    out += reblocker.flush()
    assert all(block.samples == 480 for block in out[:-1])
    if total:
        np.testing.assert_array_equal(np.concatenate([b.mics[0] for b in out]), audio)
        np.testing.assert_array_equal(np.concatenate([b.reference for b in out]), audio)
        assert [b.start_sample for b in out] == [int(b.mics[0, 0]) for b in out]
    assert list(reblocker.flush()) == []
