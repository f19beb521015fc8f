"""What a run is made of: jobs, their stages and parts, and what becomes of a part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from roentmod.interfaces import Progress

if TYPE_CHECKING:
    from roentmod.runs.done import Done

__all__ = ["AGAIN", "Job", "Made", "Part", "Row", "Stage", "Stages", "Task"]

Row = dict[str, Any]
Stages = Callable[[str], Progress]
R = TypeVar("R")
# Statuses that may end well another time: the next run tries such parts again.
AGAIN = frozenset({"unreadable", "failed", "editor_failed", "classifier_failed"})


@dataclass(frozen=True)
class Part:
    """One piece of work, made once by whoever is free.

    Attributes:
        key: hash of all that it depends on, never its position.
        inputs: what `Job.make` needs; small, picklable.
        title: of a part that takes long, so that its own progress is shown.
    """

    key: str
    inputs: Any = None
    title: str = ""


@dataclass
class Made:
    """What became of a part. Everything but `files` is kept as JSON.

    Attributes:
        rows: rows by table.
        items: what has no result: "status", "message", and columns of the job's choice.
        files: content by path from the run's folder, in POSIX form.
        facts: what the job wants to know of the part at the end.
        seconds: how long it took; set by the engine.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    items: list[Row] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    facts: Row = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, table: str, *rows: Row) -> None:
        """Add rows to a table."""
        self.rows.setdefault(table, []).extend(rows)

    def missing(self, status: str, message: str, **columns: Any) -> None:
        """Add an item: something has no result."""
        self.items.append({**columns, "status": status, "message": message})

    @property
    def again(self) -> bool:
        """Whether the next run should try the part again."""
        return any(item["status"] in AGAIN for item in self.items)


@dataclass(frozen=True)
class Task:
    """A part to be made now.

    Attributes:
        part: the part.
        folder: the run's folder; only unfinished work of the part's own may be written there.
        earlier: what an earlier run made of it, where that is to be mended; else None.
        progress: called with steps done and in all, by parts with a title; None in other processes.
    """

    part: Part
    folder: Path
    earlier: Made | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Stage:
    """Parts that may be made in any order, after those of the stages before.

    Attributes:
        title: what it is called while it runs; unique in its job.
        count: how many parts.
        parts: yields them, the same ones in the same order at each call.
        together: where several processes share one training (`Job.rank`), they make it together.
        shared: parts are not claimed: each call takes part in them, as they are runs themselves.
    """

    title: str
    count: int
    parts: Callable[[], Iterable[Part]]
    together: bool = False
    shared: bool = False

    @staticmethod
    def of(title: str, parts: Sequence[Part]) -> Stage:
        """Return the stage of parts that are known already."""
        return Stage(title, len(parts), lambda: parts)


class Job(ABC, Generic[R]):
    """What one kind of run does; `roentmod.runs.run` carries it out.

    A job goes to worker processes by pickle: editors, classifiers and data sets pickle as the names
    they were loaded by.

    Attributes:
        kind: the run in a word, "audit".
        article: the run in a word with its article, for messages.
        record: name of the file that holds identity and provenance.
        libraries: distributions whose versions the record states.
        free: keys of the identity that may differ from those of an earlier run.
        packed: keep files of parts inside the journal, where `finish` takes them from, and not
            beside it.
        moved: `finish` keeps packed files elsewhere, and they are removed after it.
        hashed: make a part again if one of its files has changed, and not only if one is gone.
        at_once: parts for one call of `make_all`.
        rank: of this process among those that make parts together; 0 keeps what is made.
    """

    kind: ClassVar[str]
    article: ClassVar[str]
    record: ClassVar[str]
    libraries: ClassVar[tuple[str, ...]] = ()
    free: ClassVar[tuple[str, ...]] = ()
    hashed: ClassVar[bool] = False
    packed: bool = False
    moved: bool = False
    at_once: int = 1
    rank: int = 0

    def meet(self) -> None:
        """Wait for the processes that make parts together; there are none by default."""

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Return what must not change while a folder is this run's, as JSON has it."""

    def begin(self, done: Done) -> None:
        """Take what gives access to the parts of earlier stages, before `stages` is called."""

    @abstractmethod
    def stages(self) -> Iterable[Stage]:
        """Yield the stages; each is asked for when those before are done."""

    @abstractmethod
    def make(self, task: Task) -> Made:
        """Make one part.

        Raises:
            InputError: a radiograph cannot be read or used: the part becomes `lost`, "unreadable".
            Exception: anything else makes the part `lost`, "failed"; it never ends the run.
        """

    def make_all(self, tasks: Sequence[Task]) -> list[Made]:
        """Make several parts in one go; overridden where that fills a device better."""
        return [self.make(task) for task in tasks]

    def lost(self, part: Part, status: str, message: str) -> Made:
        """Return what is kept of a part that raised; an item by default."""
        made = Made()
        made.missing(status, message, part=part.key)
        return made

    def kept(self, part: Part, folder: Path) -> None:
        """Remove unfinished work of a part that is kept now."""

    @abstractmethod
    def finish(self, done: Done) -> R:
        """Turn all parts into the result: write tables and pictures, return the result.

        The same parts give the same bytes, whoever made them in whatever order.
        """

    def load(self, folder: Path) -> R | None:
        """Return the result of a finished run as it lies in `folder`; None makes it again."""
        return None
