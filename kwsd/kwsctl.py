"""The ``kwsctl`` command: talks to a running daemon."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from kwsd import __version__
from kwsd.config_schema import SENSITIVITIES
from kwsd.control_protocol import CONFIGURED
from kwsd.ctl.options import add_commands
from kwsd.errors import EX_OK, UsageError
from kwsd.program import Parser, run_program
from kwsd.sink.endpoint import CONTROL_SOCKET, client_endpoint
from kwsd.termination import raise_on_terminate

_EPILOG = """\
exit codes: 0 done; 64 usage, or the daemon refused; 65 audio that is faulty or ended; 66 file
missing; 69 no daemon answers; 73 output cannot be written; 78 a key that cannot be used, or a
channel that is not there; 130 interrupted; 129, 143 ended by SIGHUP, SIGTERM
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of ``kwsctl``."""
    parser = Parser(
        prog="kwsctl",
        description="Talks to a running kwsd.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kwsctl {__version__}")
    parser.add_argument(
        "--control",
        metavar="ENDPOINT",
        default=client_endpoint(socket_name=CONTROL_SOCKET),
        help="control socket (default %(default)s)",
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)

    events = commands.add_parser("events", help="print events as they come")
    events.add_argument(
        "--endpoint", default=client_endpoint(), help="event socket (default %(default)s)"
    )
    events.add_argument(
        "--key-file",
        metavar="FILE.key_secret",
        type=Path,
        help="this client's pair, for the encrypted tcp:// endpoint of another machine",
    )
    events.add_argument(
        "--server-key-file", metavar="FILE.key", type=Path, help="the daemon's public key"
    )
    events.add_argument("--json", action="store_true", help="one JSON object a line")
    events.add_argument("--count", type=int, default=0, help="stop after so many; 0: never")
    events.add_argument(
        "--timeout-s",
        type=float,
        default=10.0,
        help="silence after which the daemon counts as gone",
    )
    events.add_argument("topics", nargs="*", help="such as wake/ or audio/state/")
    events.set_defaults(run=_events)

    for name, help_text in (
        ("status", "what runs and how it does"),
        ("mute", "close the microphone; kept over restarts"),
        ("unmute", "open the microphone again"),
        ("reload", "read the configuration again"),
    ):
        commands.add_parser(name, help=help_text).set_defaults(run=_ask, fields=())

    for name, help_text in (
        ("enable", "let a keyword wake"),
        ("disable", "do not let a keyword wake"),
    ):
        switch = commands.add_parser(name, help=help_text)
        switch.add_argument("keyword")
        switch.set_defaults(run=_ask, fields=("keyword",))

    setting = commands.add_parser("set", help="change the sensitivity of a keyword at once")
    setting.add_argument("keyword")
    setting.add_argument(
        "sensitivity",
        choices=(*SENSITIVITIES, CONFIGURED),
        help=f"kept over restarts, before the configuration; {CONFIGURED} drops what was kept",
    )
    setting.set_defaults(run=_ask, fields=("keyword", "sensitivity"), request="sensitivity")

    keygen = commands.add_parser("keygen", help="make a pair of keys for the encrypted bus")
    keygen.add_argument("name", help="such as bus, or the name of a client")
    keygen.add_argument("--directory", type=Path, default=Path("."), help="where to put them")
    keygen.set_defaults(run=_keygen)

    explain = commands.add_parser("explain", help="why a word was not taken for a wake")
    explain.add_argument("which", choices=("last",), nargs="?", default="last")
    explain.add_argument("--keyword", help="this one only")
    explain.add_argument("--count", type=int, default=1, help="so many near misses, the latest")
    explain.add_argument("--json", action="store_true", help="with the whole score curve")
    explain.add_argument("--plot", metavar="FILE.png", type=Path, help="draw the score curves")
    explain.set_defaults(run=_explain)
    add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``kwsctl``; gives the exit code."""
    return run_program("kwsctl", lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    options = build_parser().parse_args(arguments)
    # A terminal that is closed hangs up.
    raise_on_terminate(signal.SIGHUP)
    return int(options.run(options))


def _events(options: argparse.Namespace) -> int:
    from kwsd.ctl import events

    return events.run(options)


def _ask(options: argparse.Namespace) -> int:
    from kwsd.ctl.client import RELOAD_TIMEOUT_S, TIMEOUT_S, request

    name = getattr(options, "request", options.command)
    fields = {field: getattr(options, field) for field in options.fields}
    timeout_s = RELOAD_TIMEOUT_S if name == "reload" else TIMEOUT_S
    answer = request(options.control, name, timeout_s, **fields)
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    return EX_OK


def _keygen(options: argparse.Namespace) -> int:
    from kwsd.sink.curve import write_pair

    if not options.name.isidentifier():
        raise UsageError(f"name {options.name!r}: letters, digits and underscores")
    public, secret = write_pair(options.directory, options.name)
    print(f"{public}\tpublic: to the other side\n{secret}\tsecret: stays here")
    return EX_OK


def _explain(options: argparse.Namespace) -> int:
    from kwsd.ctl.client import request
    from kwsd.ctl.explain import as_text

    if options.plot is not None:
        from kwsd.plot import require_matplotlib

        require_matplotlib()
    chosen = {} if options.keyword is None else {"keyword": options.keyword}
    answer = request(options.control, "explain", count=options.count, **chosen)
    misses = answer["near_misses"]
    if options.json:
        print(json.dumps(misses))
    else:
        print(as_text(misses), end="")
    if options.plot is not None:
        from kwsd.output_file import OutputFile
        from kwsd.plot import draw_near_misses

        if not misses:
            raise UsageError("--plot: there is no near miss to draw")
        with OutputFile(options.plot) as out:
            draw_near_misses(out.partial, misses)
    return EX_OK


if __name__ == "__main__":
    sys.exit(main())
