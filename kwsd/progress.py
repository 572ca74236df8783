"""Progress, for people who wait: a bar for a long recording, lines for a long training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from kwsd.block import SAMPLE_RATE_HZ

LONG_S = 60.0
"""Recordings shorter than this are done before a bar is read."""

Advance = Callable[[int], None]
Report = Callable[[str], None]
"""Gets one line now and then."""


def silent(_: str) -> None:
    """A report that nobody reads."""


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


@contextmanager
def progress(title: str, duration_s: float | None) -> Iterator[Advance]:
    """Show a bar while the block runs, if that makes sense.

    Parameters
    ----------
    title : str
        Text before the bar.
    duration_s : float or None
        Length of the recording; without it there is no bar.

    Yields
    ------
    function
        To be called with the stream position in samples.
    """
    # Events on the same terminal would end up in the line of the bar.
    alone = _is_terminal(sys.stderr) and not _is_terminal(sys.stdout)
    if not alone or duration_s is None or duration_s < LONG_S:
        yield lambda sample: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(title), total=duration_s)
        yield lambda sample: bar.update(task, completed=sample / SAMPLE_RATE_HZ)
