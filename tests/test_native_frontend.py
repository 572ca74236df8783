"""The native DSP stage against its numpy specification, and against itself however it is fed.

Stated tolerance of the twins: -90 dB of the signal for both branches, 1e-3 for features. What an
adaptive filter rounds differently it also learns differently, so bit equality is not asked for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from kwsd.block import Block
from kwsd.dsp.features import FeatureStream
from kwsd.dsp.frontend import FrontEnd
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.dsp.frontend_frame import FrontEndFrame
from kwsd.dsp.native import SIGNALS, NativeMissing, library_path, load_library
from kwsd.dsp.native_frontend import NativeFrontEnd

try:
    load_library()
    _MISSING = ""
except NativeMissing as error:
    _MISSING = str(error)

pytestmark = pytest.mark.skipif(bool(_MISSING), reason=_MISSING)

DSP = Path(__file__).parent.parent / "dsp"
SAMPLES = Path(__file__).parent.parent / "samples"
LONGER = sf.read(SAMPLES / "living_room.flac", dtype="float32")[0].T[:, : 16 * 16_000]
RECORDING = LONGER[:, : 8 * 16_000]
TWIN_LIMIT_DB = -90.0
FEATURE_LIMIT = 1e-3


def run(
    stage: FrontEnd | NativeFrontEnd,
    channels: np.ndarray,
    sizes: Iterable[int] = (480,),
    gaps: tuple[int, ...] = (),
) -> list[FrontEndFrame]:
    """Feed mics and reference (last row) in pieces of these sizes, over and over."""
    frames, position = [], 0
    pieces = list(sizes)
    while position < channels.shape[1]:
        part = channels[:, position : position + pieces[len(frames) % len(pieces)]]
        block = Block(position, part[:-1], part[-1], gap=len(frames) in gaps)
        frames.append(stage.process(block))
        position += part.shape[1]
    frames.append(stage.flush())
    return frames


def joined(frames: list[FrontEndFrame], name: str) -> np.ndarray:
    return np.concatenate([getattr(frame, name) for frame in frames])


def features(frames: list[FrontEndFrame], name: str = "detector") -> np.ndarray:
    return np.concatenate([frame.features[name] for frame in frames])


def assert_twins(
    specified: list[FrontEndFrame],
    native: list[FrontEndFrame],
    voice_limit_db: float = TWIN_LIMIT_DB,
) -> None:
    for name in SIGNALS:
        expected, got = joined(specified, name), joined(native, name)
        assert got.shape == expected.shape
        limit_db = voice_limit_db if name == "voice" else TWIN_LIMIT_DB
        power = float(np.mean(expected.astype(np.float64) ** 2))
        error = float(np.mean((got.astype(np.float64) - expected) ** 2))
        assert 10 * np.log10((error + 1e-16) / (power + 1e-12)) < limit_db, name
    a, b = specified[-1].metrics, native[-1].metrics
    assert b.mic_level_dbfs == pytest.approx(a.mic_level_dbfs, abs=0.01)
    assert b.noise_floor_dbfs == pytest.approx(a.noise_floor_dbfs, abs=0.05)
    for name in ("erle_db", "reference_level_dbfs", "snr_db"):
        expected, got = getattr(a, name), getattr(b, name)
        assert (got is None) == (expected is None), name
        assert expected is None or got == pytest.approx(expected, abs=0.05), name
    for name in (
        *("clipped_samples", "bad_samples", "echo_delay_ms", "echo_active"),
        *("microphone", "dead_microphones"),
    ):
        assert getattr(a, name) == getattr(b, name), name


CONFIGURATIONS = [
    FrontEndConfig(),
    FrontEndConfig(voice_branch=False),
    FrontEndConfig(aec=False, noise_reduction=False),
    FrontEndConfig(dc_block=False, suppress_echo=False, tail_ms=64),
    FrontEndConfig(delay_search_ms=0),
]


@pytest.mark.parametrize("config", CONFIGURATIONS, ids=str)
def test_twins_agree(config: FrontEndConfig) -> None:
    specified = run(FrontEnd(config, 2, True), RECORDING)
    native = run(NativeFrontEnd(config, 2, True, features=SIGNALS), RECORDING)
    assert_twins(specified, native)
    for name in SIGNALS:
        np.testing.assert_allclose(
            features(native, name),
            FeatureStream().process(joined(native, name)),
            atol=FEATURE_LIMIT,
        )


@pytest.mark.parametrize("companions", [True, False])
def test_one_microphone_and_companions(companions: bool) -> None:
    channels = RECORDING[[0, 2], : 4 * 16_000]
    assert_twins(
        run(FrontEnd(FrontEndConfig(), 1, True, companions), channels),
        run(NativeFrontEnd(FrontEndConfig(), 1, True, companions), channels),
    )


def test_silence_becomes_silence() -> None:
    """A reference after its first playback: a decay that never ends would slow every FFT."""
    rng = np.random.default_rng(1)
    channels = np.zeros((2, 3 * 16_000), np.float32)
    channels[:, :8000] = 0.1 * rng.standard_normal((2, 8000))
    config = FrontEndConfig(aec=False)
    for stage in (FrontEnd(config, 1, True), NativeFrontEnd(config, 1, True)):
        heard = np.concatenate([frame.reference for frame in run(stage, channels)])
        assert heard[:8000].any()
        assert not heard[-16_000:].any()


def test_gaps_are_taken_alike() -> None:
    channels = RECORDING[:, : 4 * 16_000]
    specified = run(FrontEnd(FrontEndConfig(), 2, True), channels, (479,), gaps=(40, 41, 90))
    native = run(NativeFrontEnd(FrontEndConfig(), 2, True), channels, (479,), gaps=(40, 41, 90))
    assert [frame.start_sample for frame in native] == [frame.start_sample for frame in specified]
    assert_twins(specified, native)


def test_one_dead_and_clipping_microphones_are_taken_alike() -> None:
    channels = RECORDING.copy()
    channels[0, 16_000:48_000] = 0.0
    channels[1, 80_000:100_000] = 1.0
    assert_twins(
        run(FrontEnd(FrontEndConfig(), 2, True), channels),
        run(NativeFrontEnd(FrontEndConfig(), 2, True), channels),
    )


WHOLE = None if _MISSING else run(NativeFrontEnd(FrontEndConfig(), 2, True), RECORDING[:, :48_000])


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8))
@settings(max_examples=12, deadline=None)
def test_blocks_of_any_length_give_the_same_bits(sizes: list[int]) -> None:
    assert WHOLE is not None
    frames = run(NativeFrontEnd(FrontEndConfig(), 2, True), RECORDING[:, :48_000], sizes)
    for name in SIGNALS:
        np.testing.assert_array_equal(joined(frames, name), joined(WHOLE, name))
    np.testing.assert_array_equal(features(frames), features(WHOLE))


def test_reset_gives_the_state_of_a_new_object() -> None:
    stage = NativeFrontEnd(FrontEndConfig(), 2, True)
    first = run(stage, RECORDING[:, :48_000])
    stage.reset()
    again = run(stage, RECORDING[:, :48_000])
    for name in ("detector", "voice"):
        np.testing.assert_array_equal(joined(first, name), joined(again, name))
    np.testing.assert_array_equal(features(first), features(again))


def _faults() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    length = 3 * 16_000
    square = np.where(np.arange(length) // 40 % 2, 1.0, -1.0).astype(np.float32)
    noise = (0.1 * rng.standard_normal((3, length))).astype(np.float32)
    one_silent = noise.copy()
    one_silent[1] = 0.0
    broken = noise.copy()
    broken[0, 100:200] = np.nan
    broken[1, 5000] = np.inf
    broken[2, 9000:9100] = -1e30
    return {
        "zeros": np.zeros((3, length), np.float32),
        "square": np.tile(square, (3, 1)),
        "direct": noise + np.float32(0.5),
        "one silent": one_silent,
        "not finite": broken,
        "tiny": noise * np.float32(1e-30),
    }


@pytest.mark.parametrize("name", list(_faults()))
def test_hostile_audio_stays_finite_and_is_survived(name: str) -> None:
    stage = NativeFrontEnd(FrontEndConfig(), 2, True)
    frames = run(stage, _faults()[name])
    for values in (joined(frames, "detector"), joined(frames, "voice"), features(frames)):
        assert np.isfinite(values).all()
        assert np.abs(values).max() < 50.0
    # What was learnt from nonsense is unlearnt: the end of a later recording is almost as clean as
    # ever (the interference canceller is slow on purpose).
    after = joined(run(stage, LONGER), "detector")[-2 * 16_000 :]
    fresh = joined(run(NativeFrontEnd(FrontEndConfig(), 2, True), LONGER), "detector")
    assert 10 * np.log10(np.mean(after**2) / np.mean(fresh[-2 * 16_000 :] ** 2)) < 3.0


@pytest.mark.parametrize("name", list(_faults()))
def test_hostile_audio_is_taken_alike(name: str) -> None:
    channels = np.concatenate([_faults()[name][:, :24_000], RECORDING[:, :16_000]], axis=1)
    # A square wave leaves bins with nothing but rounding, which decides the voice branch's gains.
    assert_twins(
        run(FrontEnd(FrontEndConfig(), 2, True), channels),
        run(NativeFrontEnd(FrontEndConfig(), 2, True), channels),
        voice_limit_db=-40.0 if name == "square" else TWIN_LIMIT_DB,
    )


def test_the_library_was_built_from_these_sources() -> None:
    """Or every other test here speaks of old code; the README says how to build."""
    built = library_path()
    assert built is not None
    sources = [path for kind in ("*.c", "*.h") for path in DSP.glob(kind)]
    newest = max(sources, key=lambda path: path.stat().st_mtime)
    assert built.stat().st_mtime >= newest.stat().st_mtime, f"{built} is older than {newest.name}"


def test_the_state_fits_the_board() -> None:
    """Below 1 MB: the R329's DSPs have 2 MB of SRAM for state, tables and code."""
    everything = NativeFrontEnd(FrontEndConfig(mic_spacing_mm=60), 2, True, features=SIGNALS)
    assert everything.state_bytes < 1_000_000


def test_wrong_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or 2"):
        NativeFrontEnd(FrontEndConfig(), 3, True)
    with pytest.raises(ValueError, match="features of echo"):
        NativeFrontEnd(FrontEndConfig(), 2, True, features=("echo",))
    stage = NativeFrontEnd(FrontEndConfig(), 2, True)
    with pytest.raises(ValueError, match="block has 1 microphones"):
        stage.process(Block(0, np.zeros((1, 480), np.float32), np.zeros(480, np.float32)))
    with pytest.raises(ValueError, match="reference of a block"):
        stage.process(Block(0, np.zeros((2, 480), np.float32), np.zeros(479, np.float32)))


def _replay(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kwsd", "--replay", str(SAMPLES / "living_room.flac"), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def test_both_backends_give_the_same_events_on_the_sample() -> None:
    native = _replay("--verbose", "--set", "dsp.backend=native")
    assert "DSP stage runs on the native core" in native.stderr
    specified = _replay("--verbose", "--set", "dsp.backend=numpy")
    assert "DSP stage runs on numpy" in specified.stderr
    events = [
        [json.loads(line) for line in out.splitlines()] for out in (native.stdout, specified.stdout)
    ]
    assert len(events[0]) == len(events[1]) == 2
    for one, other in zip(*events, strict=True):
        for key in ("name", "sample", "onset_s", "end_s", "model", "runtime"):
            assert one[key] == other[key]
        assert one["score"] == pytest.approx(other["score"], abs=0.02)


@pytest.mark.slow
def test_ten_hours_of_noise_leave_the_state_as_it_was() -> None:
    """Music-like noise with its echo, hour after hour: no growth, no rust, nothing denormal."""
    stage = NativeFrontEnd(FrontEndConfig(), 2, True, features=SIGNALS)
    rng = np.random.default_rng(8)
    minute, levels_db = 60 * 16_000, []
    for number in range(600):
        reference = (0.05 * rng.standard_normal(minute)).astype(np.float32)
        # Every fifth minute is silent, so that averages sink as far as they can.
        reference *= float(number % 5 != 4)
        echo = 0.5 * np.roll(reference, 800)
        mics = np.stack([echo, 0.8 * echo]) + 3e-4 * rng.standard_normal((2, minute))
        channels = np.concatenate([mics, reference[None]]).astype(np.float32)
        powers = []
        for start in range(0, minute, 1600):
            part = channels[:, start : start + 1600]
            frame = stage.process(Block(number * minute + start, part[:-1], part[-1]))
            assert all(np.isfinite(values).all() for values in frame.features.values())
            powers.append(float(np.mean(frame.detector[-1440:].astype(np.float64) ** 2)))
        assert np.isfinite(frame.voice).all()
        if number % 5 == 3:
            levels_db.append(10 * np.log10(np.median(powers)))
    assert max(levels_db[1:]) - min(levels_db[1:]) < 1.0, levels_db
