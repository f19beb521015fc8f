"""Choosing pictures: baselines without a finding, real positives, and a split for validation.

A choice depends on the seed and the ids only, not on the order of rows: pictures and patients are
sorted by a hash, so that a picture keeps its rank when others are added or left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.datasets.fields import split_name, taken, translate
from roentmod.datasets.labels import NAMES, Texts
from roentmod.datasets.table import Dataset, Problem, leaking
from roentmod.domain import NO_FINDING, finding
from roentmod.errors import DatasetError

__all__ = [
    "Mask",
    "Selection",
    "baselines",
    "choose",
    "hosts",
    "positives",
    "shares",
    "with_validation",
]

Mask = NDArray[np.bool_]
_AGELESS = "age unknown"
_LOOSER = "; --ages unknown takes radiographs of unknown age too"
_COLUMNS = {"image_id": "baseline_id"} | {
    name: name for name in ("path", "patient_id", "sex", "age", "view", "site")
}


@dataclass(frozen=True, eq=False)
class Selection:
    """Chosen pictures, one per patient, in random order.

    Attributes:
        table: baseline_id (the data set's image_id), path ("" where names are hidden), patient_id,
            sex ("F", "M", ""), age (years, NaN unknown), view ("PA", "AP", "" where either), site.
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
    """Choose frontal radiographs of adults read as "no finding", one per patient.

    "No Finding" must be positive, no finding positive or uncertain, and no label outside the
    catalogue given.

    Args:
        dataset: where from.
        count: how many at most; None for all.
        split: only of this split.
        view: "PA" or "AP" only.
        adult_age: least age in years, and unknown ages are left out, unless the data set's `ages`
            takes them; None asks for no age.
        seed: which random order.

    Raises:
        DatasetError: no picture is left (the message says what they fell to), a patient of the
            split is in another one too, or an argument is wrong.
    """
    table = dataset.table
    findings = [name for name in NAMES if name != NO_FINDING.name]
    criteria = {
        "not read as no finding": _any(table, [NO_FINDING.name], "positive"),
        "no finding, yet another label": ~_any(table, findings, "positive", "uncertain")
        & np.asarray(table["other_labels"] == ""),
    }
    return choose(
        dataset, criteria, count=count, split=split, view=view, adult_age=adult_age, seed=seed
    )


def hosts(dataset: Dataset, *, count: int | None = None, split: str | None = None) -> Selection:
    """Choose frontal radiographs of adults with a known label, whatever they show, one per patient.

    Otherwise as `baselines`.

    Raises:
        DatasetError: as in `baselines`.
    """
    known = _any(dataset.table, NAMES, "positive", "negative")
    return choose(dataset, {"no known label": known}, count=count, split=split)


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
    """Choose frontal radiographs of adults that show a finding, one per patient.

    The finding `name`, or an alias of it, must be positive; others may be there too. A finding
    `without` must be negative or unmentioned, so not uncertain either. The rest is as in
    `baselines`.

    Raises:
        UnknownFindingError: the catalogue lacks a finding.
        DatasetError: as in `baselines`.
    """
    wanted = finding(name).name
    criteria = {f"not {wanted}": _any(dataset.table, [wanted], "positive")}
    if without is not None:
        other = finding(without).name
        criteria[f"with {other}"] = ~_any(dataset.table, [other], "positive", "uncertain")
    return choose(
        dataset, criteria, count=count, split=split, view=view, adult_age=adult_age, seed=seed
    )


def with_validation(dataset: Dataset, *, share: float = 0.1) -> Dataset:
    """Return a data set with a split "val", taken from the patients of "train" where it has none.

    A training chooses its weights on "val", and the official lists of NIH ChestX-ray14 have "train"
    and "test" only. The choice follows from each patient's id alone: neither the order of rows nor
    the other patients change it, and a larger share keeps those of a smaller one. Other splits stay
    as they are. A set with a "val", or without a "train", is returned itself.

    Args:
        dataset: any; its table is not changed.
        share: the chance of each training patient, in (0, 1). Of few patients it may be nobody, and
            then there is no "val"; the retraining refuses that.

    Returns:
        The data set, with "no validation split" among its problems, which names some patients.

    Raises:
        DatasetError: `share` is out of range.
    """
    if not 0 < share < 1:
        raise DatasetError(f"A share of training patients is in (0, 1); got {share:g}. Correct it.")
    table = dataset.table
    if "val" in set(table["split"]):
        return dataset
    patients = table["patient_id"].to_numpy(dtype=object)
    moved = (shares(patients) < share) & (table["split"] == "train").to_numpy()
    if not moved.any():
        return dataset
    some = pd.unique(patients[moved])
    problem = Problem.of("no validation split", some, int(moved.sum()), share=share)
    table = table.assign(split=table["split"].mask(moved, "val"))
    return replace(dataset, table=table, problems=(*dataset.problems, *problem))


def shares(patients: Texts) -> NDArray[np.float64]:
    """Return n numbers in [0, 1), each of which follows from its patient's id alone."""
    hashes = translate(patients, lambda name: _hash("validation", name).hex()[:13])
    return np.array([int(text, 16) / 16**13 for text in hashes], dtype=np.float64)


def _hash(salt: str, name: str) -> bytes:
    return hashlib.sha256(f"{salt} {name}".encode()).digest()


def _any(table: pd.DataFrame, names: Iterable[str], *states: str) -> Mask:
    """Return where any of the findings is in one of the states, n."""
    return np.asarray(np.any([table[name].isin(states) for name in names], axis=0))


def choose(
    dataset: Dataset,
    criteria: dict[str, Mask],
    *,
    count: int | None = None,
    split: str | None = None,
    view: str | None = None,
    adult_age: float | None = 18,
    seed: int = 0,
) -> Selection:
    """Choose frontal radiographs of adults that meet criteria, one per patient.

    Args:
        dataset: where from.
        criteria: what pictures fall to that do not meet it, to where it is met, n.
        count: as in `baselines`, like the rest.
        split: only of this split.
        view: "PA" or "AP" only.
        adult_age: least age in years; None asks for no age.
        seed: which random order.

    Raises:
        DatasetError: as in `baselines`.
    """
    _check(dataset, count, split, view)
    table = dataset.table
    report = {"pictures": len(table)}
    left = np.ones(len(table), dtype=np.bool_)
    for name, kept in (
        _standing(table, split, view) | criteria | _ages(dataset, adult_age)
    ).items():
        fallen = int((left & ~kept).sum())
        if fallen:
            report[name] = fallen
        left &= kept
    if not left.any():
        fell = ", ".join(f"{name} {number:,}" for name, number in list(report.items())[1:])
        raise DatasetError(
            f"A selection needs pictures; of {len(table):,} in {dataset.name} none is left "
            f"({fell}). Loosen what takes most{_LOOSER if _AGELESS in report else ''}."
        )
    chosen = _one_per_patient(table.loc[left, list(_COLUMNS)], seed)
    if len(chosen) < left.sum():
        report["more of the same patient"] = int(left.sum()) - len(chosen)
    if count is not None and count < len(chosen):
        report["beyond the count"] = len(chosen) - count
        chosen = chosen.iloc[:count]
    report["chosen"] = len(chosen)
    result = chosen.rename(columns=_COLUMNS).reset_index(drop=True)
    result["view"] = result["view"].replace("frontal", "")
    if dataset.hidden:
        result["path"] = ""
    return Selection(result, report)


def _standing(table: pd.DataFrame, split: str | None, view: str | None) -> dict[str, Mask]:
    """Return what every picture needs: the name of those that fall, and who stays."""
    masks = {} if split is None else {"other split": table["split"] == split_name(split)}
    for reason in sorted(set(table["unfit"]) - {""}):
        masks[f"unfit: {reason}"] = table["unfit"] != reason
    masks["view unknown"] = table["view"] != "unknown"
    masks["not frontal"] = table["view"].isin(taken())
    if view is not None:
        masks["other view"] = table["view"] == view
    return {name: mask.to_numpy() for name, mask in masks.items()}


def _ages(dataset: Dataset, adult_age: float | None) -> dict[str, Mask]:
    if adult_age is None or dataset.ages == "all":
        return {}
    ages = dataset.table["age"].to_numpy()
    known = {} if dataset.ages == "unknown" else {_AGELESS: ~np.isnan(ages)}
    return {**known, f"under {adult_age:g}": ~(ages < adult_age)}


def _one_per_patient(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return one row per patient, patients in random order.

    Patients are ordered by their own hash, not by their picture's: the least of many hashes is
    small, and patients with many pictures would come first.
    """
    patients, pictures = (
        np.array([_hash(f"{seed} {word}", name) for name in table[column]], dtype="S32")
        for word, column in (("patient", "patient_id"), ("picture", "image_id"))
    )
    return table.iloc[np.lexsort((pictures, patients))].drop_duplicates("patient_id")


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
            f"patient {patient} ({', '.join(pictures['image_id'] + ' in ' + pictures['split'])})"
            for patient, pictures in list(
                rows.drop_duplicates(["patient_id", "split"]).groupby("patient_id", sort=False)
            )[:3]
        )
        raise DatasetError(
            f"A patient belongs to one split; {rows['patient_id'].nunique()} of split '{split}' "
            f"are in another too: {some}. Correct the table."
        )
