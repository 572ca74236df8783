"""The capture library: finds it, loads it with ctypes and declares its functions."""

from __future__ import annotations

import ctypes
from functools import cache

from kwsd.dsp.native import find_library
from kwsd.errors import RuntimeUnavailable

LIBRARY_NAME = "libkwscapture.so"
ABI = 1

READ_PERIOD, READ_TIMEOUT, READ_ENDED = 1, 0, -1


class Request(ctypes.Structure):
    """What is asked of the device (``kws_capture_request``)."""

    _fields_ = [
        ("channels", ctypes.c_uint32),
        ("rate_hz", ctypes.c_uint32),
        ("period_frames", ctypes.c_uint32),
        ("periods", ctypes.c_uint32),
        ("ring_periods", ctypes.c_uint32),
        ("realtime", ctypes.c_int32),
    ]


class Format(ctypes.Structure):
    """What the device gave (``kws_capture_format``)."""

    _fields_ = [
        ("format", ctypes.c_uint32),
        ("rate_hz", ctypes.c_uint32),
        ("channels", ctypes.c_uint32),
        ("period_frames", ctypes.c_uint32),
        ("buffer_frames", ctypes.c_uint32),
        ("is_realtime", ctypes.c_int32),
    ]


class Period(ctypes.Structure):
    """One period (``kws_capture_period``)."""

    _fields_ = [
        ("first_frame", ctypes.c_int64),
        ("monotonic_ns", ctypes.c_int64),
        ("frames", ctypes.c_uint32),
        ("gap", ctypes.c_uint32),
    ]


class Counters(ctypes.Structure):
    """Since open (``kws_capture_counters``)."""

    _fields_ = [
        ("overruns", ctypes.c_uint64),
        ("dropped_periods", ctypes.c_uint64),
        ("frames", ctypes.c_uint64),
        ("error", ctypes.c_int32),
    ]


@cache
def load_library() -> ctypes.CDLL:
    """The library with its signatures.

    Raises
    ------
    RuntimeUnavailable
        It was not built (no compiler at install time) or belongs to another version.
    """
    path = find_library("capture", LIBRARY_NAME)
    try:
        library = ctypes.CDLL(str(path or LIBRARY_NAME))
    except OSError:
        raise RuntimeUnavailable(
            f"{LIBRARY_NAME} is not built: install kwsd where a C compiler is present, "
            "or set audio.backend to portaudio"
        ) from None
    if library.kws_capture_abi() != ABI:
        raise RuntimeUnavailable(f"{path} belongs to another version of kwsd; install kwsd anew")
    library.kws_capture_open.restype = ctypes.c_void_p
    library.kws_capture_open.argtypes = [
        ctypes.c_char_p,
        ctypes.POINTER(Request),
        ctypes.POINTER(ctypes.c_int32),
        ctypes.c_char_p,
        ctypes.c_size_t,
    ]
    library.kws_capture_describe.restype = None
    library.kws_capture_describe.argtypes = [ctypes.c_void_p, ctypes.POINTER(Format)]
    library.kws_capture_read.restype = ctypes.c_int32
    library.kws_capture_read.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int32,
        ctypes.POINTER(Period),
    ]
    library.kws_capture_count.restype = None
    library.kws_capture_count.argtypes = [ctypes.c_void_p, ctypes.POINTER(Counters)]
    library.kws_capture_close.restype = None
    library.kws_capture_close.argtypes = [ctypes.c_void_p]
    return library
