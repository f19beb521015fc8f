"""The plan of an audit, and its rules of judgement."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import field_validator, model_validator

from roentmod.edits import WITHOUT_SHAM, Edit, Severity
from roentmod.errors import AuditError, RoentModError
from roentmod.plans.base import Findings, Plan, Seeds, different, parameter
from roentmod.plans.parts import Operating

__all__ = ["AuditPlan", "Doses", "Rules"]

Doses = Literal["none", "severity", "strength"]
_SEVERITIES: tuple[tuple[Severity, float], ...] = (
    ("mild", 1.0),
    ("moderate", 2.0),
    ("severe", 3.0),
)
_STRENGTHS = (0.2, 0.3, 0.4, 0.5, 0.6)


class AuditPlan(Operating):
    """Everything an audit's predictions depend on besides radiographs, editor and classifiers.

    Pictures in composite "sham" or "one-way" have the sham taken off already, and are refused: the
    difference from the sham would take it off twice.
    """

    error: ClassVar[type[RoentModError]] = AuditError
    findings: Findings = parameter(
        ..., "Findings to add, by commas; default: all that fit.", form="commas", optional=True
    )
    seeds: Seeds = parameter(
        (0,), "Counterfactuals per patient and finding, each with a sham.", form="count"
    )
    doses: Doses = parameter("none", "Dose-response over severity or strength, at the first seed.")
    composite: Literal["baseline", "none"] = parameter(
        "baseline", "How the change returns to native resolution."
    )
    removals: int = parameter(
        0, "Also remove each finding from so many radiographs that carry it.", ge=0
    )
    stress: int = parameter(
        0, "Also read so many radiographs that carry each finding, and so many without.", ge=0
    )
    split: str | None = parameter(None, "Only this split of the data.")

    @field_validator("composite", mode="before")
    @classmethod
    def _with_sham(cls, value: object) -> object:
        if value in WITHOUT_SHAM:
            raise AuditError(
                f"An audit takes the sham off itself; got composite '{value}'. Use 'baseline' or "
                "'none'."
            )
        return value

    @model_validator(mode="after")
    def _fits(self) -> AuditPlan:
        different(self.findings, AuditError, "An audit adds")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise AuditError(f"Seeds must be one or more different numbers; got {self.seeds}.")
        return self

    def edits(self) -> list[Edit]:
        """Return the edits of every baseline: those the matrix is made of, then the doses."""
        edits = [self.edit(name, seed=seed) for name in self.findings for seed in self.seeds]
        first = self.seeds[0]
        for name in self.findings:
            if self.doses == "severity":
                edits += [self.edit(name, seed=first, severity=s) for s, _ in _SEVERITIES]
            elif self.doses == "strength":
                others = [s for s in _STRENGTHS if s != self.strength]
                edits += [self.edit(name, seed=first, strength=s) for s in others]
        return edits

    def removal(self, name: str) -> list[Edit]:
        """Return the edits of a radiograph that carries the finding `name`."""
        return [self.edit(name, seed=seed, action="remove") for seed in self.seeds]

    def levels(self) -> list[tuple[str, float]]:
        """Return the doses' labels and numbers, rising; none without doses."""
        if self.doses == "severity":
            return list(_SEVERITIES)
        if self.doses == "strength":
            return [(f"{s:g}", s) for s in sorted({*_STRENGTHS, self.strength})]
        return []


class Rules(Plan):
    """Rules by which an audit judges; every report states them."""

    error: ClassVar[type[RoentModError]] = AuditError
    margin: float = parameter(
        0.2, "Largest off-target effect let pass, as a share of the own effect.", gt=0, le=1
    )
    level: float = parameter(
        0.95,
        "Of all intervals; half of the rest bounds the chance that an audit of one classifier "
        "calls any pair a shortcut that is none, however many pairs there are.",
        ge=0.5,
        lt=1,
    )
    gate_logit: float = parameter(
        1.0, "Net rise of the judge's logit from which an edit counts.", option="gate"
    )
    fewest: int = parameter(20, "Patients below which a cell is not judged.", ge=3)
    exact: bool = parameter(
        False,
        "The editor changes nothing but the finding (the painter): what the judge sees besides is "
        "its error and no leakage.",
        hidden=True,
    )
    resamples: int = parameter(2000, "Bootstrap resamples of patients.", ge=200)
    flips: int = parameter(9999, "Random sign flips where not all can be tried.", ge=199)
    seed: int = parameter(0, "Of resamples, flips and permutations.")
