"""The counterfactual training set: findings added to baselines, with labels that fit.

`run` does what is left of a run directory and returns the result. The directory holds the pictures,
``manifest.parquet`` (one row per picture, also of those that failed, and why), ``manifest.csv``
(the same pictures as a plain folder that `roentmod.datasets` loads), ``augment.json`` (plan,
labels, editor, judge, co-occurrence, versions), and the engine's ``run.json`` and ``parts/``. Up to
10,000 planned pictures are files, ``images/00000/NAME.png``; more lie in shards, and the manifest's
paths lead into them: ``shards/train-00000.tar/NAME.png``. Tables, record and pictures tell no time,
so that two runs give the same bytes. `check` is what a training asks before it trusts a manifest;
`export` writes other libraries' forms; `put` copies a set to a store.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from roentmod import datasets
from roentmod.classifiers import Judge
from roentmod.datasets import Dataset
from roentmod.datasets.labels import NAMES
from roentmod.domain import NO_FINDING
from roentmod.errors import DatasetError
from roentmod.interfaces import Classifier, Progress, RadiographEditor
from roentmod.jobs.augment.export import Form, check_form, export
from roentmod.jobs.augment.job import AugmentJob, Case
from roentmod.jobs.augment.manifest import check, labels_of
from roentmod.jobs.augment.matrix import load_cooccurrence, save_cooccurrence
from roentmod.jobs.augment.result import AugmentResult, load, relabel
from roentmod.jobs.augment.stores import check_place, put
from roentmod.jobs.batches import say_time
from roentmod.plans import AugmentPlan, Labelling, Policy
from roentmod.runs import Workers
from roentmod.runs import run as carry_out
from roentmod.science.cooccurrence import CoOccurrence

__all__ = [
    "AugmentPlan",
    "AugmentResult",
    "Form",
    "Labelling",
    "Pictures",
    "Policy",
    "check",
    "check_form",
    "export",
    "hosts",
    "labels_of",
    "load",
    "load_cooccurrence",
    "put",
    "relabel",
    "run",
    "save_cooccurrence",
]

Pictures = Literal["auto", "files", "webdataset", "parquet"]
# So many pictures are files; more would be too many for a disk or a store.
_FILES = 10_000
# Most hosts per positive that they match.
_MATCHED = 4
log = logging.getLogger(__name__)
_FACTS = ("baseline_id", "patient_id", "site", "view", "sex", "age")


def run(
    data: Dataset,
    baselines: pd.DataFrame,
    editor: RadiographEditor,
    plan: AugmentPlan,
    folder: Path,
    *,
    judge: Classifier | None = None,
    rates: CoOccurrence | None = None,
    pictures: Pictures = "auto",
    store: str | None = None,
    workers: str | Workers = "serial",
    progress: Progress | None = None,
) -> AugmentResult:
    """Make a counterfactual training set; an interrupted run goes on where it stopped.

    With another labelling in the same folder, no picture is made again.

    Args:
        data: where radiographs come from.
        baselines: what is edited, as `hosts` chooses, or the table of another selection.
        editor: makes counterfactuals and shams.
        plan: findings, numbers, gate and labels.
        folder: the run directory.
        judge: gates edits; None is the bundled one.
        rates: where soft labels come from; None is the matrix that the package brings.
        pictures: "files", or shards of at most 256 MB as "webdataset" (tar) or "parquet"; "auto"
            makes tars of more than 10,000 planned pictures, and for a store.
        store: also `put` the set there.
        workers: who makes the parts, a form of `roentmod.runs.workers`.
        progress: called with baselines done and in all.

    Raises:
        DatasetError: no baseline, one with a finding, a patient in two splits, labels that the
            matrix lacks, or an unknown form of pictures.
        EditError: the editor cannot make one of the edits.
        RunError: `folder` or the store holds something else, or the store cannot be used.
    """
    if rates is None and plan.labelling.needs_rates:
        rates = load_cooccurrence()
    targets = plan.labelling.targets(plan.findings, rates)
    facts = _facts(data, baselines, plan, next(iter(targets.values())))
    cases = _cases(plan, facts)
    gating = None if plan.gate_logit is None else judge or Judge.load()
    form = _form(
        pictures,
        sum(len(case.edits) + len(plan.beside) for case in cases),
        store,
    )
    # What the editor cannot do, and where the set cannot go, is said before anything is done.
    editor.edit([], list(dict.fromkeys(edit for case in cases for edit in case.edits)))
    job = AugmentJob(data, editor, gating, plan, form, cases, facts, targets, rates)
    if store is not None:
        check_place(store, job.identity())
    say_time(editor, [case.edits for case in cases])
    stages = None if progress is None else lambda _: progress
    result = carry_out(job, folder, workers=workers, stages=stages)
    if store is not None:
        put(result, store)
    return result


def hosts(
    data: Dataset, plan: AugmentPlan, *, count: int | None = None, split: str | None = None
) -> pd.DataFrame:
    """Return the radiographs that a plan edits, as `run` takes them.

    Of matched hosts each gets only the findings whose positives it matches, and, of `count`, each
    finding has as many, as far as there are any.

    Args:
        data: where from.
        plan: which hosts, of which findings.
        count: how many at most; None for all.
        split: only of this split.

    Raises:
        DatasetError: there are none.
    """
    if plan.hosts != "matched":
        choose = datasets.hosts if plan.hosts == "any" else datasets.baselines
        return choose(data, count=count, split=split).table
    parts = []
    for name in plan.findings:
        try:
            both = datasets.match(data, name, ratio=_MATCHED, split=split).table
        except DatasetError as error:
            log.warning("no hosts of %s: %s", name, error)
            continue
        parts.append(both[~both["positive"].astype(bool)].reset_index(drop=True))
        parts[-1]["finding"] = name
    if not parts:
        raise DatasetError(
            f"Matched hosts need positives; of {', '.join(plan.findings)} {data.name} has none "
            "with a match. Choose other hosts."
        )
    every = pd.concat(parts).sort_index(kind="stable")
    own = every.groupby("baseline_id")["finding"].agg(set)
    kept = every.drop_duplicates("patient_id").head(len(every) if count is None else count)
    barred = ["|".join(f for f in plan.findings if f not in own[n]) for n in kept["baseline_id"]]
    return kept.assign(barred=barred).reset_index(drop=True)


def _form(pictures: Pictures, planned: int, store: str | None) -> str:
    if pictures not in get_args(Pictures):
        known = ", ".join(get_args(Pictures))
        raise DatasetError(f"Pictures are kept as one of {known}; got '{pictures}'.")
    if pictures != "auto":
        return pictures
    return "files" if planned <= _FILES and store is None else "webdataset"


def _cases(plan: AugmentPlan, facts: pd.DataFrame) -> list[Case]:
    """Return the cases in order, folders of loose pictures filled to `plan.shard` planned ones."""
    cases, shard, filled = [], 0, 0
    barred = dict(zip(facts["baseline_id"], facts.pop("barred").str.split("|"), strict=True))
    for name, edits in plan.assign(facts["baseline_id"], barred).items():
        planned = len(edits) + len(plan.beside)
        if not planned:
            continue
        if filled and filled + planned > plan.shard:
            shard, filled = shard + 1, 0
        cases.append(Case(name, edits, shard))
        filled += planned
    return cases


def _facts(
    data: Dataset, baselines: pd.DataFrame, plan: AugmentPlan, heads: Mapping[str, float]
) -> pd.DataFrame:
    """Return what the manifest says of each baseline, and the findings that are "barred" to it.

    Raises:
        DatasetError: none, one that the data set lacks, or, where hosts are without finding, says
            has one.
    """
    if baselines.empty:
        raise DatasetError("A training set needs baselines; got none. Choose some.")
    names = [str(name) for name in baselines["baseline_id"]]
    rows = pd.Index(data.table["image_id"]).get_indexer(names)
    if (rows < 0).any():
        strange = names[int(np.argmax(rows < 0))]
        raise DatasetError(
            f"Baselines are pictures of {data.name}; it has no '{strange}'. Choose them there."
        )
    states = data.table[list(heads)].iloc[rows].astype(str)
    shown = states.isin(["positive", "uncertain"]).to_numpy()
    for row, column in np.argwhere(shown) if plan.hosts == "no finding" else ():
        raise DatasetError(
            f"A baseline shows no finding; '{names[row]}' is {states.to_numpy()[row, column]} "
            f"for {list(heads)[column]}. Choose with datasets.baselines."
        )
    table = baselines[list(_FACTS)].assign(
        split=data.table["split"].to_numpy()[rows],
        host_labels=[
            _host(state) for state in data.table[list(NAMES)].iloc[rows].to_dict("records")
        ],
        barred=["|".join(np.array(list(heads))[own]) for own in shown],
    )
    if "barred" in baselines:
        table["barred"] += "|" + baselines["barred"]
    splits = table.groupby("patient_id")["split"].nunique()
    if (splits > 1).any():
        raise DatasetError(
            f"A patient belongs to one split; {splits.idxmax()} is in {splits.max()}. Correct the "
            "data set, or choose baselines of one split."
        )
    return table.astype({name: "float64" if name == "age" else str for name in table.columns})


def _host(states: Mapping[Any, Any]) -> str:
    """Return what is known of a host as JSON, finding to 1 or 0; "" where it has no finding."""
    words = {str(name): str(state) for name, state in states.items()}
    clean = words.pop(NO_FINDING.name) == "positive"
    if clean and not {"positive", "uncertain"} & set(words.values()):
        return ""
    known = {"positive": 1.0, "negative": 0.0}
    return json.dumps({name: known[state] for name, state in words.items() if state in known})
