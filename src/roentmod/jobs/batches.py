"""Jobs whose parts are radiographs with their edits: several at once, where that fills a device."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from roentmod.edits import Edit
from roentmod.errors import EditError
from roentmod.interfaces import Counterfactual, RadiographEditor
from roentmod.runs import Job, Made, Task

__all__ = ["EditingJob", "Wanted", "check_removals"]

log = logging.getLogger(__name__)
R = TypeVar("R")


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
        radiograph, edits, mask = self.wanted(task)
        edited = self.editor.edit([radiograph], edits, masks=[mask]) if edits else []
        return self.made(task, radiograph, edited)

    def make_all(self, tasks: Sequence[Task]) -> list[Made]:
        """Edit several radiographs in one go."""
        edit_each = getattr(self.editor, "edit_each", None)
        wanted = [self.wanted(task) for task in tasks] if edit_each else []
        some = [one for one in wanted if one.edits]
        if edit_each is None or not some:
            return super().make_all(tasks)
        radiographs, edits, masks = zip(*some, strict=True)
        each = iter(edit_each(radiographs, edits, masks=masks))
        return [
            self.made(task, one.radiograph, next(each) if one.edits else [])
            for task, one in zip(tasks, wanted, strict=True)
        ]


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
