"""Jobs whose parts are radiographs with their edits: several at once, where that fills a device."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from roentmod.edits import Edit
from roentmod.interfaces import Counterfactual, RadiographEditor
from roentmod.runs import Job, Made, Task

__all__ = ["EditingJob", "Wanted"]

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
