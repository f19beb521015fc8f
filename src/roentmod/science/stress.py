"""Real positives against clean negatives and against other findings: does a head mix them up?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.plans.audit import Rules
from roentmod.science import stats

__all__ = ["stress"]

Array = NDArray[np.float64]


def stress(
    readings: pd.DataFrame, states: pd.DataFrame, findings: Sequence[str], rules: Rules
) -> pd.DataFrame:
    """Return each head's AUC of real positives against clean negatives and against other findings.

    Args:
        readings: image_id, patient_id, read_finding, logit of real radiographs, one classifier.
        states: indexed by image_id, one column per finding: "positive", "negative", "uncertain" or
            "unmentioned"; `clean`, bool: read as showing no finding; and `drawn`: the findings it
            was drawn for, joined by "|". Positives are those drawn as such: a picture drawn for
            another finding brings that finding with it.
        findings: heads, and findings that negatives may carry.
        rules: level, resamples and seed.

    Returns:
        read, against, n_positive, n_negative, auc with DeLong's and the patients' bootstrap
        intervals, and drop and drop_p against clean negatives. Fewer than 5 on a side: left out.
    """
    columns = ["read", "against", "n_positive", "n_negative", "auc", "low", "high"]
    columns += ["boot_low", "boot_high", "drop", "drop_p"]
    rows: list[list[Any]] = []
    for read in findings:
        own = readings[readings["read_finding"] == read].dropna(subset=["logit"])
        if own.empty or read not in states:
            continue
        own = own.join(states, on="image_id", how="inner").reset_index(drop=True)
        drawn = np.array([read in names.split("|") for names in own["drawn"]], dtype=bool)
        positive = (own[read] == "positive").to_numpy() & drawn
        clean = own["clean"].to_numpy(bool) & ~positive
        absent = own[read].isin(["negative", "unmentioned"]).to_numpy()
        groups = {"clean": clean}
        for other in findings:
            if other != read and other in own:
                groups[other] = (own[other] == "positive").to_numpy() & absent & ~positive
        if positive.sum() < 5 or clean.sum() < 5:
            continue
        logit = own["logit"].to_numpy(float)
        for name, negative in groups.items():
            if negative.sum() < 5:
                continue
            fall = [np.nan] * 4
            if name != "clean":
                sides = (logit[chosen] for chosen in (positive, clean, negative))
                fall = [*stats.auc_difference_shared_positives(*sides)]
            areas = _contrast(logit, own["patient_id"], positive, negative, rules)
            rows.append([read, name, *areas, fall[0], fall[3]])
    return pd.DataFrame(rows, columns=columns)


def _contrast(
    logit: Array,
    patient: pd.Series[str],
    positive: NDArray[np.bool_],
    negative: NDArray[np.bool_],
    rules: Rules,
) -> list[Any]:
    """Return the counts, the AUC, DeLong's interval and the bootstrap interval of patients."""
    kept = positive | negative
    scores, truth = logit[kept], positive[kept]
    area, low, high = stats.delong_interval(scores, truth, level=rules.level)
    cluster = patient.to_numpy(str)[kept]
    boot = stats.clustered_auc_interval(
        scores, truth, cluster, count=rules.resamples, seed=rules.seed, level=rules.level
    )
    return [int(positive.sum()), int(negative.sum()), area, low, high, *boot]
