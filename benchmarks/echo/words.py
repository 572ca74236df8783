"""Make wake words for the third-party judge with the project's own synthesizer.

    python -m benchmarks.echo.words --out WORDS [--cache CACHE] [--count 90]

Needs the train extra. Voices, speeds and accents vary; see docs/training.md for the synthesizer.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.ending import ended
from kwsd.train.corpus import build_corpus


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("cache/kokoro"))
    parser.add_argument("--phrase", default="alexa")
    parser.add_argument("--count", type=int, default=90)
    return ended("words", _run, parser.parse_args())


def _run(options: argparse.Namespace) -> None:
    for _ in build_corpus(
        options.phrase, options.out, options.cache, 3, {"positive": options.count}
    ):
        pass


if __name__ == "__main__":
    sys.exit(main())
