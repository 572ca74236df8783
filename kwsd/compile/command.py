"""`kwsmodel compile`: a package's network to a graph of the AIPU, as far as the vendor lets us."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kwsd.assemble import runtime_options
from kwsd.compile.adopt import adopt_graph
from kwsd.compile.build import COMPILER, find_compiler, run_compiler
from kwsd.compile.calibration import record_steps
from kwsd.compile.configuration import COMPASS_FILE, SDK2021_FILE, check_target
from kwsd.compile.kit import write_kit
from kwsd.compile.outline import read_outline
from kwsd.compile.rules import findings
from kwsd.config import Config, load_config
from kwsd.errors import EX_OK, EX_UNAVAILABLE, ModelError, UsageError
from kwsd.model.amend import amended_place
from kwsd.model.find import find_package
from kwsd.model.package import ModelPackage, load_package
from kwsd.runtime.aipu.manifest import GRAPH_FILE, MANIFEST_FILE, TARGET
from kwsd.runtime.aipu.runtime import AipuRuntime, AipuSettings
from kwsd.runtime.failure import RuntimeFailure

if TYPE_CHECKING:
    # A private name, so not needed at run time.
    from argparse import _SubParsersAction

DESCRIPTION = f"""\
Writes a folder with everything that {COMPILER} needs: network, configurations of both generations,
calibration steps. Where {COMPILER} is installed it is run, and the graph goes into the package as
{GRAPH_FILE} with its manifest {MANIFEST_FILE}. Elsewhere: copy the folder, compile there, come
back with --graph.
"""

EPILOG = """\
example:
  kwsmodel compile computer --recording kitchen.wav
  kwsmodel compile computer --graph computer.Z1_0701/aipu.bin

exit codes: 0 the graph is in the package; 64 usage; 65 network, recording or graph cannot be used;
66 file missing; 69 the folder is written, but the compiler is not installed here;
73 output cannot be written; 78 configuration, or a recording without its channels
"""

CONFIGURATIONS = {"compass": COMPASS_FILE, "2021": SDK2021_FILE}


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the program's parser."""
    parser = subparsers.add_parser(
        "compile",
        help="everything that the AIPU compiler needs, and its graph into the package",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("name", metavar="NAME", help="model package: a name or a folder")
    parser.add_argument("--target", default=TARGET, help="target of the compiler (%(default)s)")
    parser.add_argument(
        "--recording",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="recordings to take calibration steps from; default: the package's vectors",
    )
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="folder for the compiler (NAME.TARGET)"
    )
    parser.add_argument(
        "--sdk",
        choices=sorted(CONFIGURATIONS),
        help="generation of the tools that are installed here (compass)",
    )
    parser.add_argument(
        "--graph", type=Path, metavar="FILE", help="take this graph in; nothing is compiled"
    )
    parser.add_argument(
        "--tolerance",
        type=int,
        metavar="UNITS",
        help="largest difference from the vectors that is accepted, 0 to 127 (the package's)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="write the package with the graph there; default: into the package itself, for one "
        "that came with kwsd a copy among the user's models",
    )


def run(args: argparse.Namespace) -> int:
    """Compile or take in; gives the exit code."""
    if args.tolerance is not None and not 0 <= args.tolerance <= 127:
        raise UsageError(f"--tolerance {args.tolerance}: must be from 0 to 127")
    graph: Path | None = args.graph
    for option in ("recording", "work", "sdk"):
        if graph is not None and getattr(args, option):
            raise UsageError(f"--{option} does not go with --graph: a graph is taken in as it is")
    check_target(args.target)
    config = load_config()
    package = load_package(find_package(args.name))
    if graph is None:
        graph = _compile(args, package, config)
    if graph is None:
        return EX_UNAVAILABLE
    tolerance = package.vectors.tolerance if args.tolerance is None else args.tolerance
    folder = args.output or amended_place(package)
    done = adopt_graph(package, graph, args.target, tolerance, folder)
    print(f"{done.package.path}: {GRAPH_FILE} and {MANIFEST_FILE} are in the package")
    print("builder of the compiler: " + ".".join(map(str, done.builder)))
    if done.requantised:
        print("quantised again by the compiler: " + ", ".join(done.requantised))
    print(_proof(done.package, runtime_options(config.runtime).aipu))
    return EX_OK


def _compile(args: argparse.Namespace, package: ModelPackage, config: Config) -> Path | None:
    found = findings(
        read_outline(package.network), [(pair.input, pair.output) for pair in package.states]
    )
    if found:
        first = found[0]
        raise ModelError(
            f"{package.name} cannot be compiled, {len(found)} findings: {first.reason}: "
            f"{first.where}: {first.text}; kwsmodel check {args.name} lists all"
        )
    steps = record_steps(package, args.recording, config)
    folder = args.work or Path(f"{package.name}.{args.target}")
    write_kit(folder, package, args.target, steps)
    print(f"{folder}: network, configurations and {len(steps[package.feature_input])} steps")
    compiler = find_compiler()
    if compiler is None:
        print(
            f"{COMPILER} is not installed here: copy {folder} to the machine with the vendor's "
            f"tools and follow its README.txt; then: kwsmodel compile {args.name} "
            f"--target {args.target} --graph aipu.bin"
        )
        return None
    return run_compiler(compiler, folder, CONFIGURATIONS[args.sdk or "compass"])


def _proof(package: ModelPackage, settings: AipuSettings) -> str:
    """Whether the graph computes the vectors, where there is a device to ask."""
    try:
        AipuRuntime(settings).open(package).close()
    except RuntimeFailure as failure:
        return f"not proven: {failure}; kwsd proves it at every start and runs on the CPU if not"
    return "proven: the AIPU of this machine reproduces the package's vectors"
