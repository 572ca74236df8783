"""How benchmarks end that refuse what was asked wrongly."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from kwsd.errors import KwsdError


def ended(
    name: str, run: Callable[[argparse.Namespace], int | None], args: argparse.Namespace
) -> int:
    """Run a benchmark; gives the exit code, and a line for what was asked wrongly."""
    try:
        return run(args) or 0
    except KwsdError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
