"""MIMIC-CXR-JPG (Johnson et al., 2019, PhysioNet): metadata, labels of the study, splits, patients.

Labels are the CheXpert labeller's: 1 positive, 0 negative, -1 uncertain, empty unmentioned. Ages
and sexes are not part of the set; they come from ``patients.csv.gz`` of MIMIC-IV where it lies in
the folder, as anchor age plus years since the anchor year (ages over 89 are all 91 there).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from roentmod.datasets import files
from roentmod.datasets.chexpert import observations
from roentmod.datasets.fields import first_of, read_table, texts_of
from roentmod.datasets.labels import Texts
from roentmod.datasets.table import Draft, Problem, origins
from roentmod.errors import DatasetError

__all__ = ["draft", "recognises"]

_METADATA = "mimic-cxr-2*-metadata.csv*"
_KEYS = ["subject_id", "study_id"]


def recognises(folder: Path) -> bool:
    """Tell whether `folder` holds this set's tables."""
    return first_of(folder, _METADATA) is not None


def draft(folder: Path, images: Path | None, *, search: bool) -> Draft:
    """Read the tables of `folder`; pictures lie as published under ``files/``, or under `images`.

    Args:
        folder: where the tables are.
        images: the folder that stands for ``files/``.
        search: not needed here, the paths are exact.

    Raises:
        DatasetError: a table is missing or malformed, or names a study twice.
    """
    table = _need(folder, _METADATA, "metadata")
    frame = read_table(table, ("dicom_id", *_KEYS, "ViewPosition"))
    labelled = _need(folder, "mimic-cxr-2*-chexpert.csv*", "chexpert (or negbio)")
    studies = _once(read_table(labelled, _KEYS), _KEYS, labelled)
    frame = _join(frame, studies, _KEYS)
    split = first_of(folder, "mimic-cxr-2*-split.csv*")
    if split is not None:
        splits = _once(read_table(split, ("dicom_id", "split")), ["dicom_id"], split)
        frame = _join(frame, splits[["dicom_id", "split"]], ["dicom_id"])
    patients = first_of(folder, "patients.csv*", "hosp/patients.csv*")
    if patients is not None:
        people = _once(read_table(patients, ("subject_id", "gender")), ["subject_id"], patients)
        frame = _join(frame, people, ["subject_id"])
    count = len(frame)
    names = texts_of(frame, "dicom_id")
    return Draft(
        name="mimic-cxr-jpg",
        root=folder,
        image_id=names,
        path=files.join(images or folder / "files", _places(frame)),
        labels=observations(frame, labelled.name),
        patient_id=texts_of(frame, "subject_id"),
        view=texts_of(frame, "ViewPosition"),
        age=_ages(frame),
        sex=texts_of(frame, "gender"),
        split=texts_of(frame, "split"),
        site=np.full(count, "mimic", dtype=object),
        unfit=np.full(count, "", dtype=object),
        origin=origins(table, count),
        problems=_unlabelled(frame, studies),
    )


def _need(folder: Path, pattern: str, what: str) -> Path:
    """Return the table that `pattern` finds; the labeller NegBio stands in for CheXpert's."""
    found = first_of(folder, pattern, pattern.replace("chexpert", "negbio"))
    if found is None:
        raise DatasetError(
            f"MIMIC-CXR-JPG needs its {what} table; {folder} has no {pattern}. "
            "Put the published tables into one folder."
        )
    return found


def _once(frame: pd.DataFrame, keys: list[str], table: Path) -> pd.DataFrame:
    double = frame[frame.duplicated(keys)]
    if len(double):
        said = ", ".join(f"{key} {double[key].iloc[0]}" for key in keys)
        raise DatasetError(
            f"{table.name} has one row for each {keys[-1]}; {said} comes again in row "
            f"{int(double.index[0]) + 2}. Download it again."
        )
    return frame


def _join(frame: pd.DataFrame, other: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return `frame`, row by row, with the columns of `other`; "" where that has no such row."""
    return frame.merge(other, how="left", on=keys, validate="many_to_one").fillna("")


def _places(frame: pd.DataFrame) -> Texts:
    rows = zip(*(texts_of(frame, name) for name in (*_KEYS, "dicom_id")), strict=True)
    made = [f"p{who[:2]}/p{who}/s{study}/{picture}.jpg" for who, study, picture in rows]
    return np.array(made, dtype=object)


def _ages(frame: pd.DataFrame) -> Texts:
    """Return anchor age plus years since the anchor year, as texts; "" where unknown."""
    anchor, year = (
        pd.to_numeric(pd.Series(texts_of(frame, name)), errors="coerce")
        for name in ("anchor_age", "anchor_year")
    )
    taken = pd.Series(texts_of(frame, "StudyDate")).str.slice(0, 4)
    ages = anchor + pd.to_numeric(taken, errors="coerce") - year
    return np.array([f"{value:g}" if value == value else "" for value in ages], dtype=object)


def _unlabelled(frame: pd.DataFrame, studies: pd.DataFrame) -> tuple[Problem, ...]:
    known = pd.MultiIndex.from_frame(studies[_KEYS])
    missing = ~pd.MultiIndex.from_frame(frame[_KEYS]).isin(known)
    if not missing.any():
        return ()
    some = tuple(str(study) for study in frame.loc[missing, "study_id"].unique()[:3])
    remedy = "Their studies have no row of labels: nothing is known of them."
    return (Problem("pictures without labels", int(missing.sum()), some, remedy),)
