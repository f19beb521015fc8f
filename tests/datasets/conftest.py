"""Tiny data sets in the published layouts: the real columns, a few rows, small pictures."""

import csv
import gzip

import numpy as np
import pytest
from PIL import Image

CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,"
    "Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,"
    "Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def picture(path, seed=0):
    """Write a noise picture; a seed is a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def table(path, header, rows):
    """Write a CSV of rows of fields, compressed where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(",") if isinstance(header, str) else header)
        writer.writerows(rows)


def nih_row(name, labels, patient, age="50", sex="F", view="PA"):
    return [name, labels, "0", patient, age, sex, view, "2500", "2048", "0.168", "0.168"]


@pytest.fixture
def nih(tmp_path):
    rows = [
        nih_row("00000001_000.png", "No Finding", "1"),
        nih_row("00000001_001.png", "Cardiomegaly|Effusion", "1"),
        nih_row("00000002_000.png", "No Finding", "2", age="17"),
        nih_row("00000003_000.png", "Pleural_Thickening", "3", sex="M", view="AP"),
        nih_row("00000004_000.png", "No Finding", "4", age="414", sex="M"),
        nih_row("00000005_000.png", "No Finding", "5", age="058Y", view="AP"),
    ]
    table(tmp_path / "Data_Entry_2017_v2020.csv.gz", NIH, rows)
    for seed, row in enumerate(rows):
        picture(tmp_path / f"images_00{1 + seed % 2}" / "images" / row[0], seed)
    return tmp_path


@pytest.fixture
def chexpert(tmp_path):
    folder = tmp_path / "renamed"
    names = CHEXPERT.split(",")[5:]

    def row(path, sex="Female", age="60", side="Frontal", view="AP", **labels):
        states = {name.replace("_", " "): value for name, value in labels.items()}
        return [path, sex, age, side, view, *(states.get(name, "") for name in names)]

    root = "CheXpert-v1.0-small/"
    train = [
        row(root + "train/patient00001/study1/view1_frontal.jpg", No_Finding="1.0"),
        row(
            root + "train/patient00002/study1/view1_frontal.jpg",
            No_Finding="1.0",
            Support_Devices="1.0",
        ),
        row(
            root + "train/patient00002/study2/view1_frontal.jpg",
            sex="Unknown",
            Edema="-1.0",
            Pneumonia="1.0",
            Atelectasis="0.0",
            Fracture="1.0",
            Lung_Opacity="-1.0",
        ),
        row(
            root + "train/patient00002/study2/view2_lateral.jpg",
            side="Lateral",
            view="",
            Edema="-1.0",
        ),
        row(root + "train/patient00003/study1/view1_frontal.jpg", Lung_Lesion="1.0"),
        row(root + "train/patient00004/study1/view1_frontal.jpg", Lung_Lesion="0.0"),
    ]
    valid = [row(root + "valid/patient64541/study1/view1_frontal.jpg", view="PA", No_Finding="1.0")]
    table(folder / "train.csv", CHEXPERT, train)
    table(folder / "valid.csv", CHEXPERT, valid)
    for seed, one in enumerate([*train, *valid]):
        picture(folder / one[0].removeprefix(root), seed)
    return folder


@pytest.fixture
def mimic(tmp_path):
    metadata = (
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,"
        "StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
        "PatientOrientationCodeSequence_CodeMeaning"
    )
    labels = (
        "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,"
        "Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,"
        "Pleural Other,Pneumonia,Pneumothorax,Support Devices"
    )

    def row(picture_id, subject, study, view, date="21800506"):
        ends = ["213014.5", "CHEST (PA AND LAT)", "postero-anterior", "Erect"]
        return [picture_id, subject, study, "CHEST", view, "3056", "2544", date, *ends]

    rows = [
        row("02aa804e-bde0afdd", "10000032", "50414267", "PA"),
        row("174413ec-4ec4c1f7", "10000032", "50414267", "LATERAL"),
        row("2a2277a9-b0ded155", "11000041", "53189527", "AP"),
        row("e084de3b-be89b11e", "11000041", "53911762", ""),
    ]
    table(tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz", metadata, rows)
    blank = [""] * 14
    normal, ill = list(blank), list(blank)
    normal[8] = "1.0"
    ill[3], ill[9], ill[0] = "-1.0", "1.0", "0.0"
    studies = [["10000032", "50414267", *normal], ["11000041", "53189527", *ill]]
    table(tmp_path / "mimic-cxr-2.0.0-chexpert.csv.gz", labels, studies)
    splits = [[r[0], r[2], r[1], "train" if r[1] == "10000032" else "validate"] for r in rows]
    header = "dicom_id,study_id,subject_id,split"
    table(tmp_path / "mimic-cxr-2.0.0-split.csv.gz", header, splits)
    people = [["10000032", "F", "52", "2180", "2014 - 2016", ""]]
    header = "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod"
    table(tmp_path / "patients.csv.gz", header, people)
    return tmp_path


@pytest.fixture
def padchest(tmp_path):
    header = (
        ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,"
        "ViewPosition_DICOM,Projection,MethodProjection,Pediatric,Report,MethodLabel,Labels"
    )

    def row(name, patient, labels, projection="PA", born="1950.0", date="20150914"):
        middle = [name, "7", date, "st" + name, patient, born, "M", "POSTEROANTERIOR", projection]
        return ["1", *middle, "Manual review of DICOM fields", "No", "sin", "Physician", labels]

    rows = [
        row("a.png", "pa", "['normal']"),
        row("b.png", "pb", "['hydropneumothorax', 'laminar atelectasis', 'costophrenic angle']"),
        row("c.png", "pc", "['unchanged', 'normal']", projection="AP_horizontal"),
        row("d.png", "pd", "['normal']", projection="L"),
        row("e.png", "pe", "['exclude']", projection="EXCLUDE"),
        row("f.png", "pf", "", born=""),
        row("g.png", "pg", "['NSG tube', 'mediastinal mass']"),
    ]
    table(tmp_path / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", header, rows)
    return tmp_path


@pytest.fixture
def vindr(tmp_path):
    labels = ["Cardiomegaly", "Nodule/Mass", "Pulmonary fibrosis", "Other lesion", "No finding"]
    votes = {
        "clear": [[0, 0, 0, 0, 1]] * 3,
        "two": [[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]],
        "one": [[0, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]],
        "lump": [[0, 1, 0, 1, 0]] * 3,
    }
    rows = [[name, f"R{i}", *one] for name, some in votes.items() for i, one in enumerate(some)]
    table(tmp_path / "annotations/image_labels_train.csv", ["image_id", "rad_id", *labels], rows)
    table(
        tmp_path / "annotations/image_labels_test.csv",
        ["image_id", *labels],
        [["unseen", 1, 0, 0, 0, 0]],
    )
    return tmp_path


@pytest.fixture
def plain(tmp_path):
    """A folder with an index of the given rows (dicts) and their pictures."""

    def make(*rows, pictures=True):
        columns = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[row.get(key, "") for key in columns] for row in rows]
        table(tmp_path / "index.csv", columns, cells)
        for seed, row in enumerate(rows):
            if pictures:
                picture(tmp_path / row["path"], seed)
        return tmp_path

    return make
