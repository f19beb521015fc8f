"""NIH ChestX-ray14 (Wang et al., CVPR 2017): ``Data_Entry_2017*.csv``, 112,120 frontal pictures.

Labels were mined from reports, which were searched for the same 14 findings: a finding that is not
named is "negative", as in the authors' benchmark. The mining errs, both ways. Findings beyond the
14 are "unmentioned". The authors' lists of patients (``train_val_list.txt``, ``test_list.txt``)
give the splits "train" and "test" where they lie beside the table; a retraining takes "val" from
"train" (`roentmod.datasets.with_validation`). Pictures lie in any folder, ``images/`` by default.
"""

from __future__ import annotations

from pathlib import Path

from roentmod.datasets.fields import first_of, gather, read_table, texts_of, translate
from roentmod.datasets.labels import Texts, Vocabulary, named
from roentmod.datasets.table import Draft, Part
from roentmod.findings import finding

__all__ = ["SEARCHED", "TABLES", "draft"]

SEARCHED = tuple(
    finding(name).name
    for name in (
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
        "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
        "Hernia",
    )
)  # fmt: skip
TABLES = ("Data_Entry_2017*.csv", "Data_Entry_2017*.csv.gz")
_NEEDED = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender")
_FACTS = {
    "image_id": "Image Index",
    "path": "Image Index",
    "patient_id": "Patient ID",
    "view": "View Position",
    "age": "Patient Age",
    "sex": "Patient Gender",
}
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}


def draft(folder: Path) -> Draft:
    """Read the table of `folder`.

    Raises:
        DatasetError: the table is missing, malformed, or lacks a column.
    """
    table = first_of(folder, *TABLES) or folder / "Data_Entry_2017.csv"
    frame = read_table(table, _NEEDED)
    labels = named(texts_of(frame, "Finding Labels"), Vocabulary(), looked_for=SEARCHED)
    split = _splits(folder, texts_of(frame, "Image Index"))
    facts = gather(frame, table, _FACTS, site="nih", split=split)
    return Draft("nih", folder, [Part(facts, labels)], below="images", scattered=True)


def _splits(folder: Path, names: Texts) -> Texts:
    split: dict[str, str] = {}
    for name, value in _LISTS.items():
        if (folder / name).is_file():
            split |= dict.fromkeys((folder / name).read_text(encoding="utf-8").split(), value)
    return translate(names, lambda name: split.get(name, ""))
