"""The validation: is the edited picture still this patient, and is the edit what was asked?

No-finding radiographs are edited in every way that the plan asks for; what is measured of each
baseline is kept in ``parts/``; `judge` turns all parts into one result. The directory also holds
one Parquet table a kind of row (``edits``, ``nets``, ``pairs``, ``sweep``, ``prompts``, ...),
``validation.json`` (plan, provenance) and ``pictures/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod.classifiers import Judge
from roentmod.classifiers.extractors import Extractor, load_extractor
from roentmod.datasets import Dataset
from roentmod.errors import AuditError
from roentmod.interfaces import Classifier, Progress, RadiographEditor
from roentmod.jobs.validate import companions as people
from roentmod.jobs.validate import sheets as pictures
from roentmod.jobs.validate.companions import choose
from roentmod.jobs.validate.judgement import Tables, judge
from roentmod.jobs.validate.measure import Readers
from roentmod.jobs.validate.result import ValidationResult
from roentmod.jobs.validate.stages import Bench, Part, Subject, joined, run_stage
from roentmod.plans import Rule, ValidatePlan
from roentmod.rundir import claim, made_with, now
from roentmod.store import atomic, write_json

__all__ = ["Rule", "ValidatePlan", "ValidationResult", "choose", "run"]

RECORD = "validation.json"
Stages = Callable[[str], Progress]
_LIBRARIES = ("numpy", "pandas", "scipy", "scikit-learn", "torch", "onnxruntime", "diffusers")
_TABLES = (
    "vectors",
    "known",
    "pairs",
    "edits",
    "nets",
    "shams",
    "fine",
    "sweep",
    "sweep_nets",
    "prompts",
    "reversal",
)
# What each stage is called while it runs.
_TITLES = {
    "radiographs": "comparing radiographs",
    "known": "looking at other patients",
    "edits": "editing and measuring",
    "sweep": "sweeping strength and guidance",
    "prompts": "wording",
    "reversal": "removing again",
}


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
        stages: called with a stage's name, returns what is told of its progress.

    Raises:
        AuditError: no baseline, or `folder` holds a validation of something else.
        EditError: the editor cannot add one of the findings.
    """
    if baselines.empty:
        raise AuditError("A validation needs baselines; got none. Choose some.")
    reader = classifier or Judge.load()
    readers = Readers(reader, extractor or load_extractor())
    bench = Bench(data, editor, readers, plan)
    names = people.in_order(map(str, baselines["baseline_id"]))
    chosen = baselines.set_index("baseline_id").loc[names].reset_index()
    subjects, known = _subjects(data, chosen, plan, split)
    record = _record(data, subjects, known, editor, readers, plan)
    claim(folder / RECORD, record, "a validation")
    absent = _absences(editor, plan)
    numbers = {
        "radiographs": subjects,
        "known": known,
        "edits": subjects,
        "sweep": [] if "sweep" in absent else subjects[: plan.swept],
        "prompts": [] if "wording" in absent else subjects[: plan.worded],
        "reversal": [] if "reversal" in absent else subjects[: plan.undone],
    }
    stage = stages or (lambda _: lambda *_: None)
    parts = [
        part
        for name, some in numbers.items()
        if some
        for part in run_stage(name, bench, some, folder / "parts", stage(_TITLES[name]))
    ]
    for part in parts:
        absent |= part.absent
    tables = {name: joined(parts, name) for name in _TABLES}
    for name, table in tables.items():
        with atomic(folder / f"{name}.parquet") as partial:
            table.to_parquet(partial)
    seconds = sum(part.seconds for part in parts)
    record["provenance"] |= {"finished": now(), "seconds": round(seconds, 1)}
    write_json(folder / RECORD, record)
    sheets = _sheets(bench, subjects[0], folder, sweep="sweep" not in absent)
    return ValidationResult(
        plan=record["plan"] | {"n_baselines": len(chosen)},
        provenance=record["provenance"]
        | {key: record[key] for key in ("editor", "data", "judge", "extractor")},
        minutes=seconds / 60,
        baselines=chosen,
        items=_items(parts),
        counts=_counts(parts),
        pictures=sheets,
        folder=folder,
        **judge(Tables(tables), plan, absent),
    )


def _subjects(
    data: Dataset, chosen: pd.DataFrame, plan: ValidatePlan, split: str | None
) -> tuple[list[Subject], list[Subject]]:
    """Return the baselines with their companions, and pictures of other patients."""
    pairs = people.companions(data, chosen, strangers=plan.strangers, split=split)
    of: dict[str, list[tuple[str, str]]] = {}
    for row in pairs.to_dict("records"):
        of.setdefault(str(row["baseline_id"]), []).append((str(row["group"]), str(row["image_id"])))
    subjects = [
        Subject(
            str(row["baseline_id"]),
            str(row["patient_id"]),
            tuple(of.get(str(row["baseline_id"]), ())),
        )
        for row in chosen.to_dict("records")
    ]
    others = people.library(data, chosen, count=plan.known) if plan.known else []
    patients = data.table.set_index("image_id")["patient_id"]
    return subjects, [Subject(name, str(patients[name])) for name in others]


def _absences(editor: RadiographEditor, plan: ValidatePlan) -> dict[str, str]:
    """Return the sections that need no try, and why."""
    found = {}
    if getattr(editor, "exact", False):
        found["sweep"] = "Strength and guidance mean nothing to this editor."
    elif not plan.swept:
        found["sweep"] = "The plan asks for no sweep."
    if not plan.worded:
        found["wording"] = "The plan asks for no wordings."
    if not plan.undone:
        found["reversal"] = "The plan asks for no removals."
    return found


def _items(parts: list[Part]) -> pd.DataFrame:
    rows = [row for part in parts for row in part.items]
    return pd.DataFrame(rows, columns=["stage", "baseline_id", "edit", "status", "message"])


def _counts(parts: list[Part]) -> dict[str, int]:
    planned, done = (sum(part.edits[key] for part in parts) for key in ("planned", "ok"))
    return {"planned": planned, "ok": done, "missing": planned - done}


def _sheets(bench: Bench, subject: Subject, folder: Path, *, sweep: bool) -> dict[str, Path]:
    listed = folder / "pictures" / "sheets.json"
    if not listed.exists():
        made = pictures.illustrate(bench, subject, folder / "pictures", sweep=sweep)
        write_json(listed, {name: path.name for name, path in made.items()})
    names = json.loads(listed.read_text(encoding="utf-8"))
    return {name: folder / "pictures" / file for name, file in names.items()}


def _record(
    data: Dataset,
    subjects: list[Subject],
    known: list[Subject],
    editor: RadiographEditor,
    readers: Readers,
    plan: ValidatePlan,
) -> dict[str, Any]:
    """Return what ``validation.json`` holds. All but the provenance must stay the same."""
    told = getattr(editor, "describe", None)
    return {
        "plan": plan.facts(),
        "data": {"name": data.name, "root": str(data.root)},
        "editor": told() if callable(told) else {"name": editor.name},
        "judge": _describe(readers.judge),
        "extractor": _describe(readers.extractor),
        "cases": [[one.baseline_id, [list(pair) for pair in one.companions]] for one in subjects],
        "known": [one.baseline_id for one in known],
        "provenance": made_with(_LIBRARIES),
    }


def _describe(reader: Any) -> dict[str, Any]:
    """Return what identifies a judge or extractor."""
    told = getattr(reader, "describe", None)
    said: dict[str, Any] = told() if callable(told) else {}
    kept: dict[str, Any] = {key: said[key] for key in ("source", "sha256") if key in said}
    name = str(getattr(reader, "name", type(reader).__name__))
    return {"name": name, "size": int(reader.size), **kept}
