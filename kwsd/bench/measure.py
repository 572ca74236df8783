"""One measurement in a process of its own: no other one is in its memory or its caches."""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from kwsd.bench.subject import Subject, open_subject
from kwsd.errors import KwsdError, RuntimeUnavailable

WARM_UP = 5
LONGEST_START_S = 300.0


@dataclass(frozen=True)
class Measured:
    """What was found."""

    median_ms: float
    """Wall time of one inference, input and output included."""

    p99_ms: float
    """99th percentile; with fewer than 100 inferences the longest but little."""

    cpu_ms: float
    """CPU time of one inference, all threads together: mean."""

    memory_mib: float
    """Resident memory that loading and the first inferences added."""

    inferences: int
    """How many were timed."""


def measure(subject: Subject, seconds: float, most: int) -> Measured:
    """Run a subject until a time or a number of inferences is over.

    Parameters
    ----------
    subject : Subject
        What and where.
    seconds : float
        Of timed inferences; at least three are made.
    most : int
        Of them.

    Raises
    ------
    RuntimeUnavailable
        It cannot run here; the message says why.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, subject, seconds, most), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(LONGEST_START_S + seconds):
            raise RuntimeUnavailable(f"{subject.path.name} on {subject.runtime}: no answer in time")
        answer = ours.recv()
    except EOFError:
        raise RuntimeUnavailable(
            f"{subject.path.name} on {subject.runtime}: its process ended without an answer"
        ) from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(answer, str):
        raise RuntimeUnavailable(answer)
    assert isinstance(answer, Measured)
    return answer


def _resident_mib() -> float:
    with open("/proc/self/statm", encoding="ascii") as line:
        return int(line.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _child(pipe: Connection, subject: Subject, seconds: float, most: int) -> None:
    try:
        before = _resident_mib()
        once = open_subject(subject)
        for _ in range(WARM_UP):
            once()
        memory = _resident_mib() - before
        times: list[float] = []
        cpu, started = time.process_time(), time.perf_counter()
        while len(times) < 3 or (len(times) < most and time.perf_counter() - started < seconds):
            begun = time.perf_counter()
            once()
            times.append(time.perf_counter() - begun)
        cpu = time.process_time() - cpu
        median, p99 = 1e3 * np.percentile(times, [50, 99])
        pipe.send(Measured(float(median), float(p99), 1e3 * cpu / len(times), memory, len(times)))
    except KwsdError as error:
        pipe.send(str(error))
    finally:
        pipe.close()
