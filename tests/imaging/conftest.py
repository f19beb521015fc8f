"""Small synthetic radiographs as DICOM data sets, with everything a test may want to change."""

import shutil
import subprocess
from pathlib import Path

import data_store
import numpy as np
import pydicom.data
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

from roentmod.edits import Edit
from roentmod.imaging import provenance

# Files on disk only: pydicom's own finder would try to download what neither package holds.
SAMPLES = {
    path.name: path
    for package, folder in ((pydicom.data, "test_files"), (data_store, "data"))
    for path in sorted(Path(package.__file__).parent.joinpath(folder).glob("*.dcm"))
}


def levels(bits=12, *, signed=False, shape=(96, 80), seed=0):
    """Smooth levels with some noise that use most of the range, corners included."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    wave = 0.5 + 0.3 * np.sin(y / 17) + 0.15 * np.cos(x / 11) + rng.normal(0, 0.01, shape)
    top = (1 << bits) - 1
    values = np.clip(np.rint(wave * top), 0, top).astype(np.int64)
    values[0, 0], values[-1, -1] = 0, top
    if signed:
        values -= 1 << (bits - 1)
    wide = 8 if bits <= 8 else 16
    return values.astype(f"{'i' if signed else 'u'}{wide // 8}")


def dataset(stored=None, *, bits=12, sop_class=ComputedRadiographyImageStorage, **tags):
    """A complete CR (or DX) data set of `stored` levels; `tags` replace or add, None deletes."""
    stored = levels(bits) if stored is None else stored
    ds = Dataset()
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = generate_uid(entropy_srcs=["test", "instance"])
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["test", "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["test", "series"])
    ds.Modality = "CR"
    ds.PatientName, ds.PatientID = "Doe^Jane", "4711"
    ds.BodyPartExamined, ds.ViewPosition = "CHEST", "PA"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[:2]
    ds.BitsAllocated = 8 * stored.dtype.itemsize
    ds.BitsStored, ds.HighBit = bits, bits - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    for name, value in tags.items():
        if value is None:
            ds.pop(name, None)
        else:
            setattr(ds, name, value)
    ds.add_new("PixelData", "OB" if stored.dtype.itemsize == 1 else "OW", stored.tobytes())
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


DX = {
    "sop_class": DigitalXRayImageStorageForPresentation,
    "Modality": "DX",
    "PresentationIntentType": "FOR PRESENTATION",
    "PixelIntensityRelationship": "LOG",
    "PixelIntensityRelationshipSign": -1,
    "RescaleSlope": 1,
    "RescaleIntercept": 0,
    "RescaleType": "US",
    "PresentationLUTShape": "IDENTITY",
    "BurnedInAnnotation": "NO",
    "ImageLaterality": "U",
    "ImagerPixelSpacing": [0.14, 0.14],
    "PatientOrientation": ["L", "F"],
    "WindowCenter": 2048,
    "WindowWidth": 4096,
}


@pytest.fixture
def save(tmp_path):
    """Save a data set as a DICOM file and return its path."""

    def write(ds, name="in.dcm"):
        ds.save_as(tmp_path / name, enforce_file_format=True)
        return tmp_path / name

    return write


EDIT = Edit(("Pleural Effusion",), side="left", seed=3)


def facts_of(radiograph, edit=EDIT):
    model = {"editor": "mini", "prompt": "left pleural effusion", "seconds": 1.23}
    return provenance.describe(radiograph, edit, model)


def validate(path):
    """Return the errors that dciodvfy finds.

    Synthetic Data (0008,001C) is younger than the dicom3tools of 2022 that Debian ships, which
    calls every attribute it does not know an error; that one line is left out.
    """
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy (Debian: dicom3tools) is not installed")
    run = subprocess.run(
        ["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False
    )
    lines = (run.stdout + run.stderr).splitlines()
    return [
        line
        for line in lines
        if line.startswith("Error")
        and "</(0008,001c)> - Attribute with an even group number is not a recog" not in line
    ]
