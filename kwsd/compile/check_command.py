"""`kwsmodel check`: would the AIPU compiler read this network?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kwsd.compile.outline import Outline, read_outline
from kwsd.compile.rules import Finding, findings, named_states
from kwsd.errors import EX_DATAERR, EX_OK
from kwsd.model.find import find_package, is_file
from kwsd.model.package import load_package

if TYPE_CHECKING:
    # A private name, so not needed at run time.
    from argparse import _SubParsersAction

DESCRIPTION = """\
Lists what the front end of the AIPU compiler would not read: operators, shapes, types, and states
that do not go round unchanged. Works on any .tflite file and on model packages.
What passes may still be refused by the vendor's compiler: no list for the Z1 is public.
"""

EXIT_CODES = """\
exit codes: 0 nothing found; 64 usage; 65 something found, or the file is no network;
66 file missing
"""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the program's parser."""
    parser = subparsers.add_parser(
        "check",
        help="operators and tensors that the AIPU compiler does not read",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "model", metavar="MODEL", help="a .tflite file, or a model package: a name or a folder"
    )


def run(args: argparse.Namespace) -> int:
    """Print what was found; gives the exit code."""
    outline, found = check(args.model)
    for finding in found:
        print(f"{finding.reason}: {finding.where}: {finding.text}")
    names = sorted({operator.name for operator in outline.operators})
    print(
        f"{args.model}: {len(outline.operators)} operators ({', '.join(names)}), "
        f"{len(outline.inputs)} inputs, {len(outline.outputs)} outputs: "
        + (f"{len(found)} findings" if found else "nothing stands in the way")
    )
    return EX_DATAERR if found else EX_OK


def check(model: str) -> tuple[Outline, list[Finding]]:
    """Outline of a network and what stands in its way.

    Raises
    ------
    MissingFileError
        It is not there.
    ModelError
        It is no network, or the package must not be used.
    """
    path = Path(model)
    if is_file(path):
        outline = read_outline(path)
        return outline, findings(outline, named_states(outline))
    package = load_package(find_package(model))
    outline = read_outline(package.network)
    return outline, findings(outline, [(pair.input, pair.output) for pair in package.states])
