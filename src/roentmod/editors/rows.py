"""Rows of denoising batches: which pictures edits need, and what these have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from roentmod.editors import compose, sampling
from roentmod.edits import WITHOUT_SHAM, Edit
from roentmod.interfaces import Status
from roentmod.prompts import Spots
from roentmod.radiograph import Radiograph

__all__ = ["Area", "Case", "Key", "Row", "passes", "predictions", "spent"]

Key = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Area:
    """The area of one baseline that one edit may change.

    Attributes:
        mask: h x w, or None for the whole picture.
        weights: the same on the latents, 1 x h x w.
        quality: of the outlines it was found with, or None where it needed none.
        spots: the places in a lung that it holds (`regions.spots`), or None where it is everywhere.
    """

    mask: NDArray[np.bool_] | None = None
    weights: Tensor | None = None
    quality: float | None = None
    spots: Spots | None = None

    @cached_property
    def inside(self) -> NDArray[np.float32] | None:
        """Weights of the mask at native resolution, h x w."""
        return None if self.mask is None else compose.feather(self.mask)


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a denoising batch: an edit (or its sham) of one baseline.

    Attributes:
        number: place of the baseline among the radiographs.
        baseline: the radiograph.
        edit: with its action, seed and region.
        schedule: the steps it runs through.
        prompts: to go to, and to go away from.
        guidance: scale.
        held: prompts of the findings to leave alone.
        area: where it may change the baseline.
        inside: whether the U-Net guides it by itself (`sampling.Guidance`).
    """

    number: int
    baseline: Radiograph
    edit: Edit
    schedule: sampling.Schedule
    prompts: tuple[str, str]
    guidance: float
    held: tuple[str, ...]
    area: Area
    inside: bool

    @cached_property
    def key(self) -> Key:
        """Rows with one key are the same picture of one baseline."""
        edit = self.edit
        if self.still:
            return *self.start, self.schedule
        # The action too: it says which way a held finding would change.
        kept = (self.held, edit.action) if self.held else ()
        prompts, schedule = self.prompts, self.schedule
        made = self.number, prompts, schedule, self.guidance, edit.seed, edit.region, kept
        return *made, self.anchored

    @property
    def anchored(self) -> bool:
        """Whether the baseline is put back wherever guidance does not move it."""
        return self.edit.composite in WITHOUT_SHAM

    @property
    def still(self) -> bool:
        """Whether nothing moves it: it ends as its baseline does, and nothing is predicted."""
        return self.anchored and self.prompts[0] == self.prompts[1] and self.schedule.follows

    @property
    def reverses(self) -> bool:
        """Whether it goes away from its finding, and not towards the words of its absence."""
        return self.edit.action == "remove" and self.prompts[1] != ""

    @property
    def start(self) -> Key:
        """Rows with one start have the same latents before the first step."""
        return self.number, self.edit.seed

    @property
    def path(self) -> Key:
        """Rows with one path are noised alike and go away from one prompt."""
        return self.start, self.prompts[1]

    @property
    def guided(self) -> bool:
        """Whether it is guided from outside, by two prompts or more."""
        return bool(self.held) or (not self.inside and self.guidance > 1)

    @property
    def batch_key(self) -> Key:
        """Rows with one key can be denoised in one batch."""
        return self.schedule, self.guided, len(self.held), self.inside, self.anchored

    @property
    def passes(self) -> list[tuple[str, float]]:
        """Prompt, and scale inside the U-Net, of each of its predictions in a step."""
        towards, away = self.prompts
        prompts = (away, towards, *self.held) if self.guided else (towards,)
        scale = max(1.0, self.guidance) if self.inside else 1.0
        return [(prompt, scale) for prompt in prompts]

    @property
    def cost(self) -> int:
        """Calls of U-Net and decoder on one picture."""
        return 1 if self.still else 1 + self.schedule.calls * len(self.passes)


@dataclass(frozen=True, eq=False)
class Case:
    """One baseline and its edits, each with two rows (the edit, its sham) or why it has none."""

    baseline: Radiograph
    edits: Sequence[Edit]
    pairs: list[tuple[Row, Row] | Status]

    @cached_property
    def rows(self) -> dict[Key, Row]:
        """The rows of all edits, each once."""
        return {row.key: row for pair in self.pairs if not isinstance(pair, str) for row in pair}

    @property
    def compared(self) -> bool:
        """Whether composing needs the baseline as the decoder gives it."""
        return any(
            edit.composite == "baseline" or (edit.composite in WITHOUT_SHAM and not pair[1].still)
            for edit, pair in zip(self.edits, self.pairs, strict=True)
            if not isinstance(pair, str)
        )


def passes(batch: Sequence[Row], first: bool) -> list[Key]:
    """Return a key of each prediction of a step, in the order of `sampling.Guidance.context`.

    Those with one key are the same: rows of one baseline and seed have the same latents in the
    first step, and so has the baseline's path.
    """
    rows = ([(row.start if first else row.key, *one) for one in row.passes] for row in batch)
    paths = dict.fromkeys(row.path for row in batch if row.anchored)
    own = [(start if first else ("path", start), away, 1.0) for start, away in paths]
    return [*chain(*zip(*rows, strict=True)), *own]


def predictions(batch: Sequence[Row]) -> int:
    """Return how many predictions a batch of rows takes."""
    first, others = (len(set(passes(batch, now))) for now in (True, False))
    return first + (batch[0].schedule.calls - 1) * others


def spent(seconds: float, cases: Sequence[Case]) -> dict[Key, float]:
    """Return each edit's part of the seconds for the rows it needs, by their keys.

    Rows share by their costs, and edits what they have in common.
    """
    pairs = [pair for case in cases for pair in case.pairs if not isinstance(pair, str)]
    users = Counter(row.key for pair in pairs for row in pair)
    rows = {row.key: row.cost for pair in pairs for row in pair}
    whole = max(1, sum(rows.values()))
    return {key: seconds * cost / whole / users[key] for key, cost in rows.items()}
