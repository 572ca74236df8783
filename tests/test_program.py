"""How every program ends: one line on standard error, a documented exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import pytest

from kwsd.bridge.command import run_bridge
from kwsd.cli import main as kwsd
from kwsd.errors import AudioError
from kwsd.kwsctl import main as kwsctl
from kwsd.kwsmodel import main as kwsmodel
from kwsd.program import run_program
from kwsd.termination import Terminated


def raising(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


def test_what_a_user_can_cause_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program("kwsd", raising(AudioError("a.wav:\nsilent"))) == 65
    assert capsys.readouterr().err == "kwsd: error: a.wav: silent\n"
    assert run_program("kwsd", raising(AudioError("silent")), debug=True) == 65
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_the_program_is_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program("kwsctl", raising(ZeroDivisionError("a\nb"))) == 70
    *trace, line = capsys.readouterr().err.splitlines()
    assert trace[0].startswith("Traceback") and "raise error" in "".join(trace)
    said = "kwsctl: error: ZeroDivisionError: a b; this is a fault of kwsctl, please report it"
    assert line == said


@pytest.mark.parametrize(
    ("end", "code"), [(KeyboardInterrupt(), 130), (Terminated(signal.SIGTERM), 143)]
)
def test_a_signal_is_no_error(
    end: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program("kwsd", raising(end)) == code
    assert capsys.readouterr().err == ""


def test_without_standard_error_the_exit_code_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert run_program("kwsd", raising(AudioError("silent"))) == 65
    assert run_program("kwsd", raising(ZeroDivisionError())) == 70


def test_a_bridge_ends_as_its_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_bridge("mqtt", "", lambda _: 1 // 0 and None, []) == 70
    assert capsys.readouterr().err.splitlines()[-1].startswith("kwsd-mqtt: error: ZeroDivision")


@pytest.mark.parametrize(
    ("main", "words", "program"),
    [
        (kwsd, ["--nonsense"], "kwsd"),
        (kwsctl, ["status", "--nonsense"], "kwsctl"),
        (kwsmodel, ["evaluate", "computer", "--draws", "x"], "kwsmodel"),
        (lambda words: run_bridge("mqtt", "", lambda _: None, words), ["--nonsense"], "kwsd-mqtt"),
    ],
)
def test_all_refuse_options_alike(
    main: Callable[[list[str]], int],
    words: list[str],
    program: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(words) == 64
    said = capsys.readouterr().err
    assert said.startswith(f"{program}: error: ") and said.count("\n") == 1
    assert "--help lists what there is" in said
