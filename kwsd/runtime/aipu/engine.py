"""Engine: the child process in which the driver library lives.

One thread starts jobs and waits for them, with every signal blocked, since a signal that lands in a
waiting thread makes the library report a healthy job as broken. The main thread only watches for
the parent's end. The process leaves with os._exit: the library aborts in ordinary exits.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import socket
import sys
import threading
import time

from kwsd.runtime.aipu import wire
from kwsd.runtime.aipu.binding import Library, StatusError
from kwsd.runtime.aipu.status import (
    DEVICE_ABNORMAL,
    GRAPH_ERROR,
    JOB_EXCEPTION,
    TIME_OUT,
    JobState,
    TensorType,
)

ORPHAN_GRACE_S = 1.0
"""After the parent's end: time for the thread to close the device in order."""

SLICE_MS = 20
"""Waiting for a late job looks for a close request this often."""


class SizesDiffer(Exception):
    """The loaded graph has other tensors than the manifest: nothing was copied yet."""


class Engine:
    """One graph and its one job.

    Parameters
    ----------
    request : OpenRequest
        Library, graph and the places of the tensors.
    memory : mmap
        Shared memory.
    """

    def __init__(self, request: wire.OpenRequest, memory: mmap.mmap) -> None:
        self._request = request
        self._memory = (ctypes.c_char * request.memory_bytes).from_buffer(memory)
        base = ctypes.addressof(self._memory)
        self._inputs = [ctypes.c_void_p(base + slot.offset) for slot in request.inputs]
        self._outputs = [ctypes.c_void_p(base + slot.offset) for slot in request.outputs]
        self._context: ctypes.c_void_p | None = None
        self._graph: int | None = None
        self._job: int | None = None
        self.running_late = False
        """A job is still on the core: it must be neither cleaned nor replaced."""
        self._library = Library(request.library)

    def start(self) -> dict[str, list[tuple[int, float, int, int]]]:
        """Context, graph, tensor check, job; gives the descriptors.

        Raises
        ------
        StatusError
            A call failed.
        SizesDiffer
            The tensors do not fit the places that they were given.
        """
        library = self._library
        self._context = library.init_context()
        self._graph = library.load_graph(self._context, self._request.graph)
        tables = {}
        for name, kind, slots in (
            ("inputs", TensorType.INPUT, self._request.inputs),
            ("outputs", TensorType.OUTPUT, self._request.outputs),
        ):
            found = library.descriptors(self._context, self._graph, kind)
            sizes, expected = [d.size for d in found], [slot.size for slot in slots]
            if sizes != expected:
                raise SizesDiffer(f"{name} have {sizes} bytes, the manifest says {expected}")
            tables[name] = [(d.size, d.scale, d.zero_point, d.data_type) for d in found]
        self._job = library.create_job(self._context, self._graph)
        return tables

    def step(self, sequence: int, timeout_ms: int) -> wire.StepReply:
        """One job over what is in memory; a job that broke is replaced and tried once more."""
        status, job_us = self._run(timeout_ms)
        retries = 0
        if status == JOB_EXCEPTION or status >= GRAPH_ERROR:
            retries = 1
            self._replace_job()
            status, again_us = self._run(timeout_ms)
            job_us += again_us
        if status == JOB_EXCEPTION:
            # Finished for good; the next step needs a fresh one.
            self._replace_job()
        self.running_late = status in (TIME_OUT, DEVICE_ABNORMAL)
        return wire.StepReply(sequence, status, int(self.running_late), job_us, retries)

    def look(self, wait_ms: int) -> int:
        """State of the late job; what it computed is not used."""
        assert self._context is not None and self._job is not None
        state = self._library.job_status(self._context, self._job, wait_ms)
        if state != JobState.RUNNING:
            self.running_late = False
            if state != JobState.DONE:
                self._replace_job()
        return state

    def close(self) -> None:
        """Clean, unload, deinit, each once; nothing of it under a job that is still running."""
        if self.running_late:
            return
        context, graph, job = self._context, self._graph, self._job
        self._context = self._graph = self._job = None
        if context is None:
            return
        try:
            if job is not None:
                self._library.clean_job(context, job)
            if graph is not None:
                self._library.unload_graph(context, graph)
        except StatusError as error:
            print(f"kwsd aipu engine: closing: {error}", file=sys.stderr, flush=True)
        finally:
            try:
                self._library.deinit_context(context)
            except StatusError as error:
                print(f"kwsd aipu engine: closing: {error}", file=sys.stderr, flush=True)

    def _replace_job(self) -> None:
        assert self._context is not None and self._graph is not None
        if self._job is not None:
            job, self._job = self._job, None
            self._library.clean_job(self._context, job)
        self._job = self._library.create_job(self._context, self._graph)

    def _run(self, timeout_ms: int) -> tuple[int, int]:
        """Status and microseconds in finish_job."""
        library, context, job = self._library, self._context, self._job
        assert context is not None and job is not None
        # Every input each time: the graph may have used an input's memory for something else.
        for index, address in enumerate(self._inputs):
            status = library.load_tensor(context, job, index, address)
            if status:
                return status & 0xFFFFFFFF, 0
        before_ns = time.monotonic_ns()
        status = library.finish_job(context, job, timeout_ms) & 0xFFFFFFFF
        if status == DEVICE_ABNORMAL:
            # What a signal in the waiting thread looks like; a healthy job comes in all the same.
            if library.job_status(context, job, timeout_ms) == JobState.DONE:
                status = 0
        job_us = (time.monotonic_ns() - before_ns) // 1000
        if status == 0:
            for index, address in enumerate(self._outputs):
                status = library.get_tensor(context, job, TensorType.OUTPUT, index, address)
                if status:
                    return status & 0xFFFFFFFF, job_us
        return status, job_us


def _serve(channel: socket.socket, memory_fd: int) -> int:
    """Answer requests until the parent closes; gives the exit status."""
    message = channel.recv(wire.LARGEST_BYTES)
    if not message:
        return 0
    request = wire.unpack_open(message)
    memory = mmap.mmap(memory_fd, request.memory_bytes)
    try:
        engine = Engine(request, memory)
    except OSError as error:
        channel.send(wire.pack_table(wire.FAILED, call="dlopen", status=0, detail=str(error)))
        return 1
    except AttributeError as error:
        channel.send(wire.pack_table(wire.FAILED, call="dlsym", status=0, detail=str(error)))
        return 1
    try:
        tables = engine.start()
    except StatusError as error:
        engine.close()
        channel.send(wire.pack_table(wire.FAILED, call=error.call, status=error.status, detail=""))
        return 1
    except SizesDiffer as error:
        engine.close()
        channel.send(wire.pack_table(wire.FAILED, call="sizes", status=0, detail=str(error)))
        return 1
    try:
        channel.send(wire.pack_table(wire.READY, pid=os.getpid(), **tables))
        _answer(channel, engine, request.grace_ms)
    except (BrokenPipeError, ConnectionResetError):
        # The parent ended in the middle of a step: the device is closed in order all the same.
        engine.close()
    return 0


def _answer(channel: socket.socket, engine: Engine, grace_ms: int) -> None:
    """Steps until the parent closes, or until a job never comes back."""
    while True:
        message = channel.recv(wire.LARGEST_BYTES)
        if not message or message[:1] == wire.CLOSE:
            engine.close()
            if message:
                channel.send(wire.CLOSED)
            return
        sequence, timeout_ms = wire.unpack_step(message)
        reply = engine.step(sequence, timeout_ms)
        channel.send(wire.pack_done(reply))
        if engine.running_late and not _collect(channel, engine, grace_ms):
            return


def _collect(channel: socket.socket, engine: Engine, grace_ms: int) -> bool:
    """Wait for a job that missed its limit; False if the engine must end."""
    deadline = time.monotonic() + grace_ms / 1000
    requests = select.poll()
    requests.register(channel, select.POLLIN)
    while time.monotonic() < deadline:
        state = engine.look(SLICE_MS)
        if state != JobState.RUNNING:
            channel.send(wire.pack_event(wire.COLLECTED, state))
            return True
        if requests.poll(0):
            return False
    channel.send(wire.pack_event(wire.STUCK, 0))
    # Cleaning would give the next job the id of this one, and its late end with it. Only the end of
    # the process, which the parent sees to, takes the job away.
    while channel.recv(wire.LARGEST_BYTES)[:1] not in (b"", wire.CLOSE):
        pass
    return False


def _thread(channel: socket.socket, memory_fd: int) -> None:
    status = 2
    try:
        status = _serve(channel, memory_fd)
    except StatusError as error:
        print(f"kwsd aipu engine: {error}", file=sys.stderr, flush=True)
    except (BrokenPipeError, ConnectionResetError):
        status = 0
    finally:
        os._exit(status)


def main(arguments: list[str]) -> None:
    """Run as ``python -m kwsd.runtime.aipu.engine SOCKET_FD MEMORY_FD``; never returns."""
    channel = socket.socket(fileno=int(arguments[0]))
    # Threads inherit the mask; a terminal's interrupt and a service's SIGTERM are the parent's to
    # handle, which then closes this process in order.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    threading.Thread(target=_thread, args=(channel, int(arguments[1])), daemon=True).start()
    hang_up = select.poll()
    hang_up.register(channel, 0)
    hang_up.poll()
    time.sleep(ORPHAN_GRACE_S)
    os._exit(3)


if __name__ == "__main__":
    main(sys.argv[1:])
