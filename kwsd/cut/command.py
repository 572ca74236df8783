"""`kwsmodel cut`: bodies for the AIPU, heads, tails and gaps for the CPU."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kwsd.compile.configuration import check_target
from kwsd.compile.outline import Outline, read_outline
from kwsd.compile.rules import CONTROL_FLOW, HIDDEN_STATE
from kwsd.cut.manifest import CutManifest
from kwsd.cut.partition import BODY, LEAST_MULTIPLIES, partition
from kwsd.cut.write import write_cut
from kwsd.errors import EX_DATAERR, EX_OK, ModelError, UsageError
from kwsd.model.find import find_package, is_file
from kwsd.model.package import load_package
from kwsd.model.verify import load_vectors

DESCRIPTION = """\
Divides an int8 network into parts that run one after the other: bodies whose operators the AIPU
compiler reads, and the rest for the CPU. Writes every part as a network of its own, the compiler's
configurations for each body, recorded steps of the uncut network and a manifest.
"""
EXIT_CODES = """\
exit codes: 0 cut; 64 usage; 65 nothing is left for the AIPU, or the network cannot be cut;
66 file missing; 73 the folder cannot be written
"""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "cut",
        help="divide a network between AIPU and CPU",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a .tflite file, or a model package: a name or a folder"
    )
    parser.add_argument("--out", type=Path, help="folder to write (default: NAME-cut)")
    parser.add_argument(
        "--min-multiplies",
        type=int,
        default=LEAST_MULTIPLIES,
        metavar="N",
        help="bodies with fewer multiply-accumulates stay on the CPU, since every job has a fixed "
        f"cost (default: {LEAST_MULTIPLIES})",
    )
    parser.add_argument("--target", default="Z1_0701", help="of the AIPU (default: Z1_0701)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run `kwsmodel cut`; gives the exit code."""
    if args.min_multiplies < 0:
        raise UsageError(f"--min-multiplies {args.min_multiplies}: 0 or more are allowed")
    check_target(args.target)
    path, fed = Path(args.model), None
    name = path.stem
    if not is_file(path) and path.suffix != ".tflite":
        package = load_package(find_package(args.model))
        path, name = package.network, package.name
        vectors = load_vectors(package)
        fed = {spec.name: vectors[spec.name] for spec in package.inputs}
    outline = read_outline(path)
    _refuse(args.model, outline)
    made = partition(outline, args.min_multiplies)
    for index, why in sorted(made.reasons.items()):
        print(f"cpu: operator {index} {outline.operators[index].name}: {why}")
    if not any(part.kind == BODY for part in made.parts):
        print(f"{args.model}: nothing is left for the AIPU; nothing was written")
        return EX_DATAERR
    out = args.out or Path(f"{name}-cut")
    manifest = write_cut(out, path.name, path.read_bytes(), outline, made, args.target, fed)
    print(_summary(out, manifest))
    return EX_OK


def _refuse(model: str, outline: Outline) -> None:
    """What cannot be divided: hidden state and control flow tie operators together."""
    tied = [
        f"operator {operator.index} {operator.name}"
        for operator in outline.operators
        if operator.name in HIDDEN_STATE | CONTROL_FLOW
    ]
    tied += [
        f"tensor {tensor.name or '(no name)'}" for tensor in outline.tensors if tensor.variable
    ]
    if tied:
        raise ModelError(
            f"{model}: {', '.join(tied)}: hidden state and control flow cannot be cut; "
            "export each state as an input and an output"
        )
    if not outline.operators:
        raise ModelError(f"{model}: a network without operators has nothing to cut")
    quantised = any(len(tensor.scales) > 0 for tensor in outline.tensors)
    if not quantised:
        raise ModelError(
            f"{model}: not quantised, the AIPU computes integers: export the network as int8"
        )


def _summary(out: Path, manifest: CutManifest) -> str:
    lines = [
        f"{part.name}: {len(part.operators)} operators, {part.multiplies} multiply-accumulates, "
        f"{len(part.inputs)} in, {len(part.outputs)} out"
        for part in manifest.parts
    ]
    lines.append(f"{out}: {len(manifest.parts)} parts; try it with kwsmodel run {out}")
    return "\n".join(lines)
