"""The example as a process: what it says of a mistake, and of a reader that has gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_kwsd import FakeKwsd

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples/subscribe.py"


@pytest.fixture
def kwsd(tmp_path: Path) -> Iterator[FakeKwsd]:
    made = FakeKwsd(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("endpoint", ["kitchen.lan:5577", "tcp://kitchen.lan", ""])
def test_an_endpoint_that_is_none_is_named_in_one_line(endpoint: str) -> None:
    ended = subprocess.run(
        [sys.executable, str(EXAMPLE), "--endpoint", endpoint],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 1 and not ended.stdout
    assert ended.stderr == (
        f"subscribe.py: --endpoint {endpoint}: must be ipc:///path or tcp://host:port\n"
    )


def test_a_reader_that_has_gone_ends_it_in_silence(kwsd: FakeKwsd) -> None:
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE), "--endpoint", kwsd.bus_endpoint, "health/"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            assert process.stdout.readline().startswith(b"health/beat/ ")
            process.stdout.close()
            assert process.wait(30) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()


def test_it_prints_only_what_was_asked_for(kwsd: FakeKwsd) -> None:
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE), "--endpoint", kwsd.bus_endpoint, "--count", "2"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            deadline = time.monotonic() + 30.0
            while process.poll() is None and time.monotonic() < deadline:
                kwsd.wake()
                time.sleep(0.1)
        finally:
            process.kill()
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["wake/computer/"] * 2


def test_the_subscriber_of_the_page_hears_a_replay(tmp_path: Path) -> None:
    page = (ROOT / "docs/events.md").read_text()
    code = page.split("<!-- subscriber -->")[1].split("```python\n")[1].split("```")[0]
    command = page.split("No microphone is needed to try it: `kwsd ")[1].split("`")[0].split()
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    replay = subprocess.Popen(
        [sys.executable, "-m", "kwsd", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline().split()[0] for _ in range(2)]
        finally:
            process.kill()
            replay.kill()
            replay.wait()
    assert said == ["computer", "computer"]
