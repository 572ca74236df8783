"""`kwsmodel run`: the cut network, part after part, against the recorded steps of the uncut one."""

from __future__ import annotations

import argparse
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from kwsd.cut.chain import CutChain, Tensors
from kwsd.cut.manifest import CutManifest
from kwsd.errors import (
    EX_DATAERR,
    EX_OK,
    MissingFileError,
    ModelError,
    OutputError,
    UsageError,
    first_line,
)
from kwsd.model.verify import UNREADABLE
from kwsd.model.write import archive
from kwsd.output_file import OutputFile

DESCRIPTION = """\
Runs a cut network on this machine's CPU. Without --input the recorded steps of the uncut network
are repeated and every output must be the same to the last bit. With --input FILE.npz (arrays by
input, [steps, *shape]) states that are not in the file go round by themselves, from zero.
"""
EXIT_CODES = """\
exit codes: 0 done, all outputs equal; 64 usage, or --output is what is read; 65 an output
differs, or a file is not what it should be; 66 file missing; 73 the output cannot be written
"""
LARGEST_CONTENT_BYTES = 256 << 20


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "run",
        help="execute a cut network",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cut", metavar="FOLDER", type=Path, help="made by kwsmodel cut")
    parser.add_argument("--input", type=Path, metavar="FILE", help=".npz with inputs")
    parser.add_argument("--output", type=Path, metavar="FILE", help=".npz for the outputs")
    parser.add_argument("--repeats", type=int, default=1, help="run the steps so often, for times")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run `kwsmodel run`; gives the exit code."""
    if args.repeats < 1:
        raise UsageError(f"--repeats {args.repeats}: a whole number from 1 is needed")
    chain = CutChain(args.cut)
    try:
        source = args.input or args.cut / chain.manifest.vectors
        if args.output is not None and os.path.realpath(args.output) == os.path.realpath(source):
            raise UsageError(f"--output {args.output} would replace what is read: name another")
        arrays = _load(source)
        for _ in range(args.repeats):
            outputs = _steps(chain, arrays, source)
        different = [] if args.input else _different(arrays, outputs)
        _report(chain)
    finally:
        chain.close()
    if args.output is not None:
        _store(args.output, outputs)
    for line in different:
        print(line)
    if args.input is None and not different:
        print("every output equals the uncut network's")
    return EX_DATAERR if different else EX_OK


def _load(path: Path) -> Tensors:
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(entry.file_size for entry in file.infolist())
        if size > LARGEST_CONTENT_BYTES:
            raise ValueError(f"unpacks to {size} bytes, allowed {LARGEST_CONTENT_BYTES}")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise ValueError(f"{name} in it is no array")
        return arrays
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file") from None
    except UNREADABLE as error:
        raise ModelError(f"{path} is no .npz of arrays: {first_line(error)}") from None


def _steps(chain: CutChain, arrays: Tensors, source: Path) -> Tensors:
    manifest = chain.manifest
    fed = {name: arrays[name] for name in manifest.inputs if name in arrays}
    held = _states(manifest, fed)
    missing = [name for name in manifest.inputs if name not in fed and name not in held]
    if missing:
        raise ModelError(f"{source}: no array {missing[0]!r}; inputs are {manifest.inputs}")
    for name, values in fed.items():
        tensor = manifest.tensors[name]
        if values.shape[1:] != tensor.shape or values.dtype != np.dtype(tensor.dtype):
            raise ModelError(
                f"{source}: {name} is {values.dtype} {list(values.shape)}, expected "
                f"{tensor.dtype} [steps, {', '.join(map(str, tensor.shape))}]"
            )
    lengths = {len(values) for values in fed.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ModelError(
            f"{source}: arrays of {sorted(lengths)} steps; one number above 0 is needed"
        )
    given: list[Tensors] = []
    for step in range(lengths.pop()):
        outputs = chain.step({**{name: values[step] for name, values in fed.items()}, **held})
        held = {first: outputs[last] for first, last in manifest.states if first in held}
        given.append(outputs)
    return {name: np.stack([outputs[name] for outputs in given]) for name in manifest.outputs}


def _states(manifest: CutManifest, fed: Tensors) -> Tensors:
    """States that go round by themselves, at real zero."""
    held: Tensors = {}
    for first, _ in manifest.states:
        if first not in fed:
            tensor = manifest.tensors[first]
            zero = tensor.zero_points[0] if tensor.zero_points else 0
            held[first] = np.full(tensor.shape, zero, tensor.dtype)
    return held


def _different(expected: Tensors, given: Tensors) -> list[str]:
    lines = []
    for name, values in given.items():
        want = expected.get(name)
        if want is None:
            lines.append(f"{name} is not among the recorded steps")
        elif (values.dtype, values.shape) != (want.dtype, want.shape):
            lines.append(
                f"{name} is {values.dtype} {list(values.shape)}, the uncut network's is "
                f"{want.dtype} {list(want.shape)}"
            )
        elif values.tobytes() != want.tobytes():
            with np.errstate(invalid="ignore"):
                off = np.abs(values.astype(np.float64) - want.astype(np.float64)).max()
            # Not a number, or too little beside the value, is a difference without a size.
            size = f" by up to {off:g}" if off > 0 else ""
            lines.append(f"{name} differs from the uncut network{size}")
    return lines


def _report(chain: CutChain) -> None:
    for part, times in zip(chain.manifest.parts, chain.times_s, strict=True):
        median_us = 1e6 * float(np.median(times))
        print(f"{part.name}: median {median_us:.1f} us on the CPU, {len(times)} runs")


def _store(path: Path, outputs: Tensors) -> None:
    with OutputFile(path) as place:
        try:
            place.partial.write_bytes(archive(outputs))
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from None
