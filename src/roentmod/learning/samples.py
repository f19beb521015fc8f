"""What a training learns from and is tested on: rows, labels, and what is wrong with them.

A label is 1 (positive), 0 (negative), a rate between them, or NaN: uncertain, or not mentioned,
which is unknown unless the plan says that it is absent. A row without any label teaches nothing,
and is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.datasets import Dataset
from roentmod.datasets.fields import FRONTAL, split_name
from roentmod.errors import RetrainError
from roentmod.plans.retrain import RetrainPlan
from roentmod.radiograph import Radiograph

__all__ = ["Samples", "check_labels", "check_patients", "first_pictures", "labelled"]

Floats = NDArray[np.float32]
FACTS = ["image_id", "patient_id", "sex", "age", "view", "site"]


@dataclass(frozen=True, eq=False)
class Samples:
    """n radiographs with labels of k findings.

    Attributes:
        name: what files and messages call them: "train", "val", "counterfactuals", a test's name.
        table: image_id, patient_id, sex, age, view, site, n rows.
        targets: n x k float32 in [0, 1], NaN where unlabelled.
        findings: the k columns of `targets`.
        read: returns the radiograph of an image_id; raises InputError where it cannot be read.
    """

    name: str
    table: pd.DataFrame
    targets: Floats
    findings: tuple[str, ...]
    read: Callable[[str], Radiograph]

    def __len__(self) -> int:
        return len(self.table)

    def counts(self) -> dict[str, Any]:
        """Return numbers of pictures, patients and labels, and a hash of it all, as JSON has it."""
        # Records of earlier versions name no site.
        known = self.table.drop(columns="site", errors="ignore")
        facts = known.to_csv(index=False) + pd.DataFrame(self.targets).to_csv(index=False)
        return {
            "pictures": len(self),
            "patients": int(self.table["patient_id"].nunique()),
            "positive": self._count(self.targets == 1),
            "negative": self._count(self.targets == 0),
            "sha256": hashlib.sha256(facts.encode()).hexdigest(),
        }

    def _count(self, cells: NDArray[np.bool_]) -> dict[str, int]:
        return dict(zip(self.findings, cells.sum(axis=0).tolist(), strict=True))


def labelled(data: Dataset, split: str | None, plan: RetrainPlan, name: str) -> Samples:
    """Return the frontal pictures of a split that may be used and have a label.

    Args:
        data: where from.
        split: which split; None takes all pictures.
        plan: findings, and what "unmentioned" means.
        name: what to call them.

    Raises:
        RetrainError: none is left.
    """
    table = data.table
    requested = np.ones(len(table), dtype=np.bool_)
    if split is not None:
        requested = (table["split"] == split_name(split)).to_numpy()
    fit = ((table["unfit"] == "") & table["view"].isin(FRONTAL)).to_numpy()
    targets = _targets(table, plan)
    known = np.isfinite(targets).any(axis=1)
    kept = requested & fit & known
    if not kept.any():
        have = ", ".join(sorted({*table["split"]} - {""})) or "no splits"
        raise RetrainError(
            f"'{name}' needs pictures; of {len(table):,} in {data.name} ({have}) there are "
            f"{int(requested.sum()):,} of split '{split or 'any'}', and none is frontal, fit for "
            "use and labelled for a head. Choose another split, or correct the table."
        )
    facts = table.loc[kept, FACTS].reset_index(drop=True)
    return Samples(name, facts, targets[kept], plan.findings, data.radiograph)


def _targets(table: pd.DataFrame, plan: RetrainPlan) -> Floats:
    absent = 0.0 if plan.unmentioned == "absent" else np.nan
    words = {"positive": 1.0, "negative": 0.0, "uncertain": np.nan, "unmentioned": absent}
    columns = [table[name].astype(str).map(words) for name in plan.findings]
    return np.column_stack(columns).astype(np.float32)


def check_labels(samples: Samples) -> None:
    """Refuse a training or validation split in which a head cannot be learned or judged.

    Raises:
        RetrainError: a finding has no positive, or no negative.
    """
    for column, name in enumerate(samples.findings):
        for value, word in ((1, "positive"), (0, "negative")):
            if not (samples.targets[:, column] == value).any():
                raise RetrainError(
                    f"Each head has positives and negatives in train and val; '{samples.name}' "
                    f"({len(samples):,} pictures) has no {word} {name}. Leave that finding out, or "
                    "split the data otherwise."
                )


def check_patients(train: Samples, others: Sequence[Samples]) -> None:
    """Refuse patients who are in training and in the validation split or a test set.

    Raises:
        RetrainError: with the first such picture.
    """
    known = first_pictures(train)
    for other in others:
        shared = other.table["patient_id"].isin(list(known)).to_numpy()
        if shared.any():
            row = other.table.iloc[int(np.argmax(shared))]
            raise RetrainError(
                f"Nobody is in two splits: patient {row['patient_id']} is in '{train.name}' "
                f"({known[row['patient_id']]}) and in '{other.name}' ({row['image_id']}), and "
                f"{int(shared.sum())} pictures of '{other.name}' in all. Correct the splits; if "
                "they are other people with the same number, put the institution before it."
            )


def first_pictures(samples: Samples) -> Mapping[str, str]:
    """Return patient_id to image_id, the first picture of each patient."""
    first = samples.table.drop_duplicates("patient_id")
    return dict(zip(first["patient_id"], first["image_id"], strict=True))
