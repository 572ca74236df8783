"""``kwsctl record``: what the service hears, all channels, into a file that it can replay."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from shlex import quote

from kwsd.ctl.audio_writer import AudioWriter
from kwsd.ctl.raw_stream import RawStream
from kwsd.errors import EX_OK, KwsdError, OutputError, UsageError
from kwsd.termination import Terminated, held_back


def run(options: argparse.Namespace) -> int:
    """Record; what was written is kept and valid whatever ends it, SIGKILL left aside."""
    if options.seconds is not None and not 0.0 < options.seconds <= 86_400.0:
        raise UsageError(f"--seconds {options.seconds:g}: must be above 0 and at most 86400")
    stream = RawStream(options.control)
    what = stream.format
    writer = AudioWriter(options.file, what.rate_hz, what.channels, what.sample_bits, options.force)
    channels = f"{what.channels} channel{'s' if what.channels > 1 else ''}"
    code = EX_OK
    try:
        # A shutdown sends two signals at once, a closed terminal one twice: none may cut off what
        # the one before has begun.
        with held_back() as came, writer:
            print(
                f"recording {what.device}: {channels}, {what.rate_hz} Hz; Ctrl-C ends it",
                flush=True,
            )
            for piece in stream.pieces(options.seconds, ended=lambda: bool(came)):
                writer.write(piece)
    except KeyboardInterrupt:
        pass
    except Terminated as end:
        code = end.exit_code
    except KwsdError as error:
        kept_s = writer.frames / what.rate_hz
        raise type(error)(f"{error}; {options.file} holds {kept_s:.1f} s up to there") from None
    try:
        _say_what_it_holds(options.file, writer.frames, stream)
    except (OSError, OutputError):
        # A terminal that was closed takes no more.
        if code == EX_OK:
            raise
    return code


def _say_what_it_holds(path: Path, frames: int, stream: RawStream) -> None:
    if stream.holes:
        print(
            f"kwsctl: warning: audio was missing {stream.holes} times; the parts stand side by "
            "side in the file",
            file=sys.stderr,
        )
    print(f"{path}: {frames / stream.format.rate_hz:.1f} s")
    print(f"replay it: kwsd --replay {quote(str(path))} {stream.format.settings}", flush=True)
