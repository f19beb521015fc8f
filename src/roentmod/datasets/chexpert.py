"""CheXpert (Irvin et al., AAAI 2019): ``train.csv`` and ``valid.csv``, 14 columns of labels.

1 is positive, 0 negative, -1 uncertain and an empty cell unmentioned, as published; labels are of
the study, so all its views share them. A "Lung Lesion" is a nodule or a mass: where it is there,
both are uncertain. The labeller says "No Finding" also beside support devices, so such pictures are
no baselines. Lateral views stay in the table as "lateral".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from roentmod.datasets import files
from roentmod.datasets.fields import first_of, read_table, texts_of, translate
from roentmod.datasets.labels import (
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    UNMENTIONED,
    Codes,
    Labels,
    Texts,
    Vocabulary,
    answered,
    stack,
)
from roentmod.datasets.table import Draft, origins
from roentmod.errors import DatasetError

__all__ = ["OBSERVATIONS", "VOCABULARY", "draft", "observations", "recognises"]

OBSERVATIONS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
VOCABULARY = Vocabulary(either={"lung lesion": ("Nodule", "Mass")})
# The test labels came later, without age, sex and view.
_TABLES = {
    "train.csv": "train",
    "valid.csv": "val",
    "test.csv": "test",
    "test_labels.csv": "test",
}
_STATES = {"1": POSITIVE, "0": NEGATIVE, "-1": UNCERTAIN, "": UNMENTIONED}
_PATIENT = re.compile(r"patient\d+")


def recognises(folder: Path) -> bool:
    """Tell whether `folder` holds this set's tables."""
    table = first_of(folder, "train.csv", "valid.csv")
    if table is None:
        return False
    header = pd.read_csv(table, nrows=0).columns
    return "Path" in header and set(OBSERVATIONS[2:4]) <= set(header)


def draft(folder: Path, images: Path | None, *, search: bool) -> Draft:
    """Read the tables of `folder`; pictures lie under it, or `images`, as their paths say.

    Args:
        folder: where the tables are, usually ``CheXpert-v1.0`` or ``CheXpert-v1.0-small``.
        images: the folder that stands for the first part of every path.
        search: not needed here, the paths are exact.

    Raises:
        DatasetError: no table, or a malformed one.
    """
    tables = [folder / name for name in _TABLES if (folder / name).is_file()]
    if not tables:
        raise DatasetError(
            f"CheXpert is a folder with train.csv or valid.csv; {folder} has neither. "
            "Name the folder that holds them."
        )
    parts = [_part(table, images or folder) for table in tables]
    texts: dict[str, Any] = {
        name: np.concatenate([some[name] for _, some in parts]) for name in parts[0][1]
    }
    return Draft("chexpert", folder, labels=stack(labels for labels, _ in parts), **texts)


def _part(table: Path, images: Path) -> tuple[Labels, dict[str, Any]]:
    frame = read_table(table, ("Path",))
    # The first part of a path is the name of the release, whatever the folder is called.
    names = np.array([path.partition("/")[2] for path in texts_of(frame, "Path")], dtype=object)
    count = len(frame)
    split = np.full(count, _TABLES[table.name], dtype=object)
    return observations(frame, table.name), {
        "image_id": names,
        "path": files.join(images, names),
        "patient_id": translate(names, _patient),
        "view": _views(frame, names),
        "age": texts_of(frame, "Age"),
        "sex": texts_of(frame, "Sex"),
        "split": split,
        "site": np.full(count, "chexpert", dtype=object),
        "unfit": np.full(count, "", dtype=object),
        "origin": origins(table, count),
    }


def observations(frame: pd.DataFrame, table: str) -> Labels:
    """Read the columns of the CheXpert labeller (also used for MIMIC-CXR-JPG).

    Args:
        frame: texts, n rows.
        table: its file name, for messages.

    Raises:
        DatasetError: no such column, or another value than 1, 0, -1 and empty.
    """
    present = [name for name in OBSERVATIONS if name in frame.columns]
    if not present:
        raise DatasetError(
            f"{table} must have the labeller's columns ({', '.join(OBSERVATIONS[:3])}, ...); it "
            "has none of them. Take the file as published."
        )
    columns = {name: _states(texts_of(frame, name), name, table) for name in present}
    return answered(columns, VOCABULARY, len(frame))


def _states(texts: Texts, name: str, table: str) -> Codes:
    codes = translate(texts, lambda text: _STATES.get(text.removesuffix(".0"), -1))
    codes = codes.astype(np.int8)
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        raise DatasetError(
            f"{table}: labels are 1, 0, -1 or empty; '{name}' has '{texts[row]}' in row {row + 2}. "
            "Correct it."
        )
    return np.asarray(codes, dtype=np.int8)


def _patient(path: str) -> str:
    found = _PATIENT.search(path)
    return found.group() if found else ""


def _views(frame: pd.DataFrame, names: Texts) -> Texts:
    """Return views; where there is no column for them, file names say frontal or lateral."""
    named = np.array(["frontal" if "_frontal" in n else "lateral" for n in names], dtype=object)
    side = texts_of(frame, "Frontal/Lateral")
    side = np.where(side == "", named, side)
    projection = texts_of(frame, "AP/PA")
    lateral = np.char.lower(side.astype(str)) == "lateral"
    frontal = np.where(projection == "", "frontal", projection)
    return np.asarray(np.where(lateral, "lateral", frontal), dtype=object)
