"""CheXpert (Irvin et al., AAAI 2019): ``train.csv`` and ``valid.csv``, 14 columns of labels.

1 is positive, 0 negative, -1 uncertain and an empty cell unmentioned, as published; labels are of
the study, so all its views share them. A "Lung Lesion" is a nodule or a mass: where it is there,
both are uncertain. The labeller says "No Finding" also beside support devices, so such pictures are
no baselines. Lateral views stay in the table as "lateral".
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from roentmod.datasets.fields import WORDS, coded, gather, read_table, texts_of, translate
from roentmod.datasets.labels import Labels, Texts, Vocabulary, answered
from roentmod.datasets.table import Draft, Part
from roentmod.errors import DatasetError

__all__ = ["HEADER", "OBSERVATIONS", "TABLES", "VOCABULARY", "draft", "observations"]

OBSERVATIONS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
VOCABULARY = Vocabulary(either={"lung lesion": ("Nodule", "Mass")})
# The test labels came later, without age, sex and view.
_SPLITS = {
    "train.csv": "train",
    "valid.csv": "val",
    "test.csv": "test",
    "test_labels.csv": "test",
}
TABLES = ("train.csv", "valid.csv")
# Other sets have a train.csv, too.
HEADER = ("Path", *OBSERVATIONS[2:4])
_STATES = {text: state for text, state in WORDS.items() if not text.isalpha()}
_PATIENT = re.compile(r"patient\d+")


def draft(folder: Path) -> Draft:
    """Read the tables of `folder`, usually ``CheXpert-v1.0`` or ``CheXpert-v1.0-small``.

    Raises:
        DatasetError: no table, or a malformed one.
    """
    tables = [folder / name for name in _SPLITS if (folder / name).is_file()]
    if not tables:
        raise DatasetError(
            f"CheXpert is a folder with train.csv or valid.csv; {folder} has neither. "
            "Name the folder that holds them."
        )
    return Draft("chexpert", folder, [_part(table) for table in tables])


def _part(table: Path) -> Part:
    frame = read_table(table, ("Path",))
    # The first part of a path is the name of the release, whatever the folder is called.
    names = translate(texts_of(frame, "Path"), lambda path: path.partition("/")[2])
    facts = gather(
        frame,
        table,
        {"age": "Age", "sex": "Sex"},
        image_id=names,
        path=names,
        patient_id=translate(names, _patient),
        view=_views(frame, names),
        split=_SPLITS[table.name],
        site="chexpert",
    )
    return Part(facts, observations(frame, table.name))


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
    columns = {name: coded(frame, name, _STATES, table=table) for name in present}
    return answered(columns, VOCABULARY, len(frame))


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
