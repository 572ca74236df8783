"""Chain: front end, features, models and decisions put together.

One front end feeds every model, and one feature track all models of a kind. The chain is pure: it
reads no clock and no file, and the same blocks give the same events, however they are cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from kwsd.block import BLOCK_SAMPLES, Block
from kwsd.branch_ear import BranchEar
from kwsd.decision import NOTHING, Decision, Heard
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.dsp.frontend_frame import BranchDelays, FrontEndFrame
from kwsd.event import Event, ModelIdentity, wake_event
from kwsd.feature_track import PCEN, FeatureKind, FeatureTrack
from kwsd.level import LevelTrack
from kwsd.loudspeaker import LoudspeakerActivity
from kwsd.model.stream import Score, ScoreStream
from kwsd.reblock import Reblocker
from kwsd.reference_watch import ReferenceWatch


class FrontEndStage(Protocol):
    """What the chain needs of `kwsd.dsp.frontend.FrontEnd`."""

    config: FrontEndConfig
    """What runs."""

    def process(self, block: Block) -> FrontEndFrame:
        """Clean one block."""

    def flush(self) -> FrontEndFrame:
        """What is still held at the end of the stream."""


class Tap(Protocol):
    """A listener inside the chain: score files, audio dumps, plots."""

    def frame(self, frame: FrontEndFrame) -> None:
        """Output of the front end, in stream order."""

    def score(self, keyword: str, end_sample: int, smoothed: float) -> None:
        """Smoothed score of one model step."""


class Keyword:
    """One model with its decision.

    Parameters
    ----------
    identity : ModelIdentity
        Names for events.
    stream : ScoreStream
        The model on the detector branch.
    decision : Decision
        Its state machine.
    reference_watch : ReferenceWatch, optional
        The same model on the loudspeaker reference.
    features : FeatureKind
        What the model was trained on.
    ears : sequence of BranchEar
        The same model on further branches, under playback.
    """

    def __init__(
        self,
        identity: ModelIdentity,
        stream: ScoreStream,
        decision: Decision,
        reference_watch: ReferenceWatch | None = None,
        features: FeatureKind = PCEN,
        ears: Sequence[BranchEar] = (),
    ) -> None:
        self.identity = identity
        self.stream = stream
        self.decision = decision
        self.reference_watch = reference_watch
        self.features = features
        self.ears = tuple(ears)
        beside = () if reference_watch is None else ("reference",)
        self.signals = ("detector", *(ear.signal for ear in ears), *beside)
        """What it listens to, by the names of `FrontEndFrame`."""

    def heard_beside(self, sample: int, delays: BranchDelays) -> Heard:
        """What the surest of the ears has heard by a sample."""
        heard = [Heard(ear.smoothed_at(sample), delays.of(ear.signal)) for ear in self.ears]
        return max(heard, key=lambda one: one.score, default=NOTHING)

    def reset(self, start_sample: int) -> None:
        """Start again after a gap."""
        self.stream.reset()
        self.decision.reset(start_sample)
        if self.reference_watch is not None:
            self.reference_watch.reset()
        for ear in self.ears:
            ear.reset()


class Chain:
    """Blocks in, events out.

    Parameters
    ----------
    front_end : FrontEndStage
        DSP stage for the channels of the source.
    keywords : sequence of Keyword
        Models; none is allowed and gives no events.
    taps : sequence of Tap
        Listeners.
    block_samples : int
        What is processed at once. The metrics in events are per block, and so is what is known of
        the loudspeaker; scores without a reference do not depend on it.
    """

    def __init__(
        self,
        front_end: FrontEndStage,
        keywords: Sequence[Keyword],
        taps: Sequence[Tap] = (),
        block_samples: int = BLOCK_SAMPLES,
    ) -> None:
        self.front_end = front_end
        self._keywords = list(keywords)
        self._taps = list(taps)
        self._tracks = {
            (keyword.features, signal): FeatureTrack(keyword.features)
            for keyword in keywords
            for signal in keyword.signals
        }
        self._loudspeaker = LoudspeakerActivity()
        self._reblocker = Reblocker(block_samples)
        self._level = LevelTrack()
        self._next_sample: int | None = None

    @property
    def signals(self) -> set[tuple[FeatureKind, str]]:
        """Which features of which signals its models hear."""
        return set(self._tracks)

    def go_on_from(self, before: Chain) -> None:
        """Take over what another chain has learnt of the same stream; it must not be used again.

        Parameters
        ----------
        before : Chain
            Has the same front end. What both listen to goes on without a gap; models start anew.
        """
        self._loudspeaker, self._level = before._loudspeaker, before._level
        self._reblocker, self._next_sample = before._reblocker, before._next_sample
        start_sample = self._next_sample or 0
        for key, track in self._tracks.items():
            if key in before._tracks:
                self._tracks[key] = before._tracks[key]
            else:
                track.reset(start_sample)
        for keyword in self._keywords:
            keyword.reset(start_sample)

    def process(self, block: Block) -> list[Event]:
        """Take the next block.

        Parameters
        ----------
        block : Block
            Any number of samples.

        Returns
        -------
        list of dict
            Events in the order of detection.
        """
        events: list[Event] = []
        for piece in self._reblocker.process(block):
            events += self._process_piece(piece)
        return events

    def flush(self) -> list[Event]:
        """Process what is held back; the stream ends here."""
        events: list[Event] = []
        for piece in self._reblocker.flush():
            events += self._process_piece(piece)
        events += self._process_frame(self.front_end.flush())
        for keyword in self._keywords:
            keyword.decision.flush()
        return events

    def _process_piece(self, block: Block) -> list[Event]:
        frame = self.front_end.process(block)
        if block.gap:
            self._next_sample = None
        return self._process_frame(frame)

    def _process_frame(self, frame: FrontEndFrame) -> list[Event]:
        samples = len(frame.detector)
        if samples == 0:
            return []
        if frame.start_sample != self._next_sample:
            self._restart(frame.start_sample)
        self._next_sample = frame.start_sample + samples
        for tap in self._taps:
            tap.frame(frame)
        return self._score(frame)

    def _restart(self, start_sample: int) -> None:
        for track in self._tracks.values():
            track.reset(start_sample)
        self._loudspeaker.reset()
        self._level.reset(start_sample)
        for keyword in self._keywords:
            keyword.reset(start_sample)

    def _score(self, frame: FrontEndFrame) -> list[Event]:
        if self._keywords:  # nobody else asks for it, and what is not asked for is kept
            self._level.process(frame.detector)
        playing = self._loudspeaker.process(frame.reference)
        frames = {
            (kind, signal): track.process(
                getattr(frame, signal), frame.features.get(signal) if kind is PCEN else None
            )
            for (kind, signal), track in self._tracks.items()
        }
        steps = []
        for order, keyword in enumerate(self._keywords):
            heard = {
                signal: (
                    frames[keyword.features, signal],
                    self._tracks[keyword.features, signal].end_sample,
                )
                for signal in keyword.signals
            }
            if keyword.reference_watch is not None:
                keyword.reference_watch.process(*heard["reference"], playing)
            for ear in keyword.ears:
                ear.process(*heard[ear.signal], playing)
            steps += [(score, order) for score in keyword.stream.process(*heard["detector"])]
        steps.sort(key=lambda step: (step[0].end_sample, step[1]))
        return list(self._decide(steps, frame))

    def _decide(self, steps: Sequence[tuple[Score, int]], frame: FrontEndFrame) -> Iterator[Event]:
        for score, order in steps:
            keyword = self._keywords[order]
            watch = keyword.reference_watch
            detection = keyword.decision.push(
                score.end_sample,
                score.value,
                self._level.loudest_dbfs(score.end_sample),
                said_by_loudspeaker=watch is not None and watch.said_before(score.end_sample),
                lag_samples=frame.delays.of("detector"),
                beside=keyword.heard_beside(score.end_sample, frame.delays),
            )
            for tap in self._taps:
                tap.score(keyword.identity.keyword, score.end_sample, keyword.decision.smoothed)
            if detection is not None:
                yield wake_event(detection, keyword.identity, frame.metrics)
