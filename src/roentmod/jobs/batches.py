"""Jobs whose parts are radiographs with their edits: several at once, where that fills a device."""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from roentmod.edits import Edit
from roentmod.errors import EditError
from roentmod.imaging import marks
from roentmod.interfaces import Counterfactual, RadiographEditor
from roentmod.runs import Job, Made, Task

__all__ = [
    "MARKS",
    "EditingJob",
    "Wanted",
    "check_removals",
    "count_burned_in",
    "noting",
    "say_time",
    "spelt",
]

log = logging.getLogger(__name__)
R = TypeVar("R")
# Seconds that are still called seconds, and minutes that are.
_SPELT = 100
# Rows of what a radiograph is known to have burned in.
MARKS = "marks"


class Wanted(NamedTuple):
    """A radiograph, its edits, and where it may change (h x w bool; None: everywhere).

    Without edits nothing is edited, and the radiograph may be None.
    """

    radiograph: Any = None
    edits: Sequence[Edit] = ()
    mask: Any = None


class EditingJob(Job[R]):
    """A job that edits one radiograph per part.

    An editor that takes several radiographs in one batch says how many in `at_once`, and has
    `edit_each`, which is called with them, the edits of each, and their masks.
    """

    editor: RadiographEditor

    def __post_init__(self) -> None:
        """Ask the editor how many radiographs it takes at once."""
        self.at_once = getattr(self.editor, "at_once", 1)

    @abstractmethod
    def wanted(self, task: Task) -> Wanted:
        """Return what is edited for a part.

        Raises:
            InputError: the radiograph cannot be read.
        """

    @abstractmethod
    def made(self, task: Task, radiograph: Any, edited: Sequence[Counterfactual]) -> Made:
        """Return what is kept of a part."""

    def make(self, task: Task) -> Made:
        """Edit one radiograph."""
        radiograph, edits, mask = self._wanted(task)
        edited = self.editor.edit([radiograph], edits, masks=[mask]) if edits else []
        return self._noted(task, radiograph, edited)

    def make_all(self, tasks: Sequence[Task]) -> list[Made]:
        """Edit several radiographs in one go."""
        edit_each = getattr(self.editor, "edit_each", None)
        wanted = [self._wanted(task) for task in tasks] if edit_each else []
        some = [one for one in wanted if one.edits]
        if edit_each is None or not some:
            return super().make_all(tasks)
        radiographs, edits, masks = zip(*some, strict=True)
        each = iter(edit_each(radiographs, edits, masks=masks))
        return [
            self._noted(task, one.radiograph, next(each) if one.edits else [])
            for task, one in zip(tasks, wanted, strict=True)
        ]

    def _wanted(self, task: Task) -> Wanted:
        """Return what is wanted, of a radiograph that knows its marks."""
        wanted = self.wanted(task)
        if wanted.radiograph is None:
            return wanted
        return wanted._replace(radiograph=marks.looked(wanted.radiograph))

    def _noted(self, task: Task, radiograph: Any, edited: Sequence[Counterfactual]) -> Made:
        """Return what is kept of a part, and of the text burned into its radiograph."""
        made = self.made(task, radiograph, edited)
        if radiograph is not None:
            made.rows[MARKS] = [marks.facts(radiograph)]
        return made


def say_time(editor: RadiographEditor, work: Sequence[Sequence[Edit]]) -> None:
    """Log how long an editor takes that knows it, before it begins.

    Args:
        editor: if it is `slow`, its `forecast` returns seconds for the edits of a radiograph.
        work: the edits of each radiograph.
    """
    if not work or not getattr(editor, "slow", False):
        return
    whole = sum(map(editor.forecast, work))  # type: ignore[attr-defined]
    each = f", {spelt(whole / len(work))} per radiograph by one worker" if len(work) > 1 else ""
    counts = len(work), sum(map(len, work))
    log.info(
        "editing will take about %s (radiographs: %d, edits: %d%s)", spelt(whole), *counts, each
    )


def spelt(seconds: float) -> str:
    """Return a time as people say it, to two digits."""
    count, unit = seconds / 3600, "h"
    if seconds < _SPELT:
        count, unit = seconds, "s"
    elif seconds < 60 * _SPELT:
        count, unit = seconds / 60, "min"
    return f"{count:.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"


def count_burned_in(facts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many radiographs have burned-in text, of what `imaging.marks.facts` says of each.

    It is logged, too, where there are any.
    """
    counts = dict.fromkeys(("radiographs", "yes", "no", "unknown", "found", "covered"), 0)
    for one in facts:
        counts["radiographs"] += 1
        counts[one["burned_in"]] += 1
        counts["found"] += bool(one["marks"])
        counts["covered"] += any(mark["covered"] for mark in one["marks"])
    if counts["yes"] or counts["found"]:
        log.warning(
            "burned-in text: the headers of %(yes)d of %(radiographs)d radiographs say so, rows of "
            "letters were found in %(found)d and covered in %(covered)d (--refuse-burned-in, "
            "--mask-burned-in)",
            counts,
        )
    return counts


def noting(known: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what `imaging.marks.facts` says of a radiograph as columns of a table."""
    if known is None:
        return {"burned_in": "unknown", "marks": ""}
    return {"burned_in": known["burned_in"], "marks": json.dumps(known["marks"])}


def check_removals(editor: RadiographEditor, edits: Sequence[Edit]) -> None:
    """Refuse removals that were measured not to work; warn of those that nobody has measured.

    An editor's `removals` has a row of figures per finding (``bench/removal.py``): `works`, and the
    share `removed` of the way to a radiograph without the finding; None: nobody has measured it.

    Raises:
        EditError: a removal that does not work.
    """
    wanted = dict.fromkeys(n for e in edits if e.action == "remove" for n in e.findings)
    table = getattr(editor, "removals", None)
    if table is None:
        if wanted:
            log.warning("nobody has measured whether %s removes %s", editor.name, ", ".join(wanted))
        return
    for name in wanted:
        row = table.get(name, {})
        if not row.get("works"):
            raise EditError(
                f"{editor.name} does not remove {name}: {_figure(row)}. Use another generator."
            )


def _figure(row: Mapping[str, Any]) -> str:
    if row.get("removed") is None:
        return "nobody has measured that it does"
    rise = row.get("off_target")
    other = "it did not fall"
    if rise is not None:
        much = f"by {rise:.0%} of its fall" if rise <= 1 else "by more than it fell"
        other = f"that of another finding rose {much}"
    return (
        f"on {row['positives']} real radiographs with it, the judge's logit went "
        f"{row['removed']:.0%} of the way to normal, {other}, and normal radiographs changed "
        f"{row['healthy_change']:.2f} times as much (docs/removal.md)"
    )
