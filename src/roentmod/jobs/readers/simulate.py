"""Rehearsal of a reader study: simulated readers answer it, in its own order."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pandas as pd

from roentmod.errors import ReadersError
from roentmod.jobs.readers import design
from roentmod.jobs.readers.answers import ANSWERS, read_truth
from roentmod.plans.readings import SkillPlan
from roentmod.science.readers import simulated
from roentmod.science.readers.simulated import Skill
from roentmod.store import atomic

__all__ = ["run"]


def run(study: str | Path, out: str | Path, plan: SkillPlan | None = None) -> pd.DataFrame:
    """Write what simulated readers answer to a study, as a table that says that it is simulated.

    The study's own database stays as it is: these are no answers of its readers.

    Args:
        study: the study's folder; its truth lies beside it.
        out: Parquet file, which an analysis takes as its answers.
        plan: the readers' skill.

    Returns:
        The table.

    Raises:
        ReadersError: study or truth are not there, or `out` is no Parquet file.
    """
    if Path(out).suffix != ".parquet":
        raise ReadersError(
            f"Simulated answers are written as Parquet, which says that they are simulated; got "
            f"{Path(out).name}. Name a .parquet file."
        )
    plan = plan or SkillPlan()
    made, truth = design.load(Path(study)), read_truth(study)
    skill = Skill(**{one.name: getattr(plan, one.name) for one in fields(Skill)})
    shown = pd.DataFrame(
        [
            (reader, step.session, position, step.case, step.other)
            for reader, steps in made.steps.items()
            for position, step in enumerate(steps, 1)
        ],
        columns=["reader", "session", "position", "case", "other"],
    )
    people = simulated.drawn(skill, made.readers, plan.seed)
    table = simulated.answers(truth, people, shown, made.findings, skill, seed=plan.seed)
    table = table[list(ANSWERS)]
    table.attrs["simulated"] = plan.model_dump()
    with atomic(out) as part:
        table.to_parquet(part, index=False)
    return table
