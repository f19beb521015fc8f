"""Which sorts of pictures a detector is asked to tell apart, and how well it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from roentmod import datasets, detector
from roentmod.datasets import Dataset
from roentmod.errors import DatasetError
from roentmod.jobs.validate.measure import views_of
from roentmod.jobs.validate.result import REAL, SHAM, UNEDITED
from roentmod.plans.validate import COMPOSITES, ValidatePlan
from roentmod.science import fidelity

__all__ = ["COLUMNS", "Matched", "arm_of", "detected", "matched"]

# What is compared: its name, and the two arms.
_CONTRASTS = (
    (SHAM, "sham", "untouched"),
    ("edited against untouched", "edited", "untouched"),
    ("edited against sham", "edited", "sham"),
)
COLUMNS = ("composite", "contrast", "edited", "auc", "low", "high", "patients", "pictures", "real")
_FACTS = ("site", "view", "sex")


class Matched(NamedTuple):
    """Real positives of a finding, and the baselines that match them: as many of each stratum."""

    real: tuple[tuple[str, str], ...] = ()  # image and patient
    baselines: tuple[str, ...] = ()


def matched(
    data: Dataset, chosen: pd.DataFrame, plan: ValidatePlan, split: str | None
) -> dict[str, Matched]:
    """Return by finding its real positives of other patients, matched to the baselines.

    They agree with baselines in source, view and sex, as `datasets.match` has it, so that none of
    these tells edited pictures from real ones. A finding without any is empty.
    """
    result = {}
    table = data.table if split is None else data.table[data.table["split"] == split]
    others = ~table["patient_id"].isin(chosen["patient_id"])
    hosts = data.table["image_id"].isin(chosen["baseline_id"])
    for name in plan.findings if plan.real else ():
        positive = table.loc[others & (table[name] == "positive"), "image_id"]
        known = hosts | data.table["image_id"].isin(positive)
        try:
            rows = datasets.match(replace(data, table=data.table[known]), name, on=_FACTS).table
        except DatasetError:
            result[name] = Matched()
            continue
        # As many of each stratum also where there are more than wanted.
        place = rows.groupby(["stratum", "positive"]).cumcount()
        rows = rows.assign(place=place).sort_values(["place", "stratum"], kind="stable")
        there, absent = (rows[rows["positive"] == side].head(plan.real) for side in (True, False))
        pairs = zip(there["baseline_id"].map(str), there["patient_id"].map(str), strict=True)
        result[name] = Matched(tuple(pairs), tuple(map(str, absent["baseline_id"])))
    return result


def arm_of(fine: pd.DataFrame, mode: str, arm: str) -> pd.DataFrame:
    """Return the pictures of one arm in one composite mode."""
    wanted = "" if arm in ("untouched", "real") else mode
    return fine[(fine["composite"] == wanted) & (fine["arm"] == arm)]


def detected(
    fine: pd.DataFrame, partners: Mapping[str, Matched], plan: ValidatePlan
) -> pd.DataFrame:
    """Return how well a network tells sorts of pictures apart, one row per comparison (`COLUMNS`).

    `auc` is NaN where there are too few patients. `real` is the number of real positives.

    Args:
        fine: rows of `measure.fine`, with baseline_id, patient_id, composite, arm, edited.
        partners: of `matched`.
        plan: of the validation.
    """
    rows = []
    for names, first, second in _comparisons(fine, partners, plan):
        table = pd.concat([first, second])
        result = fidelity.detect(
            [views_of(text) for text in table["views"]],
            np.repeat([True, False], [len(first), len(second)]),
            table["patient_id"].to_numpy(str),
            partial(detector.learn, steps=plan.detector_steps),
            resamples=plan.resamples,
            level=plan.level,
        )
        real = int((table["arm"] == "real").sum())
        ends = [result.auc, result.low, result.high, result.patients]
        rows.append([*names, *ends, len(table), real])
    return pd.DataFrame(rows, columns=list(COLUMNS))


Comparison = tuple[Sequence[str], pd.DataFrame, pd.DataFrame]


def _comparisons(
    fine: pd.DataFrame, partners: Mapping[str, Matched], plan: ValidatePlan
) -> Iterator[Comparison]:
    """Yield composite, contrast and finding of each comparison, and its two sorts of pictures."""
    if fine.empty or not plan.detector_steps:
        return
    of_all = fine[(fine["arm"] != "edited") | fine["edited"].isin(plan.findings[: plan.composited])]
    for mode in COMPOSITES:
        for label, positive, negative in _CONTRASTS:
            first, second = (arm_of(of_all, mode, arm) for arm in (positive, negative))
            # Patients with both, so that none tells the sorts apart.
            both = set(first["patient_id"]) & set(second["patient_id"])
            if both:
                first, second = (f[f["patient_id"].isin(both)] for f in (first, second))
                yield (mode, label, "all"), first, second
    for name, own in partners.items():
        real = arm_of(fine, "", "real")
        real = real[real["baseline_id"].isin([image for image, _ in own.real])]
        for label, arm in ((REAL, "edited"), (UNEDITED, "untouched")):
            made: Any = arm_of(fine, COMPOSITES[0], arm)
            made = made[made["baseline_id"].isin(own.baselines)]
            made = made[made["edited"] == name] if arm == "edited" else made
            yield (COMPOSITES[0], label, name), made, real
