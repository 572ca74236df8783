"""The native DSP core: finds it, loads it with ctypes and declares its functions.

The C files beside the numpy stages are their twins; `kwsd.dsp.frontend` is the specification and
what runs where the core was not built.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path

LIBRARY_NAME = "libkwsdsp.so"
ABI = 5
ALIGNMENT_BYTES = 64
MOST_MICROPHONES = 2

FloatPointer = ctypes.POINTER(ctypes.c_float)


SIGNALS = ("detector", "voice", "residual", "reference")
"""In the order of the core."""


class NativeConfig(ctypes.Structure):
    """``kws_frontend_config``."""

    _fields_ = [
        (name, ctypes.c_int32)
        for name in (
            "microphones",
            "has_reference",
            "dc_block",
            "aec",
            "companions",
            "tail_ms",
            "delay_search_ms",
            "drift",
            "combine",
            "mic_spacing_mm",
            "suppress_echo",
            "noise_reduction",
            "voice_branch",
        )
    ] + [("features", ctypes.c_int32 * len(SIGNALS))]


class NativeOutput(ctypes.Structure):
    """``kws_frontend_output``."""

    _fields_ = [
        ("signals", ctypes.c_void_p * len(SIGNALS)),
        ("features", ctypes.c_void_p * len(SIGNALS)),
        ("samples", ctypes.c_int32),
        ("frames", ctypes.c_int32),
    ]


class NativeMetrics(ctypes.Structure):
    """``kws_frontend_metrics``."""

    _fields_ = [
        ("mic_level_dbfs", ctypes.c_float * MOST_MICROPHONES),
        ("reference_level_dbfs", ctypes.c_float),
        ("erle_db", ctypes.c_float),
        ("noise_floor_dbfs", ctypes.c_float),
        ("snr_db", ctypes.c_float),
        ("drift_ppm", ctypes.c_float),
        ("doa_deg", ctypes.c_float),
        ("doa_known", ctypes.c_int32),
        ("erle_known", ctypes.c_int32),
        ("delay_samples", ctypes.c_int32),
        ("echo_active", ctypes.c_int32),
        ("microphone", ctypes.c_int32),
        ("dead", ctypes.c_int32 * MOST_MICROPHONES),
        ("clipped_samples", ctypes.c_int64),
        ("bad_samples", ctypes.c_int64),
    ]


class NativeMissing(Exception):
    """The core cannot be used; the message says why."""


@cache
def load_library() -> ctypes.CDLL:
    """The library with its signatures.

    Raises
    ------
    NativeMissing
        It was not built, or belongs to another version.
    """
    path = library_path()
    if path is None:
        raise NativeMissing(
            f"{LIBRARY_NAME} is not built: install kwsd where a C compiler is present"
        )
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeMissing(f"{path} cannot be loaded: {error}") from None
    # A foreign file of this name has no such function at all.
    version = getattr(library, "kws_dsp_abi", None)
    if version is None or version() != ABI:
        raise NativeMissing(f"{path} belongs to another version of kwsd; install kwsd anew")
    config, output = ctypes.POINTER(NativeConfig), ctypes.POINTER(NativeOutput)
    state = ctypes.c_void_p
    signatures: dict[str, tuple[object, list[object]]] = {
        "kws_frontend_size": (ctypes.c_size_t, [config]),
        "kws_frontend_init": (None, [state, config]),
        "kws_frontend_reset": (None, [state]),
        "kws_frontend_gap": (None, [state]),
        "kws_frontend_held": (ctypes.c_int32, [state]),
        "kws_frontend_frames": (ctypes.c_int32, [ctypes.c_int32]),
        "kws_frontend_process": (None, [state, ctypes.c_void_p, ctypes.c_int32, output]),
        "kws_frontend_flush": (None, [state, output]),
        "kws_frontend_snapshot": (None, [state, ctypes.POINTER(NativeMetrics)]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def library_path() -> Path | None:
    """Where the library is, None if it is nowhere."""
    return find_library("dsp", LIBRARY_NAME)


def find_library(folder: str, name: str) -> Path | None:
    """A library of ours in a folder of the package.

    Beside the sources where kwsd is installed; behind the import path where the sources run from
    a checkout and the built files lie in the environment's packages.
    """
    places = [Path(__file__).resolve().parent.parent / folder]
    places += [Path(entry) / "kwsd" / folder for entry in sys.path if entry]
    return next((place / name for place in places if (place / name).is_file()), None)
