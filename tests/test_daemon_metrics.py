"""OpenMetrics text and its server."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from kwsd.daemon.metrics import MOST_CONNECTIONS, MetricsServer, counter, exposition, gauge
from kwsd.errors import BusError


def test_the_text_is_openmetrics() -> None:
    text = exposition(
        [
            counter("kwsd_wakes", "Wakes.", 3, word='a"b'),
            gauge("kwsd_erle_db", "Echo return loss enhancement.", 12.5),
            gauge("kwsd_drift_ppm", "Not known yet.", None),
        ]
    )
    assert text.splitlines() == [
        "# TYPE kwsd_wakes counter",
        "# HELP kwsd_wakes Wakes.",
        'kwsd_wakes_total{word="a\\"b"} 3',
        "# TYPE kwsd_erle_db gauge",
        "# HELP kwsd_erle_db Echo return loss enhancement.",
        "kwsd_erle_db 12.5",
        "# TYPE kwsd_drift_ppm gauge",
        "# HELP kwsd_drift_ppm Not known yet.",
        "# EOF",
    ]


def test_it_is_served_on_loopback_and_nothing_else_is() -> None:
    server = MetricsServer(0)
    try:
        server.text = exposition([counter("kwsd_wakes", "Wakes.", 1)])
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            assert answer.read().decode() == server.text
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/etc/passwd")
        with pytest.raises(BusError, match="metrics.port"):
            MetricsServer(server.port)
    finally:
        server.close()


def test_whoever_holds_connections_takes_neither_threads_nor_the_numbers() -> None:
    before = threading.active_count()
    server = MetricsServer(0)
    held = []
    try:
        for _ in range(40):
            stream = socket.create_connection(("127.0.0.1", server.port))
            stream.sendall(b"GET /metrics HT")
            held.append(stream)
        time.sleep(0.2)
        assert threading.active_count() <= before + 1 + MOST_CONNECTIONS
        deadline = time.monotonic() + 20.0
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
                    assert answer.read().decode() == server.text
                break
            except (OSError, urllib.error.URLError):  # turned away: whoever is oldest has to go
                assert time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        for stream in held:
            stream.close()
        server.close()
