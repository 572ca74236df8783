"""Pieces of a training that know nothing of each other, at once in processes of their own.

A training of a network this small keeps one core busy and no more. Nothing is handed back: each
piece leaves a file, from which whoever asks for it again goes on. So a process that ends early,
for want of memory or by someone's hand, costs time and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Collection, Mapping
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import TypeVar

import torch

from kwsd.errors import OutputError
from kwsd.output_file import OutputFile
from kwsd.progress import Report
from kwsd.termination import Terminated, held_back, raise_on_terminate
from kwsd.train.fit import training_device
from kwsd.worker_pool import end_with_parent

EX_UNDONE = 1
GRACE_S = 10.0
"""How long a process may take to put away what it is writing."""

Result = TypeVar("Result")
Piece = Callable[[Report], object]
"""Leaves a file when it is done, and is done at once where that file is."""


def shared_out(pieces: int, workers: int) -> int:
    """How many of some pieces are worked on at once: a GPU is not shared out."""
    return min(pieces, workers) if training_device().type == "cpu" else 1


def kept(place: Path, piece: Callable[[Report], Result]) -> Callable[[Report], Result]:
    """The piece that leaves its result in a file, and takes it from there the next time.

    Where the file cannot be written the work is done again.

    Parameters
    ----------
    place : Path
        The file, of this run alone: it is believed.
    piece : callable
        Its result can be pickled.
    """

    def once(report: Report) -> Result:
        if place.is_file():
            result: Result = pickle.loads(place.read_bytes())
            return result
        result = piece(report)
        try:
            with OutputFile(place) as unfinished:
                unfinished.partial.write_bytes(pickle.dumps(result))
        except (OSError, OutputError) as error:
            report(f"not kept: {error}")
        return result

    return once


def work_ahead(pieces: Mapping[str, Piece], at_once: int, report: Report) -> None:
    """Do pieces at once; what would be done alone is left to who asks for it.

    An interrupt ends the processes, and so does the end of this one. What a piece raises is told
    and not raised here: it is raised again where the piece is asked for.

    Parameters
    ----------
    pieces : mapping of str to callable
        By name; each is given a report of its own.
    at_once : int
        How many processes there may be.
    report : callable
        Gets their lines, each behind the name of its piece.
    """
    names = list(pieces)
    for first in range(0, len(names), at_once):
        some = names[first : first + at_once]
        if len(some) > 1:
            _work_at_once({name: pieces[name] for name in some}, report)


def _work_at_once(pieces: Mapping[str, Piece], report: Report) -> None:
    # Forked: they share the pools, a gigabyte, instead of reading them once more.
    context = multiprocessing.get_context("fork")
    processes: dict[str, ForkProcess] = {}
    try:
        with held_back():
            for name, piece in pieces.items():
                process = context.Process(target=_work, args=(name, piece, report))
                try:
                    process.start()
                except OSError as error:
                    report(f"{name}: no process for it ({error.strerror}), it is done here later")
                    continue
                processes[name] = process
        for process in processes.values():
            process.join()
    finally:
        with held_back():
            _end(processes.values())
    for name, process in processes.items():
        if process.exitcode:
            report(f"{name}: its process ended early, what it left undone is done here")


def _end(processes: Collection[ForkProcess]) -> None:
    for process in processes:
        process.terminate()
    deadline_s = time.monotonic() + GRACE_S
    for process in processes:
        process.join(max(0.0, deadline_s - time.monotonic()))
    for process in processes:
        process.kill()
        process.join()


def _work(name: str, piece: Piece, report: Report) -> None:
    try:
        # A terminal interrupts all of them at once; it is the parent's to end the others.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise_on_terminate()
        end_with_parent()
        # Threads do not survive a fork: a parent that computed with several would be waited for.
        torch.set_num_threads(1)
        piece(lambda line: report(f"{name}: {line}"))
    except Exception as error:
        report(f"{name}: {type(error).__name__}: {error}")
        os._exit(EX_UNDONE)
    except Terminated:
        os._exit(EX_UNDONE)
