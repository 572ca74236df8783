"""`kwsmodel bench`: a model, or the networks that boards are compared by, on every runtime here."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from kwsd.bench.cost import GraphCost, Roofline, graph_cost
from kwsd.bench.machine import copy_bandwidth_gbps, runtime_roofline, z1_roofline
from kwsd.bench.measure import measure
from kwsd.bench.networks import NETWORKS
from kwsd.bench.report import Row, as_values, print_tables
from kwsd.bench.subject import RUNTIMES, Subject, size_bytes, write_table
from kwsd.compile.outline import read_outline
from kwsd.errors import ModelError, RuntimeUnavailable, UsageError
from kwsd.model.find import find_package
from kwsd.model.package import load_package

LONGEST_S = 3600.0

KNOWN_RUNTIMES = sorted({name for names in RUNTIMES.values() for name in names})


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "bench",
        help="measure models on every runtime",
        description="Latency, CPU, memory and size of models on every runtime that is installed, "
        "beside multiply-accumulates, bytes moved and what the hardware allows. Each measurement "
        "runs in its own process on random input; weights of the named networks are random.",
        epilog="networks: " + ", ".join(NETWORKS),
    )
    parser.add_argument(
        "model",
        nargs="*",
        help="package, .tflite file or name of a network (default: all networks)",
    )
    parser.add_argument(
        "--runtime",
        action="append",
        choices=KNOWN_RUNTIMES,
        help="only this one; repeatable (default: all that can run the model)",
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--inferences", type=int, default=5000, help="at most, of each measurement")
    parser.add_argument("--threads", type=int, default=1, help="of LiteRT and NCNN; 1 for packages")
    parser.add_argument(
        "--z1-bandwidth-gbps",
        type=float,
        metavar="GB/S",
        help="memory bandwidth of your board, for the AIPU's roofline",
    )
    parser.add_argument("--json", action="store_true", help="plain values instead of tables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run `kwsmodel bench`; gives the exit code."""
    for key, value in (
        ("--seconds", args.seconds),
        ("--inferences", args.inferences),
        ("--threads", args.threads),
        ("--z1-bandwidth-gbps", args.z1_bandwidth_gbps),
    ):
        if value is not None and not value > 0:
            raise UsageError(f"{key} {value:g}: more than 0 is needed")
    if args.seconds > LONGEST_S:
        raise UsageError(f"--seconds {args.seconds:g}: at most {LONGEST_S:g} are allowed")
    if args.threads > 64:
        raise UsageError(f"--threads {args.threads}: 1 to 64 are allowed")
    rows: list[Row] = []
    costs: dict[str, GraphCost] = {}
    with tempfile.TemporaryDirectory() as folder:
        # What is named twice is measured once.
        names = list(dict.fromkeys(args.model)) or list(NETWORKS)
        found = [_look_up(name, Path(folder)) for name in names]
        labels = [label for label, _, _ in found]
        if len(set(labels)) < len(labels):
            labels = names
        for name, label, (_, kind, network) in zip(names, labels, found, strict=True):
            if kind == "package" and args.threads > 1:
                raise UsageError(
                    f"--threads {args.threads}: package {name} runs as in the daemon, with one "
                    "thread; name its model.tflite to try more"
                )
            costs[label] = graph_cost(read_outline(network))
            wanted = [r for r in RUNTIMES[kind] if not args.runtime or r in args.runtime]
            if not wanted:
                raise UsageError(
                    f"{name}: none of {', '.join(args.runtime)} can run it; possible are "
                    + ", ".join(RUNTIMES[kind])
                )
            for subject in _subjects(name, kind, wanted, Path(folder), args.threads):
                rows.append(_measured(label, subject, args.seconds, args.inferences))
                print(f"measured: {label} on {rows[-1].runtime}", file=sys.stderr)
        ran = dict.fromkeys(row.runtime for row in rows if row.measured)
        roofs = _roofs(list(ran), Path(folder), args.threads, args.seconds)
    roofs.append(z1_roofline(args.z1_bandwidth_gbps))
    if args.json:
        print(json.dumps(as_values(rows, costs, roofs), indent=2))
    else:
        print_tables(rows, costs, roofs, Console(width=None if sys.stdout.isatty() else 140))
    return 0 if any(row.measured for row in rows) else RuntimeUnavailable.exit_code


def _roofs(runtimes: list[str], folder: Path, threads: int, seconds: float) -> list[Roofline]:
    """Ceilings here of the runtimes that ran, without the AIPU, which has its own."""
    bandwidth_gbps = copy_bandwidth_gbps()
    roofs = []
    for runtime in runtimes:
        if runtime != "aipu":
            place = folder / f"ceiling-{runtime}"
            place.mkdir()
            roofs.append(runtime_roofline(runtime, place, threads, seconds, bandwidth_gbps))
            print(f"measured: ceiling of {runtime}", file=sys.stderr)
    return roofs


def _look_up(name: str, folder: Path) -> tuple[str, str, Path]:
    """Label, kind and int8 network of what the user wrote."""
    if name in NETWORKS:
        subject = write_table(name, "litert", folder, 1)
        return name, "table", subject.path
    if name.endswith(".tflite"):
        return Path(name).stem, "tflite", Path(name)
    package = load_package(find_package(name))
    return package.name, "package", package.network


def _subjects(
    name: str, kind: str, runtimes: list[str], folder: Path, threads: int
) -> Iterator[Subject]:
    for runtime in runtimes:
        if kind == "table":
            place = folder / f"{name}-{runtime}"
            place.mkdir()
            yield write_table(name, runtime, place, threads)
        else:
            path = Path(name) if kind == "tflite" else find_package(name)
            yield Subject(kind, path, runtime, threads)


def _measured(label: str, subject: Subject, seconds: float, most: int) -> Row:
    try:
        found = measure(subject, seconds, most)
    except (RuntimeUnavailable, ModelError) as error:
        return Row(label, subject.runtime, None, None, str(error))
    return Row(label, subject.runtime, size_bytes(subject), found, "")
