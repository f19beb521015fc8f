"""The audit: does a classifier react to findings it should ignore?

No-finding radiographs are edited, each edit beside its sham; every classifier and the judge read
both; the difference is the effect. `run` does what is left of a run directory and returns the
result; `assess` judges a finished directory again. The directory holds ``predictions.parquet`` (one
row a reading, the hinge of everything), ``items.parquet`` (what is missing and why),
``baselines.parquet``, ``readings.parquet`` and ``states.parquet`` (unedited radiographs),
``audit.json`` (plan, rules, provenance) and ``pictures/``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

import roentmod
from roentmod import datasets
from roentmod.classifiers import Judge, checks
from roentmod.datasets import Dataset
from roentmod.datasets.phantom import phantom
from roentmod.editors.compose import shrink
from roentmod.errors import AuditError
from roentmod.findings import finding
from roentmod.interfaces import Classifier, Progress, RadiographEditor
from roentmod.jobs.audit import examples as pictures
from roentmod.jobs.audit.judgement import RECORD, assess, with_examples
from roentmod.jobs.audit.plan import AuditResult, ClassifierResult, Doses, Example, Plan
from roentmod.jobs.audit.predict import Case, Readers, predict, read_labelled
from roentmod.rundir import claim, made_with, now
from roentmod.science.effects import JUDGE, Rules
from roentmod.store import atomic, write_json

__all__ = [
    "AuditResult",
    "ClassifierResult",
    "Doses",
    "Example",
    "Plan",
    "Rules",
    "assess",
    "run",
]

_LIBRARIES = ("numpy", "pandas", "scipy", "torch", "onnxruntime", "diffusers", "pillow")
Stages = Callable[[str], Progress]


def run(
    data: Dataset,
    baselines: pd.DataFrame,
    editor: RadiographEditor,
    classifiers: Mapping[str, Classifier],
    plan: Plan,
    folder: Path,
    *,
    rules: Rules | None = None,
    judge: Classifier | None = None,
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
        stages: called with a stage's name, returns what is told of its progress.

    Raises:
        AuditError: no baseline or classifier, no judge in another domain, or `folder` holds an
            audit of something else.
        EditError: the editor cannot make one of the edits.
    """
    if baselines.empty or not classifiers:
        raise AuditError(
            f"An audit needs baselines and classifiers; got {len(baselines)} and "
            f"{len(classifiers)}. Give both."
        )
    if JUDGE in classifiers:
        raise AuditError(f"'{JUDGE}' names the judge; an audited classifier needs another name.")
    foreign = [name for name in plan.findings if finding(name).domain != "cxr"]
    if judge is None and foreign:
        raise AuditError(
            f"The bundled judge reads chest radiographs; got {foreign[0]} of "
            f"{finding(foreign[0]).domain}. Give a judge of that domain."
        )
    started = time.time()
    readers = Readers({**classifiers, JUDGE: judge or Judge.load()})
    removals = _removals(data, plan)
    cases = [_case(row, plan.edits()) for row in baselines.to_dict("records")]
    cases += [_case(row, plan.removal(name)) for name, row in removals]
    labelled, states = _labelled(data, plan)
    record = _record(data, cases, editor, readers, plan, rules or _usual(editor))
    record["labelled"] = _digest(labelled, states)
    # What the editor cannot do is said before anything is done.
    editor.edit([], [edit for case in cases[-1:] + cases[:1] for edit in case.edits])
    claim(folder / RECORD, record, "an audit", free=("rules",))
    stage = stages or (lambda _: lambda *_: None)
    predictions, items = predict(
        cases, data, editor, readers, folder / "parts", stage("editing and reading")
    )
    audited = Readers(classifiers, readers.failures)
    told = stage("reading labelled radiographs") if len(labelled) else None
    readings, unread = read_labelled(labelled, data, audited, folder / "parts-labelled", told)
    shown = pd.concat([baselines, *(pd.DataFrame([row]) for _, row in removals)])
    tables = {
        "predictions": predictions,
        "items": pd.concat([items, unread], ignore_index=True),
        "baselines": shown.drop_duplicates("baseline_id").reset_index(drop=True),
        "readings": readings,
        "states": states,
    }
    for name, table in tables.items():
        with atomic(folder / f"{name}.parquet") as part:
            table.to_parquet(part)
    spent = record["provenance"].get("seconds", 0) + time.time() - started
    record["provenance"] |= {"finished": now(), "seconds": round(spent, 1)}
    write_json(folder / RECORD, record)
    result = assess(folder)
    pictures.illustrate(result, predictions, plan, data, editor)
    return with_examples(result)


def _usual(editor: RadiographEditor) -> Rules:
    """Return the default rules; an editor that knows what it paints needs no leakage taken off."""
    return Rules(exact=bool(getattr(editor, "exact", False)))


def _case(row: Mapping[Any, Any], edits: list[Any]) -> Case:
    return Case(str(row["baseline_id"]), str(row["patient_id"]), tuple(edits))


def _removals(data: Dataset, plan: Plan) -> list[tuple[str, dict[Any, Any]]]:
    """Return radiographs that carry a finding, with the finding, for the reverse check."""
    if not plan.removals:
        return []
    return [
        (name, row)
        for name in plan.findings
        for row in _carrying(data, name, plan.removals, plan.split).to_dict("records")
    ]


def _carrying(data: Dataset, name: str, count: int, split: str | None) -> pd.DataFrame:
    """Return up to `count` radiographs that carry a finding; none where the data has none."""
    if not (data.table[name] == "positive").any():
        return pd.DataFrame()
    return datasets.positives(data, name, count=count, split=split).table


def _labelled(data: Dataset, plan: Plan) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the unedited radiographs to read, and what is known to be in each."""
    names = list(plan.findings)
    if not plan.stress:
        empty = pd.DataFrame(columns=[*names, "clean", "drawn"])
        return pd.DataFrame(columns=["image_id", "patient_id"]), empty
    parts = [_carrying(data, name, plan.stress, plan.split).assign(drawn=name) for name in names]
    clean = datasets.baselines(data, count=plan.stress, split=plan.split).table
    drawn = pd.concat([*parts, clean.assign(drawn="")])
    # A patient counts once: the tests take radiographs for independent.
    rows = drawn.drop_duplicates("patient_id")
    rows = rows.rename(columns={"baseline_id": "image_id"}).reset_index(drop=True)
    states = data.table.set_index("image_id").loc[rows["image_id"], names].astype(str)
    states["clean"] = states.index.isin(clean["baseline_id"])
    states["drawn"] = rows["drawn"].to_numpy()
    return rows[["image_id", "patient_id"]], states


def _record(
    data: Dataset,
    cases: list[Case],
    editor: RadiographEditor,
    readers: Readers,
    plan: Plan,
    rules: Rules,
) -> dict[str, Any]:
    """Return what ``audit.json`` holds. All but rules and provenance must stay the same."""
    described = {name: _describe(one) for name, one in readers.by_name.items()}
    told = getattr(editor, "describe", None)
    return {
        "plan": json.loads(json.dumps(asdict(plan))),
        "data": {"name": data.name, "root": str(data.root)},
        "editor": told() if callable(told) else {"name": editor.name},
        "judge": described.pop(JUDGE),
        "classifiers": described,
        "version": roentmod.__version__,
        "cases": [[case.baseline_id, case.patient_id] for case in cases],
        "pairs": sum(len(case.edits) for case in cases),
        "levels": [list(level) for level in plan.levels()],
        "stress_findings": list(plan.findings),
        "rules": asdict(rules),
        "provenance": made_with(_LIBRARIES),
    }


def _digest(labelled: pd.DataFrame, states: pd.DataFrame) -> str:
    """Return a hash of the labelled radiographs and of what is known of them."""
    text = labelled.to_csv(index=False) + states.to_csv()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _fingerprint(classifier: Classifier, said: Mapping[str, Any]) -> list[float] | None:
    """Return what a classifier without a hash of its weights says of one phantom.

    A model that is exchanged behind the same name is noticed by it. None: it has a hash, or does
    not answer now.
    """
    if said.get("sha256"):
        return None
    picture = shrink(phantom(0).radiograph, classifier.size)
    reading = checks.read(classifier, picture[None])
    if reading.status != ["ok"]:
        return None
    return [round(float(v), 3) for v in reading.logits[0]]


def _describe(classifier: Classifier) -> dict[str, Any]:
    """Return what a classifier says of itself; one that says nothing has the heads it reads."""
    told = getattr(classifier, "describe", None)
    said: dict[str, Any] = json.loads(json.dumps(told())) if callable(told) else {}
    plain = [
        {"name": name, "finding": name, "state": "read", "note": ""} for name in classifier.findings
    ]
    usual = {"source": type(classifier).__name__, "size": classifier.size, "heads": plain}
    return usual | said | {"fingerprint": _fingerprint(classifier, said)}
