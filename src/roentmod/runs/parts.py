"""Parts of a run: what is to be made, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roentmod.interfaces import Progress

__all__ = ["AGAIN", "Made", "Part", "Row", "Stage", "Stages", "Task"]

Row = dict[str, Any]
Stages = Callable[[str], Progress]
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
