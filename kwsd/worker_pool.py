"""Processes that share a piece of work, and none that outlives the one who started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from kwsd.errors import RuntimeUnavailable
from kwsd.termination import held_back

EX_ORPHANED = 1


@contextmanager
def worker_pool(
    workers: int,
    initializer: Callable[..., None],
    arguments: tuple[Any, ...],
    context: BaseContext | None = None,
) -> Iterator[ProcessPoolExecutor]:
    """Pool of processes for work that a user may stop at any time.

    What is being worked on when the work is stopped is finished, what waits is not begun. The
    processes leave interrupts to the parent and end with it, however it ends: those of a bare
    `ProcessPoolExecutor` wait for work for ever when their parent was killed.

    Parameters
    ----------
    workers : int
        Number of processes.
    initializer : callable
        Runs once in each process.
    arguments : tuple
        What it is given.
    context : BaseContext, optional
        How processes are started; None takes the platform's way.

    Yields
    ------
    ProcessPoolExecutor
        The pool.

    Raises
    ------
    RuntimeUnavailable
        A process ended before its work was done.
    """
    pool = ProcessPoolExecutor(workers, context, _start, (initializer, arguments))
    # No `with`: its own shutdown would take back the cancelling before the pool has seen it.
    try:
        with held_back():
            pool.submit(_begin)  # where processes are forked, this forks all of them
        yield pool
    except BrokenProcessPool:
        raise RuntimeUnavailable(
            f"one of {workers} processes ended early, perhaps for want of memory: "
            "use fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Work that only needs the processes to be there."""


def _start(initializer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    # A terminal interrupts all of them at once; it is the parent's to say what becomes of the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A forked process has the parent's handler, which is not about it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    initializer(*arguments)


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(EX_ORPHANED)
