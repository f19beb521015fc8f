"""PadChest (Bustos et al., Medical Image Analysis 2020): one table of 160,868 pictures.

``Labels`` is a list of English names made from Spanish reports, 27 % by physicians and the rest by
a network trained on those (``MethodLabel``). Both look for all their names in each report, so what
a picture with any label does not name of `MEANT` is "negative". Names are mapped by their meaning
in the published tree; masses outside the lung, heart valves, sternotomies and the like keep their
own name. Ages are the study's year minus the year of birth: up to one year too high.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from roentmod.datasets import files
from roentmod.datasets.fields import first_of, read_table, texts_of
from roentmod.datasets.labels import Texts, Vocabulary, named
from roentmod.datasets.table import Draft, Problem, origins, several_places

__all__ = ["MEANT", "VOCABULARY", "draft", "recognises"]

# Finding: PadChest's names of it, besides the catalogue's own name and aliases.
_NAMES = {
    "Atelectasis": (
        "laminar atelectasis", "lobar atelectasis", "segmental atelectasis", "round atelectasis",
        "total atelectasis", "atelectasis basal",
    ),
    "Pleural Effusion": ("loculated pleural effusion", "loculated fissural effusion"),
    "Pneumonia": ("atypical pneumonia",),
    "Nodule": ("multiple nodules",),
    "Infiltration": ("infiltrates",),
    "Fibrosis": ("pulmonary fibrosis",),
    "Pleural Thickening": ("apical pleural thickening", "calcified pleural thickening"),
    "Support Devices": (
        "tracheostomy tube", "endotracheal tube", "nsg tube", "chest drain tube",
        "ventriculoperitoneal drain tube", "gastrostomy tube", "nephrostomy tube",
        "double j stent", "catheter", "central venous catheter",
        "central venous catheter via subclavian vein", "central venous catheter via jugular vein",
        "central venous catheter via umbilical vein", "reservoir central venous catheter",
        "electrical device", "dual chamber device", "single chamber device", "pacemaker", "dai",
    ),
}  # fmt: skip
VOCABULARY = Vocabulary(
    own={label: (name,) for name, labels in _NAMES.items() for label in labels}
    | {"hydropneumothorax": ("Pleural Effusion", "Pneumothorax")}
)
MEANT = (
    *_NAMES, "Cardiomegaly", "Edema", "Consolidation", "Mass", "Pneumothorax", "Hernia",
    "Emphysema",
)  # fmt: skip
# These say nothing of what is in the picture.
_SILENT = ("unchanged", "")
_TABLES = ("PADCHEST_chest_x_ray_images_labels_160K*.csv", "PADCHEST*.csv*")
_NEEDED = ("ImageID", "StudyDate_DICOM", "PatientID", "PatientBirth", "Projection", "Labels")


def recognises(folder: Path) -> bool:
    """Tell whether `folder` holds this set's table."""
    return first_of(folder, *_TABLES) is not None


def draft(folder: Path, images: Path | None, *, search: bool) -> Draft:
    """Read the table of `folder`; pictures lie anywhere under `images` (default: the folder).

    Args:
        folder: where the table is.
        images: where the pictures are.
        search: look for the pictures; otherwise they are taken to lie in numbered folders.

    Raises:
        DatasetError: the table is missing, malformed, or lacks a column.
    """
    table = first_of(folder, *_TABLES) or folder / _TABLES[0].replace("*", "_01.02.19")
    frame = read_table(table, _NEEDED)
    names = texts_of(frame, "ImageID")
    places = zip(texts_of(frame, "ImageDir"), names, strict=True)
    usual = np.array([f"{place}/{name}" if place else name for place, name in places], dtype=object)
    paths = files.join(images or folder, usual)
    problems: tuple[Problem, ...] = ()
    if search:
        paths, several = files.locate(images or folder, names, usual=paths)
        problems = several_places(several)
    texts = texts_of(frame, "Labels")
    put_aside = np.array(["exclude" in _labels(text) for text in texts], dtype=np.bool_)
    return Draft(
        name="padchest",
        root=folder,
        image_id=names,
        path=paths,
        labels=named(texts, VOCABULARY, looked_for=MEANT, split=_labels),
        patient_id=texts_of(frame, "PatientID"),
        view=texts_of(frame, "Projection"),
        age=_ages(frame),
        sex=texts_of(frame, "PatientSex_DICOM"),
        split=np.full(len(names), "", dtype=object),
        site=np.full(len(names), "padchest", dtype=object),
        unfit=np.where(put_aside, "excluded by the authors", "").astype(object),
        origin=origins(table, len(names)),
        problems=problems,
    )


def _labels(text: str) -> Sequence[str]:
    """Read a printed list of names; a text that is none counts as one label."""
    try:
        listed = ast.literal_eval(text) if text else []
    except (SyntaxError, ValueError):
        return () if text.lower() == "nan" else (text,)
    items = listed if isinstance(listed, (list, tuple)) else [listed]
    names = dict.fromkeys(str(item).strip() for item in items)
    return tuple(name for name in names if name not in _SILENT)


def _ages(frame: pd.DataFrame) -> Texts:
    taken = pd.Series(texts_of(frame, "StudyDate_DICOM")).str.slice(0, 4)
    born = pd.Series(texts_of(frame, "PatientBirth"))
    ages = pd.to_numeric(taken, errors="coerce") - pd.to_numeric(born, errors="coerce")
    return np.array([f"{value:g}" if value == value else "" for value in ages], dtype=object)
