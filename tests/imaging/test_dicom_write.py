import dataclasses
import hashlib
import json
import logging

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom import config
from pydicom.datadict import DicomDictionary, keyword_for_tag, repeater_has_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from roentmod import imaging

from .conftest import DX, EDIT, SAMPLES, dataset, facts_of, levels, validate
from .test_dicom import lut


@pytest.fixture
def edited(save, tmp_path):
    """Read a data set, write it as an edit's result; return baseline, path and data set."""

    def run(ds, **options):
        baseline = imaging.read(save(ds))
        target = tmp_path / "out.dcm"
        imaging.write(baseline, target, provenance=facts_of(baseline), **options)
        return baseline, target, pydicom.dcmread(target)

    return run


SOURCES = {
    "8 bits": {"stored": levels(8), "bits": 8},
    "12 bits, MONOCHROME1": {"bits": 12, "PhotometricInterpretation": "MONOCHROME1"},
    "16 bits, spacing": {"stored": levels(16), "bits": 16, "PixelSpacing": [0.15, 0.15]},
    "signed": {
        "stored": levels(12, signed=True),
        "bits": 12,
        "RescaleSlope": 1.5,
        "RescaleIntercept": -1000,
    },
    "signed 16, negative slope": {
        "stored": levels(16, signed=True),
        "bits": 16,
        "RescaleSlope": -0.37,
        "RescaleIntercept": 3.2,
    },
    "windows": {"WindowCenter": [1500, 2000], "WindowWidth": [2000, 400]},
    "sigmoid": {"WindowCenter": 1500, "WindowWidth": 700, "VOILUTFunction": "SIGMOID"},
    "LUTs": {
        "ModalityLUTSequence": [lut(np.arange(4096) * 16)],
        "VOILUTSequence": [lut(np.arange(64000), first=300)],
    },
    "full LUT": {"stored": levels(16), "bits": 16, "VOILUTSequence": [lut(np.arange(65536))]},
    "odd size": {"stored": levels(8, shape=(97, 81)), "bits": 8},
    "zero spacing": {"PixelSpacing": [0, 0]},
    "DX": DX,
    "DX, MONOCHROME1": DX
    | {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    "incomplete DX": DX | {"ImageLaterality": None},
    "unknown class": {"sop_class": generate_uid(entropy_srcs=["x"]), "Modality": "OT"},
}


@pytest.mark.parametrize("as_original", [True, False])
@pytest.mark.parametrize("name", SOURCES)
def test_a_round_trip_keeps_levels_and_pixels_and_passes_dciodvfy(edited, name, as_original):
    baseline, path, ds = edited(dataset(**SOURCES[name]), as_original=as_original)
    again = imaging.read(path)
    assert again.stored.dtype == baseline.stored.dtype
    assert np.array_equal(again.stored, baseline.stored)
    assert np.array_equal(again.pixels, baseline.pixels)
    assert again.bits == baseline.bits
    assert again.spacing_mm == baseline.spacing_mm
    assert ds.SyntheticData == "YES"
    assert validate(path) == []


def test_an_edit_that_widens_the_range_reads_back_the_same(edited, save, tmp_path):
    """Without a window the reader takes the picture's range; the file must hold the baseline's."""
    stored = levels(12).clip(500, 3000)
    baseline = imaging.read(save(dataset(stored)))
    pixels = np.clip(baseline.pixels, 0.3, 0.6)
    after = baseline.with_pixels(pixels)
    imaging.write(after, tmp_path / "o.dcm", provenance=facts_of(baseline))
    again = imaging.read(tmp_path / "o.dcm")
    assert np.array_equal(again.pixels, after.pixels)
    assert np.abs(again.pixels - pixels).max() <= 0.5 / 2500 + 1e-6


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_compressed_and_big_endian_sources(save, tmp_path, bits):
    ds = dataset(levels(bits), bits=bits, VOILUTSequence=[lut(np.arange(1 << bits))])
    plain = imaging.read(save(ds))
    ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    imaging.write(imaging.read(save(ds)), tmp_path / "o.dcm", provenance=facts_of(plain))
    assert np.array_equal(imaging.read(tmp_path / "o.dcm").pixels, plain.pixels)
    big = dataset(levels(bits), bits=bits)
    big.VOILUTSequence = [
        lut(np.arange(1 << bits), raw=np.arange(1 << bits, dtype=">u2").tobytes())
    ]
    big.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    if bits > 8:
        big.PixelData = levels(bits).astype(">u2").tobytes()
    baseline = imaging.read(save(big))
    assert np.array_equal(baseline.pixels, plain.pixels)
    imaging.write(baseline, tmp_path / "b.dcm", provenance=facts_of(plain))
    assert np.array_equal(imaging.read(tmp_path / "b.dcm").pixels, plain.pixels)


def test_a_real_radiograph(tmp_path):
    baseline = imaging.read(SAMPLES["RG1_UNCI.dcm"])
    for name, original in (("cr.dcm", True), ("sc.dcm", False)):
        path = tmp_path / name
        imaging.write(baseline, path, provenance=facts_of(baseline), as_original=original)
        again = imaging.read(path)
        assert np.array_equal(again.stored, baseline.stored)
        assert np.array_equal(again.pixels, baseline.pixels)
        ds = pydicom.dcmread(path)
        assert (ds.Rows, ds.Columns, ds.BitsStored) == (1955, 1841, 15)
        assert ds.PhotometricInterpretation == "MONOCHROME1"
        assert "PixelSpacing" not in ds
        # This source was compressed with loss once; the mark stays.
        assert ds.LossyImageCompression == "01"
        assert validate(path) == []


@pytest.mark.parametrize(("suffix", "mode"), [("png", "L"), ("png", "I;16"), ("jpg", "L")])
def test_pictures_become_secondary_captures(tmp_path, suffix, mode):
    source, path = tmp_path / f"a.{suffix}", tmp_path / "a.dcm"
    Image.fromarray(levels(8 if mode == "L" else 16)).save(source)
    baseline = imaging.read(source)
    imaging.write(baseline, path, provenance=facts_of(baseline))
    ds = pydicom.dcmread(path)
    assert ds.SOPClassUID == SecondaryCaptureImageStorage
    assert ("LossyImageCompression" in ds) == (suffix == "jpg")
    again = imaging.read(path)
    assert np.array_equal(again.stored, baseline.stored)
    assert np.array_equal(again.pixels, baseline.pixels)
    assert validate(path) == []


def test_float_and_min_is_white_tiffs_become_dicom(tmp_path):
    tifffile.imwrite(tmp_path / "w.tif", levels(8), photometric="miniswhite")
    tifffile.imwrite(tmp_path / "f.tif", (levels(16) / 65535).astype(np.float32))
    for name in ("w.tif", "f.tif"):
        baseline = imaging.read(tmp_path / name)
        imaging.write(baseline, tmp_path / "o.dcm", provenance=facts_of(baseline))
        again = imaging.read(tmp_path / "o.dcm")
        assert np.abs(again.pixels - baseline.pixels).max() < 1e-6
        assert validate(tmp_path / "o.dcm") == []


def test_the_class_follows_the_source(edited):
    assert edited(dataset())[2].SOPClassUID == ComputedRadiographyImageStorage
    assert edited(dataset(), as_original=False)[2].SOPClassUID == SecondaryCaptureImageStorage
    assert edited(dataset(**DX))[2].SOPClassUID == DX["sop_class"]
    incomplete = DX | {"ImageLaterality": None}
    assert edited(dataset(**incomplete))[2].SOPClassUID == SecondaryCaptureImageStorage


# What the file says about itself -----------------------------------------------------------------


def test_the_file_says_what_it_is(edited):
    baseline, _, ds = edited(dataset())
    assert list(ds.ImageType) == ["DERIVED", "SECONDARY"]
    assert ds.SyntheticData == "YES"
    assert ds.SeriesDescription.startswith("SYNTHETIC")
    assert "Not for clinical use" in ds.DerivationDescription
    assert "Pleural Effusion" in ds.DerivationDescription
    assert len(ds.DerivationDescription) <= 1024
    facts = json.loads(ds.ImageComments)
    assert facts["edit_id"] == EDIT.id
    assert facts["baseline_id"] == baseline.id
    assert facts["edit"]["strength"] == 0.4
    assert facts["model"]["editor"] == "mini"
    assert "seconds" not in facts["model"]
    assert ds.DerivationCodeSequence[0].CodingSchemeDesignator == "99ROENTMOD"
    source = ds.SourceImageSequence[0]
    assert source.ReferencedSOPClassUID == ComputedRadiographyImageStorage
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert ds.ContributingEquipmentSequence[0].Manufacturer == "RoentMod"
    assert ds.PatientIdentityRemoved == "YES"


def test_an_unedited_copy_is_not_called_synthetic(save, tmp_path):
    baseline = imaging.read(save(dataset()))
    imaging.write(baseline, tmp_path / "c.dcm", provenance=None)
    ds = pydicom.dcmread(tmp_path / "c.dcm")
    assert "SyntheticData" not in ds
    assert "SYNTHETIC" not in str(ds).upper().replace("SYNTHETIC DATA", "")
    assert validate(tmp_path / "c.dcm") == []


def test_the_same_command_gives_the_same_bytes(edited):
    digests = {hashlib.sha256(edited(dataset())[1].read_bytes()).hexdigest() for _ in range(2)}
    assert len(digests) == 1


def test_uids_are_new_and_tell_edits_arms_and_pictures_apart(save, tmp_path):
    source = dataset()
    baseline = imaging.read(save(source))
    other = baseline.with_pixels(baseline.pixels * np.float32(0.5))
    edits = (EDIT, EDIT.sham(), dataclasses.replace(EDIT, seed=9))
    seen = {source.SOPInstanceUID}
    for radiograph in (baseline, other):
        for edit in edits:
            imaging.write(radiograph, tmp_path / "o.dcm", provenance=facts_of(baseline, edit))
            ds = pydicom.dcmread(tmp_path / "o.dcm")
            assert ds.SOPInstanceUID not in seen
            assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
            assert ds.SeriesInstanceUID != source.SeriesInstanceUID
            seen.add(ds.SOPInstanceUID)


# Identity ----------------------------------------------------------------------------------------

TEXT = {"PN", "LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE", "CS"}
STRUCTURE = {
    *("PhotometricInterpretation", "Modality", "BodyPartExamined", "ViewPosition"),
    *("SpecificCharacterSet", "PresentationLUTShape", "VOILUTFunction"),
}


@pytest.fixture
def secrets():
    """Every text element of the standard's dictionary, dates, ages and private tags filled."""
    ds = dataset()
    for tag, (vr, *_, keyword) in DicomDictionary.items():
        group = tag >> 16
        skip = group < 0x0008 or group in (0xFFFE, 0x7FE0) or keyword in STRUCTURE
        if skip or not keyword or repeater_has_tag(tag) or keyword_for_tag(tag) != keyword:
            continue
        if vr in TEXT:
            ds.add(DataElement(tag, vr, "SECRET^NAME", validation_mode=config.IGNORE))
        elif vr == "DA":
            ds.add_new(tag, vr, "19770707")
        elif vr == "TM":
            ds.add_new(tag, vr, "070707.77")
        elif vr == "UI" and keyword not in ("SOPClassUID", "TransferSyntaxUID"):
            ds.add_new(tag, vr, "1.2.3.777.7")
    item = Dataset()
    item.PatientName = "SECRET^NAME"
    ds.RequestAttributesSequence = ds.ViewCodeSequence = ds.AnatomicRegionSequence = [item]
    look_up = lut(np.arange(4096))
    look_up.LUTExplanation = "SECRET^NAME"
    ds.VOILUTSequence = [look_up]
    block = ds.private_block(0x0099, "SECRET^NAME", create=True)
    block.add_new(1, "LO", "SECRET^NAME")
    ds.add_new(0x60003000, "OW", b"SECRET^NAME ")
    assert len(ds) > 1500
    return ds


@pytest.mark.parametrize("as_original", [True, False])
def test_nothing_that_names_the_patient_is_written(save, secrets, tmp_path, as_original):
    source = save(secrets, "SECRET^NAME.dcm")
    baseline = imaging.read(source)
    target = tmp_path / "out.dcm"
    facts = facts_of(baseline)
    imaging.write(baseline, target, provenance=facts, as_original=as_original)
    written = target.read_bytes()
    for secret in (b"SECRET", b"19770707", b"070707.77", b"1.2.3.777.7"):
        assert secret in source.read_bytes()
        assert secret not in written
    imaging.write(baseline, tmp_path / "out.png", provenance=facts)
    assert b"SECRET" not in (tmp_path / "out.png").read_bytes()
    assert validate(target) == []


@pytest.mark.parametrize(
    ("age", "kept"),
    [("089Y", "089Y"), ("090Y", "090Y"), ("101Y", "090Y"), ("004W", "004W"), (None, None)],
)
def test_ages_are_capped(edited, age, kept):
    assert edited(dataset(PatientAge=age))[2].get("PatientAge") == kept


def test_uids_are_replaced_and_one_study_stays_one(edited):
    source = dataset()
    _, path, first = edited(source)
    assert str(source.StudyInstanceUID).encode() not in path.read_bytes()
    assert str(source.SOPInstanceUID).encode() not in path.read_bytes()
    second = edited(dataset(SOPInstanceUID=generate_uid(entropy_srcs=["other"])))[2]
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.PatientID == second.PatientID != source.PatientID
    reference = [ds.SourceImageSequence[0].ReferencedSOPInstanceUID for ds in (first, second)]
    assert reference[0] != reference[1]


@pytest.mark.filterwarnings("ignore:.*VR UI")
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("uid", ["1.2.3.777.7", "SECRET^NAME", "1.2.3.SECRET", "1." * 40 + "1"])
def test_uids_that_are_none_and_classes_of_nobody_are_replaced(edited, uid, keep):
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
    source = dataset(sop_class=generate_uid())
    for name in (*names, "SOPClassUID"):
        element = DataElement(name, "UI", uid, validation_mode=config.IGNORE)
        source[name] = element
    _, path, ds = edited(source, keep_identity=keep)
    kept = keep and uid == "1.2.3.777.7"
    assert ds.SourceImageSequence[0].ReferencedSOPClassUID != uid
    assert (ds.StudyInstanceUID == uid) == kept
    assert (ds.SourceImageSequence[0].ReferencedSOPInstanceUID == uid) == kept
    assert (uid.encode() in path.read_bytes()) == kept
    written = [e.value for e in [*ds.iterall(), *ds.file_meta] if e.VR == "UI"]
    assert all(one.is_valid for one in written)


def test_identity_is_kept_on_request(edited):
    source = dataset(PatientBirthDate="19400305", PatientAge="095Y", StudyDate="20200102")
    _, path, ds = edited(source, keep_identity=True)
    assert ds.PatientName == "Doe^Jane"
    assert ds.PatientID == "4711"
    assert ds.PatientAge == "095Y"
    assert ds.StudyInstanceUID == source.StudyInstanceUID
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert ds.SOPInstanceUID != source.SOPInstanceUID
    assert ds.PatientIdentityRemoved == "NO"
    assert json.loads(ds.ImageComments)["source"] == "in.dcm"
    assert ds.SyntheticData == "YES"
    assert validate(path) == []


def test_names_in_other_scripts_survive(edited):
    source = dataset(PatientName="Müller^Jörg", SpecificCharacterSet="ISO_IR 100")
    assert edited(source, keep_identity=True)[2].PatientName == "Müller^Jörg"


def test_burned_in_text_is_not_called_removed(edited, caplog):
    caplog.set_level(logging.WARNING)
    ds = edited(dataset(BurnedInAnnotation="YES"))[2]
    assert (ds.BurnedInAnnotation, ds.PatientIdentityRemoved) == ("YES", "NO")
    assert "burned" in caplog.text


def test_a_damaged_number_is_left_out(edited, save, tmp_path):
    path = save(dataset(KVP="150"))
    data = path.read_bytes()
    assert data.count(b"150 ") == 1
    path.write_bytes(data.replace(b"150 ", b"Jane"))
    baseline = imaging.read(path)
    imaging.write(baseline, tmp_path / "o.dcm", provenance=facts_of(baseline))
    assert b"Jane" not in (tmp_path / "o.dcm").read_bytes().replace(b"Doe^Jane", b"")
