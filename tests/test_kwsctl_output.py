"""Standard output of the three programs: readers that leave or stop reading, and a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from fake_kwsd import FakeKwsd

from kwsd.errors import OutputError, UsageError
from kwsd.standard_output import StandardOutput, reader_gone

DEADLINE_S = 60.0

COMMANDS = {
    "configuration": ["kwsd", "--print-config"],
    "help": ["kwsd", "--help"],
    "status": ["kwsd.kwsctl", "--control", "CONTROL", "status"],
    "events": ["kwsd.kwsctl", "events", "--json", "--endpoint", "BUS", "health/"],
    "check": ["kwsd.kwsmodel", "check", "MODEL"],
}


@pytest.fixture(scope="module")
def service() -> Iterator[FakeKwsd]:
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        made = FakeKwsd(Path(folder))
        yield made
        made.close()


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def environment(request: pytest.FixtureRequest, kwsd_environment: dict[str, str]) -> dict[str, str]:
    return {**kwsd_environment, "PYTHONUNBUFFERED": request.param}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest, service: FakeKwsd, tone_model: Path) -> list[str]:
    return words(request.param, service, tone_model)


def words(name: str, service: FakeKwsd, tone_model: Path) -> list[str]:
    places = {
        "CONTROL": service.control_endpoint,
        "BUS": service.bus_endpoint,
        "MODEL": str(tone_model),
    }
    return [sys.executable, "-m", *(places.get(word, word) for word in COMMANDS[name])]


def test_a_full_disk(command: list[str], environment: dict[str, str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    program = command[2].removeprefix("kwsd.")
    assert done.stderr == (
        f"{program}: error: standard output cannot be written: No space left on device\n"
    )
    assert done.returncode == 73


def test_a_reader_that_has_gone(command: list[str], environment: dict[str, str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        command, env=environment, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_exit_code_stays_without_a_reader(environment: dict[str, str], tmp_path: Path) -> None:
    path, profile = tmp_path / "dead.wav", tmp_path / "board.toml"
    samples = 0.1 * np.random.default_rng(1).standard_normal((32_000, 2))
    samples[:, 1] = 0.0
    sf.write(path, samples, 16_000)
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "kwsd.kwsctl", "doctor", "--file", path, "--write-profile", profile],
        env=environment,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (65, "")
    assert profile.exists(), "only the output is lost"


def test_a_reader_that_leaves_ends_what_has_no_end(
    service: FakeKwsd, tone_model: Path, environment: dict[str, str]
) -> None:
    with subprocess.Popen(
        words("events", service, tone_model),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith(b'{"v": 1')
        process.stdout.close()
        assert process.wait(DEADLINE_S) == 0
        assert process.stderr.read() == b""


def test_closed_at_the_start(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    # Help goes to standard error then: argparse sees to it.
    assert (done.returncode, "error" in done.stderr) == (0, False)


def test_a_reader_that_stops_reading_holds_nobody_back(
    service: FakeKwsd, tone_model: Path, environment: dict[str, str]
) -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(theirs, bytes(4096))
    os.set_blocking(theirs, True)
    process = subprocess.Popen(words("events", service, tone_model), env=environment, stdout=theirs)
    os.close(theirs)
    waits_in = Path(f"/proc/{process.pid}/wchan")
    for _ in range(100):
        if waits_in.exists() and "pipe" in waits_in.read_text():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(DEADLINE_S) == 143
    finally:
        process.kill()
        os.close(ours)


@pytest.mark.parametrize(
    ("own", "told"),
    [(None, OutputError), (SystemExit(0), OutputError), (UsageError("first"), UsageError)],
)
def test_an_error_of_the_program_is_told_first(
    monkeypatch: pytest.MonkeyPatch, own: BaseException | None, told: type[BaseException]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(told), StandardOutput():
            print("x")
            if own is not None:
                raise own
        assert sys.stdout is full


def test_nobody_has_gone_from_a_test(capsys: pytest.CaptureFixture[str]) -> None:
    with StandardOutput():
        print("read")
        assert not reader_gone()
    assert capsys.readouterr().out == "read\n"


def test_what_the_locale_cannot_write_is_no_traceback() -> None:
    """A name that is no UTF-8, and a bar where there is only Latin 1."""
    for encoding, text, written in (
        ("utf-8", "caf\\udce9.flac", b"caf\xe9.flac"),
        ("latin-1", "\\u2588 level", b"? level"),
    ):
        code = (
            "from kwsd.standard_output import StandardOutput\n"
            f"with StandardOutput(): print('{text}')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == written
