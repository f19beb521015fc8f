"""What an evaluation stands on: an editor, the judge, unseen baselines, and one result per edit."""

from __future__ import annotations

import copy
import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod import imaging
from roentmod.classifiers.judge import Judge
from roentmod.domain import finding
from roentmod.editors import compose
from roentmod.edits import Edit
from roentmod.interfaces import Counterfactual, RadiographEditor, described
from roentmod.radiograph import Radiograph
from roentmod.store import atomic, canonical_hash
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
        against: the picture that it is compared with, at the judge's size.
    """

    baseline: int
    edit: Edit
    logits: Array
    control: Array
    sides: Array
    ssim: float
    changed: float
    pixels: Array
    against: Array

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


def _able(editor: RadiographEditor, judge: Judge) -> tuple[str, ...]:
    able = getattr(editor, "findings", None)
    return FINDINGS if able is None else tuple(n for n in judge.findings if n in able)


class Bench:
    """An editor, the judge, and the baselines to edit and read."""

    def __init__(
        self,
        editor: RadiographEditor,
        judge: Judge,
        data: Path,
        rows: list[dict[str, str]],
        keep: Path | None = None,
    ) -> None:
        """Read the baselines of `rows`.

        Args:
            editor: edits them.
            judge: reads them.
            data: folder of the index.
            rows: of the index.
            keep: a folder in which edits are kept, by editor (weights and settings), radiograph and
                edits, so that the same are made once; None keeps nothing.
        """
        self.editor, self.judge, self.rows, self.keep = editor, judge, rows, keep
        self.radiographs = [imaging.read(data / row["path"]) for row in rows]
        self.findings = _able(editor, judge)

    def using(self, *, editor: RadiographEditor | None = None, judge: Judge | None = None) -> Bench:
        """Return the same baselines and findings with another editor or judge, as far as it goes.

        A judge takes pictures of the same size.
        """
        other = copy.copy(self)
        other.editor, other.judge = editor or self.editor, judge or self.judge
        able = _able(other.editor, other.judge)
        other.findings = tuple(n for n in self.findings if n in able and n in other.judge.findings)
        return other

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
        if self.keep is None:
            made = self._made(baseline, edits)
        else:
            identity = [described(self.editor), self.judge.size, self.rows[baseline]["path"]]
            name = canonical_hash([*identity, [edit.id for edit in edits]])[:24]
            path = self.keep / f"{name}.npz"
            if not path.exists():
                self.keep.mkdir(parents=True, exist_ok=True)
                arrays: dict[str, Any] = self._made(baseline, edits)
                with atomic(path) as part:
                    np.savez(part, **arrays)
            with np.load(path) as stored:
                made = dict(stored)
        results = []
        for number, place in enumerate(made["edit"]):
            pixels, against = (
                made[key][number].astype(np.float32) / 65535 for key in ("pixels", "against")
            )
            ssim, changed = (float(made[key][number]) for key in ("ssim", "changed"))
            empty = np.zeros(0, np.float32)
            facts = (empty, empty, empty, ssim, changed, pixels, against)
            results.append(Result(baseline, edits[place], *facts))
        return self.read(results)

    def read(self, results: Sequence[Result]) -> list[Result]:
        """Return results as the judge reads their pictures."""
        found = []
        for one in results:
            logits = self.judge.logits(np.stack([one.pixels, one.against]))
            sides = self.judge.sides(one.pixels[None])[0]
            found.append(replace(one, logits=logits[0], control=logits[1], sides=sides))
        return found

    def _made(self, baseline: int, edits: Sequence[Edit]) -> dict[str, NDArray[Any]]:
        """Return the edits that have a picture: their numbers, pictures (uint16) and figures."""
        done = self.editor.edit([self.radiographs[baseline]], edits)
        rows = [(i, *self._pair(one)) for i, one in enumerate(done) if one.status == "ok"]
        columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.zeros(0, int)] * 5
        return dict(zip(("edit", "pixels", "against", "ssim", "changed"), columns, strict=True))

    def _pair(
        self, one: Counterfactual
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint16], float, float]:
        if one.image is None or one.control is None or one.support is None:
            raise SystemExit(f"{self.editor.name} returned status ok without pictures")
        pixels, against = (
            np.rint(self.small(each) * 65535).astype(np.uint16) for each in (one.image, one.control)
        )
        before, after = one.baseline.pixels, one.image.pixels
        likeness = measures.similarity_outside(before, after, one.support)
        return pixels, against, likeness, float(one.support.mean())
