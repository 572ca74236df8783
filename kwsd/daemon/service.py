"""The service loop: one thread, one pass per delivery of audio.

Blocks go through the chain, events to the bus; a change of the input's state is an event too. The
manager's watchdog is fed by audio that flows, not by a loop that turns. A reload builds everything
anew beside the old and changes over only when all of it works (`kwsd.daemon.listening`).
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from kwsd import __version__
from kwsd.assemble import decision_config, runtime_changes, runtime_state
from kwsd.block import SAMPLE_RATE_HZ, Block
from kwsd.capture.health import AudioState
from kwsd.chain import Tap
from kwsd.config import Config
from kwsd.config_schema import AudioSettings
from kwsd.control_protocol import CONFIGURED
from kwsd.daemon.attention import Attention
from kwsd.daemon.commands import commands_of
from kwsd.daemon.control import ControlServer
from kwsd.daemon.file_guard import FileGuard
from kwsd.daemon.gauges import FrontEndGauges, service_metrics
from kwsd.daemon.listening import Listening, listen
from kwsd.daemon.losses import Losses
from kwsd.daemon.memory_guard import MemoryGuard, give_back
from kwsd.daemon.metrics import MetricsServer, exposition
from kwsd.daemon.monitor_tap import MonitorTap
from kwsd.daemon.notify import Notifier
from kwsd.daemon.resume import Resume
from kwsd.daemon.runtime_gauges import runtime_metrics
from kwsd.daemon.saved_state import StateFile
from kwsd.daemon.status import input_status, keyword_status
from kwsd.errors import ConfigError, KwsdError
from kwsd.event import beat_event
from kwsd.operating_point import with_set
from kwsd.sink.beat import Beat
from kwsd.sink.zmq import BusSink
from kwsd.source.live import LiveInput

log = logging.getLogger(__name__)

READ_TIMEOUT_S = 0.1
"""Longest wait for audio: bounds how late a signal or a new subscriber is seen."""

MEMORY_SAID_EVERY_S = 60.0
START_PATIENCE_S = 20.0
"""Longest time for which a start waits for audio: the rest of the machine's start may wait for it,
and nothing says that a microphone ever comes."""


@dataclass
class Requests:
    """What signal handlers leave for the loop."""

    stop: bool = False
    reload: bool = False


class Service:
    """Live input to bus.

    Parameters
    ----------
    config : Config
        Checked configuration.
    load : callable
        Reads the configuration again, for a reload; raises `KwsdError`.
    open_input : callable
        Makes the input of a configuration.
    bus : BusSink
        Where events go.
    notifier : Notifier
        Service manager.
    state_file : StateFile
        Remembers what was set through the control socket.
    clock : callable
        Monotonic seconds.
    resume : Resume, optional
        Notices that the machine has slept.
    """

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        open_input: Callable[[AudioSettings], LiveInput],
        bus: BusSink,
        notifier: Notifier,
        state_file: StateFile,
        clock: Callable[[], float] = time.monotonic,
        resume: Resume | None = None,
    ) -> None:
        self._first = config
        self._load = load
        self._open_input = open_input
        self._bus = bus
        self._notifier = notifier
        self._clock = clock
        self._resume = resume or Resume()
        self._state_file = state_file
        self._saved = state_file.load()
        self._control: ControlServer | None = None
        self._files: FileGuard | None = None
        self._started_s = clock()
        self.requests = Requests()
        self._gauges = FrontEndGauges()
        self._attention = Attention()
        self._watch = MonitorTap()
        self._metrics: MetricsServer | None = None
        self._taps: list[Tap] = [self._gauges, self._watch]
        self._now: Listening | None = None
        self._state: tuple[AudioState, str] | None = None
        self._fault_since_s: float | None = None
        self._ready = False
        self._told_ready = False
        self._wakes = 0
        self._heard: dict[str, int] = {}
        self._beat = Beat(clock)
        self._losses = Losses(clock)
        self._memory = MemoryGuard()
        self._memory_said_s = float("-inf")

    def run(self) -> None:
        """Work until asked to stop.

        Raises
        ------
        KwsdError
            What prevents the start: a missing model, no runtime, and, where nobody manages
            the service, no device. A managed service looks for its device as long as it runs.
        """
        source = self._new_input(self._first.audio)
        try:
            if not self._saved.muted and not self._notifier.present:
                source.open_now()
            self._now = listen(self._first, source, self._taps)
            if self._first.metrics.port:
                self._metrics = MetricsServer(self._first.metrics.port)
            self._apply_saved()
            self._say_what_runs()
            self._memory.settle()
            while not self.requests.stop:
                self._turn()
        finally:
            self._notifier.stopping()
            if self._now is None:
                source.close()
            else:
                self._now.close()

    @property
    def now(self) -> Listening:
        """What listens; there is nothing before `run`."""
        assert self._now is not None
        return self._now

    def _new_input(self, audio: AudioSettings) -> LiveInput:
        """An input that stays closed while the service is muted."""
        source = self._open_input(audio)
        if self._saved.muted:
            source.mute(True)
        return source

    def listen_to(self, endpoint: str) -> None:
        """Open the control socket; raises `BusError`."""
        self._control = ControlServer(endpoint, commands_of(self))
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._files = FileGuard([self._bus.endpoint, endpoint], limit)

    def close(self) -> None:
        """Release the sockets."""
        if self._files is not None:
            self._files.open()
        if self._control is not None:
            self._control.close()
        if self._metrics is not None:
            self._metrics.close()

    def metrics_text(self) -> str:
        """All metrics as OpenMetrics text."""
        now = self.now
        return exposition(
            [
                *service_metrics(now.source, now.models, self._heard, self._gauges.latest),
                *runtime_metrics([model.usage() for model in now.models]),
            ]
        )

    def status(self) -> dict[str, object]:
        """What runs and how it does."""
        now = self.now
        return {
            "version": __version__,
            "up_s": round(self._clock() - self._started_s, 1),
            "ready": self._ready,
            "audio": input_status(now.source),
            "keywords": [keyword_status(model, now.config, self._saved) for model in now.models],
            "wakes": self._wakes,
        }

    def monitor_state(self) -> dict[str, object]:
        """What `kwsctl monitor` shows: the status, meters, scores and last events."""
        return {**self.status(), **self._watch.state()}

    def mute(self, muted: bool) -> dict[str, object]:
        """Close the microphone, or open it again; kept over restarts."""
        self.now.source.mute(muted)
        if muted and self.now.preroll is not None:
            self.now.preroll.forget()
        self._saved.muted, self._saved.damaged = muted, False
        return {"muted": muted, "saved": self._state_file.save(self._saved)}

    def set_sensitivity(self, keyword: str, sensitivity: str) -> dict[str, object]:
        """Change the operating point of a keyword at once; kept over restarts.

        ``configured`` drops what was kept.
        """
        if sensitivity == CONFIGURED:
            self._saved.sensitivities.pop(keyword, None)
        else:
            self._saved.sensitivities[keyword] = sensitivity
        self._apply_saved()
        return {"keyword": keyword, "saved": self._state_file.save(self._saved)}

    def set_enabled(self, keyword: str, enabled: bool) -> dict[str, object]:
        """Let a keyword wake, or not; kept over restarts."""
        others = [name for name in self._saved.disabled if name != keyword]
        self._saved.disabled = others if enabled else [*others, keyword]
        return {"keyword": keyword, "saved": self._state_file.save(self._saved)}

    def reload(self) -> dict[str, object]:
        """Read the configuration again.

        Raises
        ------
        KwsdError
            Something is wrong with it; the old one goes on.
        """
        self._notifier.reloading()
        try:
            config = self._load()
            # First, since a change-over that is done cannot be undone.
            self._bus.reload_clients()
            self._change_over(config)
        except OSError as error:
            what = error.filename or "the configuration"
            raise ConfigError(f"{what} cannot be read: {error.strerror or error}") from error
        finally:
            if self._told_ready:
                self._notifier.ready()
        return {"keywords": [model.identity.keyword for model in self.now.models]}

    def _apply_saved(self) -> None:
        for model in self.now.models:
            keyword = model.identity.keyword
            config = with_set(self.now.config, keyword, self._saved.sensitivities)
            model.change(decision_config(config, model.package))

    def _turn(self) -> None:
        if self.requests.reload:
            self.requests.reload = False
            try:
                self.reload()
            except KwsdError as error:
                log.error("reload failed, the old configuration goes on: %s", error)
        asleep_s = self._resume.since_last_s()
        if asleep_s:
            log.info("the machine slept %.0f s: runtimes that were given up are tried", asleep_s)
            for model in self.now.models:
                model.rearm()
        rest_s = self._attention.rest_s(self._gauges.latest, self._clock())
        blocks = self.now.source.read(READ_TIMEOUT_S, rest_s)
        for block in blocks:
            self._process(block)
        self._bus.serve()
        if self._control is not None:
            self._control.serve()
        if self._files is not None:
            self._files.look()
        self._guard_memory()
        self._tell_state()
        if self._beat.due():
            self._say_beat()
        if blocks:
            self._works()

    def _guard_memory(self) -> None:
        growth = self._memory.growth_bytes()
        if not growth:
            return
        now_s = self._clock()
        if now_s - self._memory_said_s >= MEMORY_SAID_EVERY_S:
            self._memory_said_s = now_s
            log.warning(
                "memory has grown by %d MB: connections are closed, subscribers connect again by "
                "themselves; see who connects (ss -xp)",
                growth >> 20,
            )
        if self._files is not None:
            self._files.open()
        self._bus.drop_connections()
        give_back()
        # A request that is under way would be lost.
        if self._control is not None and self._memory.growth_bytes():
            self._control.drop_connections()
            give_back()
            self._memory.settle()

    def _process(self, block: Block) -> None:
        now = self.now
        events = now.chain.process(block)
        # A change comes first: the wakes of the same block may be the new runtime's.
        for change in runtime_changes(now.models, block.start_sample + block.samples):
            self._bus.emit(change)
        for event in events:
            if event.get("name") in self._saved.disabled:
                continue
            self._wakes += 1
            name = os.urandom(8).hex()
            self._heard[event["name"]] = self._heard.get(event["name"], 0) + 1
            if now.preroll is not None:
                now.preroll.name(name, round(event["onset_s"] * SAMPLE_RATE_HZ))
            self._bus.emit({**event, "id": name})
            self._watch.wake(event)
            self._attention.woke(self._clock())

    def _works(self) -> None:
        """Audio came and the chain has worked on it, or none is wanted."""
        self._ready = True
        self._notifier.alive()
        self._tell_ready()

    def _tell_ready(self) -> None:
        if not self._told_ready:
            self._told_ready = True
            self._notifier.ready()

    def _tell_state(self) -> None:
        source = self.now.source
        health = source.health
        state = (health.state, health.detail)
        if state != self._state:
            self._state = state
            self._log_state(health.state, health.detail)
            info = source.info
            self._bus.state(
                "audio.state",
                source=info.name,
                microphones=info.microphones,
                reference=info.has_reference,
                sample_rate_hz=info.sample_rate_hz,
                state=str(health.state),
                detail=health.detail,
            )
        self._notifier.status(f"audio {health.state}, {self._wakes} wakes")
        if health.state is AudioState.MUTED:
            # Closed as it was asked for: whoever waits for the start would wait for the unmuting.
            self._works()
        if not self._ready:
            # A board may boot before its sound card: that is no reason to be killed, and another
            # process would not find it sooner.
            self._notifier.alive()
            if self._clock() - self._started_s >= START_PATIENCE_S:
                self._tell_ready()

    def _log_state(self, state: AudioState, detail: str) -> None:
        good = state in (AudioState.RUNNING, AudioState.OPENING, AudioState.MUTED)
        after = ""
        level = logging.INFO if good else logging.WARNING
        if not good:
            self._fault_since_s = self._fault_since_s or self._clock()
        elif state is AudioState.RUNNING and self._fault_since_s is not None:
            # As loud as the fault: who reads the last line would take it for deaf.
            level = logging.WARNING
            after = f" again, {self._clock() - self._fault_since_s:.1f} s behind the first fault"
            self._fault_since_s = None
        log.log(level, "audio %s%s%s", state, after, f": {detail}" if detail else "")

    def _say_beat(self) -> None:
        source = self.now.source
        self._losses.look(source.counters)
        self._bus.emit(beat_event(source.health.state, self._ready, self._wakes, source.counters))
        if self._metrics is not None:
            self._metrics.text = self.metrics_text()

    def _change_over(self, config: Config) -> None:
        """A new configuration beside the old one; the old one stays where anything is wrong."""
        before = self.now
        source = before.source
        if config.audio != before.config.audio:
            source = self._new_input(config.audio)
        self._now = listen(config, source, self._taps, before)
        self._watch.forget_scores()
        for section in ("bus", "metrics"):
            if getattr(config, section) != getattr(before.config, section):
                log.warning("[%s] changes at the next start only", section)
        if source is not before.source:
            self._state = None
        before.close_models()
        # The old models and what they report to refer to each other, and a daemon that allocates
        # little hardly ever collects such rings: each reload would cost a megabyte.
        del before
        gc.collect()
        logging.getLogger("kwsd").setLevel(config.log.level.upper())
        self._apply_saved()
        self._say_what_runs()

    def _say_what_runs(self) -> None:
        models = self.now.models
        self._bus.emit(runtime_state(models))
        keywords = [model.identity.keyword for model in models]
        log.info("listening for %s", ", ".join(keywords))
        # Whoever looks for a cause reads the configuration, and this stands nowhere in it.
        remarks = self._saved.remarks(keywords)
        if remarks:
            log.warning("kept from before: %s", ". ".join(remarks))
