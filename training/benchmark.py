"""What an evaluation stands on: an editor, the judge, unseen baselines, and one result per edit."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod import imaging
from roentmod.classifiers.judge import Judge
from roentmod.domain import finding
from roentmod.editors import compose
from roentmod.edits import Edit
from roentmod.interfaces import Counterfactual, RadiographEditor
from roentmod.radiograph import Radiograph
from training import cohort, judge_pictures, measures

# A hernia is evaluated where the editor says that it knows it.
FINDINGS = tuple(name for name in judge_pictures.FINDINGS if name != "Hernia")
ADULT = 18
Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Picture:
    """A radiograph of the index at the judge's size."""

    path: str
    pixels: Array

    @cached_property
    def print(self) -> Array:
        """Fingerprint for pixel correlation."""
        return measures.fingerprint(self.pixels)


@dataclass(frozen=True, eq=False)
class Result:
    """What is kept of one counterfactual.

    Attributes:
        baseline: number of the baseline.
        edit: what was asked.
        logits: the judge's, of the counterfactual, k.
        control: the judge's, of the picture that the edit is compared with, k.
        sides: the judge's, of the counterfactual, k_sided x 2.
        ssim: similarity to the baseline outside the support.
        changed: share of the picture that the support covers.
        pixels: the counterfactual at the judge's size.
    """

    baseline: int
    edit: Edit
    logits: Array
    control: Array
    sides: Array
    ssim: float
    changed: float
    pixels: Array

    @property
    def net(self) -> Array:
        """Change of the logits against the control, k."""
        return self.logits - self.control


def rows_of(data: Path, *, conflicts: bool = False) -> list[dict[str, str]]:
    """Return the index rows of distinct radiographs, all splits.

    Those whose labels a later reading contradicts are left out, unless `conflicts` are wanted.
    """
    with (data / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # The native set repeats radiographs of another set.
    rows = [row for row in rows if row["set"] != "nih_native_1024"]
    return [row for row in rows if conflicts or "conflict" not in row["tier"]]


def choose(
    rows: list[dict[str, str]], count: int, seed: int, split: str = "test"
) -> list[dict[str, str]]:
    """Return `count` rows of a split in random order: No Finding, adult, one per patient.

    Raises:
        SystemExit: there is none.
    """
    fit = [r for r in rows if r["split"] == split and r["labels"] == cohort.NO_FINDING]
    fit = [r for r in fit if r["age"] and float(r["age"]) >= ADULT]
    if not fit:
        raise SystemExit(
            f"Baselines are No Finding radiographs of adults of the split '{split}'; the data have "
            "none. Add some, with their ages."
        )
    order = np.random.default_rng(seed).permutation(len(fit))
    chosen: dict[str, dict[str, str]] = {}
    for index in order:
        chosen.setdefault(fit[index]["patient_id"], fit[index])
    return list(chosen.values())[:count]


class Bench:
    """An editor, the judge, and the baselines to edit and read."""

    def __init__(
        self, editor: RadiographEditor, judge: Judge, data: Path, rows: list[dict[str, str]]
    ) -> None:
        """Read the baselines of `rows`."""
        self.editor, self.judge, self.rows = editor, judge, rows
        self.radiographs = [imaging.read(data / row["path"]) for row in rows]
        able = getattr(editor, "findings", None)
        names = FINDINGS if able is None else [n for n in judge.findings if n in able]
        self.findings = tuple(names)

    def small(self, radiograph: Radiograph) -> Array:
        """Return a radiograph as the judge takes it."""
        return compose.shrink(radiograph, self.judge.size)

    @cached_property
    def baselines(self) -> list[Picture]:
        """The baselines at the judge's size."""
        pairs = zip(self.rows, self.radiographs, strict=True)
        return [Picture(row["path"], self.small(r)) for row, r in pairs]

    def column(self, name: str) -> int:
        """Return where the judge's logits hold a finding."""
        return self.judge.findings.index(name)

    def asked(self, baseline: int) -> list[Edit]:
        """Return one edit a finding at default settings; sides alternate over the baselines."""
        edits = []
        for number, name in enumerate(self.findings):
            side = ("left", "right")[(baseline + number) % 2] if finding(name).sided else None
            edits.append(Edit((name,), side=side))  # type: ignore[arg-type]
        return edits

    def run(self, baseline: int, edits: Sequence[Edit]) -> list[Result]:
        """Return the results of all edits of one baseline that have a picture."""
        done = self.editor.edit([self.radiographs[baseline]], edits)
        return [self._result(baseline, one) for one in done if one.status == "ok"]

    def _result(self, baseline: int, one: Counterfactual) -> Result:
        if one.image is None or one.control is None or one.support is None:
            raise SystemExit(f"{self.editor.name} returned status ok without pictures")
        both = np.stack([self.small(one.image), self.small(one.control)])
        logits = self.judge.logits(both)
        before, after = one.baseline.pixels, one.image.pixels
        return Result(
            baseline,
            one.edit,
            logits[0],
            logits[1],
            self.judge.sides(both[:1])[0],
            measures.similarity_outside(before, after, one.support),
            float(one.support.mean()),
            both[0],
        )
