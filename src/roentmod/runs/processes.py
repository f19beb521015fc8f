"""Parts made by several processes of this machine, each with the job loaded."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from typing import Any

from threadpoolctl import threadpool_limits

from roentmod.errors import RunError
from roentmod.runs.attempts import Results, Tasks, attempt, packed
from roentmod.runs.job import Job
from roentmod.runs.parts import Made

__all__ = ["Processes"]

# Chunks that wait for each process, so that none is idle while results are kept.
_AHEAD = 2


class Processes:
    """Processes that start with the first part. A `roentmod.runs.workers.Team`.

    Args:
        job: what they load.
        count: how many.

    Raises:
        RunError: a part of the job cannot be sent to them.
    """

    def __init__(self, job: Job[Any], count: int) -> None:
        """Pack the job; nothing is started yet."""
        self._count, self._sent = count, packed(job)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Processes:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop at once: what is not finished is made again by the next run."""
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
            threads = max(1, _cores() // self._count)
            self._pool = ProcessPoolExecutor(
                self._count,
                mp_context=get_context("spawn"),
                initializer=_begin,
                initargs=(self._sent, threads, os.getpid()),
            )
        return self._pool


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_job: Job[Any]


def _begin(job: bytes, threads: int, parent: int) -> None:
    """Load the job in a worker process, which ends with its parent."""
    # Ctrl-C reaches all processes of a terminal; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # As many threads as leave the others theirs: for libraries that are not loaded yet, and for
    # those that the program's own module, which a process loads first, has loaded.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    threadpool_limits(threads)
    global _job
    _job = pickle.loads(job)  # nosec B301 # of the process that started this one


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _attempt_here(tasks: Tasks) -> list[Made]:
    return attempt(_job, tasks)
