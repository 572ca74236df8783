"""What the command lines of the bridges have in common: options, exit codes, no traceback."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kwsd import __version__
from kwsd.errors import EX_OK
from kwsd.program import Parser, run_program

_EPILOG = """\
Settings come from the file and from KWSD_{name}_... variables, which win: docs/bridges.md.
exit codes: 0 stopped by a signal; 64 usage; 66 a file is missing; 69 a package is missing or an
address cannot be bound; 70 a fault of the program; 78 configuration, or credentials that are
refused
"""


def run_bridge(
    name: str, purpose: str, run: Callable[[Path | None], None], arguments: Sequence[str] | None
) -> int:
    """Run a bridge; gives the exit code.

    Parameters
    ----------
    name : str
        Such as ``mqtt``.
    purpose : str
        One line for people.
    run : callable
        Takes the file of ``--config``, works until a signal ends it.
    arguments : sequence of str, optional
        Command line; None takes that of the process.
    """
    program = f"kwsd-{name}"
    parser = Parser(
        prog=program,
        description=purpose,
        epilog=_EPILOG.format(name=name.upper()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"instead of /etc/kwsd/{name}.toml"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is passed on")
    parser.add_argument("--version", action="version", version=f"{program} {__version__}")

    def started() -> int:
        options = parser.parse_args(arguments)
        logging.basicConfig(
            stream=sys.stderr,
            format=f"{program}: %(levelname)s: %(message)s",
            level=logging.WARNING,
        )
        logging.getLogger("kwsd").setLevel(logging.DEBUG if options.verbose else logging.INFO)
        run(options.config)
        return EX_OK

    return run_program(program, started)
