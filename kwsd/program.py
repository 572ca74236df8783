"""What all programs have in common: how options are refused, how they end, with which exit code."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from kwsd.errors import EX_OK, EX_SOFTWARE, KwsdError, UsageError
from kwsd.standard_output import StandardOutput
from kwsd.termination import EX_INTERRUPTED, Terminated


class Parser(argparse.ArgumentParser):
    """Options that are refused like everything else: one line, exit code 64."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {self.prog} --help lists what there is")


def run_program(name: str, run: Callable[[], int], debug: bool = False) -> int:
    """Run a program to its end, whatever it is.

    Parameters
    ----------
    name : str
        Stands before what it says on standard error.
    run : callable
        The program; gives its exit code.
    debug : bool
        Show where an error comes from that a user can cause as well.

    Returns
    -------
    int
        Exit code.
    """
    try:
        with StandardOutput():
            return run()
    except SystemExit as done:
        # --help and --version end argparse this way.
        return int(done.code or EX_OK)
    except KwsdError as error:
        _tell(name, str(error), error if debug else None)
        return error.exit_code
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except Terminated as end:
        return end.exit_code
    except Exception as error:
        # Of a service it may never come again: whoever reports it needs all of it now.
        what = f"{type(error).__name__}: {error}; this is a fault of {name}, please report it"
        _tell(name, what, error)
        return EX_SOFTWARE


def _tell(name: str, what: str, error: BaseException | None) -> None:
    if sys.stderr is None:
        return
    if error is not None:
        traceback.print_exception(error)
    print(f"{name}: error: {' '.join(what.split())}", file=sys.stderr)
