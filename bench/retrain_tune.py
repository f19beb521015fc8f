"""Steps and numbers of the arms chosen in a pilot, before any test is read.

``python -m bench.retrain --data DIR --tune`` writes ``bench/retrain_tuned.json``: the grid, what
the pilot's test said of each value, the choice, and what it then said of each arm that is taught
with counterfactuals. Each value is tried with one arm and three seeds, one number after the other.
What counts is the mean over pairs of the AUC of the read finding with its four groups weighing
alike, as in the group-balanced validation of JTT and DFR, and over seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from roentmod.jobs import augment, retrain, study
from roentmod.jobs.study import StudyPlan
from roentmod.jobs.study.bench import Bench
from roentmod.plans import RetrainPlan
from roentmod.science.performance import Rules
from roentmod.store import canonical_hash

__all__ = ["GRID", "judged", "tuned"]

SEEDS = (0, 1, 2)
# Number, the arm that tries it, its values; those before it have been chosen.
GRID: dict[str, tuple[str, tuple[float | str, ...]]] = {
    "steps": ("erm", (1200, 3000)),
    "keep": ("erm", ("best", "last")),
    "share": ("isolated", (0.25, 0.4)),
    "pair_weight": ("pair", (0.1, 0.3, 1.0, 3.0)),
    "pair_margin": ("pair_hinge", (2.0, 4.0, 8.0)),
    "pretraining": ("staged", (0.1, 0.25)),
    "jtt_upweight": ("jtt", (2.0, 6.0, 20.0)),
    "group_step": ("group_dro", (0.01, 0.1)),
}


def tuned(
    spec: StudyPlan, folder: Path, *, workers: str = "serial", stages: Any = None
) -> dict[str, Any]:
    """Return what was chosen in a pilot.

    Args:
        spec: the pilot, with one test, all of whose patients are of the training split; pictures
            are planted and its training set is made in `folder`.
        folder: of the studies.
        workers: as `study.run` takes them.
        stages: as `study.run` takes them.

    Returns:
        `numbers`, each with what was `chosen` and `tried`, value to AUC; and `arms`, each of those
        that are taught with counterfactuals to its AUC with these numbers, the best first.
    """
    made = study.run(spec, folder, workers=workers, stages=stages, until="augment")
    bench = Bench(spec, {one.name: one.folder for one in made.stages})
    tests = bench.tested_on()

    def tried(plan: RetrainPlan, *arms: Any) -> dict[str, float]:
        place = bench.folders["augment"].with_name(f"tuning-{canonical_hash(plan.facts())[:16]}")
        table = retrain.run(
            bench.trained_on,
            plan,
            place,
            training_set=augment.load(bench.folders["augment"]),
            tests=tests,
            rates=bench.rates,
            arms=arms,
            workers=workers,
            stages=stages,
        ).predictions
        told = {}
        for arm in arms:
            seeds = table[table["arm"] == arm].groupby("seed")
            told[arm] = float(np.mean([judged(own, spec.pairs) for _, own in seeds]))
        return told

    choice: dict[str, Any] = {}
    plan = spec.retrain.but(seeds=SEEDS)
    for name, (arm, values) in GRID.items():
        if arm not in plan.arms:
            continue
        areas = {
            value: tried(plan.but(arms=list(dict.fromkeys(("erm", arm))), **{name: value}), arm)[
                arm
            ]
            for value in values
        }
        best = max(values, key=lambda value: areas[value])
        choice[name] = {"chosen": best, "tried": {str(k): round(v, 4) for k, v in areas.items()}}
        plan = plan.but(**{name: best})
    arms = [arm for arm in Rules().corrected if arm in plan.arms]
    found = tried(plan.but(arms=("erm", *arms)), *arms)
    ranked = sorted(arms, key=lambda arm: -found[arm])
    return {"numbers": choice, "arms": {arm: round(found[arm], 4) for arm in ranked}}


def judged(table: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> float:
    """Return what a test says of one model: the mean AUC, over pairs with balanced groups.

    Args:
        table: readings, the columns of `performance.PREDICTIONS`, of one model.
        pairs: cause and read.
    """
    own = table[table["test"] != "val"]
    logits = own.pivot(index="image_id", columns="finding", values="logit")
    labels = own.pivot(index="image_id", columns="finding", values="label")
    areas = []
    for cause, read in pairs:
        known = labels[[cause, read]].dropna()
        weight = known.groupby([cause, read])[read].transform("size") ** -1.0
        # An area does not change where all positives weigh alike, and all negatives.
        if known[read].nunique() == 2:
            read_as = logits.loc[known.index, read]
            areas.append(roc_auc_score(known[read], read_as, sample_weight=weight))
    return float(np.mean(areas))
