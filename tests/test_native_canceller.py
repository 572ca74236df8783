"""The canceller's native stages against their numpy twins.

Tolerances: single precision on both sides, sums in another order. What the canceller gives out
may differ by 1e-5 of full scale even after thousands of updates that build on each other.
"""

import ctypes

import numpy as np
import pytest
from test_dsp_delay import heard, played
from test_dsp_kalman import noise, room, through

from kwsd.dsp.alignment import ReferenceAlignment
from kwsd.dsp.companions import Companions
from kwsd.dsp.delay import DelayLine, DelayTracker
from kwsd.dsp.drift import RUN_ON_BLOCKS, DriftCorrector
from kwsd.dsp.kalman import HOP_SAMPLES, KalmanCanceller, ReferenceSpectra
from kwsd.dsp.native import NativeMissing, library_path, load_library

try:
    load_library()
except NativeMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)
LIBRARY = ctypes.CDLL(str(library_path()))
PARTITIONS = (20, 6, 6)
TOLERANCE = 1e-5
UNKNOWN_DELAY = -(2**31)


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


class Stage:
    """A native stage: its state, and its functions without their common prefix."""

    def __init__(self, prefix, *arguments):
        self._prefix = prefix
        size = getattr(LIBRARY, f"{prefix}_size")
        size.restype = ctypes.c_size_t
        self.bytes = size(*arguments)
        assert self.bytes > 0 and self.bytes % 64 == 0
        self._memory = np.zeros(self.bytes + 64, np.uint8)
        self.state = ctypes.c_void_p(self._memory.ctypes.data + 63 & ~63)
        self.call("init", *arguments)

    def call(self, name, *arguments, result=None):
        function = getattr(LIBRARY, f"{self._prefix}_{name}")
        function.restype = result
        return function(self.state, *arguments)


@pytest.mark.parametrize("n", [512, 1024, 2048, 4096, 8192, 16384])
def test_fft(n):
    fft = Stage("kws_fft", n)
    time = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    re, im, back = (np.zeros(size, np.float32) for size in (n // 2 + 1, n // 2 + 1, n))
    fft.call("forward", pointer(time), pointer(re), pointer(im))
    expected = np.fft.rfft(time.astype(np.float64))
    assert np.abs(re + 1j * im - expected).max() < 5e-7 * np.abs(expected).max()
    fft.call("inverse", pointer(re), pointer(im), pointer(back))
    assert np.abs(back - time).max() < 3e-6


def test_companions():
    native, twin = Stage("kws_companions", HOP_SAMPLES), Companions(HOP_SAMPLES)
    audio = noise(2.0, 1, level=0.2)
    audio[8000:16000] = 0.0
    audio[16000:] *= 0.01
    out = np.zeros((3, HOP_SAMPLES), np.float32)
    for block in audio.reshape(-1, HOP_SAMPLES):
        native.call("process", pointer(block), pointer(out))
        assert np.allclose(out, twin.process(block), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("delay_ms", [0, 60, 450])
def test_delay_tracker(delay_ms):
    native, twin = Stage("kws_delay_tracker", 500), DelayTracker(500)
    reference = played(5.0)
    mic = heard(reference, delay_ms)
    mic[48_000:] = heard(reference, 200)[48_000:]
    for start in range(0, len(mic) - HOP_SAMPLES, HOP_SAMPLES):
        x, d = (s[start : start + HOP_SAMPLES].copy() for s in (reference, mic))
        changed = native.call("push", pointer(d), pointer(x), result=ctypes.c_int)
        assert changed == twin.push(d, x)
        assert native.call("applied", result=ctypes.c_int) == twin.applied_samples
        found = native.call("delay", result=ctypes.c_int)
        assert (None if found == UNKNOWN_DELAY else found) == twin.delay_samples
        confidence = native.call("confidence", result=ctypes.c_float)
        assert confidence == pytest.approx(twin.confidence, rel=1e-3)


def test_a_reference_that_comes_behind_its_echo_is_still_found():
    native, twin = Stage("kws_delay_tracker", 500), DelayTracker(500)
    for later in (-40, 24):
        native.call("rebase", later, 0)
        twin.rebase(later, 0)
        assert native.call("delay", result=ctypes.c_int) == UNKNOWN_DELAY
        assert twin.delay_samples is None
    reference = played(3.0)
    for start in range(0, len(reference) - HOP_SAMPLES, HOP_SAMPLES):
        block = reference[start : start + HOP_SAMPLES].copy()
        native.call("push", pointer(block), pointer(block), result=ctypes.c_int)
        twin.push(block, block)
    for later, delay in ((-40, -40), (24, -16), (160, 144)):
        native.call("rebase", later, 0)
        twin.rebase(later, 0)
        assert native.call("delay", result=ctypes.c_int) == twin.delay_samples == delay


class AlignmentConfig(ctypes.Structure):
    """``kws_alignment_config`` of a reference alone."""

    _fields_ = [
        ("delay_search_ms", ctypes.c_int32),
        ("drift", ctypes.c_int32),
        ("channels", ctypes.c_int32),
        ("partitions", ctypes.c_int32 * 3),
    ]


class PathMoves(ctypes.Structure):
    """``kws_path_moves``."""

    _fields_ = [(name, ctypes.c_int32) for name in ("clock", "forget", "delay")]


def test_alignment_of_an_echo_that_comes_late_goes_and_comes_elsewhere():
    """Moves and reference are equal; what is cancelled with them is so within the tolerance."""
    config, counts = AlignmentConfig(500, 0, 1, (20, 0, 0)), np.array([20], np.int32)
    native, twin = (
        Stage("kws_alignment", ctypes.byref(config)),
        ReferenceAlignment(500, False, [20]),
    )
    native_filter, twin_filter = Stage("kws_kalman", 1, pointer(counts)), KalmanCanceller([20])
    spectra = native.call("spectra", result=ctypes.c_void_p)
    reference = played(4.0)
    silence = np.zeros(8000, np.float32)
    echoes = [played(4.0, seed=5), heard(reference, 250), silence, heard(reference, 60)]
    forgotten: list[int] = []
    for mic in echoes:
        if mic is silence:
            native.call("restart")
            twin.restart()
        if len(forgotten) == 3:
            native.call("reset")
            twin.reset()
        forgotten.append(0)
        for start in range(0, len(mic) - HOP_SAMPLES, HOP_SAMPLES):
            part = slice(start, start + HOP_SAMPLES)
            x, d = (s[part].copy() for s in (silence if mic is silence else reference, mic))
            moves = PathMoves()
            given = native.call(
                "push",
                *(pointer(d), pointer(x), ctypes.c_float(5.0), ctypes.byref(moves)),
                result=ctypes.POINTER(ctypes.c_float),
            )
            aligned, expected = twin.push(d, x, 5.0)
            assert (moves.clock, moves.forget, moves.delay) == expected
            assert np.array_equal(np.ctypeslib.as_array(given, (HOP_SAMPLES,)), aligned)
            forgotten[-1] += moves.forget
            out = np.zeros((2, HOP_SAMPLES), np.float32)
            rows = pointer(out[0]), pointer(out[1])
            native_filter.call("process", ctypes.c_void_p(spectra), pointer(d), 1, *rows)
            error, _ = twin_filter.process(d, twin.spectra)
            assert np.abs(out[0] - error).max() < 10 * TOLERANCE
    # Late, it is of another path; behind a reset it is the first one.
    assert [count > 0 for count in forgotten] == [False, True, False, False]


def test_delay_line():
    native, twin = Stage("kws_delay_line", 3, 2048, 4), DelayLine(3, 2048, 4)
    out = np.zeros((3, HOP_SAMPLES), np.float32)
    rng = np.random.default_rng(3)
    for _ in range(40):
        block = rng.standard_normal((3, HOP_SAMPLES)).astype(np.float32)
        delay = int(rng.integers(0, 9)) * HOP_SAMPLES
        native.call("push", pointer(block))
        native.call("read", delay, 0, pointer(out))
        assert np.array_equal(out, twin.push(block, delay))
        for age, past in zip(range(4, 0, -1), twin.history(delay), strict=True):
            native.call("read", delay, age, pointer(out))
            assert np.array_equal(out, past)
    # Nothing outside of its memory is read, whatever it is asked.
    oldest = twin.history(8 * HOP_SAMPLES)[0]
    for delay, age in ((13 * HOP_SAMPLES, 0), (8 * HOP_SAMPLES, 90), (2**31 - 1, 2**31 - 1)):
        native.call("read", delay, age, pointer(out))
        assert np.array_equal(out, oldest)
    native.call("read", 0, -3, pointer(out))
    assert np.array_equal(out, block)


def test_twins_of_the_tracker_tell_tones_and_lost_echoes_alike():
    native, twin = Stage("kws_delay_tracker", 500), DelayTracker(500)
    reference = played(10.0)
    reference[128_000:] = 0.1 * np.sin(np.arange(32_000) / 5)
    mic = heard(reference, 60)
    mic[32_000:128_000] = played(10.0, seed=5)[32_000:128_000]
    seen = set()
    for start in range(0, len(mic) - HOP_SAMPLES, HOP_SAMPLES):
        x, d = (s[start : start + HOP_SAMPLES].copy() for s in (reference, mic))
        native.call("push", pointer(d), pointer(x), result=ctypes.c_int)
        twin.push(d, x)
        broad = native.call("broad", result=ctypes.c_int)
        assert bool(broad) == twin.broad
        assert native.call("unheard", result=ctypes.c_int) == twin.unheard_estimates
        seen.add((broad, twin.unheard_estimates > 4))
    assert seen >= {(0, False), (1, False), (1, True)}


class NativeCorrector(Stage):
    """The native corrector behind the names of its twin."""

    def __init__(self):
        super().__init__("kws_corrector")

    def delay(self):
        return self.call("delay", result=ctypes.c_double)

    def block(self, name, ppm):
        out = np.zeros(HOP_SAMPLES, np.float32)
        self.call(name, ctypes.c_double(ppm), pointer(out))
        return out


@pytest.mark.parametrize("ppm", [300.0, -300.0])
def test_corrector(ppm):
    """Through hand-overs, blocks given back, exhaustion, a gap and a long pause."""
    native, twin = NativeCorrector(), DriftCorrector()
    native.call("engage", 1024)
    twin.engage(1024)
    audio = noise(8.0, 3).reshape(-1, HOP_SAMPLES)
    handed_over = 0
    for number, block in enumerate(audio):
        native.call("push", pointer(block))
        twin.push(block)
        if number == 20:
            blocks = twin.whole_blocks
            native.call("leave", blocks)
            twin.leave(blocks)
        if number == 300:
            native.call("recentre")
            twin.recentre()
        spare = 3 if number > 400 else 0
        back = native.call("give_back", spare, ctypes.c_double(ppm), result=ctypes.c_int)
        assert back == twin.give_back_blocks(spare, ppm)
        assert native.call("full", result=ctypes.c_int) == twin.full
        assert native.call("whole_blocks", result=ctypes.c_int) == twin.whole_blocks
        if number % 90 == 10 or twin.full:
            blocks = twin.whole_blocks if twin.full else min(1, twin.whole_blocks)
            for expected in twin.hand_over(blocks, ppm):
                assert np.abs(native.block("next", ppm) - expected).max() < TOLERANCE
                handed_over += 1
        assert np.abs(native.block("process", ppm) - twin.process(ppm)).max() < TOLERANCE
        assert native.delay() == pytest.approx(twin.delay_samples, abs=1e-9)
        for name in ("exhausted", "follows"):
            told = native.call(name, ctypes.c_double(ppm), result=ctypes.c_int)
            assert bool(told) == getattr(twin, name)(ppm)
    assert handed_over > 0
    silence = np.zeros(HOP_SAMPLES, np.float32)
    for _ in range(RUN_ON_BLOCKS + 5):
        native.call("push", pointer(silence))
        twin.push(silence)
    assert not native.call("follows", ctypes.c_double(ppm), result=ctypes.c_int)
    assert not twin.follows(ppm)


def scene():
    """Far end, double talk, path change, silence, dead microphone, far end."""
    reference = noise(7.0, 0)
    mic = through(reference, room(1)) + noise(7.0, 2, level=1e-3)
    mic[32_000:48_000] += noise(7.0, 7)[32_000:48_000]
    mic[56_000:] = through(reference, -4 * room(4))[56_000:]
    mic[96_000:100_000] = 0.0
    reference[72_000:88_000] = 0.0
    return mic, reference


def muted_scene():
    """The loudspeaker is muted behind the reference, somebody talks meanwhile, and it is back."""
    reference = noise(9.0, 0)
    mic = through(reference, room(1))
    mic[48_000:96_000] = 0.1 * noise(9.0, 7)[48_000:96_000]
    mic[48_000:64_000] = 0.0
    return mic + noise(9.0, 2, level=1e-4), reference


@pytest.mark.parametrize(
    ("hear", "silences", "mutes"), [(scene, True, False), (muted_scene, False, True)]
)
def test_canceller(hear, silences, mutes):
    counts = np.array(PARTITIONS, np.int32)
    native_spectra = Stage("kws_reference", 3, pointer(counts))
    native = Stage("kws_kalman", 3, pointer(counts))
    spectra, twin, companions = (
        ReferenceSpectra(PARTITIONS),
        KalmanCanceller(PARTITIONS),
        Companions(HOP_SAMPLES),
    )
    error, echo = np.zeros((2, HOP_SAMPLES), np.float32)
    mic, reference = hear()
    silent = muted = 0
    for number, start in enumerate(range(0, len(mic) - HOP_SAMPLES, HOP_SAMPLES)):
        block = mic[start : start + HOP_SAMPLES].copy()
        inputs = companions.process(reference[start : start + HOP_SAMPLES])
        spectra.push(inputs)
        native_spectra.call("push", pointer(inputs))
        assert native_spectra.call("silent", result=ctypes.c_int) == spectra.silent
        silent += spectra.silent
        learn = number % 90 != 89
        expected = twin.process(block, spectra, learn)
        native.call(
            "process",
            native_spectra.state,
            pointer(block),
            int(learn),
            pointer(error),
            pointer(echo),
        )
        assert np.abs(error - expected[0]).max() < TOLERANCE, number
        assert np.abs(echo - expected[1]).max() < TOLERANCE, number
        muted += twin._muted
        if number in (150, 200) and silences:
            twin.shift(-2 if number == 150 else 3)
            native.call("shift", -2 if number == 150 else 3)
    assert (silent > 10, muted > 100) == (silences, mutes)
    assert native.bytes + native_spectra.bytes < 250_000


def test_canceller_forgets_what_is_not_finite():
    counts = np.array(PARTITIONS, np.int32)
    spectra = Stage("kws_reference", 3, pointer(counts))
    native = Stage("kws_kalman", 3, pointer(counts))
    error, echo = np.zeros((2, HOP_SAMPLES), np.float32)
    reference = noise(6.0, 0)
    mic = through(reference, room(1)) + noise(6.0, 2, level=1e-4)
    companions = Companions(HOP_SAMPLES)
    for number, start in enumerate(range(0, len(mic), HOP_SAMPLES)):
        block = mic[start : start + HOP_SAMPLES].copy()
        if number == 100:
            block[9] = np.nan
        inputs = companions.process(reference[start : start + HOP_SAMPLES])
        spectra.call("push", pointer(inputs))
        native.call("process", spectra.state, pointer(block), 1, pointer(error), pointer(echo))
        assert np.isfinite(echo).all()
        assert np.isfinite(error).all() or number == 100
    assert np.mean(error**2) < 1e-3 * np.mean(block**2)
