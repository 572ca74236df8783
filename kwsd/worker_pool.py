"""Processes that share a piece of work, and none that outlives the one who started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, TypeVar

from kwsd.errors import RuntimeUnavailable
from kwsd.termination import held_back

EX_ORPHANED = 1

Job = TypeVar("Job")
Result = TypeVar("Result")


class Workers:
    """What processes of a pool are given to do.

    Parameters
    ----------
    pool : ProcessPoolExecutor
        The pool.
    """

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def map(
        self, work: Callable[[Job], Result], jobs: Iterable[Job], chunksize: int = 1
    ) -> Iterator[Result]:
        """Do `work` for each job; all of them are handed over at once.

        `Executor.map` may be interrupted while it holds a lock that the pool's own thread wants:
        the interrupt is raised between a condition's `__enter__` and the block, nobody releases
        it, and the pool never ends. So nothing is raised while a lock of the pool is held, and
        the waiting is done at a queue that has none.

        Parameters
        ----------
        work : callable
            Of a module's top level.
        jobs : iterable
            What it is given, one at a time.
        chunksize : int
            Jobs that a process takes at once.

        Returns
        -------
        iterator
            One result a job, in the order of the jobs.
        """
        waiting = list(jobs)
        done: SimpleQueue[int] = SimpleQueue()
        futures = []
        with held_back():
            for turn, first in enumerate(range(0, len(waiting), chunksize)):
                future = self._pool.submit(_do, work, waiting[first : first + chunksize])
                future.add_done_callback(lambda _, turn=turn: done.put(turn))  # type: ignore[misc]
                futures.append(future)
        return _in_order(futures, done)


def _in_order(futures: list[Future[list[Result]]], done: SimpleQueue[int]) -> Iterator[Result]:
    ended = set()
    futures.reverse()
    for turn in range(len(futures)):
        while turn not in ended:
            ended.add(done.get())
        with held_back():
            results = futures.pop().result()  # popped: what was handed on is not kept
        yield from results


@contextmanager
def worker_pool(
    workers: int,
    initializer: Callable[..., None],
    arguments: tuple[Any, ...],
    context: BaseContext | None = None,
) -> Iterator[Workers]:
    """Pool of processes for work that a user may stop at any time.

    What is being worked on when the work is stopped is finished, what waits is not begun. The
    processes leave interrupts to the parent and end with it, however it ends: those of a bare
    `ProcessPoolExecutor` wait for work for ever when their parent was killed.

    Parameters
    ----------
    workers : int
        Number of processes.
    initializer : callable
        Runs once in each process. What it raises is raised by the first result that is asked for.
    arguments : tuple
        What it is given.
    context : BaseContext, optional
        How processes are started; None takes the platform's way.

    Yields
    ------
    Workers
        Takes the work.

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
        yield Workers(pool)
    except BrokenProcessPool:
        raise RuntimeUnavailable(
            f"one of {workers} processes ended early, perhaps for want of memory: "
            "use fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Work that only needs the processes to be there."""


_unfit: Exception | None = None
"""Why this process can do no work."""


def _do(work: Callable[[Job], Result], jobs: list[Job]) -> list[Result]:
    if _unfit is not None:
        raise _unfit
    return [work(job) for job in jobs]


def _start(initializer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    # A terminal interrupts all of them at once; it is the parent's to say what becomes of the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A forked process has the parent's handler, which is not about it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    try:
        initializer(*arguments)
    except Exception as error:
        # Raised here it would end the process, and a package that is missing look like a crash.
        global _unfit
        _unfit = error


def end_with_parent() -> None:
    """From now on this process ends when the one that started it does, however that ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(EX_ORPHANED)
