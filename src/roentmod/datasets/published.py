"""The published sets, each read from its own tables.

What a set means by its labels stands in the docstring of its reader. A reader raises `DatasetError`
where a table is missing or malformed, or lacks a column.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from roentmod.datasets.fields import (
    WORDS,
    coded,
    first_of,
    gather,
    since,
    texts_of,
    translate,
)
from roentmod.datasets.labels import (
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    Codes,
    Labels,
    Texts,
    Vocabulary,
    answered,
    named,
    parted,
    wary,
)
from roentmod.datasets.sheets import Reading, header, read_table
from roentmod.datasets.table import Draft, Part, Problem, near_findings
from roentmod.domain import finding
from roentmod.errors import DatasetError

__all__ = [
    "CHEXPERT",
    "NIH_SEARCHED",
    "PADCHEST",
    "PADCHEST_MEANT",
    "SOURCES",
    "VINDR",
    "Source",
]


class Source(NamedTuple):
    """A published set.

    Attributes:
        read: its reader, of a folder.
        tables: patterns of files, of which its folder has at least one.
        header: columns of the first such file, where its name alone does not tell.
    """

    read: Callable[[Path], Draft]
    tables: tuple[str, ...]
    header: tuple[str, ...] = ()

    def lies_in(self, folder: Path) -> bool:
        """Tell whether a folder holds this set."""
        table = first_of(folder, *self.tables)
        if table is None or not self.header:
            return table is not None
        return {*self.header} <= {*header(table)}


def _need(folder: Path, name: str, what: str, *patterns: str) -> Path:
    """Return the table that the first successful pattern finds."""
    table = first_of(folder, *patterns)
    if table is None:
        raise DatasetError(
            f"{name} needs its {what} table; {folder} has no {patterns[0]}. "
            "Put the published tables into one folder."
        )
    return table


# NIH ChestX-ray14 --------------------------------------------------------------------------------

NIH_SEARCHED = tuple(
    finding(name).name
    for name in (
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
        "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
        "Hernia",
    )
)  # fmt: skip
_NIH_TABLES = ("Data_Entry_2017*.csv", "Data_Entry_2017*.csv.gz")
_NIH = {
    "image_id": "Image Index",
    "labels": "Finding Labels",
    "patient_id": "Patient ID",
    "age": "Patient Age",
    "sex": "Patient Gender",
}
_NIH_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}


def _nih(folder: Path) -> Draft:
    """Read NIH ChestX-ray14 (Wang et al., CVPR 2017): 112,120 frontal pictures.

    Labels were mined from reports, which were searched for the same 14 findings: a finding that is
    not named is "negative", as in the authors' benchmark. The mining errs, both ways. Findings
    beyond the 14 are "unmentioned". The authors' lists of patients give the splits "train" and
    "test" where they lie beside the table; a retraining takes "val" from "train"
    (`with_validation`). Pictures lie in any folder, ``images/`` by default.
    """
    table = _need(folder, "NIH ChestX-ray14", "Data_Entry_2017", *_NIH_TABLES)
    frame = read_table(table, list(_NIH.values()))
    texts = texts_of(frame, "Finding Labels")
    vocabulary = wary(label for text in set(texts) for label in parted(text))
    labels = named(texts, vocabulary, looked_for=NIH_SEARCHED, split=parted)
    split: dict[str, str] = {}
    for name, value in _NIH_LISTS.items():
        if (folder / name).is_file():
            split |= dict.fromkeys((folder / name).read_text(encoding="utf-8").split(), value)
    names, view = texts_of(frame, "Image Index"), texts_of(frame, "View Position")
    splits = translate(names, lambda name: split.get(name, ""))
    facts = gather(frame, table, _NIH, path=names, view=view, site="nih", split=splits)
    reading = Reading.of(frame, table, _NIH | {"view": "View Position"})
    part = Part(facts, labels, near_findings(labels, vocabulary), reading)
    return Draft("nih", folder, [part], below="images", tail=1)


# CheXpert ----------------------------------------------------------------------------------------

CHEXPERT = Vocabulary(either={"lung lesion": ("Nodule", "Mass")})
_OBSERVATIONS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
# The test labels, and those beside segmentations, came later, without age, sex and view.
_CHEXPERT_SPLITS = {
    "train.csv": "train",
    "valid.csv": "val",
    "val_labels.csv": "val",
    "test.csv": "test",
    "test_labels.csv": "test",
}
_CHEXPERT = {
    "path": "Path", "age": "Age", "sex": "Sex", "view": "AP/PA",
} | {name: name for name in _OBSERVATIONS}  # fmt: skip
_CHEXPERT_TABLES = tuple(f"{place}{name}" for place in ("", "*/") for name in _CHEXPERT_SPLITS)
# What the parts of the full release are called; their folders lie beside each other.
_BATCH = "CheXpert-v1.0 batch "
_NUMBERS = {text: state for text, state in WORDS.items() if not text.isalpha()}
_PATIENT = re.compile(r"patient\d+|$")
_RELEASE = re.compile(r"^.*?(?=(?:train|valid|val|test)/)")


def _chexpert(folder: Path) -> Draft:
    """Read CheXpert (Irvin et al., AAAI 2019): 14 columns of labels, a table per split.

    1 is positive, 0 negative, -1 uncertain and an empty cell unmentioned, as published; labels are
    of the study, so all its views share them. A "Lung Lesion" is a nodule or a mass: where it is
    there, both are uncertain. The labeller says "No Finding" also beside support devices, so such
    pictures are no baselines. Lateral views stay in the table as "lateral". The folder is
    ``CheXpert-v1.0``, ``CheXpert-v1.0-small``, one of the full release's "batch" folders, or one
    that holds them; pictures lie in it as their paths say, or anywhere under their patient, study
    and name.
    """
    _need(folder, "CheXpert", "train.csv or valid.csv", *_CHEXPERT_TABLES)
    found = [first_of(folder, name, f"*/{name}") for name in _CHEXPERT_SPLITS]
    tables = [table for table in found if table is not None]
    below = next((table.parent.name for table in tables if table.parent != folder), "")
    if folder.name.startswith(_BATCH):
        folder, below = folder.parent, folder.name
    return Draft("chexpert", folder, [_chexpert_part(t) for t in tables], below, tail=3)


def _chexpert_part(table: Path) -> Part:
    frame = read_table(table, ("Path",))
    # Before the split stands the name of the release, whatever the folder is called; or nothing.
    names = translate(texts_of(frame, "Path"), lambda path: _RELEASE.sub("", path, count=1))
    facts = gather(
        frame,
        table,
        {"age": "Age", "sex": "Sex"},
        image_id=names,
        path=names,
        patient_id=translate(names, lambda name: next(_PATIENT.finditer(name)).group()),
        view=_chexpert_views(frame, names),
        split=_CHEXPERT_SPLITS[table.name],
        site="chexpert",
    )
    labels = _observations(frame, table.name)
    return Part(facts, labels, reading=Reading.of(frame, table, _CHEXPERT))


def _chexpert_views(frame: pd.DataFrame, names: Texts) -> Texts:
    """Return views; where there is no column for them, file names say frontal or lateral."""
    by_name = translate(names, lambda name: "frontal" if "_frontal" in name else "lateral")
    side, projection = texts_of(frame, "Frontal/Lateral"), texts_of(frame, "AP/PA")
    side = translate(np.where(side == "", by_name, side), str.lower)
    frontal = np.where(projection == "", "frontal", projection)
    return np.asarray(np.where(side == "lateral", "lateral", frontal), dtype=object)


def _observations(frame: pd.DataFrame, table: str) -> Labels:
    """Read the columns of the CheXpert labeller, which MIMIC-CXR-JPG has too."""
    present = [name for name in _OBSERVATIONS if name in frame.columns]
    if not present:
        raise DatasetError(
            f"{table} must have the labeller's columns ({', '.join(_OBSERVATIONS[:3])}, ...); it "
            "has none of them. Take the file as published."
        )
    columns = {name: coded(frame, name, _NUMBERS, table=table) for name in present}
    return answered(columns, CHEXPERT)


# MIMIC-CXR-JPG -----------------------------------------------------------------------------------

_MIMIC_TABLE = "mimic-cxr-2*-metadata.csv*"
_STUDY = ["subject_id", "study_id"]
# Tables that may be missing, and what they add: a key, a column that they must have, others.
_MIMIC_MORE = {
    ("mimic-cxr-2*-split.csv*",): ("dicom_id", "split"),
    ("patients.csv*", "hosp/patients.csv*"): ("subject_id", "gender", "anchor_age", "anchor_year"),
}
_MIMIC = {
    "image_id": "dicom_id",
    "patient_id": "subject_id",
    "view": "ViewPosition",
    "sex": "gender",
    "split": "split",
}


def _mimic(folder: Path) -> Draft:
    """Read MIMIC-CXR-JPG (Johnson et al., 2019, PhysioNet): metadata, labels of studies, splits.

    Labels are the CheXpert labeller's, or NegBio's where its table is there instead. Ages and sexes
    are not part of the set; they come from ``patients.csv.gz`` of MIMIC-IV where it lies in the
    folder, as anchor age plus years since the anchor year (ages over 89 are all 91 there). Pictures
    lie as published, under ``files/`` by default.
    """
    table = _need(folder, "MIMIC-CXR-JPG", "metadata", _MIMIC_TABLE)
    frame = read_table(table, ("dicom_id", *_STUDY, "ViewPosition"))
    labelled = _need(
        folder,
        "MIMIC-CXR-JPG",
        "chexpert (or negbio)",
        *(f"mimic-cxr-2*-{labeller}.csv*" for labeller in ("chexpert", "negbio")),
    )
    studies = read_table(labelled, _STUDY).assign(labelled="yes")
    frame = _mimic_join(frame, studies, _STUDY, labelled)
    for patterns, columns in _MIMIC_MORE.items():
        other = first_of(folder, *patterns)
        if other is not None:
            rows = read_table(other, columns[:2])
            rows = rows[[name for name in columns if name in rows]]
            frame = _mimic_join(frame, rows, [columns[0]], other)
    ids = zip(*(texts_of(frame, name) for name in (*_STUDY, "dicom_id")), strict=True)
    paths = [f"p{who[:2]}/p{who}/s{study}/{picture}.jpg" for who, study, picture in ids]
    facts = gather(
        frame,
        table,
        _MIMIC,
        path=np.array(paths, dtype=object),
        age=since(*(texts_of(frame, name) for name in ("StudyDate", "anchor_year", "anchor_age"))),
        site="mimic",
    )
    silent = frame.loc[frame["labelled"] == "", "study_id"]
    problem = Problem.of(
        "pictures without labels",
        silent.unique(),
        len(silent),
        advice=": their studies have no row of labels",
    )
    # Several tables are one frame here: the first names the pictures.
    reading = Reading.of(frame, table, _MIMIC)
    part = Part(facts, _observations(frame, labelled.name), problem, reading)
    return Draft("mimic-cxr-jpg", folder, [part], below="files")


def _mimic_join(
    frame: pd.DataFrame, other: pd.DataFrame, keys: list[str], table: Path
) -> pd.DataFrame:
    """Return `frame`, row by row, with the columns of `other`; "" where that has no such row."""
    double = other[other.duplicated(keys)]
    if len(double):
        which = ", ".join(f"{key} {double[key].iloc[0]}" for key in keys)
        raise DatasetError(
            f"{table.name} has one row for each {keys[-1]}; {which} comes again in row "
            f"{int(double.index[0]) + 2}. Download it again."
        )
    return frame.merge(other, how="left", on=keys).fillna("")


# PadChest ----------------------------------------------------------------------------------------

# Finding: PadChest's names of it, besides the catalogue's own name and aliases.
_PADCHEST_NAMES = {
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
PADCHEST = Vocabulary(
    own={label: (name,) for name, labels in _PADCHEST_NAMES.items() for label in labels}
    | {"hydropneumothorax": ("Pleural Effusion", "Pneumothorax")}
)
PADCHEST_MEANT = (
    *_PADCHEST_NAMES, "Cardiomegaly", "Edema", "Consolidation", "Mass", "Pneumothorax", "Hernia",
    "Emphysema",
)  # fmt: skip
# These say nothing of what is in the picture.
_SILENT = ("unchanged", "")
_PADCHEST_TABLES = ("PADCHEST_chest_x_ray_images_labels_160K*.csv", "PADCHEST*.csv*")
_PADCHEST = {"image_id": "ImageID", "patient_id": "PatientID", "view": "Projection"}
_PADCHEST_DATES = ("StudyDate_DICOM", "PatientBirth")


def _padchest(folder: Path) -> Draft:
    """Read PadChest (Bustos et al., Medical Image Analysis 2020): one table of 160,868 pictures.

    ``Labels`` is a list of English names made from Spanish reports, 27 % by physicians and the rest
    by a network trained on those (``MethodLabel``). Both look for all their names in each report,
    so what a picture with any label does not name of `PADCHEST_MEANT` is "negative". Names are
    mapped by their meaning in the published tree; masses outside the lung, heart valves,
    sternotomies and the like keep their own name. Ages are the study's year minus the year of
    birth: up to one year too high. Pictures lie in any folder, by default those that the table
    names.
    """
    table = _need(folder, "PadChest", "labels", *_PADCHEST_TABLES)
    frame = read_table(table, (*_PADCHEST.values(), *_PADCHEST_DATES, "Labels"))
    places = zip(texts_of(frame, "ImageDir"), texts_of(frame, "ImageID"), strict=True)
    paths = [f"{place}/{name}" if place else name for place, name in places]
    texts = texts_of(frame, "Labels")
    aside = "excluded by the authors"
    facts = gather(
        frame,
        table,
        _PADCHEST,
        path=np.array(paths, dtype=object),
        age=since(*(texts_of(frame, name) for name in _PADCHEST_DATES)),
        sex=texts_of(frame, "PatientSex_DICOM"),
        site="padchest",
        unfit=translate(texts, lambda text: aside if "exclude" in _padchest_labels(text) else ""),
    )
    labels = named(texts, PADCHEST, looked_for=PADCHEST_MEANT, split=_padchest_labels)
    part = Part(facts, labels, reading=Reading.of(frame, table, _PADCHEST | {"labels": "Labels"}))
    return Draft("padchest", folder, [part], tail=1)


def _padchest_labels(text: str) -> Sequence[str]:
    """Read a printed list of names; a text that is none counts as one label."""
    try:
        listed = ast.literal_eval(text) if text else []
    except (SyntaxError, ValueError):
        return () if text.lower() == "nan" else (text,)
    items = listed if isinstance(listed, (list, tuple)) else [listed]
    names = dict.fromkeys(str(item).strip() for item in items)
    return tuple(name for name in names if name not in _SILENT)


# VinDr-CXR ---------------------------------------------------------------------------------------

VINDR = Vocabulary(
    own={"pulmonary fibrosis": ("Fibrosis",)}, either={"nodule/mass": ("Nodule", "Mass")}
)
# The labels of the pictures, or, where only they are there, the boxes.
_VINDR_TABLES = {
    split: tuple(
        f"{place}{kind}_{split}.csv"
        for kind in ("image_labels", "annotations")
        for place in ("", "annotations/")
    )
    for split in ("train", "test")
}
_NOT_LABELS = {"image_id", "rad_id", "class_name", "class_id", "x_min", "y_min", "x_max", "y_max"}


def _vindr(folder: Path) -> Draft:
    """Read VinDr-CXR (Nguyen et al., Scientific Data 2022): 15,000 pictures, three readers each.

    Readers' answers become one: a finding is "positive" where more than half of a picture's readers
    see it (two of three), "negative" where none does, and "uncertain" in between. The test pictures
    carry a consensus of five, one row each. All views are PA. "Nodule/Mass" does not say which:
    where it is there, both are uncertain. Patients, ages and sexes are not in the tables (some
    DICOM headers hold them), so pictures count as patients, and selections need ``adult_age=None``.
    Pictures lie in any folder and format, as ``train/ID.dicom`` and ``test/ID.dicom`` by default.
    """
    _need(folder, "VinDr-CXR", "labels", *SOURCES["vindr-cxr"].tables)
    tables = {split: first_of(folder, *patterns) for split, patterns in _VINDR_TABLES.items()}
    parts = [_vindr_part(table, split) for split, table in tables.items() if table is not None]
    return Draft("vindr-cxr", folder, parts, tail=1)


def _vindr_part(table: Path, split: str) -> Part:
    frame = read_table(table, ("image_id",))
    frame.columns = pd.Index([n.lower() if n.lower() in _NOT_LABELS else n for n in frame.columns])
    if "rad_id" not in frame.columns:
        frame["rad_id"] = "consensus"
    # One answer per reader: a reader who comes twice is still one.
    votes = _vindr_votes(frame, table).groupby([frame["image_id"], frame["rad_id"]]).max()
    readers = votes.groupby("image_id").size()
    shares = votes.groupby("image_id").mean()
    names = [str(name) for name in shares.index]
    facts = {"image_id": names, "path": [f"{split}/{name}.dicom" for name in names]}
    always = {"view": "PA", "split": split, "site": "vindr", "origin": table.name}
    labels = answered({str(name): _agreed(shares[name]) for name in shares.columns}, VINDR)
    alone = [*readers.index[readers < 3]] if split == "train" else []
    problem = Problem.of("readers missing", alone)
    reading = Reading.of(frame, table, {"image_id": "image_id"})
    return Part(pd.DataFrame(facts | always), labels, problem, reading)


def _vindr_votes(frame: pd.DataFrame, table: Path) -> pd.DataFrame:
    """Return 1 and 0 of every label, from one row per box, or from columns of answers."""
    if "class_name" in frame.columns:
        return pd.get_dummies(texts_of(frame, "class_name"), dtype=float)
    labels = [name for name in frame.columns if name not in _NOT_LABELS]
    votes: pd.DataFrame = frame[labels].apply(pd.to_numeric, errors="coerce")
    wrong = ~votes.isin([0, 1]).all(axis=1)
    if not labels or wrong.any():
        row = int(np.argmax(wrong)) + 2
        raise DatasetError(
            f"{table.name}: readers answer 1 or 0 in one column per label; row {row} does not. "
            "Take the file as published."
        )
    return votes


def _agreed(share: pd.Series[float]) -> Codes:
    """Return states of the shares of readers who see a finding."""
    some = np.where(share > 0, UNCERTAIN, NEGATIVE)
    return np.asarray(np.where(share > 0.5, POSITIVE, some), dtype=np.int8)


SOURCES = {
    "nih": Source(_nih, _NIH_TABLES),
    # Other sets have a train.csv, too.
    "chexpert": Source(_chexpert, _CHEXPERT_TABLES, ("Path", *_OBSERVATIONS[2:3])),
    "mimic-cxr-jpg": Source(_mimic, (_MIMIC_TABLE,)),
    "padchest": Source(_padchest, _PADCHEST_TABLES),
    "vindr-cxr": Source(_vindr, (*_VINDR_TABLES["train"], *_VINDR_TABLES["test"])),
}
