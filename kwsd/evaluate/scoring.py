"""Scoring: one stream of audio through the daemon's own chain, every step's score kept.

The chain is that of the daemon, with one microphone, and a reference where something is played:
front end, features, int8 model, the same model on the reference, decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kwsd.assemble import branch_ears, build_chain, decision_config, keyword_of
from kwsd.block import BLOCK_SAMPLES, SAMPLE_RATE_HZ, Block, FloatArray
from kwsd.branch_ear import BranchEar
from kwsd.chain import Keyword
from kwsd.config import Config, default_config
from kwsd.decision import NOTHING, Decision, DecisionConfig, Detection, Heard
from kwsd.event import ModelIdentity
from kwsd.model.package import ModelPackage
from kwsd.model.stream import ScoreStream, StreamingModel
from kwsd.reference_watch import HOLD_SAMPLES, ReferenceWatch
from kwsd.runtime.base import Session
from kwsd.runtime.select import EVALUATION_ORDER, open_session
from kwsd.source.base import SourceInfo

FEED_SAMPLES = 16_000


@dataclass(frozen=True)
class Track:
    """Scores of one stream, one entry a model step."""

    end_samples: NDArray[np.int64]
    """Stream position behind the audio of each step."""

    smoothed: NDArray[np.float64]
    """What the decision compares with its threshold."""

    levels_dbfs: NDArray[np.float32]
    """What it compares with its level gate."""

    reference: NDArray[np.float64]
    """Highest smoothed score of the reference in the second before; from the re-arm threshold on
    the loudspeaker says the word. 0 where nothing plays."""

    def undisputed(self, rearm_fraction: float) -> NDArray[np.float64]:
        """`smoothed`, and 0 where no threshold that it reaches is above what the reference says.

        A threshold that both reach is refused by the daemon; a curve, on which a score counts at
        all thresholds up to it, takes the highest.
        """
        return np.where(self.smoothed * rearm_fraction > self.reference, self.smoothed, 0.0)


class _NotedReference(ReferenceWatch):
    """Remembers how sure it is, for thresholds that are chosen later."""

    def __init__(self, stream: ScoreStream, smoothing_steps: int) -> None:
        super().__init__(stream, float("inf"), smoothing_steps)
        self._last: deque[tuple[int, float]] = deque()

    def process(self, frames: FloatArray, end_sample: int, playing: bool) -> None:
        """As the daemon's, with every score kept for a while."""
        for score in self._model.process(frames, end_sample, playing):
            self._last.append((score.end_sample, score.value))

    def highest_before(self, sample: int) -> float:
        """Highest score within the hold time before a sample."""
        while self._last and sample - self._last[0][0] > HOLD_SAMPLES:
            self._last.popleft()
        return max((score for _, score in self._last), default=0.0)


class _Recorder(Decision):
    """A decision that writes down what it is given."""

    def __init__(self, config: DecisionConfig, reference: _NotedReference | None) -> None:
        super().__init__(config)
        self.reference = reference
        self.steps: list[tuple[int, float, float, float]] = []

    def push(
        self,
        end_sample: int,
        score: float,
        level_dbfs: float,
        *,
        said_by_loudspeaker: bool = False,
        lag_samples: int = 0,
        beside: Heard = NOTHING,
    ) -> Detection | None:
        found = super().push(
            end_sample,
            score,
            level_dbfs,
            said_by_loudspeaker=said_by_loudspeaker,
            lag_samples=lag_samples,
            beside=beside,
        )
        said = 0.0 if self.reference is None else self.reference.highest_before(end_sample)
        self.steps.append((end_sample, self.smoothed, level_dbfs, said))
        return found


@dataclass(frozen=True)
class Listener:
    """What hears a stream."""

    stream: ScoreStream
    """A model on the detector branch."""

    decision: DecisionConfig
    """Its thresholds."""

    ears: tuple[BranchEar, ...] = ()
    """The same model on further branches, under playback."""

    reference: ScoreStream | None = None
    """The same model on the reference; None where the loudspeaker's word is no matter."""


class Scorer:
    """Model packages, opened once, that hear any number of streams, one after the other.

    Those that hear the same stream hear one front end.

    Parameters
    ----------
    packages : sequence of ModelPackage
        The models.
    config : Config, optional
        Settings of the daemon; None takes the defaults, whatever this machine has installed.

    Raises
    ------
    ModelError, RuntimeUnavailable
        A package cannot run here.
    """

    def __init__(self, packages: Sequence[ModelPackage], config: Config | None = None) -> None:
        self.packages = tuple(packages)
        self.config = default_config() if config is None else config
        self._sessions: list[Session] = []
        try:
            for package in packages:
                # The same runtime everywhere: a figure must not depend on the board's state.
                session, _ = open_session(package, EVALUATION_ORDER)
                self._sessions.append(session)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the runtimes."""
        for session in self._sessions:
            session.close()

    def score(
        self,
        pcm: FloatArray,
        reference: FloatArray | None = None,
        which: Sequence[int] | None = None,
    ) -> list[Track]:
        """Scores of a stream that begins with its first sample.

        Parameters
        ----------
        pcm : ndarray, float32 [samples]
            One microphone at 16 kHz, full scale 1.0.
        reference : ndarray, float32 [samples], optional
            What the loudspeaker plays; with it the echo canceller runs.
        which : sequence of int, optional
            Numbers of the packages that hear it; None: all.

        Returns
        -------
        list of Track
            One of each of these.
        """
        numbers = range(len(self.packages)) if which is None else which
        listeners = [self._listener(number, reference is not None) for number in numbers]
        return run_chain(pcm, listeners, self.config, reference)

    def _listener(self, number: int, playing: bool) -> Listener:
        package, session = self.packages[number], self._sessions[number]
        ears = branch_ears(
            self.config, package, 1, playing, lambda: StreamingModel(package, session)
        )
        watched = playing and self.config.wake.reference_rule
        return Listener(
            StreamingModel(package, session),
            decision_config(self.config, package),
            tuple(ears),
            StreamingModel(package, session) if watched else None,
        )


def run_chain(
    pcm: FloatArray,
    listeners: Sequence[Listener],
    config: Config,
    reference: FloatArray | None = None,
) -> list[Track]:
    """A stream through front end, features, the given models and their decisions."""
    recorders = [_Recorder(listener.decision, _noted(listener)) for listener in listeners]
    keywords = [
        Keyword(
            ModelIdentity("", "", "", ""),
            listener.stream,
            recorder,
            recorder.reference,
            ears=listener.ears,
        )
        for listener, recorder in zip(listeners, recorders, strict=True)
    ]
    info = SourceInfo("evaluation", 1, reference is not None, SAMPLE_RATE_HZ, 1, None)
    # Larger blocks take a third of the time; with a reference they would not be the daemon's.
    block_samples = FEED_SAMPLES if reference is None else BLOCK_SAMPLES
    chain = build_chain(config, info, keywords, takes_voice=False, block_samples=block_samples)
    for start in range(0, len(pcm), FEED_SAMPLES):
        part = slice(start, start + FEED_SAMPLES)
        piece = np.ascontiguousarray(pcm[None, part], np.float32)
        chain.process(Block(start, piece, None if reference is None else reference[part]))
    chain.flush()
    return [track_of(recorder.steps) for recorder in recorders]


def _noted(listener: Listener) -> _NotedReference | None:
    if listener.reference is None:
        return None
    return _NotedReference(listener.reference, listener.decision.smoothing_steps)


def track_of(steps: Sequence[tuple[int, float, float, float]]) -> Track:
    """A track of (end sample, smoothed score, level, score of the reference)."""
    return Track(
        np.array([step[0] for step in steps], np.int64),
        np.array([step[1] for step in steps], np.float64),
        np.array([step[2] for step in steps], np.float32),
        np.array([step[3] for step in steps], np.float64),
    )


def detections(track: Track, config: DecisionConfig) -> list[Detection]:
    """What the daemon's decision makes of a track under other thresholds.

    Parameters
    ----------
    track : Track
        From `Scorer.score`.
    config : DecisionConfig
        Its `smoothing_steps` are taken as done.

    Returns
    -------
    list of Detection
        In stream order.
    """
    if len(track.smoothed) == 0 or track.smoothed.max() < config.threshold:
        return []
    decision = Decision(replace(config, smoothing_steps=1))
    found = []
    for end, smoothed, level, reference in zip(
        track.end_samples.tolist(),
        track.smoothed.tolist(),
        track.levels_dbfs.tolist(),
        track.reference.tolist(),
        strict=True,
    ):
        said = reference >= config.rearm_threshold
        detection = decision.push(end, smoothed, level, said_by_loudspeaker=said)
        if detection is not None:
            found.append(detection)
    return found


def sensitivity_config(config: Config, package: ModelPackage, sensitivity: str) -> DecisionConfig:
    """The decision of a package at one of its sensitivities."""
    wake = replace(config.wake, sensitivity=sensitivity, threshold=None)
    own = {
        name: replace(settings, sensitivity=None, threshold=None)
        for name, settings in config.keywords.items()
        if name == keyword_of(package)
    }
    return decision_config(replace(config, wake=wake, keywords={**config.keywords, **own}), package)
