"""``kwsctl record``: what the service hears, all channels, into a file that it can replay."""

from __future__ import annotations

import argparse
import sys

from kwsd.ctl.audio_writer import AudioWriter
from kwsd.ctl.raw_stream import RawStream
from kwsd.errors import EX_OK, KwsdError, UsageError


def run(options: argparse.Namespace) -> int:
    """Record; what was written is kept and valid whatever ends it."""
    if options.seconds is not None and not 0.0 < options.seconds <= 86_400.0:
        raise UsageError(f"--seconds {options.seconds:g}: must be above 0 and at most 86400")
    stream = RawStream(options.control)
    what = stream.format
    writer = AudioWriter(options.file, what.rate_hz, what.channels, what.sample_bits, options.force)
    channels = f"{what.channels} channel{'s' if what.channels > 1 else ''}"
    try:
        with writer:
            print(
                f"recording {what.device}: {channels}, {what.rate_hz} Hz; Ctrl-C ends it",
                flush=True,
            )
            for piece in stream.pieces(options.seconds):
                writer.write(piece)
    except KeyboardInterrupt:
        pass
    except KwsdError as error:
        kept_s = writer.frames / what.rate_hz
        raise type(error)(f"{error}; {options.file} holds {kept_s:.1f} s up to there") from None
    if stream.holes:
        print(
            f"kwsctl: warning: audio was missing {stream.holes} times; the parts stand side by "
            "side in the file",
            file=sys.stderr,
        )
    print(f"{options.file}: {writer.frames / what.rate_hz:.1f} s")
    print(f"replay it: kwsd --replay {options.file} {what.settings}")
    return EX_OK
