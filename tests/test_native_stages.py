"""Each native stage against its numpy twin, with the tolerance of each."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwsd.dsp.dc_blocker import DcBlocker
from kwsd.dsp.features import BANDS, FeatureStream
from kwsd.dsp.kalman import BINS, HOP_SAMPLES
from kwsd.dsp.log_mmse import log_mmse_gain
from kwsd.dsp.metrics import Meter
from kwsd.dsp.microphone_choice import MicrophoneChoice
from kwsd.dsp.native import ALIGNMENT_BYTES
from kwsd.dsp.noise import NoiseTracker
from kwsd.dsp.suppressor import Suppressor

DSP = Path(__file__).parent.parent / "dsp"
PROBE = DSP / "ctest" / "stage_probe.c"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc to build the stages")

FloatPointer = ctypes.POINTER(ctypes.c_float)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The sources as they stand, with what a test needs to reach into single stages."""
    target = tmp_path_factory.mktemp("stages") / "libstages.so"
    words = ["gcc", "-std=c99", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
    words += ["-shared", "-fPIC"]
    sources = [str(path) for path in (*sorted(DSP.glob("*.c")), PROBE)]
    subprocess.run([*words, f"-I{DSP}", *sources, "-lm", "-o", str(target)], check=True)
    return ctypes.CDLL(str(target))


def pointer(array: np.ndarray) -> Any:
    assert array.dtype == np.float32 and array.flags.c_contiguous
    return array.ctypes.data_as(FloatPointer)


class Memory:
    """State of a stage: zeros, aligned."""

    def __init__(self, size: int) -> None:
        self._block = np.zeros(size + ALIGNMENT_BYTES, np.uint8)
        address = self._block.ctypes.data
        self.address = ctypes.c_void_p(address + -address % ALIGNMENT_BYTES)


def state(core: ctypes.CDLL, stage: str, *arguments: int) -> ctypes.c_void_p:
    """A stage that has ``kws_<stage>_size`` and ``_init``; kept alive by the library object."""
    size = getattr(core, f"kws_{stage}_size")
    size.restype = ctypes.c_size_t
    memory = Memory(size(*arguments))
    core.__dict__.setdefault("blocks", []).append(memory)
    getattr(core, f"kws_{stage}_init")(memory.address, *arguments)
    return memory.address


def worst(core: ctypes.CDLL, name: str, x: np.ndarray, exact: Callable[..., Any]) -> np.ndarray:
    """Result of a function of one number minus the exact one, float64."""
    given_x = x.astype(np.float32)
    out = np.empty_like(given_x)
    getattr(core, name)(pointer(given_x), pointer(out), len(out))
    wanted = exact(given_x.astype(np.float64))
    return np.stack([out.astype(np.float64) - wanted, wanted])


def test_exponential_is_as_exact_as_stated(core: ctypes.CDLL) -> None:
    error, wanted = worst(core, "probe_exp", np.linspace(-86.9, 87.9, 200_001), np.exp)
    assert np.abs(error / wanted).max() < 3e-7


def test_logarithm_is_as_exact_as_stated(core: ctypes.CDLL) -> None:
    x = np.concatenate([np.geomspace(1.2e-38, 3e38, 200_001), np.linspace(0.5, 2.0, 50_001)])
    error, wanted = worst(core, "probe_log", x, np.log)
    # Half a unit in the last place of a float32 logarithm of 88 is 4e-6 already.
    assert (np.abs(error) / np.maximum(np.abs(wanted), 1.0)).max() < 3e-7


def test_out_of_range_gives_the_nearest_in_range(core: ctypes.CDLL) -> None:
    x = np.array([-1e9, -np.inf, 1e9, np.inf], np.float32)
    out = np.empty_like(x)
    core.probe_exp(pointer(x), pointer(out), 4)
    assert np.isfinite(out).all() and (out[:2] < 1e-37).all() and (out[2:] > 1e38).all()
    x = np.array([0.0, -1.0], np.float32)
    core.probe_log(pointer(x), pointer(out), 2)
    np.testing.assert_allclose(out[:2], -87.336, atol=1e-3)


@given(st.integers(0, 2**31), st.lists(st.integers(1, 700), min_size=1, max_size=6))
@settings(max_examples=20, deadline=None)
def test_dc_blocker(core: ctypes.CDLL, seed: int, sizes: list[int]) -> None:
    """1e-4 of full scale: a float32 recursion against a float64 one."""
    rng = np.random.default_rng(seed)
    memory = Memory(64)
    core.kws_dc_blocker_reset(memory.address)
    offset = np.float32(rng.uniform(-0.5, 0.5))
    for index, size in enumerate(sizes):
        x = (0.3 * rng.standard_normal(size)).astype(np.float32) + offset
        if index == 0:
            whole = [x]
        else:
            whole.append(x)
    signal = np.concatenate(whole)
    expected = DcBlocker(1, len(signal)).process(signal[None])[0]
    got = []
    for x in whole:
        y = x.copy()
        core.kws_dc_blocker_process(memory.address, pointer(y), len(y))
        got.append(y)
    np.testing.assert_allclose(np.concatenate(got), expected, atol=1e-4)


def test_microphone_choice(core: ctypes.CDLL) -> None:
    """Equal at every block, through death, clipping and return of both microphones."""
    rng = np.random.default_rng(3)
    twin = MicrophoneChoice(2)
    memory = Memory(256)
    core.kws_microphone_choice_init(memory.address, 2)
    chosen = set()
    for block in range(600):
        mics = (0.05 * rng.standard_normal((2, HOP_SAMPLES))).astype(np.float32)
        if 50 <= block < 120:
            mics[0] = 0.25
        if 200 <= block < 260:
            mics[0] = np.clip(60 * mics[0], -1, 1)
        if 240 <= block < 350:
            mics[1] = 0.0
        rows = (FloatPointer * 2)(pointer(mics[0]), pointer(mics[1]))
        used = core.kws_microphone_choice_update(memory.address, rows, HOP_SAMPLES)
        assert used == twin.update(mics)
        for index in range(2):
            dead = core.kws_microphone_choice_dead(memory.address, index)
            assert bool(dead) == twin.dead[index]
        chosen.add(used)
    assert chosen == {0, 1}


def ratios(seed: int) -> np.ndarray:
    return 10.0 ** np.random.default_rng(seed).uniform(-3, 5, 5003).astype(np.float32)


def test_log_mmse_gain(core: ctypes.CDLL) -> None:
    """1e-5 relative."""
    prior, posterior = ratios(1), ratios(2)
    gain = np.empty_like(prior)
    core.kws_log_mmse_gain(pointer(prior), pointer(posterior), pointer(gain), len(gain))
    np.testing.assert_allclose(gain, log_mmse_gain(prior, posterior), rtol=1e-5)


def test_noise_tracker(core: ctypes.CDLL) -> None:
    """1e-4 relative over 500 frames with a jump of the noise and with bursts."""
    rng = np.random.default_rng(4)
    twin = NoiseTracker(BINS)
    core.probe_noise_size.restype = ctypes.c_size_t
    memory = Memory(core.probe_noise_size())
    core.probe_noise_init(memory.address, BINS)
    got = np.empty(BINS, np.float32)
    for frame in range(500):
        power = rng.exponential(1e-5 if frame < 250 else 1e-3, BINS).astype(np.float32)
        if frame % 40 < 6:
            power *= np.float32(300.0)
        expected = twin.update(power)
        core.probe_noise_update(memory.address, pointer(power), pointer(got))
        np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.parametrize("reduce_noise", [False, True])
def test_suppressor(core: ctypes.CDLL, reduce_noise: bool) -> None:
    """-80 dB of the signal."""
    rng = np.random.default_rng(5)
    native, twin = state(core, "suppressor"), Suppressor()
    got, expected = [], []
    for block in range(400):
        echo = (0.02 * rng.standard_normal(HOP_SAMPLES)).astype(np.float32)
        speech = np.sin(np.arange(HOP_SAMPLES) * (0.05 + 0.001 * (block % 90)))
        loud = 0.1 * (block // 30 % 2)
        noise = 0.003 * rng.standard_normal(HOP_SAMPLES)
        error = (loud * speech + 0.1 * echo + noise).astype(np.float32)
        if block % 100 > 80:
            echo[:] = 0.0
        out = np.empty(HOP_SAMPLES, np.float32)
        core.kws_suppressor_process(
            native, pointer(error), pointer(echo), int(reduce_noise), pointer(out)
        )
        got.append(out)
        expected.append(twin.process(error, echo, reduce_noise))
    difference = np.concatenate(got) - np.concatenate(expected)
    assert np.mean(difference**2) < 1e-8 * np.mean(np.concatenate(expected) ** 2)


@given(st.integers(0, 2**31), st.lists(st.integers(0, 1500), min_size=1, max_size=12))
@settings(max_examples=20, deadline=None)
def test_features(core: ctypes.CDLL, seed: int, sizes: list[int]) -> None:
    """1e-4 absolute, and the same number of frames after every piece."""
    rng = np.random.default_rng(seed)
    native, twin = state(core, "features", state(core, "mel")), FeatureStream()
    for size in sizes:
        level = 10.0 ** rng.uniform(-5, 0)
        pcm = (level * rng.standard_normal(size)).astype(np.float32)
        expected = twin.process(pcm)
        frames = np.zeros((1 + (size + 400) // 160, BANDS), np.float32)
        count = core.kws_features_process(native, pointer(pcm), size, pointer(frames))
        assert count == len(expected)
        np.testing.assert_allclose(frames[:count], expected, atol=1e-4)


def test_features_of_digital_silence_and_full_scale(core: ctypes.CDLL) -> None:
    for level in (0.0, 1.0):
        native, twin = state(core, "features", state(core, "mel")), FeatureStream()
        pcm = np.full(16_000, level, np.float32)
        pcm[8000:] *= -1
        frames = np.zeros((102, BANDS), np.float32)
        count = core.kws_features_process(native, pointer(pcm), len(pcm), pointer(frames))
        expected = twin.process(pcm)
        assert count == len(expected) == 98
        # Bands beside a constant hold the rounding of two different transforms.
        np.testing.assert_allclose(frames[:count], expected, atol=2e-3)


def test_meter(core: ctypes.CDLL) -> None:
    """0.01 dB, over pauses, playback, a moving floor and a block that is not finite."""
    rng = np.random.default_rng(6)
    twin = Meter(2)
    memory = Memory(core.probe_meter_size())
    core.kws_meter_init(memory.address, 2)
    values = np.zeros(6, np.float32)
    for block in range(700):
        level = 10.0 ** (-1.0 - 2.0 * (block // 150 % 2))
        mics = (level * rng.standard_normal((2, HOP_SAMPLES))).astype(np.float32)
        playing = 0.003 if block // 100 % 2 else 0.0
        reference = (playing * rng.standard_normal(HOP_SAMPLES)).astype(np.float32)
        # Whoever talks in a pause of the loudspeaker is not cancelled.
        residual = (np.float32(0.1 if playing else 1.0) * mics[1]).astype(np.float32)
        if block == 170:
            residual[9] = np.nan
        rows = (FloatPointer * 2)(pointer(mics[0]), pointer(mics[1]))
        core.kws_meter_update(
            memory.address, rows, pointer(reference), pointer(residual), 1, HOP_SAMPLES
        )
        twin.update(mics, reference, residual, 1)
        now = twin.snapshot(True, None, 0.0, None, 1, (False, False))
        core.probe_meter(memory.address, pointer(values))
        expected = [
            *now.mic_level_dbfs,
            now.reference_level_dbfs,
            now.noise_floor_dbfs,
            now.snr_db,
            0.0 if now.erle_db is None else now.erle_db,
        ]
        np.testing.assert_allclose(values, expected, atol=0.01)
        assert bool(core.kws_meter_echo_active(memory.address)) == now.echo_active
