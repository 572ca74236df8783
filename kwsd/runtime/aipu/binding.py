"""ctypes binding of the driver's standard API, releases 5.x and 6.x alike.

Every optional configuration is NULL: their layouts change between releases, the rest does not.
No callbacks: the library runs them only inside a later call. Loaded in the engine's child process
and nowhere else. Every call here blocks or answers at once, with the interpreter lock released.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass

SYMBOLS: dict[str, tuple[type[object], ...]] = {
    "aipu_init_context": (POINTER(c_void_p),),
    "aipu_deinit_context": (c_void_p,),
    "aipu_load_graph": (c_void_p, c_char_p, POINTER(c_uint64), c_void_p),
    "aipu_unload_graph": (c_void_p, c_uint64),
    "aipu_get_tensor_count": (c_void_p, c_uint64, c_int, POINTER(c_uint32)),
    "aipu_get_tensor_descriptor": (c_void_p, c_uint64, c_int, c_uint32, c_void_p),
    "aipu_create_job": (c_void_p, c_uint64, POINTER(c_uint64), c_void_p),
    "aipu_load_tensor": (c_void_p, c_uint64, c_uint32, c_void_p),
    "aipu_finish_job": (c_void_p, c_uint64, c_int32),
    "aipu_get_job_status": (c_void_p, c_uint64, POINTER(c_int), c_int32),
    "aipu_get_tensor": (c_void_p, c_uint64, c_int, c_uint32, c_void_p),
    "aipu_clean_job": (c_void_p, c_uint64),
}
"""What is called, with its argument types in C order; all return an int status."""

OLD_API_SYMBOL = "AIPU_init_ctx"
NEW_API_SYMBOL = "aipu_init_context"


class DescriptorStruct(ctypes.Structure):
    """aipu_tensor_desc_t: 20 bytes in every release so far."""

    _fields_ = [
        ("id", c_uint32),
        ("size", c_uint32),
        ("scale", ctypes.c_float),
        ("zero_point", c_int32),
        ("data_type", c_int),
    ]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One tensor as the library describes it."""

    size: int
    """Bytes."""

    scale: float
    """In the compiler's convention, which may be the inverse of TFLite's."""

    zero_point: int
    """In the compiler's convention, whose sign is unproven."""

    data_type: int
    """See `status.DATA_TYPES`."""


class StatusError(Exception):
    """A call that did not return success.

    Parameters
    ----------
    call : str
        Name of the function.
    status : int
        What it returned.
    """

    def __init__(self, call: str, status: int) -> None:
        super().__init__(f"{call}: {status:#x}")
        self.call, self.status = call, status


class Library:
    """The loaded library.

    Parameters
    ----------
    path : str
        File to load.

    Raises
    ------
    OSError
        It cannot be loaded.
    AttributeError
        A symbol is missing.
    """

    def __init__(self, path: str) -> None:
        # RTLD_LOCAL: its C++ symbols must not meet those of another library.
        self._library = ctypes.CDLL(path, mode=ctypes.RTLD_LOCAL)
        for name, arguments in SYMBOLS.items():
            function = getattr(self._library, name)
            function.argtypes = list(arguments)
            function.restype = c_int
        self.load_tensor = self._library.aipu_load_tensor
        self.finish_job = self._library.aipu_finish_job
        self.get_tensor = self._library.aipu_get_tensor

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise StatusError(name, status & 0xFFFFFFFF)

    def init_context(self) -> c_void_p:
        """Open the device."""
        context = c_void_p()
        self._call("aipu_init_context", byref(context))
        return context

    def deinit_context(self, context: c_void_p) -> None:
        """Close the device; the context must not be used afterwards."""
        self._call("aipu_deinit_context", context)

    def load_graph(self, context: c_void_p, path: str) -> int:
        """Load a graph file."""
        graph = c_uint64()
        self._call("aipu_load_graph", context, path.encode(), byref(graph), None)
        return graph.value

    def unload_graph(self, context: c_void_p, graph: int) -> None:
        """Unload a graph, once: a second time locks up libraries 6.x."""
        self._call("aipu_unload_graph", context, graph)

    def descriptors(self, context: c_void_p, graph: int, kind: int) -> list[Descriptor]:
        """Every tensor of a kind, in the graph's order."""
        count = c_uint32()
        self._call("aipu_get_tensor_count", context, graph, kind, byref(count))
        found = []
        for index in range(count.value):
            # A later release may write a longer descriptor: leave room behind the known one.
            buffer = ctypes.create_string_buffer(256)
            self._call("aipu_get_tensor_descriptor", context, graph, kind, index, buffer)
            d = DescriptorStruct.from_buffer(buffer)
            found.append(Descriptor(d.size, d.scale, d.zero_point, d.data_type))
        return found

    def create_job(self, context: c_void_p, graph: int) -> int:
        """Create a job."""
        job = c_uint64()
        self._call("aipu_create_job", context, graph, byref(job), None)
        return job.value

    def clean_job(self, context: c_void_p, job: int) -> None:
        """Free a job that is not running."""
        self._call("aipu_clean_job", context, job)

    def job_status(self, context: c_void_p, job: int, wait_ms: int) -> int:
        """State of a started job after waiting at most `wait_ms`, which must not be negative."""
        state = c_int()
        self._call("aipu_get_job_status", context, job, byref(state), wait_ms)
        return state.value
