"""The plans of what follows a reader study: analysis, simulated readers, sample size."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, model_validator

from roentmod.errors import ReadersError, RoentModError
from roentmod.plans.base import Plan, parameter

__all__ = ["AnalysisPlan", "PowerPlan", "SkillPlan"]


def _numbers(value: object) -> object:
    return tuple(value.split(",")) if isinstance(value, str) else value


class AnalysisPlan(Plan):
    """What an analysis may be told; what counts as seen, and who is excluded, the study says."""

    error: ClassVar[type[RoentModError]] = ReadersError
    level: float = parameter(0.95, "Of all intervals.", ge=0.5, lt=1)
    resamples: int = parameter(1000, "Of patients, for agreement and pairs.", ge=200)
    seed: int = parameter(0, "Of the resamples.", ge=0)


class SkillPlan(Plan):
    """Readers made of numbers, for rehearsals; nothing follows from their answers."""

    error: ClassVar[type[RoentModError]] = ReadersError
    realism: float = parameter(0.4, "Mean d' of altered against real pictures.", ge=-10, le=10)
    finding: float = parameter(2.4, "Mean d' of a finding that is there.", ge=-10, le=10)
    spread: float = parameter(0.3, "Standard deviation of d' between readers.", ge=0, le=10)
    bias: float = parameter(0.3, "Standard deviation of readers' bias.", ge=0, le=10)
    correlation: float = parameter(
        0.3, "Share of an impression's variance that all readers have in common.", ge=0, le=1
    )
    habit: float = parameter(0.5, "Share of the rest that a repeat brings again.", ge=0, le=1)
    lapses: float = parameter(0.02, "Share of questions answered at random.", ge=0, le=1)
    fatigue: float = parameter(0.1, "Share of d' lost from first case to last.", ge=0, le=1)
    seed: int = parameter(0, "Of all answers.", ge=0)


class PowerPlan(Plan):
    """What is wanted of a study, and what is assumed of its readers."""

    error: ClassVar[type[RoentModError]] = ReadersError
    measure: Literal["realism", "share"] = parameter(
        "realism", "realism: area of edited against real cases; share: of edited cases."
    )
    value: float = parameter(0.55, "Assumed true mean over readers.", gt=0, lt=1)
    half_width: float | None = parameter(None, "Wanted half-width of the interval.", gt=0, lt=1)
    limit: float | None = parameter(
        None, "Value that the interval must leave out (non-inferiority).", gt=0, lt=1
    )
    chance: float = parameter(0.8, "Of leaving it out.", gt=0, lt=1)
    readers: Annotated[tuple[int, ...], BeforeValidator(_numbers)] = parameter(
        (3, 5, 8, 12), "Numbers of readers to compare, by commas.", form="commas"
    )
    spread: float = parameter(0.05, "Standard deviation of readers' true values.", ge=0, le=0.5)
    correlation: float = parameter(0.3, "Of two readers' values over cases.", ge=0, le=1)
    real: float = parameter(1.0, "Real cases per edited one.", gt=0, le=10)
    level: float = parameter(0.95, "Of the interval.", ge=0.5, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> PowerPlan:
        if not self.readers or min(self.readers) < 2:
            raise ReadersError(
                f"Readers as a sample are 2 or more; got {self.readers}. Name such numbers."
            )
        return self
