"""Who makes parts: this process, several, or a cluster; the result is the same.

``serial``, ``processes:N``, ``shard:I/N`` (the I-th of N equal shares, for job arrays and for
machines that have no more than a disk in common) or ``ray[:ADDRESS]``; a shard may have processes,
too: ``processes:4,shard:3/16``.
"""

from __future__ import annotations

import errno
import os
import pickle
import re
import signal
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from typing import Any, Protocol

from roentmod.errors import InputError, RunError, UnfinishedError
from roentmod.runs.job import Job, Made, Task

__all__ = ["Team", "Workers", "attempt", "cores", "packed", "read_workers"]

Tasks = Sequence[Task]
Results = Generator[tuple[Task, Made], None, None]
_FORM = re.compile(r"(?:(serial)|processes:([1-9]\d*)|(ray)(?::(.+))?)?(?:,?shard:(\d+)/(\d+))?")
# Chunks that wait for each process, so that none is idle while results are kept.
_AHEAD = 2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Workers:
    """How the parts of a run are made.

    Attributes:
        kind: "serial", "processes" or "ray".
        count: of processes.
        address: of a Ray cluster; None starts one on this machine.
        shard: (i, n): make the i-th of n shares only, i from 0; None makes all.
    """

    kind: str = "serial"
    count: int = 1
    address: str | None = None
    shard: tuple[int, int] | None = None

    def open(self, job: Job[Any]) -> Team:
        """Return who makes the parts of a job; whoever opens it closes it."""
        if self.kind == "serial":
            return _Serial(job)
        if self.kind == "processes":
            return _Processes(job, self.count)
        from roentmod.runs.cluster import Cluster

        return Cluster(packed(job), self.address)


class Team(Protocol):
    """Those who make the parts of one job; a context manager."""

    def map(self, chunks: Iterable[Tasks]) -> Results:
        """Yield every task of every chunk with what was made of it, in any order.

        Chunks are taken as they are needed, a few ahead.

        Raises:
            RunError: the job cannot be sent to other processes, or one of them died.
            OSError: a disk is full.
        """
        ...

    def __enter__(self) -> Team:
        """Return itself."""
        ...

    def __exit__(self, *exception: object) -> None:
        """Stop: what is not finished is made again by the next run."""
        ...


def read_workers(form: str | Workers) -> Workers:
    """Return the workers that a form such as "processes:4" names.

    Raises:
        RunError: another form, or a shard that is not one of them.
    """
    if isinstance(form, Workers):
        return form
    match = _FORM.fullmatch(form.strip())
    if match is None or not form.strip():
        raise RunError(
            "Workers are serial, processes:N, shard:I/N, or ray[:ADDRESS], or processes and a "
            f"shard joined by a comma; got '{form}'. Correct it."
        )
    _, count, ray, address, index, shards = match.groups()
    shard = None if index is None else (int(index), int(shards))
    if shard is not None and not shard[0] < shard[1]:
        raise RunError(
            f"Shards are counted from 0: of {shard[1]} the last is {shard[1] - 1}; got {shard[0]}."
        )
    if count:
        return Workers("processes", int(count), shard=shard)
    return Workers("ray" if ray else "serial", address=address, shard=shard)


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def attempt(job: Job[Any], tasks: Tasks) -> list[Made]:
    """Return what was made of each task; whatever a part raises is kept as its item.

    Raises:
        OSError: no space is left on a disk: that is no fault of the part.
    """
    if len(tasks) > 1:
        started = time.perf_counter()
        try:
            made = job.make_all(tasks)
        except Exception:
            # One bad part must not cost the others: each is tried by itself.
            return [_one(job, task) for task in tasks]
        each = round((time.perf_counter() - started) / len(tasks), 4)
        return [replace(one, seconds=each) for one in made]
    return [_one(job, task) for task in tasks]


def packed(job: Job[Any]) -> bytes:
    """Return a job as it is sent to other processes.

    Raises:
        RunError: a part of it cannot be sent.
    """
    try:
        return pickle.dumps(job)
    except Exception as error:
        raise RunError(
            "Workers in other processes load editor, classifiers and data by name; this run has "
            f"something that cannot be sent to them ({error}). Name it, or use workers='serial'."
        ) from error


def _one(job: Job[Any], task: Task) -> Made:
    started = time.perf_counter()
    try:
        made = job.make(task)
    except InputError as error:
        made = job.lost(task.part, "unreadable", str(error))
    except (KeyboardInterrupt, SystemExit, GeneratorExit, UnfinishedError):
        raise
    # Foreign libraries raise anything; decoders written in Rust even panic past Exception.
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        message = " ".join(str(error).split())
        made = job.lost(task.part, "failed", f"{type(error).__name__}: {message}")
    return replace(made, seconds=round(time.perf_counter() - started, 4))


class _Serial:
    """This process alone."""

    def __init__(self, job: Job[Any]) -> None:
        self._job = job

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def map(self, chunks: Iterable[Tasks]) -> Results:
        """Yield tasks in order."""
        for tasks in chunks:
            yield from zip(tasks, attempt(self._job, tasks), strict=True)


class _Processes:
    """Processes of this machine, started with the first part, each with the job loaded."""

    def __init__(self, job: Job[Any], count: int) -> None:
        self._count, self._sent = count, packed(job)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            processes = list((self._pool._processes or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()

    def map(self, chunks: Iterable[Tasks]) -> Results:
        """Yield tasks as they are made."""
        source, waiting = iter(chunks), dict[Future[list[Made]], Tasks]()
        try:
            while True:
                for tasks in islice(source, max(0, _AHEAD * self._count - len(waiting))):
                    sent = [replace(task, progress=None) for task in tasks]
                    waiting[self._started().submit(_attempt_here, sent)] = tasks
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield from zip(waiting.pop(future), future.result(), strict=True)
        except BrokenProcessPool as error:
            raise RunError(
                "A worker process ended before its time, as if killed or out of memory. What was "
                "finished is kept: run again to go on, with fewer processes if memory was short."
            ) from error

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            threads = max(1, cores() // self._count)
            self._pool = ProcessPoolExecutor(
                self._count,
                mp_context=get_context("spawn"),
                initializer=_begin,
                initargs=(self._sent, threads, os.getpid()),
            )
        return self._pool


_job: Job[Any]


def _begin(job: bytes, threads: int, parent: int) -> None:
    """Load the job in a worker process, which ends with its parent."""
    # Ctrl-C reaches all processes of a terminal; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Before any library looks at it: as many threads as leave the others theirs.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    global _job
    _job = pickle.loads(job)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _attempt_here(tasks: Tasks) -> list[Made]:
    return attempt(_job, tasks)
