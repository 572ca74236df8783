"""Options of the ``kwsctl`` commands that hear or watch; their modules load only when they run.

`kwsctl status` on a board must not wait for numpy and libsndfile.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


def add_record(parser: argparse.ArgumentParser) -> None:
    """``kwsctl record``."""
    parser.add_argument("file", type=Path, help="FILE.flac or FILE.wav")
    parser.add_argument("--seconds", type=float, help="length; without it until Ctrl-C")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """``kwsctl doctor``."""
    parser.add_argument(
        "--seconds", type=float, default=6.0, help="listen for so long (%(default)s)"
    )
    parser.add_argument("--file", type=Path, help="judge this recording of all channels instead")
    parser.add_argument("--mics", help="channels of the microphones, such as 0,1")
    parser.add_argument("--reference", help="channel of the reference, or none")
    parser.add_argument("--play", action="store_true", help="play sweeps through the loudspeaker")
    parser.add_argument(
        "--play-device", metavar="NAME", default="default", help="ALSA device for --play"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--write-profile",
        metavar="FILE.toml",
        type=Path,
        help="write the channel map that was found as a profile for audio.profile",
    )


def add_monitor(parser: argparse.ArgumentParser) -> None:
    """``kwsctl monitor``."""
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    parser.add_argument("--json", action="store_true", help="one JSON object a frame")
    parser.add_argument(
        "--interval-s", type=float, default=0.25, help="time between frames (%(default)s)"
    )


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "record": ("record what the service hears, all channels", add_record),
    "doctor": ("find out what is wrong with the audio", add_doctor),
    "monitor": ("watch levels, scores and events live", add_monitor),
}
"""Help and options by name; ``kwsd.ctl.NAME.run`` runs it."""


def add_commands(commands: Any) -> None:
    """Add them to the commands of ``kwsctl``."""
    for name, (help_text, add_arguments) in COMMANDS.items():
        parser = commands.add_parser(name, help=help_text)
        add_arguments(parser)
        parser.set_defaults(run=partial(_run, name))


def _run(name: str, options: argparse.Namespace) -> int:
    return int(importlib.import_module(f"kwsd.ctl.{name}").run(options))
