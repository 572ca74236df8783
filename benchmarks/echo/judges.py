"""Judges: detectors that say which words are found in what a front end gives."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.echo.rooms import RATE_HZ, FloatArray
from kwsd.assemble import open_models
from kwsd.block import BLOCK_SAMPLES, Block
from kwsd.chain import Chain
from kwsd.config import default_config
from kwsd.dsp.frontend import FrontEnd
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.source.base import SourceInfo

Judge = Callable[[FloatArray], list[int]]
"""Takes [n], gives the samples of detections."""

EARLY_S = 0.6
LATE_S = 1.4
"""A detection counts for a word whose end lies at most so much behind or before it."""

CUT_GAIN_DBFS = -24.0


@dataclass(frozen=True)
class Found:
    """What a judge heard in one session."""

    words: tuple[bool, ...]
    false_alarms: int


def count(detections: list[int], word_ends: tuple[int, ...]) -> Found:
    """Match detections with words; what matches none is a false alarm."""
    hit = [False] * len(word_ends)
    false_alarms = 0
    for sample in detections:
        for number, end in enumerate(word_ends):
            if end - EARLY_S * RATE_HZ <= sample <= end + LATE_S * RATE_HZ:
                hit[number] = True
                break
        else:
            false_alarms += 1
    return Found(tuple(hit), false_alarms)


def hear(judge: Judge, signals: FloatArray) -> list[int]:
    """Detections in one signal [n], or in any of several [k, n], each at most once a second."""
    found: list[int] = []
    for sample in sorted(sample for row in np.atleast_2d(signals) for sample in judge(row)):
        if not found or sample - found[-1] > RATE_HZ:
            found.append(sample)
    return found


def third_party() -> Judge:
    """The int8 "alexa" of PyPI pymicro-wakeword at its own threshold; nobody here trained it."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    def judge(signal: FloatArray) -> list[int]:
        model = MicroWakeWord.from_builtin(Model.ALEXA)
        features = MicroWakeWordFeatures()
        pcm = (np.clip(signal, -1, 1) * 32767).astype("<i2")
        found: list[int] = []
        for start in range(0, len(pcm) - 159, 160):
            for frame in features.process_streaming(pcm[start : start + 160].tobytes()):
                ready = not found or start - found[-1] > RATE_HZ
                if model.process_streaming(frame) and ready:
                    found.append(start + 160)
        return found

    return judge


def own(name: str, sensitivity: str = "medium") -> Judge:
    """A model of the project on a signal that is already processed."""
    config = default_config()
    config = replace(config, wake=replace(config.wake, models=(name,), sensitivity=sensitivity))
    info = SourceInfo("benchmark", 1, False, RATE_HZ, 1, None)

    def judge(signal: FloatArray) -> list[int]:
        logging.disable(logging.INFO)
        (model,) = open_models(config, info)
        stage = FrontEnd(FrontEndConfig(aec=False, dc_block=False, voice_branch=False), 1, False)
        chain = Chain(stage, [model])
        events = []
        for start in range(0, len(signal), BLOCK_SAMPLES):
            events += chain.process(Block(start, signal[None, start : start + BLOCK_SAMPLES], None))
        events += chain.flush()
        model.close()
        return [int(event["sample"]) for event in events]

    return judge
