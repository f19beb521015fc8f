"""The validation: is the edited picture still this patient, and is the edit what was requested?

No-finding radiographs are edited in every way that the plan asks for; what is measured of each
baseline is a part of the run, and all parts are judged into one result. The directory holds one
Parquet table per kind of row (``edits``, ``nets``, ``pairs``, ``sweep``, ``prompts``, ...),
``items.parquet`` (what is missing and why), ``baselines.parquet``, ``validation.json`` (plan,
provenance) and ``pictures/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from roentmod import runs
from roentmod.classifiers import Judge, Recogniser
from roentmod.classifiers.extractors import Extractor, load_extractor
from roentmod.datasets import Dataset
from roentmod.errors import AuditError
from roentmod.interfaces import Classifier, RadiographEditor
from roentmod.jobs.batches import say_time
from roentmod.jobs.validate.artefacts import Matched, matched
from roentmod.jobs.validate.companions import choose, companions, in_order, library
from roentmod.jobs.validate.job import Subject, ValidateJob
from roentmod.jobs.validate.judgement import assess
from roentmod.jobs.validate.measure import Readers
from roentmod.jobs.validate.result import ValidationResult
from roentmod.plans import Rule, ValidatePlan
from roentmod.runs import Stages, Workers

__all__ = ["Rule", "ValidatePlan", "ValidationResult", "choose", "load", "run"]


def run(
    data: Dataset,
    baselines: pd.DataFrame,
    editor: RadiographEditor,
    plan: ValidatePlan,
    folder: Path,
    *,
    extractor: Extractor | None = None,
    split: str | None = None,
    classifier: Classifier | None = None,
    second: Classifier | None = None,
    recogniser: Recogniser | None = None,
    workers: str | Workers = "serial",
    stages: Stages | None = None,
) -> ValidationResult:
    """Validate an editor; an interrupted validation goes on where it stopped.

    The result depends on the set of baselines, and not on their order.

    Args:
        data: where radiographs come from.
        baselines: what is edited, as `choose` or `datasets.baselines` give it.
        editor: what is validated.
        plan: edits and numbers.
        folder: the run directory.
        extractor: whose features pFID and retrieval compare; None is the judge.
        split: only patients of this split are compared with; None is everybody.
        classifier: reads whether an edit succeeded; None is the bundled judge.
        second: reads the same, and is shown beside it; None: nobody does.
        recogniser: tells patients apart; None is the bundled one.
        workers: who makes the parts, a form of `roentmod.runs.workers`.
        stages: called with a stage's title, returns what is called with parts done and in all.

    Raises:
        AuditError: no baseline, or a second judge that reads nothing that is edited.
        EditError: the editor cannot add one of the findings.
        RunError: `folder` holds a validation of something else, or the workers cannot be used.
    """
    if baselines.empty:
        raise AuditError("A validation needs baselines; got none. Choose some.")
    if second is not None and not set(plan.findings) & set(second.findings):
        raise AuditError(
            f"A second judge reads findings that are edited, {', '.join(plan.findings)}; got one "
            f"of {', '.join(second.findings)}. Give another."
        )
    names = in_order(map(str, baselines["baseline_id"]))
    chosen = baselines.set_index("baseline_id").loc[names].reset_index()
    others = library(data, chosen, count=plan.known) if plan.known else []
    partners = matched(data, chosen, plan, split)
    patients = data.table.set_index("image_id")["patient_id"]
    job = ValidateJob(
        data,
        editor,
        Readers(
            classifier or Judge.load(),
            extractor or load_extractor(),
            recogniser or Recogniser.load(),
            second,
        ),
        plan,
        subjects=_subjects(
            chosen, companions(data, chosen, strangers=plan.strangers, split=split), partners
        ),
        known=[Subject(name, str(patients[name])) for name in others],
        partners=partners,
        baselines=chosen,
    )
    # What the editor cannot do is said before anything is done.
    editor.edit([], plan.edits())
    say_time(editor, job.work())
    return runs.run(job, folder, workers=workers, stages=stages)


def load(folder: Path) -> ValidationResult:
    """Return the result of a finished validation.

    Raises:
        AuditError: none is there.
    """
    return assess(folder)


def _subjects(
    chosen: pd.DataFrame, pairs: pd.DataFrame, partners: Mapping[str, Matched]
) -> list[Subject]:
    """Return the baselines with their companions, and the findings they are matched for."""
    of: dict[str, list[tuple[str, str]]] = {}
    for row in pairs.to_dict("records"):
        of.setdefault(str(row["baseline_id"]), []).append((str(row["group"]), str(row["image_id"])))
    names = chosen[["baseline_id", "patient_id"]].astype(str)
    return [
        Subject(
            name,
            patient,
            tuple(of.get(name, ())),
            tuple(key for key, one in partners.items() if name in one.baselines),
        )
        for name, patient in names.itertuples(index=False)
    ]
