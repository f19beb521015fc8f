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

from roentmod.datasets.fields import first_of, read_table, texts_of
from roentmod.datasets.labels import (
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    Codes,
    Vocabulary,
    answered,
)
from roentmod.datasets.table import Draft, Part, Problem
from roentmod.errors import DatasetError

__all__ = ["TABLES", "VOCABULARY", "draft"]

VOCABULARY = Vocabulary(
    own={"pulmonary fibrosis": ("Fibrosis",)}, either={"nodule/mass": ("Nodule", "Mass")}
)
# The labels of the pictures, or, where only they are there, the boxes.
_SPLITS = {
    split: tuple(
        f"{place}{kind}_{split}.csv"
        for kind in ("image_labels", "annotations")
        for place in ("", "annotations/")
    )
    for split in ("train", "test")
}
TABLES = (*_SPLITS["train"], *_SPLITS["test"])
_NOT_LABELS = {"image_id", "rad_id", "class_name", "class_id", "x_min", "y_min", "x_max", "y_max"}


def draft(folder: Path) -> Draft:
    """Read the tables of `folder`, or of its ``annotations/``.

    Pictures lie in any folder and format, as ``train/ID.dicom`` and ``test/ID.dicom`` by default.

    Raises:
        DatasetError: no table, or a malformed one.
    """
    tables = {split: first_of(folder, *patterns) for split, patterns in _SPLITS.items()}
    parts: list[Part] = []
    problems: list[Problem] = []
    for split, table in tables.items():
        if table is not None:
            part, some = _part(table, split)
            parts.append(part)
            problems += some
    if not parts:
        raise DatasetError(
            "VinDr-CXR is a folder with image_labels_train.csv or annotations_train.csv; "
            f"{folder} has neither. Name the folder that holds them."
        )
    return Draft("vindr-cxr", folder, parts, tuple(problems), scattered=True)


def _part(table: Path, split: str) -> tuple[Part, tuple[Problem, ...]]:
    """Return the pictures of a table, what their readers agree on, and what is odd about it."""
    frame = read_table(table, ("image_id",))
    frame.columns = pd.Index([n.lower() if n.lower() in _NOT_LABELS else n for n in frame.columns])
    if "rad_id" not in frame.columns:
        frame["rad_id"] = "consensus"
    votes = _boxes(frame) if "class_name" in frame.columns else _answers(frame, table)
    # One answer per reader: a reader who comes twice is still one.
    votes = votes.groupby(["image_id", "rad_id"]).max()
    readers = votes.groupby("image_id").size()
    shares = votes.groupby("image_id").mean()
    names = [str(name) for name in shares.index]
    facts = {"image_id": names, "path": [f"{split}/{name}.dicom" for name in names]}
    always = {"view": "PA", "split": split, "site": "vindr", "origin": table.name}
    columns = {str(name): _agreed(shares[name]) for name in shares.columns}
    part = Part(pd.DataFrame(facts | always), answered(columns, VOCABULARY, len(shares)))
    alone = readers.index[readers < 3]
    remedy = "Fewer than three readers: two of two make a positive, one of two is uncertain."
    return part, Problem.of("readers missing", list(alone), remedy) if split == "train" else ()


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
