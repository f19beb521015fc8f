"""MIMIC-CXR-JPG (Johnson et al., 2019, PhysioNet): metadata, labels of the study, splits, patients.

Labels are the CheXpert labeller's: 1 positive, 0 negative, -1 uncertain, empty unmentioned. Ages
and sexes are not part of the set; they come from ``patients.csv.gz`` of MIMIC-IV where it lies in
the folder, as anchor age plus years since the anchor year (ages over 89 are all 91 there).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from roentmod.datasets.chexpert import observations
from roentmod.datasets.fields import first_of, gather, read_table, since, texts_of
from roentmod.datasets.labels import Texts
from roentmod.datasets.table import Draft, Part, Problem
from roentmod.errors import DatasetError

__all__ = ["TABLES", "draft"]

TABLES = ("mimic-cxr-2*-metadata.csv*",)
_KEYS = ["subject_id", "study_id"]
# Tables that may be missing, and what they add: a key, a column that they must have, others.
_MORE = (
    (("mimic-cxr-2*-split.csv*",), ("dicom_id", "split")),
    (
        ("patients.csv*", "hosp/patients.csv*"),
        ("subject_id", "gender", "anchor_age", "anchor_year"),
    ),
)
_FACTS = {
    "image_id": "dicom_id",
    "patient_id": "subject_id",
    "view": "ViewPosition",
    "sex": "gender",
    "split": "split",
}


def draft(folder: Path) -> Draft:
    """Read the tables of `folder`; pictures lie as published, under ``files/`` by default.

    Raises:
        DatasetError: a table is missing or malformed, or names a study twice.
    """
    table = _need(folder, *TABLES, "metadata")
    frame = read_table(table, ("dicom_id", *_KEYS, "ViewPosition"))
    labelled = _need(folder, "mimic-cxr-2*-chexpert.csv*", "chexpert (or negbio)")
    studies = read_table(labelled, _KEYS).assign(labelled="yes")
    frame = _join(frame, studies, _KEYS, labelled)
    for patterns, columns in _MORE:
        other = first_of(folder, *patterns)
        if other is not None:
            rows = read_table(other, columns[:2])
            rows = rows[[name for name in columns if name in rows]]
            frame = _join(frame, rows, [columns[0]], other)
    facts = gather(
        frame,
        table,
        _FACTS,
        path=_places(frame),
        age=since(*(texts_of(frame, name) for name in ("StudyDate", "anchor_year", "anchor_age"))),
        site="mimic",
    )
    parts = [Part(facts, observations(frame, labelled.name))]
    return Draft("mimic-cxr-jpg", folder, parts, _unlabelled(frame), below="files")


def _need(folder: Path, pattern: str, what: str) -> Path:
    """Return the table that `pattern` finds; the labeller NegBio stands in for CheXpert's."""
    found = first_of(folder, pattern, pattern.replace("chexpert", "negbio"))
    if found is None:
        raise DatasetError(
            f"MIMIC-CXR-JPG needs its {what} table; {folder} has no {pattern}. "
            "Put the published tables into one folder."
        )
    return found


def _join(frame: pd.DataFrame, other: pd.DataFrame, keys: list[str], table: Path) -> pd.DataFrame:
    """Return `frame`, row by row, with the columns of `other`; "" where that has no such row.

    Raises:
        DatasetError: `other`, read from `table`, has two rows of one key.
    """
    double = other[other.duplicated(keys)]
    if len(double):
        which = ", ".join(f"{key} {double[key].iloc[0]}" for key in keys)
        raise DatasetError(
            f"{table.name} has one row for each {keys[-1]}; {which} comes again in row "
            f"{int(double.index[0]) + 2}. Download it again."
        )
    return frame.merge(other, how="left", on=keys).fillna("")


def _places(frame: pd.DataFrame) -> Texts:
    rows = zip(*(texts_of(frame, name) for name in (*_KEYS, "dicom_id")), strict=True)
    made = [f"p{who[:2]}/p{who}/s{study}/{picture}.jpg" for who, study, picture in rows]
    return np.array(made, dtype=object)


def _unlabelled(frame: pd.DataFrame) -> tuple[Problem, ...]:
    missing = frame["labelled"] == ""
    some = frame.loc[missing, "study_id"].unique()
    remedy = "Their studies have no row of labels: nothing is known of them."
    return Problem.of("pictures without labels", some, remedy, int(missing.sum()))
