"""Numbers of the driver's standard API and their names; the library's own texts are not used."""

from __future__ import annotations

from enum import IntEnum

SUCCESS = 0x0
NULL_POINTER = 0x1
INVALID_CONTEXT = 0x2
CANNOT_OPEN_DEVICE = 0x3
DEVICE_ABNORMAL = 0x4
INVALID_JOB = 0x10
JOB_EXCEPTION = 0x11
INVALID_OPERATION = 0x14
TIME_OUT = 0x23
DISPATCH_FAILED = 0x37
GRAPH_ERROR = 0x200
"""From here on a status is the error word of the graph itself."""

STATUS_NAMES = {
    0x0: "success",
    0x1: "null pointer",
    0x2: "invalid context",
    0x3: "cannot open the device",
    0x4: "device abnormal",
    0x5: "deinit failed",
    0x6: "invalid configuration",
    0x7: "unknown binary",
    0x8: "graph version not supported",
    0x9: "invalid graph",
    0xA: "target not found",
    0xB: "invalid graph id",
    0xC: "cannot open a file",
    0xD: "cannot map a file",
    0xE: "cannot read a file",
    0xF: "cannot write a file",
    0x10: "invalid job id",
    0x11: "job exception",
    0x12: "job time-out",
    0x13: "not supported",
    0x14: "invalid operation",
    0x15: "invalid size",
    0x16: "buffer allocation failed",
    0x17: "buffer release failed",
    0x18: "invalid core id",
    0x19: "SRAM error",
    0x1A: "invalid tensor id",
    0x1B: "invalid cluster",
    0x1C: "invalid partition",
    0x1D: "printf error",
    0x1E: "invalid tensor type",
    0x1F: "invalid GM",
    0x20: "segment MMU error",
    0x21: "invalid QoS",
    0x22: "invalid tensor count",
    0x23: "time-out",
    0x24: "no batch queue",
    0x25: "shared tensor error",
    0x26: "shared tensor error",
    0x27: "dma-buf error",
    0x28: "shape error",
    0x29: "shape error",
    0x30: "shape error",
    0x31: "shape error",
    0x32: "shape error",
    0x33: "invalid id",
    0x37: "dispatch failed",
    0x200: "graph error, unknown",
}

_LOAD_REASONS = {0x7: "bad-graph", 0x8: "bad-graph", 0x9: "bad-graph", 0xA: "other-target"} | {
    code: "bad-graph" for code in range(0xC, 0x10)
}

_RUN_REASONS = {
    DEVICE_ABNORMAL: "device-error",
    JOB_EXCEPTION: "exception",
    TIME_OUT: "time-out",
    DISPATCH_FAILED: "suspended",
}


class TensorType(IntEnum):
    """Kinds of tensors that a graph has."""

    INPUT = 0
    OUTPUT = 1


class JobState(IntEnum):
    """What get_job_status says."""

    RUNNING = 0
    DONE = 1
    EXCEPTION = 2
    COREDUMP = 3


DATA_TYPES = {
    "bool": 1,
    "uint8": 2,
    "int8": 3,
    "uint16": 4,
    "int16": 5,
    "uint32": 6,
    "int32": 7,
    "uint64": 8,
    "int64": 9,
    "float16": 10,
    "float32": 11,
    "float64": 12,
}
"""numpy name to the driver's number."""


def status_text(status: int) -> str:
    """Number and name; a number that is not known is told as it is."""
    if status in STATUS_NAMES:
        return f"{status:#x} ({STATUS_NAMES[status]})"
    if status >= GRAPH_ERROR:
        return f"{status:#x} (error word of the graph)"
    return f"{status:#x}"


def start_reason(call: str, status: int) -> str:
    """Reason word of a call that failed before the first job."""
    if call == "aipu_init_context":
        return "no-device" if status == CANNOT_OPEN_DEVICE else "device-error"
    if call == "aipu_load_graph":
        return _LOAD_REASONS.get(status, "device-error")
    return "device-error"


def run_reason(status: int) -> str:
    """Reason word of a step that failed."""
    if status >= GRAPH_ERROR:
        return "graph-error"
    return _RUN_REASONS.get(status, "engine-fault")
