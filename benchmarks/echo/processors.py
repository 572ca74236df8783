"""Front ends that are compared. Each takes microphones [2, n] and reference [n], gives [n].

One that gives [k, n] feeds k detectors; a word counts if any of them hears it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Callable

import numpy as np

from benchmarks.echo.rooms import FloatArray
from benchmarks.echo.scenes import Scene
from kwsd.block import BLOCK_SAMPLES, Block
from kwsd.dsp.backend import open_front_end
from kwsd.dsp.frontend_config import FrontEndConfig

Processor = Callable[[FloatArray, FloatArray], FloatArray]

FRAME = 256
SPEEX_TAIL = 5120
SEARCH_THEMSELVES = ("nothing", "kwsd", "WebRTC")
"""How the names begin of front ends that find the bulk delay themselves, or need none."""


def reference_for(name: str, scene: Scene) -> FloatArray:
    """The reference of a scene as a front end of this name gets it.

    Peers without a delay search get the true bulk delay: whoever uses them has to set it.
    """
    if name.startswith(SEARCH_THEMSELVES):
        return scene.reference
    return np.pad(scene.reference, (scene.delay_samples, 0))[: len(scene.reference)]


def nothing(mics: FloatArray, reference: FloatArray) -> FloatArray:
    """Microphone 0."""
    return mics[0]


def kwsd(
    microphones: int = 2, branches: tuple[str, ...] = ("detector",), **settings: object
) -> Processor:
    """The project's front end; microphones and settings as given.

    Of several branches only the first is heard where nothing is played, as in the daemon.
    """

    def process(mics: FloatArray, reference: FloatArray) -> FloatArray:
        config = FrontEndConfig(**{"voice_branch": "voice" in branches, **settings})  # type: ignore[arg-type]
        stage = open_front_end(config, microphones, True)
        parts = []
        for start in range(0, mics.shape[1], BLOCK_SAMPLES):
            cut = slice(start, start + BLOCK_SAMPLES)
            parts.append(stage.process(Block(start, mics[:microphones, cut], reference[cut])))
        parts.append(stage.flush())
        heard = branches if reference.any() else branches[:1]
        rows = [np.concatenate([getattr(part, name) for part in parts]) for name in heard]
        return rows[0] if len(rows) == 1 else np.stack(rows)

    return process


class Speex:
    """SpeexDSP's echo canceller (MDF), with or without its residual suppressor."""

    def __init__(self, suppress: bool) -> None:
        self._suppress = suppress
        self._library = _speex()

    def __call__(self, mics: FloatArray, reference: FloatArray) -> FloatArray:
        library = self._library
        assert library is not None
        rate = ctypes.c_int(16_000)
        state = library.speex_echo_state_init(FRAME, SPEEX_TAIL)
        library.speex_echo_ctl(state, 24, ctypes.byref(rate))
        preprocess = None
        if self._suppress:
            preprocess = library.speex_preprocess_state_init(FRAME, 16_000)
            library.speex_preprocess_ctl(preprocess, 24, state)
        near, far = _int16(mics[0]), _int16(reference)
        out = np.zeros_like(near)
        for start in range(0, len(near) - FRAME + 1, FRAME):
            cut = slice(start, start + FRAME)
            piece = np.zeros(FRAME, np.int16)
            library.speex_echo_cancellation(
                state, near[cut].ctypes.data, far[cut].ctypes.data, piece.ctypes.data
            )
            if preprocess is not None:
                library.speex_preprocess_run(preprocess, piece.ctypes.data)
            out[cut] = piece
        if preprocess is not None:
            library.speex_preprocess_state_destroy(preprocess)
        library.speex_echo_state_destroy(state)
        return out.astype(np.float32) / 32768


def side_by_side(*processors: Processor) -> Processor:
    """Several front ends, each with its own detector."""

    def process(mics: FloatArray, reference: FloatArray) -> FloatArray:
        return np.stack([processor(mics, reference) for processor in processors])

    return process


def aec3(mics: FloatArray, reference: FloatArray) -> FloatArray:
    """WebRTC AEC3 of PyPI pywebrtc-audio."""
    import pywebrtc_audio

    stage = pywebrtc_audio.EchoCanceller(16_000, 1, 0)
    near, far = _int16(mics[0]), _int16(reference)
    out = np.zeros_like(near)
    for start in range(0, len(near) - 159, 160):
        cut = slice(start, start + 160)
        out[cut] = np.asarray(stage.process(near[cut], far[cut])).reshape(-1)
    return out.astype(np.float32) / 32768


def apm(mics: FloatArray, reference: FloatArray) -> FloatArray:
    """WebRTC audio processing module, echo cancellation and noise suppression."""
    from aec_audio_processing import AudioProcessor

    stage = AudioProcessor(enable_aec=True, enable_ns=True, ns_level=1, enable_agc=False)
    stage.set_stream_format(16_000, 1)
    stage.set_reverse_stream_format(16_000, 1)
    stage.set_stream_delay(0)
    near, far = _int16(mics[0]), _int16(reference)
    out = np.zeros_like(near)
    for start in range(0, len(near) - 159, 160):
        cut = slice(start, start + 160)
        stage.process_reverse_stream(far[cut].tobytes())
        out[cut] = np.frombuffer(stage.process_stream(near[cut].tobytes()), np.int16)
    return out.astype(np.float32) / 32768


def pyaec(mics: FloatArray, reference: FloatArray) -> FloatArray:
    """Port of MDF to Rust (PyPI pyaec), without its preprocessor."""
    from pyaec import Aec

    stage = Aec(FRAME, SPEEX_TAIL, 16_000, False)
    near, far = _int16(mics[0]), _int16(reference)
    out = np.zeros_like(near)
    for start in range(0, len(near) - FRAME + 1, FRAME):
        cut = slice(start, start + FRAME)
        out[cut] = stage.cancel_echo(near[cut].tolist(), far[cut].tolist())
    return out.astype(np.float32) / 32768


def with_several_detectors() -> dict[str, Processor]:
    """What gives a signal to each of several detectors."""
    made = {
        "kwsd, one microphone, every branch": kwsd(1, ("detector", "voice")),
        "kwsd, two microphones, every branch": kwsd(2, ("detector", "voice", "residual")),
    }
    if _speex() is not None:
        made["SpeexDSP, a detector on each"] = side_by_side(Speex(False), Speex(True))
    return made


def all_processors() -> tuple[dict[str, Processor], list[str]]:
    """Every front end that is installed and gives one signal, and what is missing."""
    found: dict[str, Processor] = {
        "nothing": nothing,
        "kwsd, one microphone": kwsd(1),
        "kwsd, two microphones": kwsd(2),
        "kwsd, voice branch": kwsd(2, ("voice",)),
    }
    missing = []
    if _speex() is None:
        missing.append("SpeexDSP (Debian libspeexdsp1)")
    else:
        found["SpeexDSP MDF"] = Speex(False)
        found["SpeexDSP MDF + residual suppressor"] = Speex(True)
    for name, module, processor in (
        ("WebRTC AEC3", "pywebrtc_audio", aec3),
        ("WebRTC APM, AEC + NS", "aec_audio_processing", apm),
        ("pyaec (MDF in Rust)", "pyaec", pyaec),
    ):
        if importlib.util.find_spec(module) is None:
            missing.append(f"{name} (PyPI {module.replace('_', '-')})")
        else:
            found[name] = processor
    return found, missing


def _speex() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("speexdsp")
    if name is None:
        return None
    library = ctypes.CDLL(name)
    pointer, number = ctypes.c_void_p, ctypes.c_int
    library.speex_echo_state_init.restype = pointer
    library.speex_echo_state_init.argtypes = [number, number]
    library.speex_echo_ctl.argtypes = [pointer, number, pointer]
    library.speex_echo_cancellation.argtypes = [pointer, pointer, pointer, pointer]
    library.speex_echo_state_destroy.argtypes = [pointer]
    library.speex_preprocess_state_init.restype = pointer
    library.speex_preprocess_state_init.argtypes = [number, number]
    library.speex_preprocess_ctl.argtypes = [pointer, number, pointer]
    library.speex_preprocess_run.argtypes = [pointer, pointer]
    library.speex_preprocess_state_destroy.argtypes = [pointer]
    return library


def _int16(signal: FloatArray) -> np.ndarray:
    return np.clip(np.rint(signal * 32767), -32768, 32767).astype(np.int16)
