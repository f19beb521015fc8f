"""Parts made by a Ray cluster, which may lose and gain machines meanwhile.

One actor per processor, or per GPU, keeps the job's models loaded; each has at most two chunks at a
time. Parts and what was made of them travel through Ray, so that its machines share no disk.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from roentmod._optional import require
from roentmod.runs.attempts import Results, Tasks, attempt
from roentmod.runs.parts import Made

__all__ = ["Cluster"]

_IN_FLIGHT = 2
# Seconds between looks at whether the cluster has grown, and for an actor to answer at the end.
_LOOK, _ANSWER = 5.0, 20.0
# Answered beside the work: an actor that is busy is not gone.
_PULSE = "pulse"


class _Maker:
    """An actor's work: a job, loaded once."""

    def __init__(self, job: bytes) -> None:
        self._job = pickle.loads(job)  # nosec B301 # of the process that called

    def make(self, tasks: Tasks) -> list[Made]:
        """Make some parts."""
        return attempt(self._job, tasks)

    def answer(self) -> bool:
        """Tell that the actor is there."""
        return True


@dataclass(eq=False)
class _Actor:
    """An actor and what it is at: results to come, and their tasks."""

    handle: Any
    waiting: dict[Any, Tasks] = field(default_factory=dict)


class Cluster:
    """The actors of a cluster; more of them when it grows. A `roentmod.runs.workers.Team`.

    Args:
        job: the pickled job.
        address: of the cluster; None takes one that runs here, or starts it.

    Raises:
        MissingDependencyError: Ray is not installed.
    """

    def __init__(self, job: bytes, address: str | None) -> None:
        """Connect; actors start with the first part."""
        self._ray = require("ray")
        if not self._ray.is_initialized():
            self._ray.init(address=address, log_to_driver=False)
        self._job = job
        self._actors: list[_Actor] = []
        self._looked = 0.0

    def __enter__(self) -> Cluster:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop all actors."""
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._actors = []

    def map(self, chunks: Iterable[Tasks]) -> Results:
        """Yield every task of every chunk with what was made of it, in any order."""
        source, rest = iter(chunks), True
        while rest or any(actor.waiting for actor in self._actors):
            while rest and (actor := self._free()) is not None:
                tasks = next(source, None)
                rest = tasks is not None
                if tasks is not None:
                    self._send(actor, tasks)
            for tasks, made in self._finished():
                yield from zip(tasks, made, strict=True)
            if not rest:
                self._rescue()

    def _grow(self) -> None:
        """Start an actor on every processor, or GPU, that has none; now and then."""
        if time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        there = self._ray.cluster_resources()
        kind = "GPU" if there.get("GPU") else "CPU"
        needs = {"num_gpus": 1} if kind == "GPU" else {"num_cpus": 1}
        for _ in range(int(there.get(kind, 0)) - len(self._actors)):
            maker = self._ray.remote(
                **needs, max_restarts=-1, max_task_retries=-1, concurrency_groups={_PULSE: 1}
            )(_Maker)
            self._actors.append(_Actor(maker.remote(self._job)))

    def _free(self) -> _Actor | None:
        """Return the actor with least to do, None where all have enough."""
        self._grow()
        least = min(self._actors, key=lambda one: len(one.waiting), default=None)
        return least if least is not None and len(least.waiting) < _IN_FLIGHT else None

    def _send(self, actor: _Actor, tasks: Tasks) -> None:
        """Give an actor some parts."""
        sent = [replace(task, progress=None) for task in tasks]
        actor.waiting[actor.handle.make.remote(sent)] = tasks

    def _finished(self) -> list[tuple[Tasks, list[Made]]]:
        """Return what has come back, waiting a moment for it."""
        waiting = [reference for one in self._actors for reference in one.waiting]
        ready, _ = self._ray.wait(waiting, timeout=1.0) if waiting else ([], [])
        results = []
        for actor in self._actors:
            for reference in [one for one in ready if one in actor.waiting]:
                tasks = actor.waiting.pop(reference)
                results.append((tasks, self._ray.get(reference)))
        return results

    def _rescue(self) -> None:
        """Take the parts of actors that are gone for those that have nothing to do.

        An actor of a lost machine waits for another machine, which may never come.
        """
        idle = [one for one in self._actors if not one.waiting]
        for actor in [one for one in self._actors if one.waiting and idle]:
            answered, _ = self._ray.wait([_pulse(actor)], timeout=_ANSWER)
            if not answered and actor.waiting:
                helper = idle.pop()
                for tasks in actor.waiting.values():
                    self._send(helper, tasks)
                self._actors.remove(actor)
                self._ray.kill(actor.handle)
                return


def _pulse(actor: _Actor) -> Any:
    """Return what comes when the actor is there, however busy."""
    return actor.handle.answer.options(concurrency_group=_PULSE).remote()
