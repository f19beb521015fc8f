"""Who makes parts: this process, several, or a cluster; the result is the same.

``serial``, ``processes:N``, ``shard:I/N`` (the I-th of N equal shares, for job arrays and for
machines that have no more than a disk in common) or ``ray[:ADDRESS]``; a shard may have processes,
too: ``processes:4,shard:3/16``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from roentmod.errors import RunError
from roentmod.runs.attempts import Results, Tasks, attempt, packed
from roentmod.runs.cluster import Cluster
from roentmod.runs.job import Job
from roentmod.runs.processes import Processes

__all__ = ["Team", "Workers", "read_workers"]

_FORM = re.compile(
    r"(?:(serial)|processes:([1-9]\d{0,2})|(ray)(?::(.+))?)?(?:,?shard:(\d{1,9})/(\d{1,9}))?"
)


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
            return Processes(job, self.count)
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


def read_workers(form: str | Workers, *, shards: bool = True) -> Workers:
    """Return the workers that a form such as "processes:4" names.

    Args:
        form: such a form, or what it names.
        shards: whether the run has any; a run whose stages follow each other has none.

    Raises:
        RunError: another form, a shard that is not one of them, or one where there are none.
    """
    found = form if isinstance(form, Workers) else _read(form)
    if found.shard is not None and not shards:
        raise RunError(
            "Stages that follow each other have no shards; got "
            f"{found.shard[0]}/{found.shard[1]}. Start it several times in one folder instead."
        )
    return found


def _read(form: str) -> Workers:
    match = _FORM.fullmatch(form.strip())
    if match is None or not form.strip():
        raise RunError(
            "Workers are serial, processes:N (up to 999), shard:I/N, or ray[:ADDRESS], or "
            f"processes and a shard joined by a comma; got '{form}'. Correct it."
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
