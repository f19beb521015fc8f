"""The audit: does a classifier react to findings it should ignore?

No-finding radiographs are edited, each edit beside its sham; every classifier and the judge read
both; the difference is the effect. `run` does what is left of a run directory and returns the
result; `assess` judges a finished directory again. The directory holds ``predictions.parquet`` (one
row per reading, the hinge of everything), ``items.parquet`` (what is missing and why),
``baselines.parquet``, ``readings.parquet`` and ``states.parquet`` (unedited radiographs),
``audit.json`` (plan, rules, provenance) and ``pictures/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from roentmod import datasets, runs
from roentmod.classifiers import Judge
from roentmod.datasets import Dataset
from roentmod.domain import finding
from roentmod.errors import AuditError
from roentmod.interfaces import Classifier, RadiographEditor
from roentmod.jobs.audit.job import AuditJob
from roentmod.jobs.audit.judgement import RECORD, assess, keep, kept
from roentmod.jobs.audit.readers import Readers
from roentmod.jobs.audit.result import AuditResult, ClassifierResult, Example
from roentmod.jobs.batches import check_removals, say_time
from roentmod.plans import AuditPlan, Doses, Rules
from roentmod.runs import Stages, Workers
from roentmod.science.effects import JUDGE, SECOND

__all__ = [
    "AuditPlan",
    "AuditResult",
    "ClassifierResult",
    "Doses",
    "Example",
    "Rules",
    "assess",
    "load",
    "run",
]


def run(
    data: Dataset,
    baselines: pd.DataFrame,
    editor: RadiographEditor,
    classifiers: Mapping[str, Classifier],
    plan: AuditPlan,
    folder: Path,
    *,
    rules: Rules | None = None,
    judge: Classifier | None = None,
    second: Classifier | None = None,
    people: pd.DataFrame | None = None,
    warnings: Sequence[str] = (),
    workers: str | Workers = "serial",
    stages: Stages | None = None,
) -> AuditResult:
    """Audit classifiers; an interrupted audit goes on where it stopped.

    Args:
        data: where radiographs come from.
        baselines: what is edited, the table of a `datasets.baselines` selection.
        editor: makes counterfactuals and shams.
        classifiers: what is audited, by name.
        plan: edits and numbers.
        folder: the run directory.
        rules: how to judge; None is the default.
        judge: sees edits, independent of the classifiers; None is the bundled one.
        second: measures leakage in the judge's place, who chose what it would measure; None: the
            judge does.
        people: what readers saw, a table of `effects.readings`, in place of both.
        warnings: which facts predict labels; the result has them where radiographs are read by
            their labels (`AuditPlan.stress`).
        workers: who makes the parts, a form of `roentmod.runs.workers`.
        stages: called with a stage's title, returns what is called with parts done and in all.

    Raises:
        AuditError: no baseline or classifier, or no judge in another domain.
        EditError: the editor cannot make one of the edits.
        RunError: `folder` holds an audit of something else, or the workers cannot be used.
    """
    _check(baselines, classifiers, plan, judge, second)
    removed = {name: _carrying(data, name, plan.removals, plan.split) for name in plan.findings}
    cases = [_cases(baselines), *(_cases(table, name) for name, table in removed.items())]
    shown = pd.concat([baselines, *removed.values()])
    labelled, states = _labelled(data, plan)
    job = AuditJob(
        data,
        editor,
        Readers(
            {**classifiers, JUDGE: judge or Judge.load(), **({SECOND: second} if second else {})}
        ),
        plan,
        rules or Rules(exact=bool(getattr(editor, "exact", False))),
        cases=pd.concat(cases, ignore_index=True),
        labelled=labelled,
        baselines=shown.drop_duplicates("baseline_id").reset_index(drop=True),
        states=states,
        warnings=tuple(warnings) if plan.stress else (),
    )
    # What the editor cannot do is said before anything is done.
    edits = [e for name in set(job.cases["removed"]) for e in job.edits[name]]
    editor.edit([], edits)
    check_removals(editor, edits)
    say_time(editor, [job.edits[name] for name in job.cases["removed"]])
    result = runs.run(job, folder, workers=workers, stages=stages)
    if people is None:
        return result
    return keep(assess(folder, job.rules, people=people), runs.read_record(folder / RECORD))


def load(folder: Path) -> AuditResult:
    """Return the result of a finished audit, without judging again.

    Raises:
        AuditError: none is there.
    """
    return kept(folder, runs.read_record(folder / RECORD))


def _check(
    baselines: pd.DataFrame,
    classifiers: Mapping[str, Classifier],
    plan: AuditPlan,
    judge: Classifier | None,
    second: Classifier | None,
) -> None:
    """Refuse an audit that cannot be run.

    Raises:
        AuditError: in one message.
    """
    if baselines.empty or not classifiers:
        raise AuditError(
            f"An audit needs baselines and classifiers; got {len(baselines)} and "
            f"{len(classifiers)}. Give both."
        )
    for name in {JUDGE, SECOND} & set(classifiers):
        raise AuditError(f"'{name}' names a judge; an audited classifier needs another name.")
    foreign = [name for name in plan.findings if finding(name).domain != "cxr"]
    if judge is None and foreign:
        raise AuditError(
            f"The bundled judge reads chest radiographs; got {foreign[0]} of "
            f"{finding(foreign[0]).domain}. Give a judge of that domain."
        )
    if second is not None and not set(plan.findings) & set(second.findings):
        raise AuditError(
            f"A second judge reads findings that are edited, {', '.join(plan.findings)}; got one "
            f"of {', '.join(second.findings)}. Give another."
        )


def _cases(table: pd.DataFrame, removed: str = "") -> pd.DataFrame:
    """Return one row per `Case`."""
    ids = table.reindex(columns=["baseline_id", "patient_id"]).astype(str)
    return ids.assign(removed=removed)


def _carrying(data: Dataset, name: str, count: int, split: str | None) -> pd.DataFrame:
    """Return up to `count` radiographs that carry a finding; none where the data has none."""
    if not count or not (data.table[name] == "positive").any():
        return pd.DataFrame()
    return datasets.positives(data, name, count=count, split=split).table


def _labelled(data: Dataset, plan: AuditPlan) -> tuple[list[tuple[str, str]], pd.DataFrame]:
    """Return image and patient of the unedited radiographs to read, and what is known of each."""
    names = list(plan.findings)
    if not plan.stress:
        return [], pd.DataFrame(columns=[*names, "clean", "drawn"])
    parts = [_carrying(data, name, plan.stress, plan.split).assign(drawn=name) for name in names]
    clean = datasets.baselines(data, count=plan.stress, split=plan.split).table
    drawn = pd.concat([*parts, clean.assign(drawn="")])
    # A patient counts once: the tests take radiographs for independent.
    rows = drawn.drop_duplicates("patient_id").astype({"baseline_id": str, "patient_id": str})
    states = data.table.set_index("image_id").loc[rows["baseline_id"], names].astype(str)
    states["clean"] = states.index.isin(clean["baseline_id"])
    states["drawn"] = rows["drawn"].to_numpy()
    return list(zip(rows["baseline_id"], rows["patient_id"], strict=True)), states
