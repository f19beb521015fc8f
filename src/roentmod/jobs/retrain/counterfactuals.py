"""Counterfactuals as samples of a training: their labels by arm, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from roentmod import imaging
from roentmod.errors import RetrainError
from roentmod.jobs.augment import AugmentResult, Labelling, Policy, relabel
from roentmod.jobs.augment.manifest import check_table
from roentmod.learning.samples import FACTS, Floats, Samples, first_pictures
from roentmod.plans.retrain import COUNTERFACTUAL_ARMS, RetrainPlan
from roentmod.radiograph import Radiograph
from roentmod.science.cooccurrence import CoOccurrence

__all__ = ["check_counterfactuals", "counterfactuals"]

_POLICIES: dict[str, Policy] = {"synthetic": "masked", "isolated": "isolated", "soft": "soft"}


def counterfactuals(
    made: AugmentResult, plan: RetrainPlan, rates: CoOccurrence | None
) -> tuple[Samples, dict[str, Floats]]:
    """Return the pictures of a counterfactual training set, and their labels by arm, m x k each.

    The arm `synthetic` has labels of what was added, and none of baselines and shams. The labels of
    the samples themselves are those of the first arm.

    Args:
        made: the training set.
        plan: findings and arms.
        rates: where soft labels come from; None is the matrix that the package brings.

    Raises:
        RetrainError: no head was added to any picture, or the set is empty.
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
    for arm in (arm for arm in plan.arms if arm in COUNTERFACTUAL_ARMS):
        labels = relabel(made, Labelling(policy=_POLICIES[arm], heads=heads), rates).training
        values = labels[list(plan.findings)].to_numpy(dtype=np.float32)
        if arm == "synthetic":
            values[(rows["arm"] != "counterfactual").to_numpy()] = np.nan
        targets[arm] = values
    places = dict(zip(rows["image_id"], rows["path"], strict=True))
    first = next(iter(targets.values()))
    samples = Samples(
        "counterfactuals",
        rows[FACTS],
        first,
        plan.findings,
        partial(_read, made.folder, places),
    )
    return samples, targets


def _read(folder: Path, places: Mapping[str, str], image_id: str) -> Radiograph:
    return imaging.read(folder / places[image_id])


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
