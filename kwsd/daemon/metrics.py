"""OpenMetrics: numbers for a monitoring system, on loopback, off unless a port is set.

Text format: the OpenMetrics 1.0 specification. The service makes the text once a second; the
server thread only hands it out, so a scraper cannot slow the audio down.
"""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kwsd.errors import BusError

MOST_CONNECTIONS = 4
"""At once: each costs a thread, and whoever holds many must not cost the daemon its own."""

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family."""

    name: str
    """Without ``_total``."""

    kind: str
    """counter, gauge or info."""

    text: str
    """What it counts."""

    values: tuple[tuple[Mapping[str, str], float], ...]
    """Labels and value."""


def gauge(name: str, text: str, value: float | None, **labels: str) -> Metric:
    """A gauge with one value; no sample where there is nothing to tell."""
    known = value is not None and math.isfinite(value)
    return Metric(name, "gauge", text, ((labels, float(value or 0.0)),) if known else ())


def counter(name: str, text: str, value: float, **labels: str) -> Metric:
    """A counter with one value."""
    return Metric(name, "counter", text, ((labels, value),))


def exposition(metrics: Iterable[Metric]) -> str:
    """The text of all metrics."""
    lines = []
    for metric in metrics:
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        lines.append(f"# HELP {metric.name} {metric.text}")
        suffix = {"counter": "_total", "info": "_info"}.get(metric.kind, "")
        for labels, value in metric.values:
            inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            number = repr(value) if value % 1 else str(int(value))
            lines.append(
                f"{metric.name}{suffix}{{{inside}}} {number}"
                if inside
                else f"{metric.name}{suffix} {number}"
            )
    return "\n".join([*lines, "# EOF", ""])


class MetricsServer:
    """Hands the text out.

    Parameters
    ----------
    port : int
        On 127.0.0.1; 0 for any free one.

    Raises
    ------
    BusError
        The port is taken.
    """

    def __init__(self, port: int) -> None:
        # Here, since it brings ssl and email along: 5 MB that a daemon without metrics saves.
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        self.text = exposition(())
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                if self.path.partition("?")[0] != "/metrics":
                    self.send_error(404, "there is /metrics only")
                    return
                body = outer.text.encode()
                self.send_response(200)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Scrapes are not worth a log line."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            held: dict[socket.socket, None] = {}  # oldest first

            def process_request(self, request: Any, client_address: Any) -> None:
                if len(self.held) >= MOST_CONNECTIONS:
                    with suppress(OSError, StopIteration, RuntimeError):  # it ended meanwhile
                        next(iter(self.held)).shutdown(socket.SHUT_RDWR)
                    super().shutdown_request(request)
                    return
                self.held[request] = None
                super().process_request(request, client_address)

            def shutdown_request(self, request: Any) -> None:
                self.held.pop(request, None)
                super().shutdown_request(request)

        try:
            self._server = Server(("127.0.0.1", port), Handler)
        except OSError as error:
            raise BusError(
                f"metrics.port = {port} cannot be bound: {error.strerror}; choose another"
            ) from None
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
