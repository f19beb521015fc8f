"""The interfaces that engines implement, and the results they return."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from roentmod.edits import Edit
from roentmod.errors import RunError
from roentmod.radiograph import Radiograph

__all__ = [
    "Classifier",
    "Counterfactual",
    "Loaded",
    "Progress",
    "RadiographEditor",
    "Source",
    "Status",
    "anchored",
    "described",
]

Status = Literal[
    "ok",
    "unreadable",
    "black_image",
    "not_finite",
    "no_effective_steps",
    "poor_anatomy",
    "no_visible_change",
]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A baseline after an edit, with its control arm.

    Attributes:
        baseline: the radiograph before editing.
        edit: what was requested.
        status: "ok", or why there is no picture (`image`, `sham`, `difference` are then None).
        image: the counterfactual at native resolution.
        sham: the control arm at native resolution.
        difference: counterfactual minus baseline, h x w float32 in [-1, 1], native resolution.
        support: where `difference` may be nonzero, h x w bool.
        facts: effective steps, prompts, weights, timings: what provenance records.
    """

    baseline: Radiograph
    edit: Edit
    status: Status
    image: Radiograph | None = None
    sham: Radiograph | None = None
    difference: NDArray[np.float32] | None = None
    support: NDArray[np.bool_] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def control(self) -> Radiograph | None:
        """What the counterfactual is compared with, by the rule of `Edit.control`."""
        return self.baseline if self.edit.control == "baseline" else self.sham


class RadiographEditor(Protocol):
    """Adds or removes findings in radiographs."""

    name: str

    def edit(
        self,
        radiographs: Sequence[Radiograph],
        edits: Sequence[Edit],
        *,
        masks: Sequence[NDArray[np.bool_] | None] | None = None,
        progress: Progress | None = None,
    ) -> list[Counterfactual]:
        """Return every edit of every radiograph, radiograph by radiograph, in the order given."""
        ...


class Source(Protocol):
    """Where radiographs come from: a `roentmod.datasets.Dataset`."""

    def radiograph(self, image_id: str) -> Radiograph:
        """Return one radiograph; raises InputError where it cannot be read."""
        ...


class Classifier(Protocol):
    """Reads findings in radiographs.

    Attributes:
        findings: canonical names of what it reads, k of them.
        size: side in pixels of the square pictures it takes.
    """

    findings: tuple[str, ...]
    size: int

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one logit per image and finding, n x k, whatever the images come with.

        Args:
            images: display values in [0, 1], n x size x size float32.

        Raises:
            ClassifierError: another size, range or type.
        """
        ...


class Loaded:
    """A base of objects with weights or sessions, which other processes load again.

    The function that loads one calls `remember` with its own arguments; pickling keeps these alone.
    """

    _door: partial[Any] | None = None

    def remember(self, door: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Keep what makes this object again: a function that can be imported, and arguments."""
        self._door = partial(door, *args, **options)

    def __reduce__(self) -> tuple[partial[Any], tuple[()]]:
        """Return the way to load the same again.

        Raises:
            RunError: it was made from parts in memory.
        """
        if self._door is None:
            raise RunError(
                "Only what was loaded by name or path can be sent to another process; this "
                f"{type(self).__name__} was made from parts in memory. Load it by name or path."
            )
        return self._door, ()


def anchored(name: str | Path) -> str:
    """Return the path of a file or folder as an absolute one, and any other name as it is."""
    path = Path(name).expanduser()
    return str(path.absolute()) if str(name) and path.exists() else str(name)


def described(engine: object) -> dict[str, Any]:
    """Return what an editor or classifier says of itself, as JSON has it; its name if it cannot."""
    describe = getattr(engine, "describe", None)
    if not callable(describe):
        return {"name": getattr(engine, "name", type(engine).__name__)}
    facts: dict[str, Any] = json.loads(json.dumps(describe()))
    return facts
