"""Handle on the test double from the parent's side: script it, count its calls, compute for it."""

import mmap
import socket
import struct
import threading

import numpy as np

CALLS = (
    *("init", "deinit", "message", "config_global", "load_graph", "load_graph_helper", "unload"),
    *("tensor_count", "descriptor", "create", "config_job", "load_tensor", "finish", "flush"),
    *("status", "get_tensor", "clean", "target", "device_status", "ioctl"),
)
LIVE = {"contexts": 32, "graphs": 33, "jobs": 34, "configurations": 35}


class Double:
    """One scripted device.

    Parameters
    ----------
    folder : Path
        For script, counters and socket; the library finds it by AIPU_DOUBLE_DIR.
    library : Path
        The double.
    """

    def __init__(self, folder, library):
        self.folder, self.library = folder, library
        with (folder / "counters").open("w+b") as file:
            file.truncate(512)
            self._counters = mmap.mmap(file.fileno(), 512)
        self._server = None

    def script(self, *lines):
        """Replace the control file; an index counts all calls since the device was made."""
        fresh = self.folder / "script.new"
        fresh.write_text("".join(line + "\n" for line in lines))
        fresh.replace(self.folder / "script")

    def next(self, function, action, ahead=0):
        """Script one coming call of a function."""
        self.script(f"{function} {self.calls(function) + ahead} {action}")

    def calls(self, function):
        """Calls of a function so far."""
        return self._counter(CALLS.index(function))

    def live(self, what):
        """Objects that were made and not freed; killed processes never free theirs."""
        return self._counter(LIVE[what])

    def compute_with(self, package, session):
        """Let jobs be computed by a session in this process."""
        self._server = _Reference(str(self.folder / "socket"), package, session)

    def close(self):
        """Stop computing."""
        if self._server is not None:
            self._server.close()
        self._counters.close()

    def _counter(self, index):
        return struct.unpack_from("<q", self._counters, 8 * index)[0]


class _Reference:
    """Answers the double's socket with what a session computes."""

    def __init__(self, path, package, session):
        self._package, self._session = package, session
        self._lock = threading.Lock()
        self._connections = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self):
        """End every thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join()
        for connection in self._connections:
            connection.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection):
        with connection.makefile("rwb") as stream:
            try:
                while inputs := self._read(stream):
                    with self._lock:
                        outputs = self._session.step(inputs)
                    for spec in self._package.outputs:
                        stream.write(outputs[spec.name].tobytes())
                    stream.flush()
            except OSError:
                return

    def _read(self, stream):
        inputs = {}
        for spec in self._package.inputs:
            size = int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize
            data = stream.read(size)
            if len(data) < size:
                return None
            inputs[spec.name] = np.frombuffer(data, spec.dtype).reshape(spec.shape)
        return inputs
