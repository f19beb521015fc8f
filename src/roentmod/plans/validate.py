"""The plan of a validation."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import model_validator

from roentmod.domain import finding
from roentmod.edits import USUAL, Edit
from roentmod.errors import AuditError, RoentModError
from roentmod.plans.base import Commas, Findings, Plan, different, parameter
from roentmod.plans.parts import Operating

__all__ = ["COMPOSITES", "WAYS", "Rule", "ValidatePlan"]

COMPOSITES = ("sham", "baseline", "none")
# How an edit is kept from leaking: not at all, with other findings held, within its usual place.
WAYS = ("plain", "hold", "region")
Numbers = Annotated[tuple[float, ...], Commas]


class Rule(Plan):
    """How an operating point is chosen.

    Of the points at which at least `identity` of the edits stay nearest to their own baseline, the
    score success x (1 - leakage), with leakage cut at 1, decides. Of the points within `tolerance`
    of the best score the gentlest is taken: least strength, then least guidance.
    """

    error: ClassVar[type[RoentModError]] = AuditError
    identity: float = parameter(
        0.95, "Least share of edits that stay nearest to their own baseline.", ge=0, le=1
    )
    tolerance: float = parameter(0.03, "Difference of scores that decides nothing.", ge=0)
    gate_logit: float = parameter(
        1.0, "Net rise of the judge's logit from which an edit is a success.", option="gate"
    )


class ValidatePlan(Operating):
    """Everything a validation's pictures and numbers depend on besides data, editor and readers.

    The operating point is what is validated.
    """

    error: ClassVar[type[RoentModError]] = AuditError
    findings: Findings = parameter(
        ..., "Findings to add, by commas; default: all that fit.", form="commas", optional=True
    )
    strengths: Numbers = parameter(
        (0.2, 0.4, 0.6, 0.8, 1.0), "Strengths of the sweep, by commas.", form="commas"
    )
    guidances: Numbers = parameter(
        (1.5, 2.5, 4.0, 7.0, 10.0), "Guidances of the sweep, by commas.", form="commas"
    )
    few: int = parameter(
        4, "Findings, the first ones, on which sweep, wordings and removal are tried.", ge=1
    )
    swept: int = parameter(5, "Baselines of the sweep; 0 leaves it out.", ge=0)
    worded: int = parameter(6, "Baselines of the wordings; 0 leaves them out.", ge=0)
    seeds: int = parameter(2, "Noises per wording.", ge=2)
    undone: int = parameter(10, "Baselines of which edits are removed again; 0 for none.", ge=0)
    cycles: int = parameter(3, "Times a sham is edited into a sham again, in these.", ge=1)
    composited: int = parameter(
        2, "Findings whose edits are composed in every mode, for the artefacts.", ge=1
    )
    strangers: int = parameter(4, "Matched other patients per baseline.", ge=1)
    known: int = parameter(
        200, "Pictures of others that edits are compared with, for memorisation.", ge=0
    )
    real: int = parameter(
        40,
        "Real positives per finding that edits are compared with, matched in source, view and sex; "
        "0: none.",
        ge=0,
        young=True,
    )
    detector_steps: int = parameter(
        40,
        "Training steps of each network that looks for traces of edits; 0: none.",
        ge=0,
        young=True,
    )
    hold: Findings = parameter(
        (),
        "Also measure with this finding held; repeat. 'linked': as in edit.",
        form="repeat",
    )
    regional: bool = parameter(
        False,
        "Also measure with each edit kept to the finding's usual place.",
        option="usual-region/--no-usual-region",
    )
    rule: Rule = parameter(Rule(), "How the operating point is chosen.")
    level: float = parameter(0.95, "Of all intervals.", gt=0, lt=1)
    resamples: int = parameter(2000, "Bootstrap resamples of patients.", ge=200)
    permutations: int = parameter(9999, "Of the tests between groups.", ge=99)

    @model_validator(mode="after")
    def _fits(self) -> ValidatePlan:
        different(self.findings, AuditError, "A validation adds")
        return self

    @property
    def first(self) -> tuple[str, ...]:
        """The findings that the costlier sections are tried on."""
        return self.findings[: self.few]

    def edits(self) -> list[Edit]:
        """Return the edits of every baseline: plain, in other modes, with others held, in place."""
        plain = [self.edit(name) for name in self.findings]
        other = [
            self.edit(name, composite=mode)
            for mode in COMPOSITES[1:]
            for name in self.findings[: self.composited]
        ]
        kept = [(n, tuple(h for h in self.hold if h != n)) for n in self.findings]
        held = [self.edit(name, hold=others) for name, others in kept if others]
        known = [name for name in self.findings if self.regional and finding(name).place]
        return plain + other + held + [self.edit(name, region=USUAL) for name in known]

    def sweep(self) -> list[Edit]:
        """Return the edits of the sweep, point by point."""
        return [
            self.edit(name, strength=strength, guidance_scale=guidance)
            for strength in self.strengths
            for guidance in self.guidances
            for name in self.first
        ]
