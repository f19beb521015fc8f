"""What an audit does, and what it found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from roentmod.edits import Composite, Edit, Severity
from roentmod.errors import AuditError
from roentmod.findings import NO_FINDING, finding
from roentmod.science.effects import Verdict

__all__ = ["AuditResult", "ClassifierResult", "Doses", "Example", "Plan"]

Doses = Literal["none", "severity", "strength"]
_SEVERITIES: tuple[tuple[Severity, float], ...] = (
    ("mild", 1.0),
    ("moderate", 2.0),
    ("severe", 3.0),
)
_STRENGTHS = (0.2, 0.3, 0.4, 0.5, 0.6)


@dataclass(frozen=True)
class Plan:
    """Everything an audit's predictions depend on besides radiographs, editor and classifiers.

    Attributes:
        findings: findings that are added, canonical names after construction.
        seeds: one counterfactual and one sham a baseline, finding and seed.
        doses: also add each finding at several severities or strengths, at the first seed.
        strength: diffusers' meaning.
        guidance_scale: diffusers' meaning.
        num_inference_steps: diffusers' meaning; None takes the editor's default.
        composite: how pictures return to native resolution. "sham" has the sham taken off already,
            and is refused: the difference from the sham would take it off twice.
        removals: also remove each finding from this many radiographs that carry it.
        stress: also read up to this many radiographs a finding that carry it, and as many without.
        split: where these come from; None is everywhere.
    """

    findings: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    doses: Doses = "none"
    strength: float = 0.4
    guidance_scale: float = 4.0
    num_inference_steps: int | None = None
    composite: Composite = "baseline"
    removals: int = 0
    stress: int = 0
    split: str | None = None

    def __post_init__(self) -> None:
        """Make names canonical and check the numbers.

        Raises:
            AuditError: no finding, one twice, "No Finding", no seed, or a negative number.
            UnknownFindingError: a finding that is not in the catalogue.
        """
        names = tuple(finding(name).name for name in self.findings)
        object.__setattr__(self, "findings", names)
        if not names or len(set(names)) < len(names) or NO_FINDING.name in names:
            raise AuditError(
                "An audit adds one or more different findings; got "
                f"'{', '.join(self.findings)}'. Name each once, and not No Finding."
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise AuditError(f"Seeds must be one or more different numbers; got {self.seeds}.")
        if self.composite == "sham":
            raise AuditError(
                "An audit takes the sham off itself; got composite 'sham'. Use 'baseline' or "
                "'none'."
            )
        if self.removals < 0 or self.stress < 0:
            raise AuditError("Numbers of radiographs must not be negative; use 0 to leave out.")

    def edits(self) -> list[Edit]:
        """Return the edits of every baseline: those the matrix is made of, then the doses."""
        edits = [self._edit(name, seed=seed) for name in self.findings for seed in self.seeds]
        first = self.seeds[0]
        for name in self.findings:
            if self.doses == "severity":
                edits += [self._edit(name, seed=first, severity=s) for s, _ in _SEVERITIES]
            elif self.doses == "strength":
                others = [s for s in _STRENGTHS if s != self.strength]
                edits += [self._edit(name, seed=first, strength=s) for s in others]
        return edits

    def removal(self, name: str) -> list[Edit]:
        """Return the edits of a radiograph that carries the finding `name`."""
        return [self._edit(name, seed=seed, action="remove") for seed in self.seeds]

    def _edit(self, name: str, **changes: Any) -> Edit:
        common: dict[str, Any] = {
            "strength": self.strength,
            "guidance_scale": self.guidance_scale,
            "num_inference_steps": self.num_inference_steps,
            "composite": self.composite,
        }
        return Edit((name,), **(common | changes))

    def levels(self) -> list[tuple[str, float]]:
        """Return the doses' labels and numbers, rising; none where none are asked for."""
        if self.doses == "severity":
            return list(_SEVERITIES)
        if self.doses == "strength":
            return [(f"{s:g}", s) for s in sorted({*_STRENGTHS, self.strength})]
        return []


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
    """What the audit found of one classifier; the columns of each table are told in `effects`.

    Attributes:
        name: as in every table.
        source: where it came from.
        heads: head, finding, state (read, unmapped, untrained, duplicate, constant), note.
        verdict: in all.
        score: the largest leakage-corrected off-target ratio.
        cells: the effect matrix.
        gate: how many edits the judge saw.
        doses: effects by dose; empty where none were asked for.
        subgroups: effects by subgroup.
        reverse: the matrix of removals; empty where none were asked for.
        stress: AUC against clean negatives and against negatives with another finding.
        examples: pictures of the largest off-target effects.
    """

    name: str
    source: str
    heads: pd.DataFrame
    verdict: Verdict
    score: float
    cells: pd.DataFrame
    gate: pd.DataFrame
    doses: pd.DataFrame
    subgroups: pd.DataFrame
    reverse: pd.DataFrame
    stress: pd.DataFrame
    examples: tuple[Example, ...] = ()

    def shortcuts(self) -> list[tuple[str, str]]:
        """Return (edited, read) of every shortcut, the largest first."""
        found = self.cells[self.cells["verdict"] == "shortcut"]
        found = found.sort_values("corrected", ascending=False)
        return list(zip(found["edited"], found["read"], strict=True))


@dataclass(frozen=True)
class AuditResult:
    """An audit's tables, and where they came from.

    Attributes:
        plan: what was asked, with the rules of judgement.
        provenance: versions, platform, editor, classifiers, judge, data, seconds.
        baselines: baseline_id, path, patient_id, sex, age, view, site.
        items: what has no result: baseline_id, edited_finding, severity, seed, classifier (empty:
            the edit itself), status, message.
        counts: "planned", "ok" and "missing" pairs of edit and classifier.
        classifiers: one result a classifier.
        folder: the run directory.
    """

    plan: dict[str, Any]
    provenance: dict[str, Any]
    baselines: pd.DataFrame
    items: pd.DataFrame
    counts: dict[str, int]
    classifiers: tuple[ClassifierResult, ...]
    folder: Path = field(compare=False)

    def __iter__(self) -> Iterator[ClassifierResult]:
        """Go through the classifiers."""
        return iter(self.classifiers)
