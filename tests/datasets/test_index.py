"""Indexes that are written: corrected ones, and those begun from headers."""

import errno
import os
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from roentmod import datasets
from roentmod.errors import DatasetError
from tests.datasets.conftest import picture

FACTS = {"patient_id": "p", "view": "PA", "age": "44,5", "sex": "f", "split": "train", "site": "s"}


def test_a_corrected_index_loads_as_what_it_was_written_from(plain, tmp_path):
    rows = [
        {**FACTS, "path": "1.png", "labels": "Edema, Mass?"},
        {**FACTS, "path": "2.png", "labels": "no effusion;COVID-19|Scar?", "age": ""},
        {**FACTS, "path": "3.png", "labels": "nan", "view": "?", "tier": "B_labels_conflict"},
        {**FACTS, "path": "4.png", "labels": "No Finding", "tier": "A"},
        {**FACTS, "path": "gone.png", "labels": "No Finding"},
    ]
    folder = plain(*rows)
    (folder / "gone.png").unlink()
    loaded = datasets.load(folder)
    assert datasets.write_index(loaded, tmp_path / "fixed.csv") == 4
    again = datasets.load(tmp_path / "fixed.csv")
    for column in (*loaded.table.columns,):
        one, other = (table[column].astype(str).tolist() for table in (loaded.table, again.table))
        assert one[:4] == other, column
    assert {problem.kind for problem in again.problems} == {
        "unknown views", "labels in conflict", "unknown labels", "pictures without labels",
    }  # fmt: skip
    with pytest.raises(DatasetError, match="not written over"):
        datasets.write_index(loaded, tmp_path / "fixed.csv")


@pytest.mark.parametrize("kind", ["nih", "chexpert"])
def test_published_sets_as_an_index(request, kind, tmp_path_factory):
    loaded = datasets.load(request.getfixturevalue(kind))
    out = tmp_path_factory.mktemp("out") / "index.csv"
    datasets.write_index(loaded, out)
    again = datasets.load(out)
    assert again.counts().equals(loaded.counts())
    assert again.table["path"].tolist() == loaded.table["path"].tolist()


def dicom(path, **facts):
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID = ComputedRadiographyImageStorage
    file.SOPInstanceUID = generate_uid()
    file.Modality, file.PatientID, file.PatientName = "CR", "Jane123", "Doe^Jane"
    file.Rows = file.Columns = 16
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    file.PixelData = np.arange(256, dtype=np.uint8).tobytes()
    for name, value in facts.items():
        setattr(file, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def test_an_index_is_begun_from_headers(tmp_path):
    dicom(tmp_path / "a/1", ViewPosition="PA", PatientSex="F", PatientAge="058Y")
    dicom(tmp_path / "a/2.dcm", ViewPosition="LL", PatientBirthDate="19500601",
          StudyDate="20200531")  # fmt: skip
    dicom(tmp_path / "b/3.dcm", PatientID="other", SeriesDescription="Thorax ap", Manufacturer="X")
    dicom(tmp_path / "c/ct.dcm", Modality="CT")
    dicom(tmp_path / "c/foot.dcm", BodyPartExamined="FOOT")
    (tmp_path / "c/broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\x08\0\x05\0CS\xff\xff")
    (tmp_path / "c/notes.txt").write_text("no picture")
    picture(tmp_path / "d/4.png")
    counts = datasets.begin_index(tmp_path, labels="No Finding")
    assert counts["pictures"] == 4
    assert counts["Modality CT"] == counts["body part FOOT"] == 1
    loaded = datasets.load(tmp_path)
    assert loaded.table["image_id"].tolist() == ["a/1", "a/2.dcm", "b/3.dcm", "d/4.png"]
    assert loaded.table["view"].tolist() == ["PA", "lateral", "AP", "unknown"]
    assert loaded.table["age"].tolist()[:2] == [58, 69]
    assert loaded.table["sex"].tolist() == ["F", "", "", ""]
    assert loaded.table["site"].tolist()[2] == "X"
    patients = loaded.table["patient_id"].tolist()
    assert patients[0] == patients[1] != patients[2]
    text = (tmp_path / "index.csv").read_text()
    assert "Jane" not in text
    assert "other" not in text
    assert len(datasets.baselines(loaded)) == 1
    with pytest.raises(DatasetError, match="not written over"):
        datasets.begin_index(tmp_path)


def test_what_pydicom_remarks_on_a_header_is_not_heard(tmp_path, caplog):
    dicom(tmp_path / "1.dcm", ViewPosition="PA")
    header = pydicom.dcmread(tmp_path / "1.dcm")
    del header.PatientID
    name = DataElement(0x0020000D, "UI", "Zebulon", validation_mode=pydicom.config.IGNORE)
    header[0x0020000D] = name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header.save_as(tmp_path / "1.dcm")
    caplog.clear()
    # A warning that is heard is an error here, and the file would be unreadable.
    assert datasets.begin_index(tmp_path, labels="Mass") == {"pictures": 1}
    assert "Zebulon" not in caplog.text


@pytest.mark.parametrize(
    ("facts", "view"),
    [
        ({"ViewPosition": "AP"}, "AP"),
        ({"StudyDescription": "CHEST PA AND LAT"}, ""),
        ({"StudyDescription": "CHEST PA"}, "PA"),
        ({"SeriesDescription": "Thorax lateral"}, "lateral"),
        ({"ProtocolName": "PACS default"}, ""),
        ({"PatientOrientation": ["L", "F"]}, "frontal"),
        ({"PatientOrientation": ["A", "F"]}, "lateral"),
        ({}, ""),
    ],
)
def test_views_in_headers(tmp_path, facts, view):
    dicom(tmp_path / "1.dcm", **facts)
    datasets.begin_index(tmp_path, labels="Mass")
    assert datasets.load(tmp_path).table["view"].tolist() == [view or "unknown"]


def test_patients_get_other_hashes_in_each_index(tmp_path):
    ids = []
    for name in ("one", "two"):
        dicom(tmp_path / name / "1.dcm", ViewPosition="PA")
        datasets.begin_index(tmp_path / name, labels="Mass")
        ids += datasets.load(tmp_path / name).table["patient_id"].tolist()
    assert ids[0] != ids[1]


def test_a_folder_without_pictures_is_refused(tmp_path):
    dicom(tmp_path / "ct.dcm", Modality="CT")
    with pytest.raises(DatasetError, match="Modality CT 1"):
        datasets.begin_index(tmp_path)
    with pytest.raises(DatasetError, match="is none"):
        datasets.begin_index(tmp_path / "absent")
    with pytest.raises(DatasetError, match="is a picture"):
        datasets.load(tmp_path / "ct.dcm")
    with pytest.raises(DatasetError, match=r"roentmod data .* --init"):
        datasets.load(tmp_path)


def test_what_systems_leave_beside_pictures_is_no_picture(tmp_path):
    for name in ("a.png", "b/c.jpg", "d.TIFF"):
        picture(tmp_path / name)
    for name in ("._a.png", "__MACOSX/._a.png", ".trash/e.png", "thumb.png", "f.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7" + bytes(200))
    dicom(tmp_path / "._g.dcm")
    assert datasets.begin_index(tmp_path, labels="Mass") == {"pictures": 3, "unreadable": 2}
    assert datasets.load(tmp_path).table["image_id"].tolist() == ["a.png", "b/c.jpg", "d.TIFF"]


def test_what_cannot_be_read_is_counted(tmp_path, monkeypatch):
    """Whoever runs this may be root, who may read all: reading a process's memory fails for him."""
    picture(tmp_path / "a.png")
    (tmp_path / "closed").mkdir()
    (tmp_path / "locked.png").symlink_to("/proc/self/mem")
    (tmp_path / "moved.png").symlink_to("elsewhere.png")
    scan = os.scandir

    def scandir(path):
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert datasets.begin_index(tmp_path, labels="Mass") == {"pictures": 1, "unreadable": 3}


def test_names_that_are_no_text_are_counted_or_refused(tmp_path):
    picture(tmp_path / "a.png")
    odd = tmp_path / os.fsdecode(b"r\xf6ntgen")
    picture(odd / "b.png")
    (odd / "notes.txt").write_text("no picture")
    counts = datasets.begin_index(tmp_path, labels="Mass")
    assert counts == {"pictures": 1, "name is no UTF-8": 1}
    # Nor is such a one found in place of a missing picture.
    (tmp_path / "index.csv").write_text("path,labels\na.png,Mass\nb.png,Mass\n")
    assert datasets.load(tmp_path).table["unfit"].tolist() == ["", "missing file"]
    for refused in (
        lambda: datasets.begin_index(odd),
        lambda: datasets.load(odd),
        lambda: datasets.load(tmp_path, images=odd),
    ):
        with pytest.raises(DatasetError, match=r"UTF-8; got '.*r.udcf6ntgen'"):
            refused()


@pytest.mark.parametrize("label", ["view", "patient_id", "tier", "Conflict", "Diagnosis", "marks"])
def test_a_label_named_as_a_column_of_facts_is_not_written(plain, tmp_path, label):
    loaded = datasets.load(plain({**FACTS, "path": "1.png", "labels": f"Mass|{label}?"}))
    with pytest.raises(DatasetError, match=f"label '{label}'"):
        datasets.write_index(loaded, tmp_path / "fixed.csv")
    assert not (tmp_path / "fixed.csv").exists()


def test_labels_that_only_resemble_columns_of_facts_are_written(plain, tmp_path):
    loaded = datasets.load(plain({**FACTS, "path": "1.png", "labels": "View?|gender|Old file"}))
    datasets.write_index(loaded, tmp_path / "fixed.csv")
    again = datasets.load(tmp_path / "fixed.csv")
    assert again.table["other_labels"].tolist() == ["View?|gender|Old file"]
    assert again.table.iloc[0][["view", "sex"]].tolist() == ["PA", "F"]
