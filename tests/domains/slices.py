"""Procedural axial CT slices in HU, an editor that draws findings into them, and their readers."""

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from roentmod.interfaces import Counterfactual

SIDE, SIZE = 128, 64
FINDINGS = ("Liver Lesion", "Ascites")
# Lowest and highest HU of the pack's window, centre 40 and width 400.
LOW, HIGH = -160, 240
AIR, FAT, TISSUE, LIVER, LESION, FLUID, BONE = -1000, -100, 45, 60, 0, 10, 400
LIVER_AT, LESION_AT, FLANK_AT, SPINE_AT = (0.45, 0.34), (0.45, 0.32), (0.55, 0.85), (0.76, 0.5)


def ellipse(side, centre, radii):
    rows, columns = np.mgrid[:side, :side] / side
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < 1


def slice_hu(seed, added=()):
    """One slice, SIDE x SIDE in HU; the patient's right is on the left, as always."""
    rng = np.random.default_rng(seed)
    hu = np.full((SIDE, SIDE), AIR, np.float64)
    girth = rng.uniform(0.4, 0.43)
    hu[ellipse(SIDE, (0.5, 0.5), (0.38, girth))] = FAT
    hu[ellipse(SIDE, (0.5, 0.5), (0.33, girth - 0.08))] = TISSUE
    hu[ellipse(SIDE, LIVER_AT, (0.2, rng.uniform(0.15, 0.17)))] = LIVER + rng.normal(0, 4)
    hu[ellipse(SIDE, SPINE_AT, (0.06, 0.06))] = BONE
    if "Liver Lesion" in added:
        hu[ellipse(SIDE, LESION_AT, (0.06, 0.06))] = LESION
    if "Ascites" in added:
        hu[ellipse(SIDE, FLANK_AT, (0.12, 0.04))] = FLUID
    return np.rint(hu + rng.normal(0, 5, hu.shape))


def windowed(hu):
    return np.clip((hu - LOW) / (HIGH - LOW), 0, 1)


def write_folder(folder, count):
    """Write slices without a finding as PNG, shown in the pack's window, with one CSV."""
    folder.mkdir()
    lines = ["path,labels,patient_id,age,sex,view"]
    for seed in range(count):
        Image.fromarray(np.rint(windowed(slice_hu(seed)) * 255).astype(np.uint8)).save(
            folder / f"{seed}.png"
        )
        lines.append(f"{seed}.png,No Finding,p{seed},{40 + seed},{'FM'[seed % 2]},axial")
    Image.fromarray(np.full((SIDE, SIDE), 9, np.uint8)).save(folder / "ill.png")
    lines.append("ill.png,hepatic lesion|Ascites,ill,50,F,coronal")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_dicom(path, hu, **tags):
    """Write a slice as CT, in a lung window that shows nothing of the liver."""
    ds = pydicom.Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = (
        generate_uid(entropy_srcs=["slice", part]) for part in "abc"
    )
    ds.Modality, ds.BodyPartExamined, ds.PatientID = "CT", "ABDOMEN", "4711"
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [3.0, 3.0]
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
    ds.WindowCenter, ds.WindowWidth = -600, 1500
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = hu.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    for name, value in tags.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    ds.PixelData = (hu + 1024).astype("<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    return path


class Draughtsman:
    """Draws the same slice with the finding; knows a slice by its file's name."""

    name = "draughtsman"

    def edit(self, radiographs, edits, *, masks=None, progress=None):
        return [self._one(r, edit) for r in radiographs for edit in edits]

    def _one(self, baseline, edit):
        seed = int(baseline.source.removesuffix(".png"))
        change = windowed(slice_hu(seed, edit.findings)) - windowed(slice_hu(seed))
        image = baseline.with_pixels(np.clip(baseline.pixels + change, 0, 1).astype(np.float32))
        difference = image.pixels - baseline.pixels
        return Counterfactual(
            baseline, edit, "ok", image, baseline, difference, difference != 0, {"editor": "d"}
        )


def evidence(images):
    """Logit of lesion and of ascites in n x SIZE x SIZE slices, n x 2."""
    means = [
        images[:, ellipse(SIZE, place, radii)].mean(axis=1)
        for place, radii in ((LESION_AT, (0.04, 0.04)), (FLANK_AT, (0.08, 0.03)))
    ]
    lesion, fluid = (np.asarray(mean, np.float64) for mean in means)
    return np.stack([(0.47 - lesion) * 50, (fluid - 0.28) * 30], axis=1)


def _card(name):
    return {
        "labels": list(FINDINGS),
        "size": SIZE,
        "range": [0, 1],
        "channels": 1,
        "outputs": "logits",
        "name": name,
    }


def judge(batch):
    return 1.3 * evidence(np.asarray(batch)[:, 0])


def honest(batch):
    return evidence(np.asarray(batch)[:, 0])


def shortcut(batch):
    """Takes ascites for a sign of liver lesions."""
    return evidence(np.asarray(batch)[:, 0]) @ np.array([[1, 0], [0.7, 1]])


for reader in (judge, honest, shortcut):
    reader.card = _card(reader.__name__)
