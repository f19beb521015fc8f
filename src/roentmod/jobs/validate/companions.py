"""Whose pictures a baseline is compared with: its patient at another visit, and matched others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from roentmod import datasets
from roentmod.datasets import Dataset
from roentmod.domain import FINDINGS, NO_FINDING
from roentmod.errors import DatasetError

__all__ = ["choose", "companions", "in_order", "library"]

_BANDS = (-np.inf, 40, 65, np.inf)
_FRONTAL = ("PA", "AP", "frontal")
_MATCHED = ["sex", "age_band", "view", "site"]


def choose(
    data: Dataset, *, count: int = 40, split: str | None = None, seed: int = 0
) -> pd.DataFrame:
    """Return baselines as `datasets.baselines`, patients with another usable visit first.

    pFID compares an edit with the same patient at another visit, which few patients have.

    Args:
        data: where from.
        count: how many at most.
        split: only of this split.
        seed: which random order.

    Raises:
        DatasetError: as `datasets.baselines`.
    """
    table = datasets.baselines(data, split=split, seed=seed).table
    visits = _visits(data, table)
    first = table["baseline_id"].isin(visits.keys())
    return pd.concat([table[first], table[~first]]).head(count).reset_index(drop=True)


def in_order(names: Iterable[str], salt: str = "") -> list[str]:
    """Return names in an order that depends on nothing but names and salt."""
    return sorted(names, key=lambda n: (hashlib.sha256(f"{salt} {n}".encode()).hexdigest(), n))


def companions(
    data: Dataset, chosen: pd.DataFrame, *, strangers: int, split: str | None = None
) -> pd.DataFrame:
    """Return the pictures that baselines are compared with.

    Another visit is another picture without a finding of the same patient, view and site: one a
    baseline. Strangers are other patients' pictures without a finding, of the same sex, age band
    (under 40, 40 to 64, 65 and over), view and site: matching the site makes them more alike, so
    that no scanner or file format tells them apart. Choices depend on ids alone.

    Args:
        data: where from.
        chosen: the baselines.
        strangers: how many a baseline at most.
        split: only patients of this split.

    Returns:
        baseline_id, group ("same patient" or "different patient"), image_id.
    """
    visits = _visits(data, chosen)
    pool = datasets.baselines(data, split=split).table
    groups = {
        key: list(zip(part["baseline_id"], part["patient_id"], strict=True))
        for key, part in _banded(pool).groupby(_MATCHED, dropna=False, observed=True)
    }
    rows = []
    for row in _banded(chosen).to_dict("records"):
        name = str(row["baseline_id"])
        rows += [[name, "same patient", other] for other in visits.get(name, [])[:1]]
        alike = groups.get(tuple(row[key] for key in _MATCHED), [])
        others = [str(image) for image, patient in alike if patient != row["patient_id"]]
        rows += [[name, "different patient", other] for other in in_order(others, name)[:strangers]]
    return pd.DataFrame(rows, columns=["baseline_id", "group", "image_id"])


def library(data: Dataset, chosen: pd.DataFrame, *, count: int) -> list[str]:
    """Return image ids of other patients without a finding, of split "train" where there is one.

    A generator that was taught by this data set has seen these, if any.
    """
    known = set(data.table["split"])
    try:
        pool = datasets.baselines(data, split="train" if "train" in known else None).table
    except DatasetError:
        return []
    others = pool[~pool["patient_id"].isin(chosen["patient_id"])]
    return in_order(map(str, others["baseline_id"]), "library")[:count]


def _banded(table: pd.DataFrame) -> pd.DataFrame:
    bands = pd.cut(table["age"], list(_BANDS), right=False, labels=["young", "middle", "old"])
    # An unknown age is a band of its own.
    return table.assign(age_band=bands.astype(object).fillna("unknown"))


def _visits(data: Dataset, chosen: pd.DataFrame) -> dict[str, list[str]]:
    """Return the other visits of each baseline that has any, in order."""
    table = data.table
    table = table[table["patient_id"].isin(chosen["patient_id"])]
    names = [item.name for item in FINDINGS if item.name in table and item != NO_FINDING]
    states = table[names].astype(object)
    clean = (
        (table[NO_FINDING.name] == "positive")
        & ~states.isin(["positive", "uncertain"]).any(axis=1)
        & (table["other_labels"] == "")
        & (table["unfit"] == "")
        & table["view"].isin(_FRONTAL)
    )
    usable = table[clean].assign(view=lambda t: t["view"].replace("frontal", ""))
    by_patient: dict[str, pd.DataFrame] = {
        str(name): part for name, part in usable.groupby("patient_id", sort=False)
    }
    result: dict[str, list[str]] = {}
    for row in chosen.to_dict("records"):
        part = by_patient.get(str(row["patient_id"]))
        if part is None:
            continue
        alike = part[(part["view"] == row["view"]) & (part["site"] == row["site"])]
        others = [str(name) for name in alike["image_id"] if name != row["baseline_id"]]
        if others:
            result[str(row["baseline_id"])] = in_order(others, str(row["baseline_id"]))
    return result
