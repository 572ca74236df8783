"""The units of the bridges, as shipped, under a booted systemd, beside a daemon without audio."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import systemd_box
from mqtt_broker import find

ROOT = Path(__file__).parent.parent
LIMIT_S = 60.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(systemd_box.missing()), reason=systemd_box.missing()),
]

# In place of the daemon's program, under the daemon's own unit: its user, folder and umask.
DAEMON = """
import time
from kwsd.daemon.control import ControlServer
from kwsd.daemon.notify import Notifier
from kwsd.sink.zmq import BusSink
bus = BusSink("ipc:///run/kwsd/events.sock")
commands = {"status": lambda request: {"keywords": []}}
control = ControlServer("ipc:///run/kwsd/control.sock", commands)
Notifier().ready()
while True:
    bus.emit({"v": 1, "type": "health.beat", "audio": "lost"})
    for _ in range(20):
        time.sleep(0.05)
        bus.serve()
        control.serve()
"""


def until(what: Callable[[], bool], shown: Callable[[], str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not what():
        if time.monotonic() > deadline:
            pytest.fail(shown())
        time.sleep(0.3)


@pytest.fixture(scope="module")
def box() -> Iterator[systemd_box.SystemdBox]:
    find("mosquitto")
    find("mosquitto_sub")
    with tempfile.TemporaryDirectory(prefix="kwsd") as work:
        made = systemd_box.SystemdBox(Path(work))
        try:
            program = systemd_box.python_program("kwsd.cli").replace(
                "from kwsd.cli import main",
                "import runpy; main = lambda: runpy.run_path('/usr/lib/d')",
            )
            made.write("/usr/bin/kwsd", program, 0o755)
            made.write("/usr/lib/d", DAEMON)
            for name in ("mqtt", "wyoming"):
                text = systemd_box.python_program(f"kwsd.bridge.{name}")
                made.write(f"/usr/bin/kwsd-{name}", text, 0o755)
            for unit in ("kwsd", "kwsd-mqtt", "kwsd-wyoming"):
                text = (ROOT / f"systemd/{unit}.service").read_text()
                made.write(f"/usr/lib/systemd/system/{unit}.service", text)
            for name, place in (("sysusers", "sysusers.d"), ("tmpfiles", "tmpfiles.d")):
                text = (ROOT / f"systemd/kwsd.{name}").read_text()
                made.write(f"/usr/lib/{place}/kwsd.conf", text)
            made.check("systemd-sysusers")
            made.check("systemd-tmpfiles", "--create", "kwsd.conf")
            made.write(
                "/etc/broker.conf", "listener 1883 127.0.0.1\nallow_anonymous true\nuser root\n"
            )
            made.check("systemctl", "daemon-reload")
            made.check("systemd-run", "--unit=broker", find("mosquitto"), "-c", "/etc/broker.conf")
            made.check("systemctl", "start", "--no-block", "kwsd")
            yield made
        finally:
            made.stop()


def test_the_mqtt_unit_reaches_bus_and_broker(box: systemd_box.SystemdBox) -> None:
    box.write("/etc/kwsd/mqtt.toml", 'node = "box"\n', 0o640)
    box.check("chgrp", "kwsd", "/etc/kwsd/mqtt.toml")
    box.check("systemctl", "start", "kwsd-mqtt")
    words = ["mosquitto_sub", "-W", "3", "-t", "kwsd/box/availability"]
    until(
        lambda: "online" in box.run(*words).stdout.split(),
        lambda: box.journal("kwsd-mqtt") + box.journal("kwsd")[-500:],
    )
    # A wrong setting does not get better: no restart.
    box.write("/etc/kwsd/mqtt.toml", 'topic_prefix = "#"\n', 0o640)
    box.run("systemctl", "restart", "kwsd-mqtt")
    until(
        lambda: box.property("kwsd-mqtt", "ActiveState") == "failed",
        lambda: box.journal("kwsd-mqtt"),
    )
    assert box.property("kwsd-mqtt", "ExecMainStatus") == "78"
    assert "topic_prefix" in box.journal("kwsd-mqtt")


def test_a_stopped_daemon_stays_stopped_whatever_becomes_of_a_bridge(
    box: systemd_box.SystemdBox,
) -> None:
    """Who stops it wants that nothing listens."""
    for name in ("kwsd-mqtt", "kwsd-wyoming"):
        box.write("/etc/kwsd/mqtt.toml", 'node = "box"\n', 0o640)
        box.check("systemctl", "start", name)
        box.check("systemctl", "stop", "kwsd")
        box.check("systemctl", "try-restart", name)
        before = box.property(name, "MainPID")
        box.check("systemctl", "kill", "--signal=KILL", name)
        until(
            lambda name=name, before=before: (
                box.property(name, "ActiveState") == "active"
                and box.property(name, "MainPID") not in ("0", before)
            ),
            lambda name=name: box.journal(name),
        )
        assert box.property("kwsd", "ActiveState") == "inactive"
        box.check("systemctl", "start", "kwsd")


def test_the_wyoming_unit_answers(box: systemd_box.SystemdBox) -> None:
    box.check("systemctl", "start", "kwsd-wyoming")
    ask = (
        "import socket; s = socket.create_connection(('127.0.0.1', 10700), 5); "
        's.sendall(b\'{"type": "describe"}\\n\'); print(s.recv(4096))'
    )
    until(
        lambda: "info" in box.run("/usr/bin/python3", "-c", ask).stdout,
        lambda: box.journal("kwsd-wyoming") + box.run("/usr/bin/python3", "-c", ask).stderr,
    )
    assert "not known" not in box.journal("kwsd-wyoming"), "the control socket did not answer"
    box.check("systemctl", "stop", "kwsd-wyoming")
    assert box.property("kwsd-wyoming", "Result") == "success"
