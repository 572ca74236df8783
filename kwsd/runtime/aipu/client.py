"""Parent side of the engine: the process, its channel and the shared memory.

The memory is anonymous (memfd) and the channel a socket pair: nothing with a name is left behind,
however either side ends.
"""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import kwsd
from kwsd.runtime.aipu import wire
from kwsd.runtime.aipu.status import start_reason, status_text
from kwsd.runtime.failure import RuntimeFailure

CLOSE_S = 0.5
"""Time for the engine to close the device in order before it is killed."""

KILL_S = 0.01
"""How long a step waits for a killed engine to be gone; behind that a thread does."""

LIBRARY_PRINTS_TO = 2
"""Standard error: standard output is for events alone."""

_MODULE = "kwsd.runtime.aipu.engine"


class EngineClient:
    """One engine process.

    Parameters
    ----------
    memory_bytes : int
        Size of the shared memory.

    Raises
    ------
    RuntimeFailure
        ``engine-died``: no process, memory or descriptor to be had.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._sequence = 0
        self._closed = False
        self._limit_s: float | None = None
        try:
            self._start(memory_bytes)
        except OSError as error:
            raise RuntimeFailure("engine-died", f"cannot start the engine: {error}") from None

    def _start(self, memory_bytes: int) -> None:
        memory_fd = os.memfd_create("kwsd-aipu", os.MFD_CLOEXEC)
        try:
            os.ftruncate(memory_fd, memory_bytes)
            self.memory = mmap.mmap(memory_fd, memory_bytes)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", _MODULE, str(theirs.fileno()), str(memory_fd)],
                    stdin=subprocess.DEVNULL,
                    stdout=LIBRARY_PRINTS_TO,
                    stderr=LIBRARY_PRINTS_TO,
                    pass_fds=(theirs.fileno(), memory_fd),
                    env=_environment(),
                )
            except OSError:
                ours.close()
                self.memory.close()
                raise
            finally:
                theirs.close()
            self._channel = ours
        finally:
            os.close(memory_fd)

    @property
    def pid(self) -> int:
        """Process id of the engine."""
        return self._process.pid

    def open(self, request: wire.OpenRequest, limit_s: float) -> dict[str, Any]:
        """Load library and graph in the engine; gives the descriptors.

        Raises
        ------
        RuntimeFailure
            With the reason word of what failed.
        """
        reply = self._exchange(wire.pack_open(request), limit_s)
        if reply[:1] == wire.READY:
            return wire.unpack_table(reply)
        fields = wire.unpack_table(reply)
        call, status, detail = fields["call"], fields["status"], fields["detail"]
        if call == "dlopen":
            raise RuntimeFailure("no-library", f"{request.library} cannot be loaded: {detail}")
        if call == "dlsym":
            raise RuntimeFailure("missing-symbol", f"{request.library}: {detail}")
        if call == "sizes":
            raise RuntimeFailure("manifest-mismatch", f"{request.graph}: {detail}")
        raise RuntimeFailure(
            start_reason(call, status), f"{call} answered {status_text(status)} on start"
        )

    def step(self, timeout_ms: int, slack_ms: int) -> wire.StepReply:
        """Run one job over the inputs in memory.

        Raises
        ------
        RuntimeFailure
            ``engine-died`` or ``engine-silent``; whatever the driver says is in the reply.
        """
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        # Twice: the engine may replace a broken job and try once more.
        limit_s = (2 * timeout_ms + slack_ms) / 1000
        reply = wire.unpack_done(
            self._exchange(wire.pack_step(self._sequence, timeout_ms), limit_s)
        )
        if reply.sequence != self._sequence:
            raise RuntimeFailure("engine-fault", f"answer {reply.sequence} to {self._sequence}")
        return reply

    def late_event(self) -> bytes:
        """COLLECTED or STUCK once the engine has said so, CLOSED if it is gone, else empty."""
        # With a time limit set, a receive waits for it, MSG_DONTWAIT or not.
        self._channel.setblocking(False)
        self._limit_s = None
        try:
            message = self._channel.recv(wire.LARGEST_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            return wire.CLOSED
        return message[:1] or wire.CLOSED

    def close(self, limit_s: float = CLOSE_S) -> None:
        """Ask the engine to close the device and end; kill it where it does not in time."""
        if self._closed:
            return
        deadline = time.monotonic() + limit_s
        try:
            self._channel.settimeout(limit_s)
            self._channel.send(wire.CLOSE)
            while self._channel.recv(wire.LARGEST_BYTES):
                self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            self._process.wait(max(deadline - time.monotonic(), 0.001))
        except (OSError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def kill(self) -> None:
        """End the process at once, with whatever job it has, and release everything."""
        if self._closed:
            return
        self._closed = True
        self._channel.close()
        self._process.kill()
        try:
            self._process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            # Stuck in the kernel, perhaps for good: the audio must not wait for it.
            threading.Thread(target=self._process.wait, name="reap", daemon=True).start()
        try:
            self.memory.close()
        except BufferError:
            # Views of it are still alive; it goes with the last of them.
            pass

    def _exchange(self, message: bytes, limit_s: float) -> bytes:
        try:
            if limit_s != self._limit_s:
                # A system call; the limit of a step is the same most of the time.
                self._channel.settimeout(limit_s)
                self._limit_s = limit_s
            self._channel.send(message)
            reply = self._channel.recv(wire.LARGEST_BYTES)
        except TimeoutError:
            raise RuntimeFailure(
                "engine-silent", f"the engine did not answer within {1000 * limit_s:.0f} ms"
            ) from None
        except OSError as error:
            raise RuntimeFailure("engine-died", f"the engine is gone: {error.strerror}") from None
        if not reply:
            raise RuntimeFailure("engine-died", "the engine has ended")
        return reply


def _environment() -> dict[str, str]:
    """The parent's, with this package on the path and the library's chatter off."""
    root = str(Path(kwsd.__file__).parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONSAFEPATH": "1",
        "UMD_LOG_LEVEL": "6",
    }
