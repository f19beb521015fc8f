"""The result of an audit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod.science.effects import Verdict
from roentmod.store import atomic

__all__ = ["UNKNOWN", "AuditResult", "ClassifierResult", "Example"]

# The interval of a score that has none.
UNKNOWN = (math.nan, math.nan)
_UNJUDGED = ("too few", "no yardstick")


@dataclass(frozen=True)
class Example:
    """Pictures of one pair, as files in the audit's folder.

    Attributes:
        edited: the finding that was added.
        read: the head that reacted.
        baseline_id: which radiograph.
        baseline, counterfactual, difference: PNG files.
        logit_sham, logit_counterfactual: what the head said.
        real: whether the baseline is of a patient, and no phantom or edited picture.
    """

    edited: str
    read: str
    baseline_id: str
    baseline: Path
    counterfactual: Path
    difference: Path
    logit_sham: float
    logit_counterfactual: float
    real: bool = True


@dataclass(frozen=True)
class ClassifierResult:
    """What the audit found of one classifier; the columns of each table are described in `effects`.

    Attributes:
        name: as in every table.
        source: where it came from.
        heads: head, finding, state (read, unmapped, untrained, duplicate, constant), note.
        verdict: in all.
        score: the largest off-target share, in [0, 1], as `effects.score`; None: nothing gives one.
        cells: the effect matrix.
        gate: how many edits the judge saw.
        doses: effects by dose; empty where none were requested.
        subgroups: effects by subgroup.
        reverse: the matrix of removals; empty where none were requested.
        stress: AUC against clean negatives and against negatives with another finding.
        examples: pictures of the largest off-target effects.
        score_ends: the interval of the score; NaN: unknown.
        blind: heads that the score leaves out, as they may not react to their own finding.
        judges: leakage, what is left and verdict of each off-target pair by a second judge, as in
            `cells`, and, from first_leak on, by the judge; empty without a second one.
    """

    name: str
    source: str
    heads: pd.DataFrame
    verdict: Verdict
    score: float | None
    cells: pd.DataFrame
    gate: pd.DataFrame
    doses: pd.DataFrame
    subgroups: pd.DataFrame
    reverse: pd.DataFrame
    stress: pd.DataFrame
    examples: tuple[Example, ...] = ()
    score_ends: tuple[float, float] = UNKNOWN
    blind: tuple[str, ...] = ()
    judges: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def judged(self) -> bool:
        """Whether one off-target pair at least has enough patients and a yardstick."""
        return bool(len(self._off)) and not self._off["verdict"].isin(_UNJUDGED).all()

    @property
    def obstacle(self) -> str:
        """What most off-target pairs lack to be judged; "" without one."""
        lacking = self._off.loc[self._off["verdict"].isin(_UNJUDGED), "reason"]
        return str(lacking.mode().iloc[0]) if len(lacking) else "No off-target pair was read."

    @property
    def _off(self) -> pd.DataFrame:
        return self.cells[~self.cells["on_target"].astype(bool)]

    def shortcuts(self) -> list[tuple[str, str]]:
        """Return (edited, read) of every shortcut, the largest first."""
        rows = self.cells[self.cells["verdict"] == "shortcut"]
        rows = rows.sort_values("corrected", ascending=False)
        return list(zip(rows["edited"], rows["read"], strict=True))


@dataclass(frozen=True, repr=False)
class AuditResult:
    """An audit's tables, and where they came from.

    Attributes:
        plan: what was requested, with the rules of judgement.
        provenance: versions, platform, editor, classifiers, judge, data, seconds.
        baselines: baseline_id, path, patient_id, sex, age, view, site.
        items: what has no result: baseline_id, edited_finding, severity, seed, classifier (empty:
            the edit itself), status, message.
        counts: "planned", "ok" and "missing" pairs of edit and classifier.
        classifiers: one result per classifier.
        folder: the run directory.
    """

    plan: dict[str, Any]
    provenance: dict[str, Any]
    baselines: pd.DataFrame
    items: pd.DataFrame
    counts: dict[str, int]
    classifiers: tuple[ClassifierResult, ...]
    folder: Path = field(compare=False)

    def __repr__(self) -> str:
        """Return verdicts and folder."""
        verdicts = ", ".join(f"{one.name}: {one.verdict}" for one in self)
        return f"<AuditResult: {verdicts}, in '{self.folder}'>"

    @property
    def verdicts(self) -> pd.DataFrame:
        """One row per classifier: classifier, verdict, score with its interval, shortcuts."""
        ends = ["score", "score_low", "score_high"]
        rows = [
            (one.name, one.verdict, one.score, *one.score_ends, len(one.shortcuts()))
            for one in self
        ]
        table = pd.DataFrame(rows, columns=["classifier", "verdict", *ends, "shortcuts"])
        # A score that is missing is shown as such, and not as NaN.
        return table.astype(dict.fromkeys(ends, "Float64"))

    @property
    def effects(self) -> pd.DataFrame:
        """Cells of the effect matrices of all classifiers, with a column `classifier`."""
        tables = [one.cells.assign(classifier=one.name) for one in self]
        return pd.concat(tables, ignore_index=True)

    def __iter__(self) -> Iterator[ClassifierResult]:
        """Go through the classifiers."""
        return iter(self.classifiers)

    def report(self) -> Path:
        """Write ``report.html``, ``report.json`` and ``effects.parquet`` into the folder.

        The last holds the cells of all classifiers in one table.

        Returns:
            The path of the page.

        Raises:
            OSError: the folder cannot be written.
        """
        from roentmod.jobs.audit.sections import shown
        from roentmod.report import publish

        page = publish(shown(self), self.folder, self)
        with atomic(self.folder / "effects.parquet") as part:
            self.effects.to_parquet(part, index=False)
        return page
