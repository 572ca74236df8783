"""`kwsmodel`: the program that works on models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from kwsd import __version__
from kwsd.program import Parser, run_program
from kwsd.termination import Terminated, raise_on_terminate


def build_parser() -> argparse.ArgumentParser:
    """Parser of all subcommands."""
    # Imported here so that `kwsd` itself never pulls them in.
    import kwsd.bench.command as bench_command
    import kwsd.compile.check_command as check_command
    import kwsd.compile.command as compile_command
    import kwsd.cut.command as cut_command
    import kwsd.cut.run_command as run_command
    import kwsd.evaluate.command as evaluate_command
    import kwsd.export.command as export_command
    import kwsd.train.command as train_command

    parser = Parser(
        prog="kwsmodel", description="Train, judge, compile, cut and compare wake-word models."
    )
    parser.add_argument("--version", action="version", version=f"kwsmodel {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers: Any = parser.add_subparsers(
        title="commands",
        dest="command",
        metavar="COMMAND",
        required=True,
        parser_class=Parser,
    )
    train_command.add_parser(subparsers)
    evaluate_command.add_parser(subparsers)
    check_command.add_parser(subparsers)
    compile_command.add_parser(subparsers)
    cut_command.add_parser(subparsers)
    run_command.add_parser(subparsers)
    export_command.add_parser(subparsers)
    bench_command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; gives the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    return run_program("kwsmodel", lambda: _run(words), debug="--debug" in words)


def _run(words: Sequence[str]) -> int:
    args = build_parser().parse_args(words)
    raise_on_terminate()
    try:
        return int(args.run(args))
    except (KeyboardInterrupt, Terminated) as end:
        how = "terminated" if isinstance(end, Terminated) else "interrupted"
        # Only a training keeps what it has made so far.
        again = "run the same command again to go on"
        if args.command != "train":
            again = "the same command begins anew"
        print(f"kwsmodel: {how}; {again}", file=sys.stderr)
        raise


if __name__ == "__main__":
    sys.exit(main())
