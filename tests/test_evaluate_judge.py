"""Judge: recordings of a known model's word and of other sounds, from file to figures."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from kwsd.assemble import decision_config
from kwsd.block import BLOCK_SAMPLES
from kwsd.config import default_config
from kwsd.config_schema import KeywordSettings
from kwsd.dsp.features import FRAME_SAMPLES, HOP_SAMPLES
from kwsd.errors import AudioError
from kwsd.evaluate import judge as judging
from kwsd.evaluate import scoring
from kwsd.evaluate.jobs import NEGATIVE, POSITIVE, Job, plan, repeated
from kwsd.evaluate.judge import Bench, Question, gather
from kwsd.evaluate.recording import parts_of
from kwsd.evaluate.report import Report, as_dict, text, write_json, write_scores
from kwsd.evaluate.rooms import Room
from kwsd.evaluate.scoring import (
    Listener,
    Scorer,
    detections,
    run_chain,
    sensitivity_config,
    track_of,
)
from kwsd.evaluate.selection import Positive, Selection
from kwsd.evaluate.surroundings import QUIET, Surroundings
from kwsd.model.find import find_package
from kwsd.model.package import Sensitivity, Timing, load_package
from kwsd.model.stream import Score
from kwsd.reference_watch import HOLD_SAMPLES
from kwsd.runtime.select import EVALUATION_ORDER

RATE = 16000
STEP = 320
TONE_HZ = 1000.0


class ToneScorer:
    """Models that score the share of a tone in the last 20 ms: of 1 kHz, unless told."""

    def __init__(self, tones_hz=(TONE_HZ,)):
        self.config = default_config()
        self.tones_hz = tones_hz
        self.streams = 0
        levels = {
            "low": Sensitivity(0.9, 0.1, 0.2),
            "medium": Sensitivity(0.6, 0.5, 0.1),
            "high": Sensitivity(0.3, 2.0, 0.05),
        }
        self.package = SimpleNamespace(
            name="tone",
            version="0.1.0",
            labels=("tone",),
            smoothing_steps=4,
            sensitivities=levels,
            threshold=lambda sensitivity: levels[sensitivity].threshold,
            timing=Timing(40.0, 300.0),
        )
        self.packages = [self.package for _ in tones_hz]

    def close(self):
        pass

    def score(self, pcm, reference=None, which=(0,)):
        self.streams += 1
        return [self._track(pcm, self.tones_hz[number]) for number in which]

    def _track(self, pcm, tone_hz):
        frames = pcm[: len(pcm) // STEP * STEP].reshape(-1, STEP).astype(np.float64)
        phase = np.exp(-2j * np.pi * tone_hz * np.arange(STEP) / RATE)
        energy = (frames**2).sum(axis=1) + 1e-6
        share = 2 * np.abs(frames @ phase) ** 2 / STEP / energy
        smoothed = np.convolve(share, np.full(4, 0.25))[: len(share)]
        level = 10 * np.log10(energy / STEP)
        return track_of(
            [
                ((i + 1) * STEP, float(s), float(d), 0.0)
                for i, (s, d) in enumerate(zip(smoothed, level, strict=True))
            ]
        )


def sound(tone, seconds=2.0, seed=0):
    """Room noise with a stretch of tone and noise from 0.8 to 1.2 s; `tone` is its share."""
    rng = np.random.default_rng(seed)
    audio = 1e-3 * rng.standard_normal(round(seconds * RATE))
    time_s = np.arange(len(audio)) / RATE
    burst = np.sqrt(2 * tone) * np.sin(2 * np.pi * TONE_HZ * time_s)
    burst += np.sqrt(1 - tone) * rng.standard_normal(len(audio))
    return audio + np.where((time_s >= 0.8) & (time_s < 1.2), 0.1 * burst, 0.0)


@pytest.fixture
def selection(tmp_path):
    """Ten positives of two speakers, of which three hold no tone; 70 s of negatives with one."""
    positives, negatives = [], []
    for number in range(10):
        path = tmp_path / f"p{number}.wav"
        sf.write(path, sound(0.0 if number in (2, 5, 7) else 0.95, seed=number), RATE)
        positives.append(Positive(path, "anna" if number < 5 else "ben"))
    for number in range(7):
        path = tmp_path / f"n{number}.wav"
        sf.write(path, sound(0.7 if number == 4 else 0.0, 10.0, seed=50 + number), RATE)
        negatives.append(path)
    sf.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    positives.append(Positive(tmp_path / "silent.wav", "anna"))
    return Selection(tuple(positives), tuple(negatives))


def judge(selection, seed=0, draws=1):
    bench = Bench(ToneScorer(), QUIET, seed)
    planned, skipped = plan(selection)
    jobs = repeated(planned, draws)
    return gather(jobs, [outcome for job in jobs for outcome in bench.run(job)], skipped)


@pytest.fixture
def report(selection):
    return Report(ToneScorer().package, judge(selection), "clean", 0)


def test_misses_false_accepts_and_hours_are_those_put_in(report):
    result = report.result
    assert len(result.heard) == 10
    assert result.hours == pytest.approx(70 / 3600)
    point = result.curve.at(0.6)
    assert (point.misses, point.false_accepts) == (3, 1)
    assert result.point("medium", 0.6).misses == 3
    assert result.wakes == {"low": 0, "medium": 1, "high": 1}
    assert result.peaks[0].path.name == "n4.wav"
    assert result.peaks[0].time_s == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("seconds", [1.0, 0.75])
def test_what_wakes_in_a_short_recording_does_not_hide_its_neighbours(selection, tmp_path, seconds):
    """The curve counts no fewer false accepts than the daemon's own decision."""
    short = []
    for number in range(90):
        path = tmp_path / f"s{number}.wav"
        pcm = sound(0.95, 2.0, seed=200 + number)[round(0.5 * RATE) :]
        sf.write(path, pcm[: round(seconds * RATE)], RATE)
        short.append(path)
    result = judge(Selection(selection.positives, tuple(short)))
    assert result.hours == pytest.approx(90 * seconds / 3600)
    assert result.wakes["medium"] == 90
    assert result.curve.at(0.6).false_accepts == 90
    assert {peak.path for peak in result.peaks if peak.score > 0.6} == set(short)


def test_the_curve_counts_what_the_daemon_sends_of_one_programme(selection, tmp_path):
    """Something like the word, again as soon as it may wake again."""
    path = tmp_path / "programme.wav"
    sf.write(path, np.tile(sound(0.95, 1.7, seed=7), 40), RATE)
    result = judge(Selection(selection.positives, (path,)))
    assert result.wakes["medium"] == result.curve.at(0.6).false_accepts == 40


def test_wakes_of_every_reel_are_added(selection):
    tone = selection.negatives[4]
    # 130 s: two reels, of which the first holds the tone twice and the second once.
    negatives = (*selection.negatives, *selection.negatives[:5], tone)
    jobs, _ = plan(Selection(selection.positives, negatives))
    reels = [[part.path for part in job.parts] for job in jobs if job.kind == NEGATIVE]
    assert [reel.count(tone) for reel in reels] == [2, 1]
    result = judge(Selection(selection.positives, negatives))
    assert result.wakes == {"low": 0, "medium": 3, "high": 3}


def test_reels_stand_in_rooms_of_their_own(selection):
    """A room is told by how late the sound is in it."""
    rooms = []
    for delay_ms in range(0, 400, 50):
        response = np.zeros(delay_ms * RATE // 1000 + 1, np.float32)
        response[-1] = 1.0
        rooms.append(Room(response, response))
    bench = Bench(ToneScorer(), Surroundings(rooms=tuple(rooms), far=True), 0)
    parts = tuple(parts_of(selection.negatives[4]))
    places = []
    for number in range(8):
        (outcome,) = bench.run(Job(NEGATIVE, number, parts, ()))
        places.append(max(outcome.peaks, key=lambda peak: peak.score).time_s)
    assert max(places) - min(places) > 0.2
    assert len(set(places)) > 3


def test_recordings_of_one_job_are_not_put_into_the_same_surroundings(selection):
    (part,) = parts_of(selection.positives[0].path)
    bench = Bench(ToneScorer(), QUIET, 0)
    (outcome,) = bench.run(Job(POSITIVE, 0, (part,) * 4, ("anna",) * 4))
    assert len({heard.score for heard in outcome.heard}) == 4


def test_what_wakes_before_the_word_is_not_the_word(tmp_path):
    """A faint tone, which wakes, and after it something loud without one: the supposed word."""
    time_s = np.arange(2 * RATE) / RATE
    rng = np.random.default_rng(3)
    audio = 1e-4 * rng.standard_normal(len(time_s))
    audio += np.where(time_s < 0.4, 0.005 * np.sin(2 * np.pi * TONE_HZ * time_s), 0.0)
    loud = (time_s >= 1.0) & (time_s < 1.4)
    sf.write(tmp_path / "p.wav", audio + loud * 0.2 * rng.standard_normal(len(time_s)), RATE)
    bench = Bench(ToneScorer(), QUIET, 0)
    (outcome,) = bench.run(Job(POSITIVE, 0, tuple(parts_of(tmp_path / "p.wav")), ("anna",)))
    (heard,) = outcome.heard
    assert heard.woke == frozenset() and heard.score < 0.3
    # The tone alone is a word, and the daemon would wake by it.
    sf.write(tmp_path / "t.wav", audio, RATE)
    (outcome,) = bench.run(Job(POSITIVE, 0, tuple(parts_of(tmp_path / "t.wav")), ("anna",)))
    assert "medium" in outcome.heard[0].woke


class OfTheLoudspeaker(ToneScorer):
    """As sure of the loudspeaker as of what the microphone hears."""

    def _track(self, pcm, tone_hz):
        track = super()._track(pcm, tone_hz)
        return replace(track, reference=np.full_like(track.smoothed, track.smoothed.max()))


def test_what_the_loudspeaker_says_is_neither_a_hit_nor_a_false_accept(selection):
    bench = Bench(OfTheLoudspeaker(), QUIET, 0)
    jobs, _ = plan(selection)
    for job in jobs:
        (outcome,) = bench.run(job)
        assert [(heard.score, heard.rise, heard.woke) for heard in outcome.heard] == [
            (0.0, (), frozenset())
        ] * len(outcome.heard)
        assert outcome.peaks == []
        assert not any(outcome.wakes.values())


def test_negatives_that_cannot_be_used_are_named(selection):
    silent = selection.positives[-1].path
    result = judge(Selection(selection.positives, (*selection.negatives, silent)))
    assert len(result.skipped) == 2  # it is a positive as well
    assert result.hours == pytest.approx(70 / 3600)
    bench = Bench(ToneScorer(), QUIET, 0)
    (outcome,) = bench.run(Job(NEGATIVE, 0, tuple(parts_of(silent)), ()))
    assert outcome.negative_s == 0.0
    assert "silent.wav is silent" in outcome.skipped[0]


def test_latency_counts_from_the_end_of_the_sound(report):
    latencies = report.result.latencies_ms(0.6)
    assert len(latencies) == 7
    # The score is there 80 ms after the start of a sound of 400 ms.
    assert np.median(latencies) == pytest.approx(-340, abs=60)


def test_the_report_says_what_the_hours_allow(report):
    said = text(report)
    assert "10 positives by 2 speakers, 0.02 h of negatives, clean, seed 0" in said
    assert "over recordings, not over people" in said
    assert "at most 1 FA/h  cannot be shown: needs 1 h of negatives" in said
    assert "30.0 % [10.8-60.3] 3/10 (2 speakers)" in said
    assert "0 seen in 0.02 h" in said
    assert "ben" in said and "40.0 %" in said
    assert "1 recordings left out" in said and "silent.wav is silent" in said
    assert "n4.wav" in said


def test_speakers_are_counted_as_far_as_they_are_named(report):
    result = report.result
    unnamed = tuple(replace(heard, speaker="") for heard in result.heard)
    alone = replace(result, heard=unnamed)
    assert (result.said_by, alone.said_by) == ("2 speakers", "")
    some = replace(result, heard=(*result.heard[:5], *unnamed[5:]))
    assert some.said_by == "1 named speaker and others"
    said = text(Report(report.package, alone, "clean", 0))
    assert "10 positives, 0.02 h" in said and "3/10   " in said
    assert "over recordings, not over people" in said


def test_json_and_scores_hold_the_same_figures(report, tmp_path):
    write_json(report, tmp_path / "r.json")
    written = json.loads((tmp_path / "r.json").read_text())
    assert written == json.loads(json.dumps(as_dict(report)))
    assert written["sensitivities"]["medium"]["misses"] == 3
    assert written["rates"][2] == {"asked_per_hour": 1.0, "resolvable": False}
    assert written["speakers"]["groups"]["anna"]["positives"] == 5
    assert written["speakers"]["count"] == 2
    write_scores(report, tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["kind"] == "positive" for row in rows) == 10
    assert [float(r["score"]) for r in rows if r["path"].endswith("p2.wav")][0] < 0.3


def test_a_det_plot_is_drawn(report, tmp_path):
    pytest.importorskip("matplotlib")
    from kwsd.evaluate.det import draw_det

    draw_det(report, tmp_path / "det.png")
    assert (tmp_path / "det.png").read_bytes().startswith(b"\x89PNG")


def test_the_seed_decides_alone(selection):
    assert judge(selection) == judge(selection)
    assert judge(selection, seed=1).heard[0].score != judge(selection).heard[0].score


def test_every_draw_is_another_one_and_the_first_stays(selection):
    once, often = judge(selection), judge(selection, draws=3)
    assert often.draws == 3 and often.recordings == once.recordings == 10
    assert often.heard[:10] == once.heard
    scores = {tuple(h.score for h in often.heard[at : at + 10]) for at in (0, 10, 20)}
    assert len(scores) == 3
    assert (often.peaks, often.wakes, often.skipped) == (once.peaks, once.wakes, once.skipped)
    assert often.hours == once.hours


def test_draws_do_not_pass_for_recordings(selection):
    once, often = judge(selection), judge(selection, draws=3)
    point, same = often.curve.at(0.6), once.curve.at(0.6)
    assert (point.misses, point.positives) == (9, 30)
    assert point.miss_interval == same.miss_interval == often.point("medium", 0.6).miss_interval
    report = Report(ToneScorer().package, often, "clean", 0)
    said = text(report)
    assert "10 positives by 2 speakers in 3 draws each" in said
    assert "30.0 % [10.8-60.3] 9/30 (2 speakers)" in said
    assert "40.0 % [11.8-76.9] 6/15" in said  # of one speaker with five recordings
    written = as_dict(report)
    assert (written["positives"], written["draws"]) == (10, 3)


def test_jobs_give_the_same_in_any_order(selection):
    jobs, _ = plan(selection)
    forth, back = Bench(ToneScorer(), QUIET, 0), Bench(ToneScorer(), QUIET, 0)
    assert [forth.run(j) for j in jobs] == [back.run(j) for j in reversed(jobs)][::-1]


def test_what_models_hear_together_is_what_each_hears_alone(selection, monkeypatch):
    scorer = ToneScorer((TONE_HZ, 1020.0))
    monkeypatch.setattr(judging, "Scorer", lambda packages: scorer)
    planned, skipped = plan(selection)
    # The second has two recordings more to its word, the first some negatives of its own.
    some = Selection(selection.positives[:8], selection.negatives[::-1])
    questions = [
        Question(package, repeated(jobs, 2), left_out)
        for package, (jobs, left_out) in zip(
            scorer.packages, (plan(some), (planned, skipped)), strict=True
        )
    ]
    done = []
    together = judging.judge(questions, advance=done.append)
    streams = scorer.streams
    alone = []
    for number, question in enumerate(questions):
        bench = Bench(scorer, QUIET, 0)
        outcomes = [bench.run(job, (number,))[0] for job in question.jobs]
        alone.append(gather(question.jobs, outcomes, question.skipped))
    assert together == alone
    assert together[0] != together[1]
    # Eight positives are the same for both, twice; the silent one is never heard.
    assert scorer.streams - streams == streams + 16
    assert sum(done) == pytest.approx(
        sum(job.seconds for job in {job for question in questions for job in question.jobs})
    )


def test_too_few_recordings_are_refused(selection):
    few = Selection(selection.positives[:3], selection.negatives)
    with pytest.raises(AudioError, match="3 usable positives: at least 5"):
        plan(few)
    short = Selection(selection.positives, selection.negatives[:2])
    with pytest.raises(AudioError, match="20 s of usable negatives"):
        plan(short)
    # Silent ones are found only when they are read.
    silent = Selection((*selection.positives[:4], selection.positives[-1]), selection.negatives)
    for draws in (1, 3):
        with pytest.raises(AudioError, match="4 usable positives"):
            judge(silent, draws=draws)


def test_a_positive_of_many_minutes_is_left_out(selection, tmp_path):
    path = tmp_path / "long.wav"
    sf.write(path, np.zeros(700 * 8000), 8000)
    jobs, skipped = plan(Selection((*selection.positives, Positive(path, "")), selection.negatives))
    assert sum(len(job.parts) for job in jobs if job.speakers) == 11
    assert "a positive holds the word once" in skipped[0]


class FrameScores:
    """A model that scores the mean of the features, one step a frame."""

    def process(self, frames, end_sample):
        starts = end_sample - (len(frames) - 1 - np.arange(len(frames))) * HOP_SAMPLES
        return [
            Score(int(end), float(np.clip(frame.mean(), 0, 1)))
            for end, frame in zip(starts, frames, strict=True)
        ]

    def reset(self):
        pass


def test_a_track_holds_every_step_of_the_chain():
    scorer = ToneScorer()
    decision = decision_config(scorer.config, scorer.package)
    pcm = sound(1.0).astype(np.float32)
    (track,) = run_chain(pcm, [Listener(FrameScores(), decision)], scorer.config)
    ends = np.arange(FRAME_SAMPLES, len(pcm) + 1, HOP_SAMPLES)
    np.testing.assert_array_equal(track.end_samples, ends)
    peak = track.end_samples[int(np.argmax(track.smoothed))]
    assert 0.8 * RATE < peak < 1.3 * RATE
    assert track.levels_dbfs.max() > -25 > -55 > track.levels_dbfs[:20].max()


def test_blocks_of_the_evaluation_give_the_scores_of_those_of_the_daemon(monkeypatch):
    """Sound and silence through the real front end and a model of its features, bit for bit."""
    scorer = ToneScorer()
    pcm = sound(0.9, seconds=3.7).astype(np.float32)
    pcm[RATE : RATE + 3000] = 0.0
    decision = decision_config(scorer.config, scorer.package)
    tracks = []
    for samples in (scoring.FEED_SAMPLES, BLOCK_SAMPLES):
        monkeypatch.setattr(scoring, "FEED_SAMPLES", samples)
        tracks += run_chain(pcm, [Listener(FrameScores(), decision)], scorer.config)
    ours, daemon = tracks
    assert len(ours.smoothed) > 300
    np.testing.assert_array_equal(ours.end_samples, daemon.end_samples)
    np.testing.assert_array_equal(ours.smoothed, daemon.smoothed)
    np.testing.assert_array_equal(ours.levels_dbfs, daemon.levels_dbfs)


def test_what_the_loudspeaker_says_counts_from_when_it_is_said(monkeypatch):
    """And for a second: the evaluation must not look further ahead than the daemon does."""
    scorer = ToneScorer()
    rng = np.random.default_rng(4)
    pcm, played = 0.05 * rng.standard_normal((2, 3 * RATE)).astype(np.float32)
    start = RATE + RATE // 2
    played[:start] = 0.0
    decision = decision_config(scorer.config, scorer.package)
    tracks = []
    for samples in (scoring.FEED_SAMPLES, BLOCK_SAMPLES):
        monkeypatch.setattr(scoring, "FEED_SAMPLES", samples)
        listener = Listener(FrameScores(), decision, reference=FrameScores())
        tracks += run_chain(pcm, [listener], scorer.config, played)
    ours, daemon = tracks
    np.testing.assert_array_equal(ours.reference, daemon.reference)
    said = ours.end_samples[ours.reference > 0.05]
    assert start - BLOCK_SAMPLES <= said.min() < start + 1600
    # The features, and with them the score, are soon used to the noise.
    assert start + HOLD_SAMPLES <= said.max() < start + HOLD_SAMPLES + 1600


@pytest.mark.parametrize("playing", [False, True])
def test_scores_do_not_depend_on_who_listens_beside(playing):
    rng = np.random.default_rng(4)
    pcm, played = 0.05 * rng.standard_normal((2, 3 * RATE)).astype(np.float32)
    pcm[RATE:] += 0.3 * played[:-RATE]
    reference = played if playing else None
    packages = [load_package(find_package(name)) for name in ("computer", "jarvis")]
    both = Scorer(packages)
    together, again = both.score(pcm, reference), both.score(pcm, reference, (1,))
    both.close()
    alone = []
    for package in packages:
        scorer = Scorer([package])
        alone += scorer.score(pcm, reference)
        scorer.close()
    assert len(together) == len(alone) == 2
    for ours, theirs in zip([*together, *again], [*alone, alone[1]], strict=True):
        np.testing.assert_array_equal(ours.smoothed, theirs.smoothed)
        np.testing.assert_array_equal(ours.end_samples, theirs.end_samples)
    assert np.any(together[0].smoothed != together[1].smoothed)


def test_figures_come_from_the_same_runtime_on_every_board(monkeypatch):
    asked = []

    def opened(package, order=()):
        asked.append(order)
        return SimpleNamespace(close=lambda: None), None

    monkeypatch.setattr(scoring, "open_session", opened)
    Scorer([ToneScorer().package]).close()
    assert asked == [EVALUATION_ORDER]


def test_detections_follow_threshold_level_gate_and_refractory():
    scorer = ToneScorer()
    (track,) = scorer.score(np.concatenate([sound(0.95)] * 3).astype(np.float32))
    config = sensitivity_config(scorer.config, scorer.package, "medium")
    assert config.threshold == 0.6
    found = detections(track, config)
    assert len(found) == 3
    assert found[0].sample == track.end_samples[int(np.argmax(track.smoothed >= 0.6))]
    assert detections(replace(track, levels_dbfs=track.levels_dbfs - 90), config) == []
    said = np.full_like(track.smoothed, config.rearm_threshold)
    assert detections(replace(track, reference=said), config) == []
    assert len(detections(replace(track, reference=said - 1e-9), config)) == 3


def test_a_score_below_what_the_loudspeaker_says_counts_at_no_threshold():
    scorer = ToneScorer()
    (track,) = scorer.score(sound(0.95).astype(np.float32))
    surest = track.smoothed.max()
    below = replace(track, reference=np.full_like(track.smoothed, 0.8 * surest - 1e-9))
    assert below.undisputed(0.8).max() == surest
    assert below.undisputed(0.8)[below.smoothed < 0.99 * surest].max() == 0.0
    above = replace(track, reference=np.full_like(track.smoothed, 0.8 * surest))
    assert above.undisputed(0.8).max() == 0.0


def test_a_sensitivity_is_not_changed_by_the_configuration():
    scorer = ToneScorer()
    own = {"tone": KeywordSettings(threshold=0.11)}
    config = replace(scorer.config, keywords=own)
    assert sensitivity_config(config, scorer.package, "low").threshold == 0.9
    config = replace(scorer.config, wake=replace(scorer.config.wake, threshold=0.11))
    assert sensitivity_config(config, scorer.package, "low").threshold == 0.9
