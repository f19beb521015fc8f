"""A job: what one kind of run does with its parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from roentmod.runs.done import Done
from roentmod.runs.parts import Made, Part, Stage, Task

__all__ = ["Job"]

R = TypeVar("R")


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
        """Yield the stages; each is taken when those before are done."""

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
