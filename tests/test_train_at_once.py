"""Pieces of a training at once: what is kept, what is raised where, and who ends whom."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from processes import gone  # noqa: E402

from kwsd.errors import OutputError  # noqa: E402
from kwsd.progress import Report  # noqa: E402
from kwsd.train.at_once import kept, shared_out, work_ahead  # noqa: E402

DEADLINE_S = 60.0

OWNER = """
import os, sys, time
from pathlib import Path
from kwsd.termination import Terminated, raise_on_terminate
from kwsd.train.at_once import work_ahead

def wait(number, report):
    Path(sys.argv[1], f"{number}.begun").write_text(str(os.getpid()))
    time.sleep(600)

raise_on_terminate()
try:
    work_ahead({str(n): lambda report, n=n: wait(n, report) for n in range(2)}, 2, print)
except (Terminated, KeyboardInterrupt) as end:
    sys.exit(9)
"""


def process_id(report: Report) -> int:
    report("working")
    return os.getpid()


def test_each_has_a_process_and_leaves_its_result(tmp_path: Path) -> None:
    def meets(number: int, report: Report) -> int:
        (tmp_path / f"{number}.begun").touch()
        deadline = time.monotonic() + DEADLINE_S
        while len(list(tmp_path.glob("*.begun"))) < 2:  # at once, or never
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return os.getpid()

    pieces = {str(n): kept(tmp_path / f"{n}.done", partial(meets, n)) for n in range(2)}
    work_ahead(pieces, 2, lambda line: None)
    found = {piece(lambda line: pytest.fail("worked again")) for piece in pieces.values()}
    assert len(found) == 2
    assert os.getpid() not in found


def test_lines_say_whose_they_are(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pieces = {name: kept(tmp_path / name, process_id) for name in ("first", "second")}
    work_ahead(pieces, 2, partial(print, flush=True))
    assert sorted(capfd.readouterr().out.splitlines()) == ["first: working", "second: working"]


def test_what_would_be_done_alone_is_left(tmp_path: Path) -> None:
    def pieces(names: str) -> dict[str, Callable[[Report], int]]:
        return {name: kept(tmp_path / name, process_id) for name in names}

    work_ahead(pieces("a"), 2, lambda line: None)
    work_ahead(pieces("bc"), 1, lambda line: None)
    assert not list(tmp_path.iterdir())
    work_ahead(pieces("def"), 2, lambda line: None)
    assert {path.name for path in tmp_path.iterdir()} == {"d", "e"}


def test_no_more_at_once_than_asked_for(tmp_path: Path) -> None:
    def from_to(report: Report) -> tuple[float, float]:
        began = time.monotonic()
        time.sleep(0.1)
        return began, time.monotonic()

    pieces = {name: kept(tmp_path / name, from_to) for name in "abcde"}
    work_ahead(pieces, 2, lambda line: None)
    spans = [piece(lambda line: None) for piece in pieces.values()]
    for began, _ in spans:
        assert sum(first <= began < last for first, last in spans) <= 2


def test_a_parent_with_threads_is_not_waited_for(tmp_path: Path) -> None:
    def computes(report: Report) -> float:
        return float((torch.ones(500, 500) @ torch.ones(500, 500)).sum())

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = computes(lambda line: None)
        pieces = {name: kept(tmp_path / name, computes) for name in ("first", "second")}
        work_ahead(pieces, 2, lambda line: None)
    finally:
        torch.set_num_threads(threads)
    assert all((tmp_path / name).is_file() for name in pieces)
    assert [piece(lambda line: None) for piece in pieces.values()] == [expected, expected]


def test_work_for_which_there_is_no_process_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork, forks = os.fork, iter(range(3))

    def few() -> int:
        if next(forks) > 0:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return fork()

    monkeypatch.setattr(os, "fork", few)
    lines: list[str] = []
    pieces = {name: kept(tmp_path / name, process_id) for name in ("first", "second")}
    work_ahead(pieces, 2, lines.append)
    assert lines == ["second: no process for it (Cannot allocate memory), it is done here later"]
    assert {path.name for path in tmp_path.iterdir()} == {"first"}


def test_a_result_that_cannot_be_kept_is_made_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "nowhere"
    pieces = {name: kept(nowhere / name, process_id) for name in ("first", "second")}
    work_ahead(pieces, 2, partial(print, flush=True))
    assert "second: not kept: " in capfd.readouterr().out
    assert {piece(lambda line: None) for piece in pieces.values()} == {os.getpid()}


def test_errors_are_raised_where_a_piece_is_asked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(report: Report) -> None:
        raise OutputError("the disk is full")

    lines: list[str] = []
    pieces = {"good": kept(tmp_path / "good", process_id), "bad": kept(tmp_path / "bad", fails)}
    work_ahead(pieces, 2, partial(print, flush=True))
    said = capfd.readouterr().out.splitlines()
    assert sorted(said) == [
        "bad: OutputError: the disk is full",
        "bad: its process ended early, what it left undone is done here",
        "good: working",
    ]
    assert isinstance(pieces["good"](lines.append), int)
    with pytest.raises(OutputError, match="full"):
        pieces["bad"](lines.append)


def test_a_killed_process_costs_time_alone(tmp_path: Path) -> None:
    parent = os.getpid()

    def killed(report: Report) -> int:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    lines: list[str] = []
    pieces = {name: kept(tmp_path / name, killed) for name in ("first", "second")}
    work_ahead(pieces, 2, lines.append)
    assert [line.partition(":")[0] for line in lines] == ["first", "second"]
    assert [piece(lines.append) for piece in pieces.values()] == [parent, parent]


def test_a_processor_shares_itself_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kwsd.train.at_once.training_device", lambda: torch.device("cuda"))
    assert shared_out(pieces=3, workers=2) == 1
    monkeypatch.setattr("kwsd.train.at_once.training_device", lambda: torch.device("cpu"))
    assert shared_out(pieces=3, workers=2) == 2
    assert shared_out(pieces=1, workers=2) == 1


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process with two others that have begun what takes long, and these."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, tmp_path], text=True)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while len(begun := [path.read_text() for path in tmp_path.glob("*.begun")]) < 2 or (
            "" in begun
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process, [int(text) for text in begun]
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_stopped_ends_the_others(
    owner: tuple[subprocess.Popen[str], list[int]], number: signal.Signals
) -> None:
    process, others = owner
    process.send_signal(number)
    assert process.wait(DEADLINE_S) == 9
    assert all(map(gone, others))


def test_an_interrupt_of_a_terminal_is_the_parents(
    owner: tuple[subprocess.Popen[str], list[int]],
) -> None:
    process, others = owner
    for other in others:
        os.kill(other, signal.SIGINT)
    assert not any(gone(other, limit_s=0.2) for other in others)
    process.kill()
    assert all(map(gone, others))
