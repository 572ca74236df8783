"""Replay: the chain over a recording, as fast as it goes and in constant memory."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from kwsd.assemble import (
    OpenModel,
    build_chain,
    open_models,
    runtime_changes,
    runtime_state,
)
from kwsd.block import SAMPLE_RATE_HZ
from kwsd.capture.health import AudioState
from kwsd.chain import Chain, Tap
from kwsd.config import Config
from kwsd.dump import AudioDump
from kwsd.errors import UsageError
from kwsd.event import Event, beat_event
from kwsd.output_file import OutputFile
from kwsd.plot import ReplayPlot, require_matplotlib
from kwsd.progress import progress
from kwsd.scores import ScoreFile
from kwsd.sink.beat import Beat
from kwsd.sink.lines import LineSink, ReaderGone
from kwsd.sink.zmq import BusSink, open_bus
from kwsd.source.base import Source, SourceInfo
from kwsd.source.file import STANDARD_INPUT, open_audio
from kwsd.source.live import LiveCounters

log = logging.getLogger(__name__)

# A plot marks so many wakes, the latest; more could not be told apart.
_PLOTTED_EVENTS = 1000

# A recording is opened once and has no holes.
_COUNTERS = LiveCounters(openings=1)


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to replay and what to write."""

    path: str
    """Recording; ``-`` is standard input."""

    scores: Path | None = None
    """``--scores``."""

    dump_audio: Path | None = None
    """``--dump-audio``."""

    plot: Path | None = None
    """``--plot``."""

    publish: bool = False
    """``--publish``."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that are written."""
        return tuple(path for path in (self.scores, self.dump_audio, self.plot) if path)


class _Closing(Protocol):
    def close(self) -> None: ...


def replay(options: ReplayOptions, config: Config, stdout: TextIO | None) -> None:
    """Replay a recording.

    Parameters
    ----------
    options : ReplayOptions
        Recording and outputs.
    config : Config
        Everything else.
    stdout : text file or None
        Gets one JSON event a line.

    Raises
    ------
    KwsdError
        Whatever prevents it; result files are then left as they were.
    """
    _check_paths(options)
    with ExitStack() as stack:
        if options.plot is not None:
            require_matplotlib()
        source = open_audio(options.path, config.audio.mics, config.audio.reference)
        stack.callback(source.close)
        info = source.info
        _say_what_runs(info)
        models = open_models(config, info)
        for model in models:
            stack.callback(model.close)

        taps, plot = _open_outputs(options, models, info, stack)
        bus = _open_bus(config, info, models, stack) if options.publish else None
        takes_voice = options.dump_audio is not None or options.plot is not None
        chain = build_chain(config, info, models, taps, takes_voice)
        wakes = _run(source, chain, models, options, LineSink(stdout), bus, plot)
        if plot is not None:
            plot.finish(info.name)
        if bus is not None:
            bus.state("replay.end", recording=info.name, events=wakes)
    log.info("%d wakes, %d near misses", wakes, sum(len(m.decision.near_misses) for m in models))


def _run(
    source: Source,
    chain: Chain,
    models: Sequence[OpenModel],
    options: ReplayOptions,
    lines: LineSink,
    bus: BusSink | None,
    plot: _PlotFile | None,
) -> int:
    wakes = 0
    reading = True
    beat = Beat()
    with progress(source.info.name, source.info.duration_s) as advance:
        for position, events in _events(source, chain):
            advance(position)
            if bus is not None:
                bus.serve()
                if beat.due():
                    bus.emit(beat_event(AudioState.RUNNING, True, wakes, _COUNTERS))
            # A change comes first: the wakes of the same blocks may be the new runtime's.
            for event in (*runtime_changes(models, position), *events):
                if reading:
                    reading = _emit(lines, event)
                if bus is not None:
                    bus.emit(event)
            wakes += len(events)
            if plot is not None:
                plot.events.extend(events)
            if not reading and not options.files and bus is None:
                raise ReaderGone
    return wakes


def _events(source: Source, chain: Chain) -> Iterator[tuple[int, list[Event]]]:
    position = 0
    for block in source.blocks():
        position = block.start_sample + block.samples
        yield position, chain.process(block)
    yield position, chain.flush()


def _emit(lines: LineSink, event: Event) -> bool:
    """False once nobody reads the lines; files and bus still get everything."""
    try:
        lines.emit(event)
    except ReaderGone:
        return False
    return True


class _PlotFile:
    """A plot, the events to mark in it and its place."""

    def __init__(self, tap: ReplayPlot, path: Path) -> None:
        self.tap = tap
        self.events: deque[Event] = deque(maxlen=_PLOTTED_EVENTS)
        self._path = path

    def finish(self, title: str) -> None:
        self.tap.draw(self._path, title, list(self.events))


def _open_outputs(
    options: ReplayOptions, models: Sequence[OpenModel], info: SourceInfo, stack: ExitStack
) -> tuple[list[Tap], _PlotFile | None]:
    taps: list[Tap] = []

    def place(path: Path, private: bool = False) -> Path:
        return stack.enter_context(OutputFile(path, private)).partial

    def close_first(output: _Closing) -> None:
        # Entered after the OutputFile, so closed, and complete, before it is moved into place.
        stack.callback(output.close)

    if options.scores is not None:
        scores = ScoreFile(place(options.scores))
        close_first(scores)
        taps.append(scores)
    if options.dump_audio is not None:
        dump = AudioDump(place(options.dump_audio, private=True), info.duration_s)
        close_first(dump)
        taps.append(dump)
    plot = None
    if options.plot is not None:
        thresholds = {m.identity.keyword: m.decision.config.threshold for m in models}
        plot = _PlotFile(ReplayPlot(thresholds), place(options.plot))
        taps.append(plot.tap)
    return taps, plot


def _open_bus(
    config: Config, info: SourceInfo, models: Sequence[OpenModel], stack: ExitStack
) -> BusSink:
    settings = config.bus
    bus = open_bus(settings, replay=True)
    stack.callback(bus.close)
    log.info("events are published at %s", bus.endpoint)
    bus.state(
        "audio.state",
        source=info.name,
        microphones=info.microphones,
        reference=info.has_reference,
        sample_rate_hz=info.sample_rate_hz,
    )
    bus.emit(runtime_state(models))
    if settings.wait_subscriber_s > 0 and not bus.wait_for_subscriber(settings.wait_subscriber_s):
        log.warning("no subscriber within %g s; replaying anyway", settings.wait_subscriber_s)
    return bus


def _check_paths(options: ReplayOptions) -> None:
    """Refuse to write one file twice, or over the recording."""
    seen: dict[str, str] = {}
    if options.path != STANDARD_INPUT:
        seen[os.path.realpath(options.path)] = "the recording"
    for path in options.files:
        # Not `resolve`, which refuses links that go round in a circle: the opening says that.
        place = os.path.realpath(path)
        if place in seen and (path.is_file() or not path.exists()):
            raise UsageError(f"{path} is also {seen[place]}; choose another name")
        seen[place] = "another output"


def _say_what_runs(info: SourceInfo) -> None:
    length = "" if info.duration_s is None else f", {info.duration_s:.1f} s"
    log.info(
        "%s: %d of %d channels as microphones, %s, %d Hz%s",
        info.name,
        info.microphones,
        info.channels,
        "one as reference" if info.has_reference else "no reference: echo cancellation rests",
        info.sample_rate_hz,
        length,
    )
    if info.sample_rate_hz < SAMPLE_RATE_HZ:
        log.warning(
            "%s has %d Hz: nothing above %d Hz to hear, expect more misses",
            info.name,
            info.sample_rate_hz,
            info.sample_rate_hz // 2,
        )
