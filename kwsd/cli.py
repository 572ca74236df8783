"""The ``kwsd`` command: its options and what they start."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kwsd import __version__
from kwsd.errors import EX_OK, UsageError
from kwsd.program import Parser, run_program
from kwsd.termination import raise_on_terminate

if TYPE_CHECKING:
    from kwsd.config import Config

_EPILOG = """\
exit codes: 0 ran; 64 usage; 65 audio or model that cannot be read; 66 file or model missing;
69 device or runtime unavailable; 73 output cannot be written; 78 configuration
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of ``kwsd``."""
    parser = Parser(
        prog="kwsd",
        description="Wake-word daemon: microphones in, events out. Without --replay it listens "
        "to audio.device and publishes on the bus until SIGTERM; SIGHUP reloads.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    run = parser.add_argument_group("replay of a recording")
    run.add_argument(
        "--replay",
        metavar="FILE",
        help="run the chain over a WAV, FLAC or Ogg file and print one JSON event a line; "
        "- reads a WAV from standard input",
    )
    run.add_argument(
        "--scores", metavar="FILE.csv", type=Path, help="write time_s,name,score of every step"
    )
    run.add_argument(
        "--dump-audio",
        metavar="FILE.wav",
        type=Path,
        help="write detector branch, voice branch and aligned reference",
    )
    run.add_argument(
        "--plot", metavar="FILE.png", type=Path, help="draw signals, scores and events"
    )
    run.add_argument("--publish", action="store_true", help="send events on the bus as well")
    setup = parser.add_argument_group("configuration")
    setup.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        action="append",
        help="model package in place of the configured ones; can be repeated",
    )
    setup.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="set a configuration key"
    )
    setup.add_argument(
        "--config", metavar="FILE", type=Path, help="read this file instead of the installed ones"
    )
    setup.add_argument(
        "--list-devices", action="store_true", help="print the capture devices by name and exit"
    )
    setup.add_argument(
        "--print-config", action="store_true", help="print every value with its origin and exit"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log.level=info")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument("--version", action="version", version=f"kwsd {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``kwsd``.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line; None takes that of the process.

    Returns
    -------
    int
        Exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_program("kwsd", lambda: _run(words), debug="--debug" in words)


def _run(words: Sequence[str]) -> int:
    options = build_parser().parse_args(words)
    listens = options.replay is None and not options.print_config and not options.list_devices
    if not listens:
        raise_on_terminate(signal.SIGHUP)
        return _work(options)
    raise_on_terminate()
    # Would end the process until the service, which lets it in, has a handler for it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        return _work(options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(options: argparse.Namespace) -> int:
    config = _configure(options)
    if options.print_config:
        from kwsd.config import print_config

        print(print_config(config), end="")
        return EX_OK
    if options.list_devices:
        from kwsd.daemon.input import list_devices

        print(list_devices(), end="")
        return EX_OK
    if options.replay is None:
        _refuse_replay_options(options)
        from kwsd.daemon.run import run_service

        run_service(config, lambda: _load(options))
        return EX_OK
    from kwsd.replay import ReplayOptions, replay
    from kwsd.sink.lines import ReaderGone

    plan = ReplayOptions(
        path=options.replay,
        scores=options.scores,
        dump_audio=options.dump_audio,
        plot=options.plot,
        publish=options.publish,
    )
    if sys.stdout is not None:
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    try:
        replay(plan, config, sys.stdout)
    except ReaderGone:
        pass
    return EX_OK


def _load(options: argparse.Namespace) -> Config:
    from kwsd.config import load_config, parse_flag

    flags = [parse_flag(text) for text in options.set]
    if options.verbose:
        flags.append(("log.level", "info", "--verbose"))
    return load_config(file=options.config, flags=flags, models=options.model)


def _configure(options: argparse.Namespace) -> Config:
    # First, for what the reading of files has to say.
    handler = logging.StreamHandler()
    handler.setFormatter(_LevelFormatter("kwsd: %(levelname)s: %(message)s"))
    logger = logging.getLogger("kwsd")
    logger.handlers = [handler]
    config = _load(options)
    logger.setLevel(config.log.level.upper())
    return config


class _LevelFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.levelname = record.levelname.lower()
        return super().format(record)


def _refuse_replay_options(options: argparse.Namespace) -> None:
    for name in ("scores", "dump_audio", "plot", "publish"):
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} needs --replay FILE")
