"""The plan of a data set with planted findings."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import model_validator

from roentmod.edits import Severity
from roentmod.errors import DatasetError, RoentModError
from roentmod.plans.base import Commas, Findings, Pairs, parameter
from roentmod.plans.parts import Composed

__all__ = ["PlantPlan"]


class PlantPlan(Composed):
    """Everything a planted data set depends on besides its hosts and the editor.

    Where planted, the second finding of a pair is a copy of the first with the chance
    `correlation`, which is then exactly their correlation. A finding is in one pair only.
    """

    error: ClassVar[type[RoentModError]] = DatasetError
    findings: Findings = parameter(
        ..., "Findings that pictures may show, by commas.", form="commas"
    )
    pairs: Pairs = parameter(
        (),
        "'Edema>Cardiomegaly': the second comes with the first; repeat.",
        option="pair",
        form="repeat",
    )
    correlation: float = parameter(0.9, "Of a pair, in planted splits.", ge=0, le=1)
    planted: Annotated[tuple[str, ...], Commas] = parameter(
        ("train", "val"), "Splits with pairs, by commas.", form="commas"
    )
    prevalence: float = parameter(0.25, "Chance of each finding.", gt=0, lt=1)
    severities: Annotated[tuple[Severity, ...], Commas] = parameter(
        ("mild", "moderate", "severe"),
        "Drawn from for every picture, by commas.",
        form="commas",
        min_length=1,
    )
    shares: tuple[tuple[str, float], ...] = parameter(
        (("train", 0.6), ("val", 0.15), ("test", 0.25)),
        "Splits and shares of patients, for a source that has no splits.",
        hidden=True,
    )
    seed: int = parameter(0, "Of all drawing.")

    @model_validator(mode="after")
    def _fits(self) -> PlantPlan:
        paired = [name for pair in self.pairs for name in pair]
        strange = [name for name in paired if name not in self.findings]
        if not self.findings or strange or len({*paired}) < len(paired):
            pairs = ", ".join(f"{a} > {b}" for a, b in self.pairs)
            raise DatasetError(
                "Pairs are of two planted findings, each in one pair; got "
                f"{pairs or 'no finding'}. Correct the pairs."
            )
        return self

    def facts(self) -> dict[str, Any]:
        """Return what records hold; older ones have no operating point, which was the usual one."""
        usual = Composed().model_dump(mode="json")
        return {n: v for n, v in super().facts().items() if n not in usual or v != usual[n]}
