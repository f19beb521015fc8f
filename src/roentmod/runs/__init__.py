"""The run engine: a run is a table of parts, each made once, by whoever is free.

A `Job` says what must not change (its identity), which parts there are, how one is made, and how
all of them become a result. `run` does the rest: it claims the folder, makes what is left of the
parts, with as many processes or machines as there are, keeps each as a whole, tries again what
failed in an earlier run, and finishes. A run's folder holds the job's record, its results, and
``parts/``: logs of what was made, heartbeats and claims of those who are at work.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from roentmod.errors import RoentModError, RunError, UnfinishedError
from roentmod.runs.attempts import attempt
from roentmod.runs.crew import Crew
from roentmod.runs.done import Done
from roentmod.runs.job import Job
from roentmod.runs.journal import Journal
from roentmod.runs.parts import AGAIN, Made, Part, Row, Stage, Stages, Task
from roentmod.runs.record import check_folder, now, read_record, write_record
from roentmod.runs.workers import Team, Workers, read_workers
from roentmod.store import remove_unfinished, write_json

__all__ = [
    "AGAIN",
    "Done",
    "Job",
    "Made",
    "Part",
    "Row",
    "Stage",
    "Stages",
    "Task",
    "Workers",
    "now",
    "read_record",
    "read_workers",
    "reading",
    "run",
]

R = TypeVar("R")
T = TypeVar("T")
PARTS = "parts"
# Parts are claimed in blocks: at most so many claims per stage, however many parts.
_BLOCKS = 1000
# Seconds between looks at what others are at.
_PATIENCE = 0.5
_FOLDER = "folder"


def run(
    job: Job[R],
    folder: Path,
    *,
    workers: str | Workers = "serial",
    stages: Stages | None = None,
) -> R:
    """Carry out a job; an interrupted run goes on where it stopped.

    Several calls may work in one folder at the same time, on one machine or on several that share
    its disk: no part is made twice, and each call returns the result when all parts are there.

    Args:
        job: what is to be done.
        folder: the run's folder; made where missing.
        workers: who makes the parts, a form of `roentmod.runs.workers`.
        stages: called with a stage's title, returns what is called with parts done and in all.

    Raises:
        RunError: the folder belongs to another run, the workers cannot be used, or one died.
        UnfinishedError: a shard was requested, and is done.
        OSError: the disk is full, or the folder cannot be written.
        RoentModError: whatever the job raises at its beginning or end.
    """
    chosen = read_workers(workers)
    path = folder / job.record
    identity = json.loads(json.dumps(job.identity()))
    # Before anything is written into a folder that is another run's.
    check_folder(path, identity, job.article, job.free)
    if job.rank:
        return _follow(job, folder)
    started = time.monotonic()
    with Crew(folder / PARTS) as crew:
        with crew.alone(_FOLDER):
            earlier = check_folder(path, identity, job.article, job.free)
            record = write_record(path, identity, job.libraries, earlier)
        job.meet()
        with Journal(folder, folder / PARTS, crew.name, crew.scratch) as journal:
            call = _Call(job, folder, chosen.shard, crew, journal, record)
            job.begin(call.done)
            with chosen.open(job) as team:
                for stage in job.stages():
                    call.carry_out(stage, team, stages)
                    job.meet()
            if chosen.shard is not None:
                raise UnfinishedError(call.summary())
            with crew.alone(_FOLDER):
                result = call.kept()
                if result is None:
                    result = call.finish(time.monotonic() - started)
                if crew.tidy(packs=job.moved):
                    remove_unfinished(folder)
    job.meet()
    return result


class _Call(Generic[R]):
    """One call's work on a folder."""

    def __init__(
        self,
        job: Job[R],
        folder: Path,
        shard: tuple[int, int] | None,
        crew: Crew,
        journal: Journal,
        record: dict[str, Any],
    ) -> None:
        self._job, self._folder, self._shard = job, folder, shard
        self._crew, self._journal, self._record = crew, journal, record
        self._stages: list[Stage] = []
        self.done = Done(folder, record, self._stages, journal)
        self._claims: dict[str, str] = {}
        self._open: Counter[str] = Counter()
        self._skipped = False
        self._done = self._made = 0

    def carry_out(self, stage: Stage, team: Team, stages: Stages | None) -> None:
        """Make what is left of a stage, and wait for what others are at."""
        self._stages.append(stage)
        progress = stages(stage.title) if stages and stage.count else lambda *_: None
        while True:
            self._skipped, self._done = False, 0
            chunks = _chunks(self._tasks(stage, stages), self._job.at_once)
            with closing(team.map(chunks)) as results:
                for task, made in results:
                    self._keep(task.part, made)
                    progress(self._done, stage.count)
            progress(self._done, stage.count)
            self._journal.refresh()
            if not self._skipped:
                return
            time.sleep(_PATIENCE)
            self._journal.refresh()

    def _tasks(self, stage: Stage, stages: Stages | None) -> Iterator[Task]:
        """Claim block after block, and yield what is left to do in those that are free."""
        size = -(-stage.count // _BLOCKS) or 1
        for number, block in enumerate(_chunks(stage.parts(), size)):
            shard = self._shard
            if shard is not None and number % shard[1] != shard[0]:
                continue
            left = self._left(block)
            if left and not stage.shared:
                name = f"{len(self._stages)}-{number}"
                if not self._crew.claim(name):
                    self._skipped = True
                    continue
                # Whoever had it until now may have finished it.
                self._journal.refresh()
                left = self._left(block)
                if not left:
                    self._crew.release(name)
                self._open[name] = len(left)
                self._claims |= {part.key: name for part in left}
            self._done += len(block) - len(left)
            for part in left:
                shown = stages(part.title) if part.title and stages else None
                yield Task(part, self._folder, self.done.get(part), shown)

    def _left(self, block: list[Part]) -> list[Part]:
        hashed = self._job.hashed
        return [part for part in block if not self._journal.settled(part.key, hashed=hashed)]

    def _keep(self, part: Part, made: Made) -> None:
        if not self._made and self._record["provenance"].pop("finished", None):
            # From here on the result that lies there is no longer that of the parts.
            write_json(self._folder / self._job.record, self._record)
        self._journal.commit(part.key, made, packed=self._job.packed)
        self._job.kept(part, self._folder)
        self._made, self._done = self._made + 1, self._done + 1
        name = self._claims.pop(part.key, "")
        self._open[name] -= 1
        if name and not self._open[name]:
            self._journal.sync()
            self._crew.release(name)

    def summary(self) -> str:
        """Return what a shard says at its end."""
        assert self._shard is not None
        index, shards = self._shard
        return (
            f"Shard {index} of 0 to {shards - 1} is done: {self._made} parts made now. When all "
            "are, the same command without a shard finishes the run."
        )

    def kept(self) -> R | None:
        """Return the result that lies there, if nothing has changed since it was made."""
        if self._made or "finished" not in self._record["provenance"]:
            return None
        if "finished" not in read_record(self._folder / self._job.record).get("provenance", {}):
            return None
        try:
            return self._job.load(self._folder)
        except (RoentModError, OSError):
            return None

    def finish(self, seconds: float) -> R:
        """Finish the job, and last write the record, which says so."""
        self._journal.refresh()
        provenance = self._record["provenance"]
        spent = provenance.get("seconds", 0.0) + seconds
        provenance |= {"finished": now(), "seconds": round(spent, 1)}
        result = self._job.finish(self.done)
        write_json(self._folder / self._job.record, self._record)
        return result


def reading(folder: Path) -> Journal:
    """Return what has been made in a folder, to look at; nothing is written."""
    return Journal(folder, folder / PARTS, "", folder)


def _follow(job: Job[R], folder: Path) -> R:
    """Take part in what several processes compute together; the first one keeps it.

    Raises:
        RunError: the first process left no result.
    """
    job.meet()
    stages: list[Stage] = []
    with reading(folder) as journal:
        job.begin(Done(folder, {}, stages, journal))
        for stage in job.stages():
            stages.append(stage)
            journal.refresh()
            left = [part for part in stage.parts() if not journal.settled(part.key)]
            for part in left if stage.together else ():
                attempt(job, [Task(part, folder)])
            job.meet()
            journal.refresh()
    job.meet()
    result = job.load(folder)
    if result is None:
        raise RunError(f"A run's first process leaves its result; {folder.name} has none.")
    return result


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of up to `size` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
