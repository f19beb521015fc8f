"""What a run directory says before anything is trained: the plan, its data, what will count."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import roentmod
from roentmod.jobs.augment import AugmentResult
from roentmod.learning.batches import balance, groups
from roentmod.learning.material import Counterfactuals
from roentmod.learning.samples import Samples
from roentmod.learning.starts import described
from roentmod.plans.retrain import RetrainPlan, comparisons
from roentmod.science.cooccurrence import CoOccurrence

__all__ = ["Sets", "registered"]


@dataclass(frozen=True, eq=False)
class Sets:
    """All pictures of a run.

    Attributes:
        train, val: splits of the data.
        tests: name to pictures.
        where: name of a test to "internal" or "external".
        extra: the counterfactual set; None where no arm needs one.
        counterfactuals: what was added in it, its controls, and its labels by arm.
    """

    train: Samples
    val: Samples
    tests: dict[str, Samples]
    where: dict[str, str]
    extra: Samples | None = None
    counterfactuals: Counterfactuals | None = None

    def all(self) -> list[Samples]:
        """Return every set, each once."""
        extra = [self.extra] if self.extra is not None else []
        return [self.train, self.val, *self.tests.values(), *extra]


def registered(
    plan: RetrainPlan, sets: Sets, made: AugmentResult | None, rates: CoOccurrence | None
) -> dict[str, Any]:
    """Return what ``plan.json`` holds besides the provenance."""
    network = described(plan)
    # Of rows that are drawn as they come; arms that even classes out leave less to make up for.
    weights = balance(sets.train.targets, np.ones((1, 1))).round(4).tolist()
    return {
        "plan": plan.facts() | ({"start": network["model"]} if plan.start else {}),
        "network": network,
        "train": sets.train.counts(),
        "val": sets.val.counts(),
        "tests": {
            name: {"where": sets.where[name]} | test.counts() for name, test in sets.tests.items()
        },
        "counterfactuals": _counterfactuals(sets, made),
        **({"batch": {"real": plan.batch, "counterfactuals": plan.extra}} if sets.extra else {}),
        "rates": None if rates is None else {"source": rates.source, "unit": rates.unit},
        "groups": {one.name: one.counts() for one in groups(sets.train.targets, plan)},
        "balance": dict(zip(plan.findings, weights, strict=True)),
        "operating_point": "highest Youden index on val, of each finding, arm and seed",
        "comparisons": comparisons(plan, sets.where),
        "version": roentmod.__version__,
    }


def _counterfactuals(sets: Sets, made: AugmentResult | None) -> Mapping[str, Any] | None:
    if sets.extra is None or sets.counterfactuals is None or made is None:
        return None
    hashes = "\n".join(made.training["sha256"].astype(str))
    arms = {
        arm: replace(sets.extra, targets=targets).counts()
        for arm, targets in sets.counterfactuals.targets.items()
    }
    # Sets of earlier versions name none, and trainings on them are what they were.
    control = {key: made.record[key] for key in ("control",) if key in made.record}
    digest = hashlib.sha256(hashes.encode()).hexdigest()
    return {"pictures_sha256": digest, "arms": arms} | control
