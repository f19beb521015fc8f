"""The plan of a reader study: who reads what, and how it is asked."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from roentmod.errors import ReadersError, RoentModError
from roentmod.plans.base import Findings, Plan, different, parameter

__all__ = ["ReadersPlan"]


class ReadersPlan(Plan):
    """Everything a reader study's design depends on besides its pictures.

    Numbers of cases are upper bounds: a study takes fewer where the data has fewer, and reports it.
    """

    error: ClassVar[type[RoentModError]] = ReadersError
    readers: int = parameter(5, "Independent readers.", ge=1, le=500)
    findings: Findings = parameter(
        (), "Findings asked of every case, by commas; default: those of the edits.", form="commas"
    )
    edited: int = parameter(100, "Edited cases, shared evenly by their findings.", ge=1, le=5000)
    positives: int = parameter(
        60, "Real cases with a finding, matched by finding and view.", ge=0, le=5000
    )
    normals: int = parameter(40, "Real cases read as no finding.", ge=0, le=5000)
    repeats: int = parameter(20, "Cases shown to a reader a second time.", ge=0, le=1000)
    attention: int = parameter(8, "Cases with an unmistakable painted finding.", ge=0, le=100)
    practice: int = parameter(4, "Cases at the start that are not scored.", ge=0, le=100)
    pairs: int = parameter(
        40, "Pairs of an edited and a real case, of different patients.", ge=0, le=1000
    )
    readings: int | None = parameter(
        None, "Readers per case, in balanced incomplete blocks; default: all.", ge=1
    )
    breaks: int = parameter(25, "Cases after which a break is offered.", ge=1)
    rest: float = parameter(0.0, "Least hours between two sessions.", ge=0, le=2400)
    back: bool = parameter(False, "Let readers go back to the question before, within a case.")
    passed: float = parameter(
        0.75, "Share of attention cases that a reader must see to be included.", ge=0, le=1
    )
    side: int = parameter(1024, "Pixels per side of every picture shown.", ge=128, le=4096)
    seed: int = parameter(0, "Of all drawing.", ge=0)

    @model_validator(mode="after")
    def _fits(self) -> ReadersPlan:
        if self.findings:
            different(self.findings, ReadersError, "A reader study asks")
        if self.readings is not None and self.readings > self.readers:
            raise ReadersError(
                f"At most all readers read a case; got {self.readings} of {self.readers}. Lower "
                "--readings."
            )
        return self
