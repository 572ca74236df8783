"""``kwsctl doctor``: what is wrong with the audio, and what to do next."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kwsd.block import FloatArray
from kwsd.config_schema import KEYS
from kwsd.config_value import check_value, parse_text, to_toml
from kwsd.errors import EX_DATAERR, EX_OK, AudioError, OutputError, UsageError

if TYPE_CHECKING:
    from kwsd.doctor.examine import Examination

PLAY_AT_LEAST_S = 6.0


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording and the channel map it is judged by."""

    samples: FloatArray
    rate_hz: int
    mics: tuple[int, ...]
    reference: tuple[int, ...]
    device: str
    """Empty where it came from a file."""


def _check_free(place: Path) -> None:
    try:
        there = place.exists()
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror or error}") from None
    if there:
        raise OutputError(f"{place} is there already; name another file")


def run(options: argparse.Namespace) -> int:
    """Listen or read, judge, print; 65 where something is wrong enough to keep words unheard."""
    from kwsd.doctor.examine import LEAST_S, Verdict, examine
    from kwsd.doctor.report import as_table

    if options.write_profile is not None:
        _check_free(options.write_profile)
    if not LEAST_S <= options.seconds <= 600.0:
        raise UsageError(f"--seconds {options.seconds:g}: must be {LEAST_S:g} to 600")
    if options.file is not None and options.play:
        raise UsageError("--play needs the running service; leave --file away")
    heard = _listen(options) if options.file is None else _read(options)
    try:
        found = examine(heard.samples, heard.rate_hz, heard.mics, heard.reference)
    except ValueError as error:
        raise AudioError(str(error)) from None
    if options.json:
        document = {
            "worst": found.worst,
            "mics": found.mics,
            "reference": found.reference,
            "map_heard": found.map_heard,
            "findings": [asdict(finding) for finding in found.findings],
            "channels": [asdict(facts) for facts in found.facts],
            "loopback": None if found.loopback is None else asdict(found.loopback),
        }
        print(json.dumps(document, indent=2))
    else:
        print(as_table(found), end="")
    if options.write_profile is not None:
        _write_profile(options.write_profile, heard, found)
        if not options.json:
            # Whole, since the service starts in another folder.
            whole = to_toml(str(options.write_profile.resolve()))
            print(f"{options.write_profile}: use it by audio.profile = {whole}")
    return EX_DATAERR if found.worst is Verdict.FAIL else EX_OK


def _read(options: argparse.Namespace) -> Heard:
    from kwsd.source.channels import map_channels
    from kwsd.source.file import open_file

    mics, reference = _channels("mics", options.mics), _channels("reference", options.reference)
    source = open_file(str(options.file), mics, reference)
    try:
        info, samples = source.info, source.samples()
    finally:
        source.close()
    if not np.isfinite(samples).all():
        raise AudioError(f"{options.file} holds values that are not numbers")
    chosen = map_channels(info.channels, mics, reference)
    found = () if chosen.reference is None else (chosen.reference,)
    return Heard(samples, info.sample_rate_hz, chosen.mics, found, "")


def _listen(options: argparse.Namespace) -> Heard:
    from kwsd.ctl.playing import play_chirps
    from kwsd.ctl.raw_stream import RawStream
    from kwsd.source.channels import map_channels

    seconds = max(options.seconds, PLAY_AT_LEAST_S) if options.play else options.seconds
    stream = RawStream(options.control)
    what = stream.format
    mics, reference = _channels("mics", options.mics), _channels("reference", options.reference)
    chosen = map_channels(
        what.channels,
        what.mics if mics is None else mics,
        what.reference if reference is None else reference,
    )
    with ExitStack() as stack:
        if options.play:
            stack.enter_context(play_chirps(options.play_device, seconds))
        if not options.json:
            doing = "playing sweeps" if options.play else "speak now and then"
            print(f"listening to {what.device} for {seconds:g} s: {doing}", flush=True)
        samples = np.concatenate([*stream.pieces(seconds)])
    found = () if chosen.reference is None else (chosen.reference,)
    return Heard(samples, what.rate_hz, chosen.mics, found, what.device)


def _channels(name: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    key = KEYS[f"audio.{name}"]
    try:
        value = check_value(key, parse_text(key, text), f"--{name}")
    except Exception:
        raise UsageError(f"--{name} {text}: must be channel numbers such as 0,1") from None
    assert value is None or isinstance(value, tuple)
    return value


def _write_profile(path: Path, heard: Heard, found: Examination) -> None:
    from kwsd.doctor.channel import Life

    if not any(found.facts[channel].life is Life.LIVE for channel in found.mics):
        raise AudioError(f"no microphone gave any sound, so {path} is not written: see above")
    comment, evidence = "# Written by kwsctl doctor from what was heard.", "board"
    if not found.map_heard:
        # Under the name of a finding a guess would never be looked at again.
        comment = (
            "# Written by kwsctl doctor. Which channel is the loudspeaker's was not to be heard: "
            "this is the map\n# that was in use. kwsctl doctor --play finds it."
        )
        evidence = "documents"
    lines = [
        comment,
        'description = "found by kwsctl doctor"',
        f"evidence = {to_toml(evidence)}",
        "",
        "[audio]",
    ]
    if heard.device:
        lines.append(f"device = {to_toml(heard.device)}")
    lines += [
        f"rate_hz = {heard.rate_hz}",
        f"channels = {heard.samples.shape[1]}",
        f"mics = {to_toml(found.mics)}",
        f"reference = {to_toml(found.reference)}",
    ]
    made = False
    try:
        with path.open("x", encoding="utf-8") as stream:
            made = True
            stream.write("\n".join(lines) + "\n")
    except OSError as error:
        if made:  # half a profile would be in the way of the next
            path.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
