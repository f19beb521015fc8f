"""VinDr-CXR (Nguyen et al., Scientific Data 2022): 15,000 pictures read by three radiologists each.

Readers' answers become one: a finding is "positive" where more than half of a picture's readers see
it (two of three), "negative" where none does, and "uncertain" in between. The test pictures carry a
consensus of five, one row each. All views are PA. "Nodule/Mass" does not say which: where it is
there, both are uncertain. Patients, ages and sexes are not in the tables (some DICOM headers hold
them), so pictures count as patients, and selections need ``adult_age=None``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from roentmod.datasets import files
from roentmod.datasets.fields import first_of, read_table, texts_of
from roentmod.datasets.labels import (
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    Codes,
    Labels,
    Texts,
    Vocabulary,
    answered,
    stack,
)
from roentmod.datasets.table import Draft, Problem, several_places
from roentmod.errors import DatasetError

__all__ = ["VOCABULARY", "draft", "recognises"]

VOCABULARY = Vocabulary(
    own={"pulmonary fibrosis": ("Fibrosis",)}, either={"nodule/mass": ("Nodule", "Mass")}
)
_SPLITS = ("train", "test")
_NOT_LABELS = {"image_id", "rad_id", "class_name", "class_id", "x_min", "y_min", "x_max", "y_max"}


def recognises(folder: Path) -> bool:
    """Tell whether `folder` holds this set's tables."""
    return any(_find(folder, split) is not None for split in _SPLITS)


def draft(folder: Path, images: Path | None, *, search: bool) -> Draft:
    """Read the tables of `folder`, or of its ``annotations/``.

    Args:
        folder: where the tables are.
        images: the folder that holds ``train/`` and ``test/``.
        search: look for the pictures anywhere, in any format; otherwise they are ``.dicom``.

    Raises:
        DatasetError: no table, or a malformed one.
    """
    found = {split: _find(folder, split) for split in _SPLITS}
    tables = {split: table for split, table in found.items() if table is not None}
    if not tables:
        raise DatasetError(
            "VinDr-CXR is a folder with image_labels_train.csv or annotations_train.csv; "
            f"{folder} has neither. Name the folder that holds them."
        )
    parts = {split: _votes(table) for split, table in tables.items()}
    names = np.concatenate([np.asarray(ids) for ids, _, _ in parts.values()])
    split = np.repeat(np.array(list(parts), dtype=object), [len(p[0]) for p in parts.values()])
    usual = np.array([f"{s}/{n}.dicom" for s, n in zip(split, names, strict=True)], dtype=object)
    paths = files.join(images or folder, usual)
    problems = tuple(problem for _, _, some in parts.values() for problem in some)
    if search:
        paths, several = files.locate(images or folder, names, usual=paths)
        problems += several_places(several)
    empty = np.full(len(names), "", dtype=object)
    return Draft(
        name="vindr-cxr",
        root=folder,
        image_id=names,
        path=paths,
        labels=stack(labels for _, labels, _ in parts.values()),
        patient_id=empty,
        view=np.full(len(names), "PA", dtype=object),
        age=empty,
        sex=empty,
        split=split,
        site=np.full(len(names), "vindr", dtype=object),
        unfit=empty,
        origin=np.array([tables[one].name for one in split], dtype=object),
        problems=problems,
    )


def _find(folder: Path, split: str) -> Path | None:
    """Return the labels of the pictures, or, where only they are there, the boxes."""
    tables = [f"{kind}_{split}.csv" for kind in ("image_labels", "annotations")]
    return first_of(folder, *(place + name for name in tables for place in ("", "annotations/")))


def _votes(table: Path) -> tuple[Texts, Labels, tuple[Problem, ...]]:
    """Return picture ids, what their readers agree on, and what is odd about it."""
    frame = read_table(table, ("image_id",))
    frame.columns = pd.Index([n.lower() if n.lower() in _NOT_LABELS else n for n in frame.columns])
    if "rad_id" not in frame.columns:
        frame["rad_id"] = "consensus"
    votes = _boxes(frame) if "class_name" in frame.columns else _answers(frame, table)
    # One answer a reader: a reader who comes twice is still one.
    votes = votes.groupby(["image_id", "rad_id"]).max()
    readers = votes.groupby("image_id").size()
    shares = votes.groupby("image_id").mean()
    columns = {str(name): _agreed(shares[name]) for name in shares.columns}
    labels = answered(columns, VOCABULARY, len(shares))
    problems: tuple[Problem, ...] = ()
    alone = readers.index[readers < 3]
    if table.name.endswith("train.csv") and len(alone):
        remedy = "Fewer than three readers: two of two make a positive, one of two is uncertain."
        some = tuple(str(name) for name in alone[:3])
        problems = (Problem("readers missing", len(alone), some, remedy),)
    return np.array([str(name) for name in shares.index], dtype=object), labels, problems


def _agreed(share: pd.Series[float]) -> Codes:
    """Return states of the shares of readers who see a finding."""
    some = np.where(share > 0, UNCERTAIN, NEGATIVE)
    return np.asarray(np.where(share > 0.5, POSITIVE, some), dtype=np.int8)


def _answers(frame: pd.DataFrame, table: Path) -> pd.DataFrame:
    """Return 1 and 0 of every label column, beside picture and reader."""
    labels = [name for name in frame.columns if name not in _NOT_LABELS]
    columns = {name: pd.to_numeric(frame[name], errors="coerce") for name in labels}
    numbers = pd.DataFrame(columns)
    wrong = ~numbers.isin([0, 1]).all(axis=1)
    if not labels or wrong.any():
        row = int(np.argmax(wrong)) + 2
        raise DatasetError(
            f"{table.name}: readers answer 1 or 0 in one column a label; row {row} does not. "
            "Take the file as published."
        )
    return pd.concat([frame[["image_id", "rad_id"]], numbers], axis=1)


def _boxes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return 1 and 0 of every class, from one row a box."""
    seen = pd.get_dummies(texts_of(frame, "class_name"), dtype=float)
    return pd.concat([frame[["image_id", "rad_id"]], seen], axis=1)
