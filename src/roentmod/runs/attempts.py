"""One attempt at some parts, wherever it is made: whatever it raises spares the others."""

from __future__ import annotations

import errno
import pickle
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from roentmod.errors import InputError, RunError, UnfinishedError, printable
from roentmod.runs.job import Job
from roentmod.runs.parts import Made, Task

__all__ = ["Results", "Tasks", "attempt", "packed"]

Tasks = Sequence[Task]
Results = Generator[tuple[Task, Made], None, None]
_ENDS = (KeyboardInterrupt, SystemExit, GeneratorExit, UnfinishedError)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def attempt(job: Job[Any], tasks: Tasks) -> list[Made]:
    """Return what was made of each task; whatever a part raises is kept as its item.

    Raises:
        OSError: no space is left on a disk: that is no fault of the part.
    """
    if len(tasks) > 1:
        started = time.perf_counter()
        try:
            made = job.make_all(tasks)
        except _ENDS:
            raise
        except BaseException:
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
        made = job.lost(task.part, error.status, str(error))
    except _ENDS:
        raise
    # Foreign libraries raise anything; decoders written in Rust even panic past Exception.
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        # The path of a file may name a patient.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        message = printable(f"{type(error).__name__}: {reason}")
        made = job.lost(task.part, "failed", message)
    return replace(made, seconds=round(time.perf_counter() - started, 4))
