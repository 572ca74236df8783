"""The unit as shipped, under a booted systemd, with a microphone to play into and to kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile as sf
import systemd_box
import virtual_microphone

from kwsd.daemon.service import START_PATIENCE_S

ROOT = Path(__file__).parent.parent
MICROPHONE_IN_BOX = "/run/virtmic"
WATCHDOG_S = 8
SHORT_SAMPLE_S = 8.5
"""The first of the sample's two words ends at 7.1 s."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(systemd_box.missing()), reason=systemd_box.missing()),
    pytest.mark.skipif(
        bool(virtual_microphone.missing()), reason=f"no {virtual_microphone.missing()}"
    ),
]

CONFIGURATION = """
[audio]
device = "virtmic"
channels = 3
mics = [0, 1]
reference = [2]

[wake]
models = ["computer"]
"""

# Only what a test needs otherwise: the microphone's place, and a watchdog of less than 30 s.
OVERRIDE = f"""
[Service]
Environment=ALSA_CONFIG_PATH={MICROPHONE_IN_BOX}/asound.conf
Environment=PULSE_SERVER=unix:{MICROPHONE_IN_BOX}/run/native
WatchdogSec={WATCHDOG_S}
"""


def wait_until(condition: Callable[[], bool], limit_s: float, what: Callable[[], str]) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.3)
    pytest.fail(f"not within {limit_s} s: {what()}")


class Service:
    """kwsd as a unit in a box, and the microphone it listens to."""

    def __init__(
        self, box: systemd_box.SystemdBox, microphone: virtual_microphone.VirtualMicrophone
    ) -> None:
        self.box = box
        self.microphone = microphone
        samples, rate_hz = sf.read(ROOT / "samples/living_room.flac", dtype="int16")
        self._sample = samples[: int(SHORT_SAMPLE_S * rate_hz)]

    def install(self) -> None:
        """Put the files where docs/install.md puts them."""
        for program, module in (("kwsd", "kwsd.cli"), ("kwsctl", "kwsd.kwsctl")):
            text = systemd_box.python_program(module)
            self.box.write(f"/usr/bin/{program}", text, 0o755)
        for name, target in (
            ("kwsd.service", "/usr/lib/systemd/system/kwsd.service"),
            ("kwsd.sysusers", "/usr/lib/sysusers.d/kwsd.conf"),
            ("kwsd.tmpfiles", "/usr/lib/tmpfiles.d/kwsd.conf"),
        ):
            self.box.write(target, (ROOT / "systemd" / name).read_text())
        self.box.write("/etc/systemd/system/kwsd.service.d/box.conf", OVERRIDE)
        self.box.check("systemd-sysusers")
        self.box.check("systemd-tmpfiles", "--create", "kwsd.conf")
        self.box.write("/etc/kwsd/kwsd.toml", CONFIGURATION)
        self.box.check("chgrp", "kwsd", "/etc/kwsd/kwsd.toml")
        self.box.check("systemctl", "daemon-reload")

    def restarts(self) -> int:
        return int(self.box.property("kwsd", "NRestarts"))

    def main_pid(self) -> int:
        return int(self.box.property("kwsd", "MainPID"))

    def audio_state(self) -> str:
        result = self.box.run("kwsctl", "status")
        try:
            return str(json.loads(result.stdout)["audio"]["state"])
        except (ValueError, KeyError):
            return result.stdout + result.stderr

    def wait_for_audio(self, limit_s: float = 60) -> None:
        wait_until(
            lambda: self.audio_state() in ("running", "silent"),
            limit_s,
            lambda: self.audio_state() + self.box.journal("kwsd")[-2000:],
        )

    def events_while(
        self, topic: str, action: Callable[[], None], limit_s: int, count: int = 1
    ) -> list[str]:
        """Return what a subscriber in the box gets of a topic: the first events, or fewer."""
        words = ["kwsctl", "events", "--json", "--count", str(count), topic]
        subscriber = subprocess.Popen(
            self.box.command("timeout", str(limit_s), *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(1.5)
        action()
        output, _ = subscriber.communicate(timeout=limit_s + 10)
        return output.splitlines()

    def hears_the_word(self) -> dict[str, object]:
        """Play the sample until a wake arrives; a busy machine may tear one playing to pieces."""
        for _ in range(3):
            lines = self.events_while("wake/", lambda: self.microphone.play(self._sample), 25)
            if lines:
                return dict(json.loads(lines[0]))
        pytest.fail("no wake event: " + self.audio_state() + self.box.journal("kwsd")[-2000:])

    def fresh(self) -> None:
        """Start anew, whatever the test before left."""
        self.box.write("/etc/kwsd/kwsd.toml", CONFIGURATION)
        self.box.run("systemctl", "stop", "kwsd")
        self.box.run("systemctl", "reset-failed", "kwsd")
        self.box.check("systemctl", "start", "kwsd", timeout_s=120)
        self.wait_for_audio()


@pytest.fixture(scope="module")
def machine() -> Iterator[Service]:
    with tempfile.TemporaryDirectory(prefix="kwsbox") as text:
        folder = Path(text)
        folder.chmod(0o755)
        sound = folder / "m"
        sound.mkdir()
        microphone = virtual_microphone.VirtualMicrophone(sound, 3)
        for path in (sound, sound / "run"):
            path.chmod(0o755)
        box = None
        try:
            work = folder / "box"
            work.mkdir()
            box = systemd_box.SystemdBox(work, f"--bind={sound}:{MICROPHONE_IN_BOX}")
            service = Service(box, microphone)
            service.install()
            yield service
        finally:
            if box is not None:
                box.stop()
            microphone.stop()


@pytest.fixture
def service(machine: Service) -> Service:
    machine.fresh()
    return machine


def test_started_it_is_active_and_hears_the_word(service: Service) -> None:
    assert service.box.property("kwsd", "ActiveState") == "active"
    event = service.hears_the_word()
    assert event["type"] == "wake" and event["name"] == "computer"
    assert service.restarts() == 0


def test_it_runs_as_its_own_user_with_nothing_granted(service: Service) -> None:
    status = service.box.check("cat", f"/proc/{service.main_pid()}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    user = service.box.check("id", "--user", "kwsd")
    assert user != "0"
    assert set(fields["Uid"].split()) == {user}
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    root = f"--root=/proc/{service.main_pid()}/root"
    mounts = service.box.check("cat", f"/proc/{service.main_pid()}/mountinfo")
    options = {line.split()[4]: line.split()[5] for line in mounts.splitlines()}
    assert "ro" in options["/"].split(","), root
    assert "rw" in options["/run/kwsd"].split(",")
    assert service.box.check("stat", "--format=%U:%G %a", "/run/kwsd") == "kwsd:kwsd 750"
    assert service.box.check("stat", "--format=%U:%G %a", "/etc/kwsd") == "root:kwsd 750"


def test_killed_it_comes_back_and_hears_again(service: Service) -> None:
    before = service.main_pid()
    service.box.check("systemctl", "kill", "--signal=KILL", "kwsd")
    wait_until(lambda: service.restarts() == 1, 30, lambda: service.box.journal("kwsd")[-1500:])
    service.wait_for_audio()
    assert service.main_pid() not in (0, before)
    assert service.hears_the_word()["name"] == "computer"


def test_hung_it_is_ended_by_the_watchdog_and_hears_again(service: Service) -> None:
    service.box.check("systemctl", "kill", "--signal=STOP", "kwsd")
    wait_until(
        lambda: service.restarts() == 1,
        WATCHDOG_S + 40,
        lambda: service.box.journal("kwsd")[-1500:],
    )
    assert "atchdog" in service.box.check("journalctl", "--no-pager", "--unit=kwsd")
    service.wait_for_audio()
    assert service.hears_the_word()["name"] == "computer"


def lost_while(service: Service, action: Callable[[], None]) -> bool:
    lines = service.events_while("audio/state/", action, 20, count=2)
    return "lost" in [json.loads(line)["state"] for line in lines]


def test_starved_of_audio_it_says_so_and_hears_when_it_is_back(service: Service) -> None:
    try:
        said = lost_while(service, lambda: service.microphone.starve(True))
        assert said, service.box.journal("kwsd")[-1500:]
    finally:
        service.microphone.starve(False)
    service.wait_for_audio()
    assert service.hears_the_word()["name"] == "computer"


def test_a_microphone_that_stays_away_is_searched_by_new_processes(service: Service) -> None:
    """No audio, no feeding of the watchdog; systemd ends it, the next process looks on."""
    try:
        said = lost_while(service, service.microphone.stop)
        assert said, service.box.journal("kwsd")[-1500:]
        wait_until(
            lambda: service.restarts() >= 1,
            WATCHDOG_S + 60,
            lambda: service.box.journal("kwsd")[-1500:],
        )
        assert service.box.property("kwsd", "ActiveState") in ("activating", "active")
    finally:
        service.microphone.stop()
        service.microphone.start()
    service.wait_for_audio(90)
    assert service.hears_the_word()["name"] == "computer"


def test_a_missing_microphone_holds_nothing_up_that_starts_behind(service: Service) -> None:
    service.microphone.stop()
    try:
        service.box.check("systemctl", "restart", "--no-block", "kwsd")
        wait_until(
            lambda: service.box.property("kwsd", "ActiveState") == "active",
            START_PATIENCE_S + 30,
            lambda: service.box.journal("kwsd")[-1500:],
        )
        # Nor does the watchdog end what never heard anything.
        time.sleep(WATCHDOG_S + 5)
        assert service.restarts() == 0
        assert service.audio_state() == "lost"
    finally:
        service.microphone.start()
    service.wait_for_audio()
    assert service.hears_the_word()["name"] == "computer"


def test_stuck_inside_the_driver_it_is_ended_by_the_watchdog(service: Service) -> None:
    """Not even closing the device returns: nothing inside the process can help."""
    os.kill(service.microphone.pid, signal.SIGSTOP)
    try:
        wait_until(
            lambda: service.restarts() >= 1,
            WATCHDOG_S + 60,
            lambda: service.box.journal("kwsd")[-1500:],
        )
    finally:
        os.kill(service.microphone.pid, signal.SIGCONT)
    service.wait_for_audio(90)
    assert service.hears_the_word()["name"] == "computer"


def test_a_broken_configuration_is_refused_and_the_old_goes_on(service: Service) -> None:
    before = service.main_pid()
    service.box.write("/etc/kwsd/kwsd.toml", CONFIGURATION + "refractory_s = -7\n")
    service.box.check("systemctl", "reload", "kwsd")
    wait_until(
        lambda: "refractory_s" in service.box.journal("kwsd"),
        20,
        lambda: service.box.journal("kwsd")[-1500:],
    )
    assert service.main_pid() == before
    assert service.restarts() == 0
    assert service.hears_the_word()["name"] == "computer"


def test_stopped_it_ends_cleanly_and_leaves_no_socket(service: Service) -> None:
    service.box.check("systemctl", "stop", "kwsd")
    assert service.box.property("kwsd", "ActiveState") == "inactive"
    assert service.box.property("kwsd", "Result") == "success"
    assert service.box.property("kwsd", "ExecMainStatus") == "0"
    assert not service.box.succeeds("test", "-e", "/run/kwsd")
