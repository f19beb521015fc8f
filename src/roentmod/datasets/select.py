"""Choosing pictures: baselines without a finding, real positives, and a split for validation.

A choice depends on the seed and the ids only, not on the order of rows: pictures and patients are
sorted by a hash, so that a picture keeps its rank when others are added or left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.datasets.fields import split_name, taken, translate
from roentmod.datasets.labels import NAMES
from roentmod.datasets.table import Dataset, Problem, leaking
from roentmod.errors import DatasetError
from roentmod.findings import NO_FINDING, finding

__all__ = ["Selection", "baselines", "positives", "with_validation"]

Mask = NDArray[np.bool_]
_COLUMNS = ("path", "patient_id", "sex", "age", "view", "site")


@dataclass(frozen=True, eq=False)
class Selection:
    """Chosen pictures, one a patient, in random order.

    Attributes:
        table: baseline_id (the data set's image_id), path, patient_id, sex ("F", "M", ""), age
            (years, NaN unknown), view ("PA", "AP", "" where either), site.
        report: how many pictures there were ("pictures"), how many fell to each criterion, in the
            order applied, and how many were "chosen"; the parts sum to the first.
    """

    table: pd.DataFrame
    report: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)


def baselines(
    dataset: Dataset,
    *,
    count: int | None = None,
    split: str | None = None,
    view: str | None = None,
    adult_age: float | None = 18,
    seed: int = 0,
) -> Selection:
    """Choose frontal radiographs of adults read as "no finding", one a patient.

    "No Finding" must be positive, no finding positive or uncertain, and no label outside the
    catalogue given.

    Args:
        dataset: where from.
        count: how many at most; None for all.
        split: only of this split.
        view: "PA" or "AP" only.
        adult_age: least age in years, and unknown ages are left out; None asks for no age.
        seed: which random order.

    Raises:
        DatasetError: no picture is left (the message says what they fell to), a patient of the
            split is in another one too, or an argument is wrong.
    """
    table = dataset.table
    found = [name for name in NAMES if name != NO_FINDING.name]
    clean = ~(_any(table, found, "positive") | _any(table, found, "uncertain"))
    criteria = {
        "not read as no finding": _is(table, NO_FINDING.name, "positive"),
        "no finding, yet another label": clean & (table["other_labels"] == "").to_numpy(),
    }
    return _select(dataset, criteria, count, split, view, adult_age, seed)


def positives(
    dataset: Dataset,
    name: str,
    *,
    without: str | None = None,
    count: int | None = None,
    split: str | None = None,
    view: str | None = None,
    adult_age: float | None = 18,
    seed: int = 0,
) -> Selection:
    """Choose frontal radiographs of adults that show a finding, one a patient.

    Args:
        dataset: where from.
        name: the finding, by name or alias, surely there; others may be there too.
        without: a finding that must be negative or unmentioned, so not uncertain either.
        count: how many at most; None for all.
        split: only of this split.
        view: "PA" or "AP" only.
        adult_age: least age in years, and unknown ages are left out; None asks for no age.
        seed: which random order.

    Raises:
        UnknownFindingError: the catalogue lacks it.
        DatasetError: as in `baselines`.
    """
    wanted = finding(name).name
    criteria = {f"not {wanted}": _is(dataset.table, wanted, "positive")}
    if without is not None:
        other = finding(without).name
        seen = _any(dataset.table, [other], "positive") | _any(dataset.table, [other], "uncertain")
        criteria[f"with {other}"] = ~seen
    return _select(dataset, criteria, count, split, view, adult_age, seed)


def with_validation(dataset: Dataset, *, share: float = 0.1) -> Dataset:
    """Return a data set with a split "val", dealt from the patients of "train" where it has none.

    A training chooses its weights on "val", and the official lists of NIH ChestX-ray14 have "train"
    and "test" only. Who is dealt follows from the patient's id alone: neither the order of rows nor
    the other patients change it, and a larger share keeps those of a smaller one. Other splits stay
    as they are. A set with a "val", or without a "train", is returned itself.

    Args:
        dataset: any; its table is not changed.
        share: the chance of each training patient, in (0, 1). Of few patients it may be nobody, and
            then there is no "val"; the retraining refuses that.

    Returns:
        The data set, with "no validation split" among its problems, which says who was dealt.

    Raises:
        DatasetError: `share` is out of range.
    """
    if not 0 < share < 1:
        raise DatasetError(f"A share of training patients is in (0, 1); got {share:g}. Correct it.")
    table = dataset.table
    if "val" in set(table["split"]):
        return dataset
    patients = table["patient_id"].to_numpy(dtype=object)
    low = np.array(translate(patients, lambda name: _chance(name) < share), dtype=np.bool_)
    dealt = low & (table["split"] == "train").to_numpy()
    if not dealt.any():
        return dataset
    split = table["split"].mask(dealt, "val")
    some = tuple(str(name) for name in dict.fromkeys(patients[dealt]))[:3]
    remedy = f'Training patients were dealt to "val" by a hash, {share:.0%} of them.'
    problem = Problem("no validation split", int(dealt.sum()), some, remedy)
    return replace(dataset, table=table.assign(split=split), problems=(*dataset.problems, problem))


def _chance(patient: str) -> float:
    """Return a number in [0, 1) that follows from a patient's id."""
    (digest,) = _hashes([patient], "validation")
    return int(digest[:13], 16) / 16**13


def _is(table: pd.DataFrame, name: str, state: str) -> Mask:
    return np.asarray(table[name] == state, dtype=np.bool_)


def _any(table: pd.DataFrame, names: Iterable[str], state: str) -> Mask:
    found: Mask = np.any([_is(table, name, state) for name in names], axis=0)
    return found


def _select(
    dataset: Dataset,
    criteria: dict[str, Mask],
    count: int | None,
    split: str | None,
    view: str | None,
    adult_age: float | None,
    seed: int,
) -> Selection:
    _check(dataset, count, split, view)
    table = dataset.table
    report = {"pictures": len(table)}
    left = np.ones(len(table), dtype=np.bool_)
    standing = {**_standing(table, split, view), **criteria, **_ages(table, adult_age)}
    for name, kept in standing.items():
        fallen = int((left & ~kept).sum())
        if fallen:
            report[name] = fallen
        left &= kept
    if not left.any():
        fell = ", ".join(f"{name} {number:,}" for name, number in list(report.items())[1:])
        raise DatasetError(
            f"A selection needs pictures; of {len(table):,} in {dataset.name} none is left "
            f"({fell}). Loosen what takes most."
        )
    chosen = _one_a_patient(table[left], seed)
    if len(chosen) < left.sum():
        report["more of the same patient"] = int(left.sum()) - len(chosen)
    if count is not None and count < len(chosen):
        report["beyond the count"] = len(chosen) - count
        chosen = chosen.iloc[:count]
    report["chosen"] = len(chosen)
    result = chosen[["image_id", *_COLUMNS]].rename(columns={"image_id": "baseline_id"})
    result["view"] = result["view"].replace("frontal", "")
    return Selection(result.reset_index(drop=True), report)


def _standing(table: pd.DataFrame, split: str | None, view: str | None) -> dict[str, Mask]:
    """Return what is asked of every picture: name of those that fall, and who stays."""
    masks: dict[str, Mask] = {}
    if split is not None:
        masks["other split"] = np.asarray(table["split"] == split_name(split))
    for reason in sorted(set(table["unfit"]) - {""}):
        masks[f"unfit: {reason}"] = np.asarray(table["unfit"] != reason)
    masks["view unknown"] = np.asarray(table["view"] != "unknown")
    masks["not frontal"] = np.asarray(table["view"].isin(taken()))
    if view is not None:
        masks["other view"] = np.asarray(table["view"] == view)
    return masks


def _ages(table: pd.DataFrame, adult_age: float | None) -> dict[str, Mask]:
    if adult_age is None:
        return {}
    ages = table["age"]
    unknown = np.asarray(ages.isna())
    return {"age unknown": ~unknown, f"under {adult_age:g}": np.asarray(ages >= adult_age)}


def _one_a_patient(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return one row a patient, patients in random order.

    Patients are ordered by their own hash, not by their picture's: the least of many hashes is
    small, and patients with many pictures would come first.
    """
    ranked = table.assign(
        _patient=list(_hashes(table["patient_id"], f"{seed} patient")),
        _picture=list(_hashes(table["image_id"], f"{seed} picture")),
    ).sort_values(["_patient", "_picture"], kind="stable")
    return ranked.drop_duplicates("patient_id").drop(columns=["_patient", "_picture"])


def _hashes(names: Iterable[str], salt: str) -> Iterator[str]:
    return (hashlib.sha256(f"{salt} {name}".encode()).hexdigest() for name in list(names))


def _check(dataset: Dataset, count: int | None, split: str | None, view: str | None) -> None:
    """Refuse wrong arguments and leaking splits.

    Raises:
        DatasetError: in one message.
    """
    if count is not None and count < 1:
        raise DatasetError(f"A selection has at least one picture; got count {count}.")
    if view not in (None, "PA", "AP"):
        raise DatasetError(f"A view is 'PA' or 'AP'; got '{view}'.")
    if split is None:
        return
    known = sorted(set(dataset.table["split"]) - {""})
    if split_name(split) not in known:
        raise DatasetError(
            f"The splits of {dataset.name} are: {', '.join(known) or 'none'}; got '{split}'. "
            "Leave it out, or choose one of them."
        )
    rows = leaking(dataset.table, split_name(split))
    if len(rows):
        some = ", ".join(
            f"patient {patient} ({', '.join(f'{i} in {s}' for i, s in pairs)})"
            for patient, pairs in _by_patient(rows, 3)
        )
        raise DatasetError(
            f"A patient belongs to one split; {rows['patient_id'].nunique()} of split '{split}' "
            f"are in another too: {some}. Correct the table."
        )


def _by_patient(rows: pd.DataFrame, most: int) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Return the first `most` patients with one picture of each of their splits."""
    for patient, some in list(rows.groupby("patient_id", sort=False))[:most]:
        first = some.drop_duplicates("split")
        yield str(patient), list(zip(first["image_id"], first["split"], strict=True))
