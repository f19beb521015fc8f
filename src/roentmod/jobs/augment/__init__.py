"""The counterfactual training set: findings added to baselines, with labels that fit.

`run` does what is left of a run directory and returns the result. The directory holds ``images/``
(one folder a shard), ``manifest.parquet`` (one row a picture, also those that failed, and why),
``manifest.csv`` (the same pictures as a plain folder that `roentmod.datasets` loads),
``augment.json`` (plan, labels, editor, judge, co-occurrence, versions) and ``parts/`` (what is
done). Nothing in it tells the time, so that two runs give the same bytes. `check` is what a
training asks before it trusts a manifest; `export` writes other libraries' forms.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import roentmod
from roentmod.classifiers import Judge
from roentmod.datasets import Dataset
from roentmod.errors import DatasetError
from roentmod.imaging.provenance import STATEMENT
from roentmod.interfaces import Classifier, Progress, RadiographEditor
from roentmod.jobs.augment.export import Form, export
from roentmod.jobs.augment.make import Case, Maker, cases_of
from roentmod.jobs.augment.manifest import MANIFEST, check, check_table, labels_of, plain, tabled
from roentmod.jobs.augment.matrix import load_cooccurrence, save_cooccurrence
from roentmod.jobs.augment.plan import Labelling, Plan, Policy
from roentmod.science.cooccurrence import CoOccurrence
from roentmod.store import atomic, write_json

__all__ = [
    "AugmentResult",
    "Form",
    "Labelling",
    "Plan",
    "Policy",
    "check",
    "export",
    "labels_of",
    "load",
    "load_cooccurrence",
    "relabel",
    "run",
    "save_cooccurrence",
]

RECORD = "augment.json"
_LIBRARIES = ("numpy", "pandas", "pyarrow", "torch", "onnxruntime", "diffusers", "pillow")
# What may change between runs in one folder: labels, and what they follow from.
_FREE = ("labels", "cooccurrence", "counts", "provenance")


@dataclass(frozen=True, eq=False)
class AugmentResult:
    """A counterfactual training set.

    Attributes:
        folder: the run directory.
        manifest: one row per picture; `manifest.COLUMNS`, then one column per head.
        record: what ``augment.json`` holds.
    """

    folder: Path
    manifest: pd.DataFrame
    record: dict[str, Any]

    @property
    def training(self) -> pd.DataFrame:
        """The rows that have a picture and labels."""
        return self.manifest[self.manifest["status"] == "ok"].reset_index(drop=True)

    def counts(self) -> pd.DataFrame:
        """Return counterfactuals by added finding (down) and status (across)."""
        edited = self.manifest[self.manifest["arm"] == "counterfactual"]
        return pd.crosstab(edited["edited_finding"], edited["status"])


def run(
    data: Dataset,
    baselines: pd.DataFrame,
    editor: RadiographEditor,
    plan: Plan,
    folder: Path,
    *,
    judge: Classifier | None = None,
    rates: CoOccurrence | None = None,
    progress: Progress | None = None,
) -> AugmentResult:
    """Make a counterfactual training set; an interrupted run goes on where it stopped.

    With another labelling in the same folder, only tables are written again.

    Args:
        data: where radiographs come from.
        baselines: what is edited, the table of a `datasets.baselines` selection.
        editor: makes counterfactuals and shams.
        plan: findings, numbers, gate and labels.
        folder: the run directory.
        judge: gates edits; None is the bundled one.
        rates: where soft labels come from; None is the matrix that the package brings.
        progress: called with baselines done and in all.

    Raises:
        DatasetError: no baseline, one with a finding, a patient in two splits, labels that the
            matrix lacks, or `folder` holds a training set of something else.
        EditError: the editor cannot make one of the edits.
    """
    if rates is None and plan.labelling.needs_rates:
        rates = load_cooccurrence()
    targets = plan.labelling.targets(plan.findings, rates)
    facts = _facts(data, baselines, next(iter(targets.values())))
    arms = [n for n, on in (("baseline", plan.baselines), ("sham", plan.shams)) if on]
    cases = cases_of(facts, plan.assign(baselines["baseline_id"]), len(arms), plan.shard)
    gating = None if plan.gate_logit is None else judge or Judge.load()
    record = _record(data, cases, editor, plan, gating)
    record |= _labels(plan.labelling, targets, rates)
    # What the editor cannot do is said before anything is done.
    editor.edit([], list(dict.fromkeys(edit for case in cases for edit in case.edits)))
    _claim(folder, record)
    rows = Maker(data, editor, gating, plan.gate_logit, arms, folder).make(cases, progress)
    table = tabled(rows, targets)
    check_table(table, folder)
    return _write(AugmentResult(folder, table, record))


def load(folder: Path) -> AugmentResult:
    """Return a finished training set.

    Raises:
        DatasetError: none is there, or `check` refuses it.
    """
    table = check(folder)
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"A training set's folder holds {RECORD}; reading it gave '{type(error).__name__}'. "
            "Run roentmod augment again."
        ) from error
    return AugmentResult(folder, table, record)


def relabel(
    result: AugmentResult, labelling: Labelling, rates: CoOccurrence | None = None
) -> AugmentResult:
    """Return the training set with other labels on the same pictures; no file is touched.

    Args:
        result: the training set.
        labelling: the other labels.
        rates: where soft labels come from; None is the matrix that the package brings.

    Raises:
        DatasetError: labels that the matrix lacks.
    """
    if rates is None and labelling.needs_rates:
        rates = load_cooccurrence()
    targets = labelling.targets(result.record["plan"]["findings"], rates)
    table = tabled(result.manifest.to_dict("records"), targets)
    record = result.record | _labels(labelling, targets, rates)
    return replace(result, manifest=table, record=record)


def _facts(
    data: Dataset, baselines: pd.DataFrame, heads: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Return what the manifest says of each baseline.

    Raises:
        DatasetError: none, one that the data set lacks or says has a finding.
    """
    if baselines.empty:
        raise DatasetError("A training set needs baselines; got none. Choose some.")
    known = data.table.set_index("image_id")
    names = [str(name) for name in baselines["baseline_id"]]
    strange = [name for name in names if name not in known.index]
    if strange:
        raise DatasetError(
            f"Baselines are pictures of {data.name}; it has no '{strange[0]}'. Choose them there."
        )
    states = known.loc[names, list(heads)].astype(str)
    for row, column in np.argwhere(states.isin(["positive", "uncertain"]).to_numpy()):
        raise DatasetError(
            f"A baseline shows no finding; '{names[row]}' is {states.to_numpy()[row, column]} "
            f"for {list(heads)[column]}. Choose with datasets.baselines."
        )
    told = ["baseline_id", "patient_id", "site", "view", "sex", "age"]
    table = baselines[told].assign(split=known.loc[names, "split"].to_numpy())
    _check_patients(table)
    return {str(row["baseline_id"]): _words(row) for row in table.to_dict("records")}


def _words(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(k): float(v) if k == "age" else str(v) for k, v in row.items()}


def _check_patients(table: pd.DataFrame) -> None:
    splits = table.groupby("patient_id")["split"].nunique()
    if (splits > 1).any():
        raise DatasetError(
            f"A patient belongs to one split; {splits.idxmax()} is in {splits.max()}. Correct the "
            "data set, or choose baselines of one split."
        )


def _record(
    data: Dataset,
    cases: list[Case],
    editor: RadiographEditor,
    plan: Plan,
    judge: Classifier | None,
) -> dict[str, Any]:
    """Return what ``augment.json`` holds, less the labels. All but `_FREE` must stay the same."""
    fixed = {key: value for key, value in asdict(plan).items() if key != "labelling"}
    names = "\n".join(f"{case.shard} {case.baseline_id}" for case in cases)
    blind = [] if judge is None else [f for f in plan.findings if f not in judge.findings]
    return {
        "synthetic": "YES",
        "statement": STATEMENT,
        "version": roentmod.__version__,
        "plan": json.loads(json.dumps(fixed)),
        "data": {"name": data.name, "root": str(data.root)},
        "cases": len(cases),
        "cases_sha256": hashlib.sha256(names.encode()).hexdigest(),
        "editor": _described(editor),
        "judge": None if judge is None else _described(judge),
        "not_gated": list(plan.findings) if judge is None else blind,
        "provenance": {
            "platform": platform.platform(),
            "python": platform.python_version(),
            "roentmod": roentmod.__version__,
            **{name: version(name) for name in _LIBRARIES},
        },
    }


def _labels(
    labelling: Labelling, targets: Mapping[str, Mapping[str, float]], rates: CoOccurrence | None
) -> dict[str, Any]:
    """Return what the record says of labels; a soft one without its source would be no fact."""
    source = {"source": rates.source, "unit": rates.unit} if rates is not None else None
    said = {
        added: {head: None if label != label else label for head, label in labels.items()}
        for added, labels in targets.items()
    }
    policy = json.loads(json.dumps(asdict(labelling)))
    used = source if labelling.needs_rates else None
    return {"labels": policy | {"targets": said}, "cooccurrence": used}


def _described(part: Any) -> dict[str, Any]:
    """Return what an editor or a judge says of itself."""
    told = getattr(part, "describe", None)
    if not callable(told):
        return {"name": getattr(part, "name", type(part).__name__)}
    said: dict[str, Any] = json.loads(json.dumps(told()))
    return said


def _claim(folder: Path, record: Mapping[str, Any]) -> None:
    """Take `folder` for this training set, or make sure that it is this one's already.

    Raises:
        DatasetError: it holds another one.
    """
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"--out names a folder; '{folder.name}' is a file. Name another.")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECORD
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        other = [k for k in record if k not in _FREE and old.get(k) != record[k]]
        if other:
            raise DatasetError(
                f"{folder} holds a training set with another {', '.join(other)}. Give it back, or "
                "name another folder."
            )
        if old.get("labels") != record["labels"]:
            # Until the tables are written again they would contradict the record.
            (folder / MANIFEST).unlink(missing_ok=True)
    write_json(path, record)


def _write(result: AugmentResult) -> AugmentResult:
    """Write tables and record; the manifest comes last, and says that all is there."""
    with atomic(result.folder / "manifest.csv") as part:
        plain(result.manifest).to_csv(part, index=False, lineterminator="\n")
    counts = {
        name: {str(status): int(number) for status, number in row.items()}
        for name, row in result.counts().to_dict("index").items()
    }
    done = replace(result, record=result.record | {"counts": counts})
    write_json(result.folder / RECORD, done.record)
    with atomic(result.folder / MANIFEST) as part:
        result.manifest.to_parquet(part, index=False)
    return done
