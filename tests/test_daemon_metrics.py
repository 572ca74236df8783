"""OpenMetrics text and its server."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from kwsd.daemon.metrics import MetricsServer, counter, exposition, gauge
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
