"""Assembly: configuration, model packages and a source's channels become a chain."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.chain import Chain, Keyword, Tap
from kwsd.config import Config
from kwsd.decision import Decision, DecisionConfig
from kwsd.dsp.frontend import FrontEnd, FrontEndConfig
from kwsd.errors import ConfigError
from kwsd.event import ModelIdentity
from kwsd.model.find import find_package
from kwsd.model.package import ModelPackage, load_package
from kwsd.model.stream import StreamingModel
from kwsd.reference_watch import ReferenceWatch
from kwsd.runtime.base import Session
from kwsd.runtime.select import open_session
from kwsd.source.base import SourceInfo

log = logging.getLogger(__name__)


class OpenModel(Keyword):
    """A keyword together with the runtime session that it runs on."""

    def __init__(
        self,
        identity: ModelIdentity,
        stream: StreamingModel,
        decision: Decision,
        reference_watch: ReferenceWatch | None,
        session: Session,
    ) -> None:
        super().__init__(identity, stream, decision, reference_watch)
        self._session = session

    def close(self) -> None:
        """Release the runtime."""
        self._session.close()


def open_models(config: Config, info: SourceInfo) -> list[OpenModel]:
    """Load, check and start every configured model.

    Parameters
    ----------
    config : Config
        ``wake.models``, their thresholds and the order of runtimes.
    info : SourceInfo
        Whether there is a reference to watch.

    Returns
    -------
    list of OpenModel
        In the configured order.

    Raises
    ------
    MissingFileError, ModelError, RuntimeUnavailable
        A package is missing, damaged or cannot run here.
    ConfigError
        Two packages for one keyword.
    """
    packages = [load_package(find_package(name)) for name in config.wake.models]
    keywords = [keyword_of(package) for package in packages]
    for keyword in keywords:
        if keywords.count(keyword) > 1:
            raise ConfigError(f"wake.models: two packages for the keyword {keyword}; name one")
    return [_open_model(config, package, info) for package in packages]


def keyword_of(package: ModelPackage) -> str:
    """The label that a wake package detects."""
    return str(package.labels[0])


def decision_config(config: Config, package: ModelPackage) -> DecisionConfig:
    """Thresholds and times of one package under a configuration.

    A keyword's own setting wins over ``[wake]``, a number over a sensitivity.
    """
    wake, own = config.wake, config.keyword(keyword_of(package))
    if own.threshold is not None:
        threshold = own.threshold
    elif own.sensitivity is not None:
        threshold = package.sensitivities[own.sensitivity].threshold
    elif wake.threshold is not None:
        threshold = wake.threshold
    else:
        threshold = package.sensitivities[wake.sensitivity].threshold
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


def build_chain(
    config: Config, info: SourceInfo, models: Sequence[Keyword], taps: Sequence[Tap] = ()
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

    Returns
    -------
    Chain
    """
    front_end = FrontEnd(
        FrontEndConfig(**asdict(config.frontend)),
        microphones=info.microphones,
        has_reference=info.has_reference,
    )
    return Chain(front_end, models, taps)


def _open_model(config: Config, package: ModelPackage, info: SourceInfo) -> OpenModel:
    decision = Decision(decision_config(config, package))
    session, choice = open_session(package, config.runtime.order)
    log.info("%s %s runs on %s: %s", package.name, package.version, choice.name, choice.reason)
    watch = None
    if info.has_reference and config.wake.reference_rule:
        # The lower threshold: the echo of a word may score higher than the word in the reference.
        watch = ReferenceWatch(
            StreamingModel(package, session),
            decision.config.rearm_threshold,
            package.smoothing_steps,
        )
    identity = ModelIdentity(keyword_of(package), package.name, package.version, choice.name)
    return OpenModel(identity, StreamingModel(package, session), decision, watch, session)
