"""NIH ChestX-ray14 (Wang et al., CVPR 2017): ``Data_Entry_2017*.csv``, 112,120 frontal pictures.

Labels were mined from reports, which were searched for the same 14 findings: a finding that is not
named is "negative", as in the authors' benchmark. The mining errs, both ways. Findings beyond the
14 are "unmentioned". The authors' lists of patients (``train_val_list.txt``, ``test_list.txt``)
give the splits "train" and "test" where they lie beside the table; a retraining takes "val" from
"train" (`roentmod.datasets.with_validation`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from roentmod.datasets import files
from roentmod.datasets.fields import first_of, read_table, texts_of
from roentmod.datasets.labels import Texts, Vocabulary, named
from roentmod.datasets.table import Draft, Problem, origins, several_places
from roentmod.findings import finding

__all__ = ["SEARCHED", "draft", "recognises"]

SEARCHED = tuple(
    finding(name).name
    for name in (
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
        "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
        "Hernia",
    )
)  # fmt: skip
_TABLES = ("Data_Entry_2017*.csv", "Data_Entry_2017*.csv.gz")
_NEEDED = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender")
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}


def recognises(folder: Path) -> bool:
    """Tell whether `folder` holds this set's table."""
    return first_of(folder, *_TABLES) is not None


def draft(folder: Path, images: Path | None, *, search: bool) -> Draft:
    """Read the table of `folder`; pictures lie anywhere under `images` (default: the folder).

    Args:
        folder: where the table is.
        images: where the pictures are.
        search: look for the pictures; otherwise they are taken to lie in ``images/``.

    Raises:
        DatasetError: the table is missing, malformed, or lacks a column.
    """
    table = first_of(folder, *_TABLES) or folder / "Data_Entry_2017.csv"
    frame = read_table(table, _NEEDED)
    names = texts_of(frame, "Image Index")
    paths = files.join(images or folder / "images", names)
    problems: tuple[Problem, ...] = ()
    if search:
        paths, several = files.locate(images or folder, names, usual=paths)
        problems = several_places(several)
    return Draft(
        name="nih",
        root=folder,
        image_id=names,
        path=paths,
        labels=named(texts_of(frame, "Finding Labels"), Vocabulary(), looked_for=SEARCHED),
        patient_id=texts_of(frame, "Patient ID"),
        view=texts_of(frame, "View Position"),
        age=texts_of(frame, "Patient Age"),
        sex=texts_of(frame, "Patient Gender"),
        split=_splits(folder, names),
        site=np.full(len(names), "nih", dtype=object),
        unfit=np.full(len(names), "", dtype=object),
        origin=origins(table, len(names)),
        problems=problems,
    )


def _splits(folder: Path, names: Texts) -> Texts:
    split: dict[str, str] = {}
    for name, value in _LISTS.items():
        if (folder / name).is_file():
            split |= dict.fromkeys((folder / name).read_text(encoding="utf-8").split(), value)
    return np.array([split.get(name, "") for name in names], dtype=object)
