"""PadChest (Bustos et al., Medical Image Analysis 2020): one table of 160,868 pictures.

``Labels`` is a list of English names made from Spanish reports, 27 % by physicians and the rest by
a network trained on those (``MethodLabel``). Both look for all their names in each report, so what
a picture with any label does not name of `MEANT` is "negative". Names are mapped by their meaning
in the published tree; masses outside the lung, heart valves, sternotomies and the like keep their
own name. Ages are the study's year minus the year of birth: up to one year too high. Pictures lie
in any folder, those numbered in the table by default.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roentmod.datasets.fields import first_of, gather, read_table, since, texts_of, translate
from roentmod.datasets.labels import Vocabulary, named
from roentmod.datasets.table import Draft, Part

__all__ = ["MEANT", "TABLES", "VOCABULARY", "draft"]

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
_ASIDE = "excluded by the authors"
TABLES = ("PADCHEST_chest_x_ray_images_labels_160K*.csv", "PADCHEST*.csv*")
_FACTS = {
    "image_id": "ImageID",
    "patient_id": "PatientID",
    "view": "Projection",
    "sex": "PatientSex_DICOM",
}
_NEEDED = ("ImageID", "StudyDate_DICOM", "PatientID", "PatientBirth", "Projection", "Labels")


def draft(folder: Path) -> Draft:
    """Read the table of `folder`.

    Raises:
        DatasetError: the table is missing, malformed, or lacks a column.
    """
    table = first_of(folder, *TABLES) or folder / TABLES[0].replace("*", "_01.02.19")
    frame = read_table(table, _NEEDED)
    places = zip(texts_of(frame, "ImageDir"), texts_of(frame, "ImageID"), strict=True)
    texts = texts_of(frame, "Labels")
    facts = gather(
        frame,
        table,
        _FACTS,
        path=np.array([f"{place}/{name}" if place else name for place, name in places], object),
        age=since(texts_of(frame, "StudyDate_DICOM"), texts_of(frame, "PatientBirth")),
        site="padchest",
        unfit=translate(texts, lambda text: _ASIDE if "exclude" in _labels(text) else ""),
    )
    labels = named(texts, VOCABULARY, looked_for=MEANT, split=_labels)
    return Draft("padchest", folder, [Part(facts, labels)], scattered=True)


def _labels(text: str) -> Sequence[str]:
    """Read a printed list of names; a text that is none counts as one label."""
    try:
        listed = ast.literal_eval(text) if text else []
    except (SyntaxError, ValueError):
        return () if text.lower() == "nan" else (text,)
    items = listed if isinstance(listed, (list, tuple)) else [listed]
    names = dict.fromkeys(str(item).strip() for item in items)
    return tuple(name for name in names if name not in _SILENT)
