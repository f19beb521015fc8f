"""Counterfactuals as samples of a training: their labels by arm, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod import imaging
from roentmod.datasets import Dataset
from roentmod.errors import RetrainError
from roentmod.jobs.augment import AugmentResult, Labelling, Policy, relabel
from roentmod.jobs.augment.manifest import check_table
from roentmod.learning.material import CONTROL, Counterfactuals
from roentmod.learning.samples import FACTS, Floats, Samples, first_pictures
from roentmod.plans.retrain import COUNTERFACTUAL_ARMS, PAIRED_ARMS, RetrainPlan
from roentmod.radiograph import Radiograph
from roentmod.runs.record import EARLIER
from roentmod.science.cooccurrence import CoOccurrence

__all__ = ["check_counterfactuals", "check_hosts", "counterfactuals"]

# Of the others, what was not added has no label in the set.
_POLICIES: dict[str, Policy] = {"isolated": "isolated", "soft": "soft", "staged": "isolated"}


def counterfactuals(
    made: AugmentResult, plan: RetrainPlan, rates: CoOccurrence | None, data: Dataset
) -> tuple[Samples, Counterfactuals]:
    """Return the pictures of a counterfactual training set, and what is known of them.

    The arms that have no labels for what was not added have none for controls, but for `teacher`,
    to whom is absent what a host is known to be without. Where an arm needs
    controls that are baselines, and the set lacks some, the data have them: they come after the
    set's rows, without labels. The labels of the samples themselves are those of the first arm.

    Args:
        made: the training set.
        plan: findings and arms.
        rates: where soft labels come from; None is the matrix that the package brings.
        data: what the set was made of.

    Raises:
        RetrainError: no head was added to any picture, the set is empty, or an arm needs controls,
            and there are none.
        DatasetError: a manifest that no training may trust; its row is named.
    """
    check_table(made.manifest, made.folder, hashes=True)
    added = tuple(made.record["plan"]["findings"])
    heads = (*plan.findings, *(name for name in added if name not in plan.findings))
    rows = made.training
    if rows.empty or not set(added) & set(plan.findings):
        raise RetrainError(
            f"A counterfactual training set adds heads ({', '.join(plan.findings)}); this one has "
            f"{len(rows)} pictures with {', '.join(added)}. Make one with roentmod augment."
        )
    targets: dict[str, Floats] = {}
    more = _controls(made, data) if plan.needs_controls else rows[:0]
    for arm in (arm for arm in plan.arms if arm in COUNTERFACTUAL_ARMS):
        policy = _POLICIES.get(arm, "masked")
        labels = relabel(made, Labelling(policy=policy, heads=heads), rates).training
        values = labels[list(plan.findings)].to_numpy(dtype=np.float32)
        if policy == "masked":
            values[(rows["arm"] != "counterfactual").to_numpy()] = np.nan
        without = np.full((len(more), values.shape[1]), np.nan, dtype=np.float32)
        targets[arm] = np.concatenate([values, without])
    places = dict(zip(rows["image_id"], rows["path"], strict=True))
    every = pd.concat([rows, more], ignore_index=True) if len(more) else rows
    if "teacher" in targets:
        control = (every["arm"] != "counterfactual").to_numpy()
        targets["teacher"][control] = _without(every[control], plan)
    samples = Samples(
        "counterfactuals",
        every[FACTS],
        next(iter(targets.values())),
        plan.findings,
        partial(_read, made.folder, places, data),
    )
    facts = Counterfactuals(_added(every, plan), _control_rows(every, _control(made)), targets)
    if plan.needs_controls and (facts.control < 0).all():
        wanting = ", ".join(arm for arm in plan.arms if arm in PAIRED_ARMS)
        raise RetrainError(
            f"{wanting} compare counterfactuals with their controls; the training set has none. "
            "Make it again with --with-shams, or leave these arms out."
        )
    return samples, facts


def _control(made: AugmentResult) -> str:
    control: str = made.record.get("control", EARLIER["control"])
    return control


def _controls(made: AugmentResult, data: Dataset) -> pd.DataFrame:
    """Return rows of the controls that the set lacks, and the data have."""
    rows = made.training
    if _control(made) != "baseline":
        return rows[:0]
    edited = rows[rows["arm"] == "counterfactual"].drop_duplicates("baseline_id")
    there = rows.loc[rows["arm"] == "baseline", "baseline_id"]
    known = set(data.table["image_id"].astype(str))
    lacking = edited[~edited["baseline_id"].isin(there) & edited["baseline_id"].isin(known)]
    return lacking.assign(image_id=lacking["baseline_id"], arm="baseline", edited_finding="")


def _added(rows: pd.DataFrame, plan: RetrainPlan) -> NDArray[np.bool_]:
    """Return which heads were added to each picture, m x k."""
    parts = [str(name).split(" + ") for name in rows["edited_finding"]]
    return np.array([[head in own for head in plan.findings] for own in parts], dtype=np.bool_)


def _without(rows: pd.DataFrame, plan: RetrainPlan) -> Floats:
    """Return 0 for heads that the hosts of some rows are known to be without, else NaN, n x k."""
    texts = rows.reindex(columns=["host_labels"], fill_value="")["host_labels"]
    # Hosts without finding say nothing.
    hosts = [json.loads(text) if text else dict.fromkeys(plan.findings, 0) for text in texts]
    known = [[0 if host.get(head) == 0 else np.nan for head in plan.findings] for host in hosts]
    return np.array(known, dtype=np.float32).reshape(len(rows), len(plan.findings))


def _control_rows(rows: pd.DataFrame, control: str) -> NDArray[np.int64]:
    """Return the row of each counterfactual's control, m, as `Counterfactuals` has it."""
    kinds = rows["arm"].to_numpy()
    own = np.flatnonzero(kinds == control)
    at = dict(zip(rows["baseline_id"].iloc[own], own.tolist(), strict=True))
    control_of = rows["baseline_id"].map(lambda name: at.get(name, -1)).to_numpy(dtype=np.int64)
    return np.where(kinds == "counterfactual", control_of, np.where(kinds == control, CONTROL, -1))


def _read(folder: Path, places: Mapping[str, str], data: Dataset, image_id: str) -> Radiograph:
    if image_id not in places:
        return data.radiograph(image_id)
    return imaging.read(folder / places[image_id])


def check_hosts(made: AugmentResult, data: Dataset) -> None:
    """Refuse counterfactuals of patients whom the data do not know, so that none could be barred.

    Raises:
        RetrainError: the data know none of the set's patients.
    """
    patients = made.manifest["patient_id"].astype(str).unique()
    if len(patients) and not set(patients) & set(data.table["patient_id"].astype(str)):
        raise RetrainError(
            "Counterfactuals are of the training's patients, and of nobody who is tested; of the "
            f"{len(patients):,} patients of the set ({patients[0]}, ...) {data.name} knows none. "
            "Give the data that the set was made of, and --keep-ids to both commands or to neither."
        )


def check_counterfactuals(made: AugmentResult, others: Iterable[Samples]) -> None:
    """Refuse counterfactuals of patients who are in the validation split or a test set.

    Raises:
        RetrainError: with the first such row of the manifest, counted from 1.
    """
    there = (made.manifest["status"] == "ok").to_numpy()
    for other in others:
        known = first_pictures(other)
        shared = there & made.manifest["patient_id"].isin(list(known)).to_numpy()
        if shared.any():
            at = int(np.argmax(shared))
            row = made.manifest.iloc[at]
            raise RetrainError(
                f"Manifest row {at + 1} ({row['image_id']}) is of patient {row['patient_id']}, "
                f"who is in '{other.name}' ({known[row['patient_id']]}); {int(shared.sum())} in "
                "all. Make counterfactuals of the training split only."
            )
