"""`kwsmodel export`: a package's network in the format of another runtime, into the package."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kwsd.errors import EX_OK, ModelError, RuntimeUnavailable, UsageError
from kwsd.export.adopt import NCNN_TOLERANCE, adopt_ncnn
from kwsd.model.amend import amended_place
from kwsd.model.find import find_package
from kwsd.model.package import ModelPackage, load_package
from kwsd.model.verify import verify
from kwsd.runtime.ncnn import NcnnRuntime
from kwsd.runtime.ncnn_manifest import NCNN_MANIFEST_FILE, PARAM_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    # A private name, so not needed at run time.
    from argparse import _SubParsersAction

DESCRIPTION = f"""\
Writes the network of a package for NCNN: {PARAM_FILE}, {WEIGHTS_FILE} and their manifest
{NCNN_MANIFEST_FILE} go into the package. It computes the same whole numbers as the int8 network,
in float32. Where ncnn is installed, the package's recorded steps are run on it.
"""

EPILOG = """\
example:
  kwsmodel export computer --format ncnn
  kwsd --replay words.wav --set 'runtime.order=["ncnn","litert"]'

exit codes: 0 the files are in the package; 64 usage; 65 the network cannot be exported, or
NCNN does not reproduce the recorded steps (the package stays as it was written); 66 package
missing; 73 output cannot be written
"""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the program's parser."""
    parser = subparsers.add_parser(
        "export",
        help="the network in the format of another runtime, into the package",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("name", metavar="MODEL", help="model package: a name or a folder")
    parser.add_argument("--format", choices=("ncnn",), required=True, help="of which runtime")
    parser.add_argument(
        "--tolerance",
        type=int,
        default=NCNN_TOLERANCE,
        metavar="UNITS",
        help="largest difference from the recorded steps that the runtime may show, in stored "
        "units, 0 to 127 (%(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write the package with the files there; default: into the package itself, for one "
        "that came with kwsd a copy among the user's models",
    )


def run(args: argparse.Namespace) -> int:
    """Export; gives the exit code."""
    if not 0 <= args.tolerance <= 127:
        raise UsageError(f"--tolerance {args.tolerance}: must be from 0 to 127")
    package = load_package(find_package(args.name))
    done = adopt_ncnn(package, args.tolerance, args.out or amended_place(package))
    print(f"{done.path}: {PARAM_FILE}, {WEIGHTS_FILE} and {NCNN_MANIFEST_FILE} are in the package")
    print(_proof(done, args.tolerance))
    return EX_OK


def _proof(package: ModelPackage, tolerance: int) -> str:
    """How far NCNN is from the recorded steps, where it is installed."""
    runtime = NcnnRuntime()
    probe = runtime.probe()
    if not probe.available:
        return (
            f"not proven: {probe.reason}; kwsd proves it at every start and runs on litert if not"
        )
    try:
        session = runtime.open(package)
    except RuntimeUnavailable as error:
        raise ModelError(f"the files are refused: {error}") from None
    try:
        worst = verify(package, session, tolerance)
    finally:
        session.close()
    return (
        f"proven: {probe.reason} reproduces {package.vectors.steps} recorded steps, largest "
        f"difference {worst}, allowed {tolerance}"
    )
