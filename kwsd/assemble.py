"""Assembly: configuration, model packages and a source's channels become a chain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from kwsd.block import BLOCK_SAMPLES, SAMPLE_RATE_HZ
from kwsd.branch_ear import BranchEar
from kwsd.chain import Chain, Keyword, Tap
from kwsd.config import Config
from kwsd.config_schema import RuntimeSettings
from kwsd.decision import Decision, DecisionConfig
from kwsd.dsp.backend import open_front_end
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.errors import ConfigError
from kwsd.event import Event, ModelIdentity, runtime_event
from kwsd.feature_track import PCEN, FeatureKind
from kwsd.microwakeword.features import micro_features
from kwsd.microwakeword.manifest import MicroModel, load_manifest
from kwsd.microwakeword.network import open_network
from kwsd.microwakeword.stream import MicroStream
from kwsd.model.find import MANIFEST_SUFFIX, find_model
from kwsd.model.package import ModelPackage, load_package
from kwsd.model.stream import ScoreStream, StreamingModel
from kwsd.model.wake_model import WakeModel
from kwsd.operating_point import operating_point, threshold_of
from kwsd.reference_watch import ReferenceWatch
from kwsd.runtime.aipu.runtime import AipuSettings
from kwsd.runtime.aipu.session import Limits
from kwsd.runtime.change import QUIET_REASONS
from kwsd.runtime.record import RuntimeRecord
from kwsd.runtime.select import RuntimeOptions, open_session
from kwsd.runtime.served import Served
from kwsd.runtime.usage import RuntimeUsage
from kwsd.source.base import SourceInfo
from kwsd.toml_file import shown_key

log = logging.getLogger(__name__)


class OpenModel(Keyword):
    """A keyword together with the runtime session that it runs on."""

    _identity: ModelIdentity

    def __init__(
        self,
        identity: ModelIdentity,
        stream: ScoreStream,
        decision: Decision,
        reference_watch: ReferenceWatch | None,
        session: Served,
        package: WakeModel,
        runtime: RuntimeRecord,
        features: FeatureKind,
        ears: Sequence[BranchEar],
    ) -> None:
        super().__init__(identity, stream, decision, reference_watch, features, ears)
        self.package = package
        self.runtime = runtime
        self._session = session

    @property
    def identity(self) -> ModelIdentity:
        """Names for events; the runtime is the one that serves now."""
        serving = self.runtime.now.runtime
        if self._identity.runtime != serving:
            self._identity = replace(self._identity, runtime=serving)
        return self._identity

    @identity.setter
    def identity(self, identity: ModelIdentity) -> None:
        self._identity = identity

    def change(self, config: DecisionConfig) -> None:
        """Other thresholds and times from the next step on; what was learnt stays."""
        self.decision.change(config)
        if self.reference_watch is not None:
            self.reference_watch.threshold = _reference_threshold(config)

    def usage(self) -> RuntimeUsage:
        """Counters of its runtimes, for metrics; may be called from any thread."""
        return self._session.usage()

    def rearm(self) -> None:
        """The machine has slept: try again what was given up."""
        self._session.rearm()

    def close(self) -> None:
        """Release the runtime."""
        self._session.close()


def open_models(
    config: Config, info: SourceInfo, start_by_s: float | None = None
) -> list[OpenModel]:
    """Load, check and start every configured model.

    Parameters
    ----------
    config : Config
        ``wake.models``, their thresholds and the order of runtimes.
    info : SourceInfo
        Whether there is a reference to watch.
    start_by_s : float, optional
        See `RuntimeOptions`.

    Returns
    -------
    list of OpenModel
        In the configured order.

    Raises
    ------
    MissingFileError, ModelError, RuntimeUnavailable
        A package is missing, damaged or cannot run here; none is left open then.
    ConfigError
        Two packages for one keyword.
    """
    packages = [_load(find_model(name)) for name in config.wake.models]
    keywords = [keyword_of(package) for package in packages]
    for keyword in keywords:
        if keywords.count(keyword) > 1:
            raise ConfigError(f"wake.models: two packages for the keyword {keyword}; name one")
    _warn_of_others(config, keywords)
    with ExitStack() as opened:
        models = []
        for package in packages:
            models.append(_open_model(config, package, info, start_by_s))
            opened.callback(models[-1].close)
        opened.pop_all()
    return models


def _warn_of_others(config: Config, keywords: Sequence[str]) -> None:
    """A section of a keyword that is not listened for is a slip, unless models were named anew."""
    if config.settings["wake.models"].origin == "--model":
        return
    for name in config.keywords:
        if name not in keywords:
            log.warning(
                "[keyword.%s] changes nothing: no model of that keyword is loaded; "
                "wake.models has %s",
                shown_key(name),
                ", ".join(keywords),
            )


def keyword_of(package: WakeModel) -> str:
    """The label that a wake package detects."""
    return str(package.labels[0])


def decision_config(config: Config, package: WakeModel) -> DecisionConfig:
    """Thresholds and times of one package under a configuration."""
    wake, own = config.wake, config.keyword(keyword_of(package))
    threshold = threshold_of(operating_point(config, keyword_of(package)), package)
    return DecisionConfig(
        threshold=threshold,
        rearm_threshold=threshold * wake.rearm_fraction,
        refractory_s=wake.refractory_s if own.refractory_s is None else own.refractory_s,
        smoothing_steps=package.smoothing_steps,
        level_gate_dbfs=wake.level_gate_dbfs,
        near_miss_threshold=threshold * wake.near_miss_fraction,
        delay_samples=round(package.timing.delay_ms * SAMPLE_RATE_HZ / 1000),
        word_samples=round(package.timing.word_ms * SAMPLE_RATE_HZ / 1000),
    )


def runtime_options(settings: RuntimeSettings) -> RuntimeOptions:
    """``[runtime]`` as the choice of a runtime takes it."""
    low_ms = settings.aipu_job_limit_low_ms
    return RuntimeOptions(
        AipuSettings(
            device=Path(settings.aipu_device),
            library=None if settings.aipu_library is None else Path(settings.aipu_library),
            target=settings.aipu_target,
            limits=Limits(
                start_s=settings.aipu_start_limit_s,
                smallest_ms=low_ms,
                largest_ms=max(settings.aipu_job_limit_high_ms, low_ms),
                grace_ms=settings.aipu_late_job_ms,
            ),
        ),
        spot_check_steps=settings.aipu_spot_check_steps,
    )


def runtime_state(models: Sequence[OpenModel]) -> Event:
    """On what each model runs and why."""
    return runtime_event([model.runtime.now for model in models])


def runtime_changes(models: Sequence[OpenModel], sample: int) -> list[Event]:
    """One event for each change since the last call.

    Parameters
    ----------
    models : sequence of OpenModel
        Of one chain.
    sample : int
        Stream position up to which they have worked.
    """
    return [
        runtime_event(
            [change if other is model else other.runtime.now for other in models], change, sample
        )
        for model in models
        for change in model.runtime.take()
    ]


def further_branches(config: Config, microphones: int, has_reference: bool) -> list[str]:
    """Branches beside the detector branch that differ from it, and that models shall hear."""
    stage = config.frontend
    if not (config.wake.all_branches and has_reference and stage.aec):
        return []
    branches = ["voice"] if stage.voice_branch else []
    return branches + (["residual"] if stage.combine and microphones == 2 else [])


def branch_ears(
    config: Config,
    package: WakeModel,
    microphones: int,
    has_reference: bool,
    new_stream: Callable[[], ScoreStream],
) -> list[BranchEar]:
    """An ear for each of `further_branches`; `new_stream` begins a stream through the model."""
    return [
        BranchEar(signal, new_stream(), package.smoothing_steps)
        for signal in further_branches(config, microphones, has_reference)
    ]


def build_chain(
    config: Config,
    info: SourceInfo,
    models: Sequence[Keyword],
    taps: Sequence[Tap] = (),
    takes_voice: bool = True,
    before: Chain | None = None,
    block_samples: int = BLOCK_SAMPLES,
) -> Chain:
    """The chain for a source.

    Parameters
    ----------
    config : Config
        ``[dsp]`` is used.
    info : SourceInfo
        Channels of the source.
    models : sequence of Keyword
        From `open_models`.
    taps : sequence of Tap
        Listeners.
    takes_voice : bool
        Whether somebody beside the models takes the voice branch; it is computed for those who do.
    before : Chain, optional
        The chain that this one replaces on the same source: where its front end can serve, it goes
        on with all that it has learnt of the echo.
    block_samples : int
        See `Chain`.

    Returns
    -------
    Chain
    """
    heard = {signal for model in models for signal in model.signals}
    settings = FrontEndConfig(**asdict(config.frontend))
    if not takes_voice and "voice" not in heard:
        settings = replace(settings, voice_branch=False)
    features = {signal for model in models if model.features is PCEN for signal in model.signals}
    if before is not None and before.front_end.config == settings:
        ready = {signal for kind, signal in before.signals if kind is PCEN}
        if features <= ready:
            chain = Chain(before.front_end, models, taps)
            chain.go_on_from(before)
            return chain
    front_end = open_front_end(
        settings,
        microphones=info.microphones,
        has_reference=info.has_reference,
        features=features,
    )
    return Chain(front_end, models, taps, block_samples)


def _load(path: Path) -> ModelPackage | MicroModel:
    return load_manifest(path) if path.suffix == MANIFEST_SUFFIX else load_package(path)


def _open_model(
    config: Config,
    package: ModelPackage | MicroModel,
    info: SourceInfo,
    start_by_s: float | None,
) -> OpenModel:
    decision = Decision(decision_config(config, package))
    if decision.config.threshold > package.highest_score:
        log.warning(
            "%s cannot wake: threshold %g, and no score is above %.4f",
            *(keyword_of(package), decision.config.threshold, package.highest_score),
        )
    record = RuntimeRecord()
    session, features, new_stream = _open(config, package, record, start_by_s)
    start = record.now
    log.log(
        logging.INFO if start.reason in QUIET_REASONS else logging.WARNING,
        *("%s %s runs on %s: %s", package.name, package.version, start.runtime, start.detail),
    )
    watch = None
    if info.has_reference and config.wake.reference_rule:
        watch = ReferenceWatch(
            new_stream(), _reference_threshold(decision.config), package.smoothing_steps
        )
    identity = ModelIdentity(keyword_of(package), package.name, package.version, start.runtime)
    ears = branch_ears(config, package, info.microphones, info.has_reference, new_stream)
    return OpenModel(
        identity, new_stream(), decision, watch, session, package, record, features, ears
    )


def _reference_threshold(config: DecisionConfig) -> float:
    """The lower one: the echo of a word may score higher than the word in the reference."""
    return config.rearm_threshold


def _open(
    config: Config,
    package: ModelPackage | MicroModel,
    record: RuntimeRecord,
    start_by_s: float | None,
) -> tuple[Served, FeatureKind, Callable[[], ScoreStream]]:
    """What runs the model, what it must be fed with, and how a stream through it begins."""
    if isinstance(package, MicroModel):
        network = open_network(package, config.runtime.order, record.add)
        return network, micro_features(package.step_ms), lambda: MicroStream(network)
    options = replace(runtime_options(config.runtime), start_by_s=start_by_s)
    session, _ = open_session(package, config.runtime.order, options, record.add)
    return session, PCEN, lambda: StreamingModel(package, session)
