"""DICOM out: a derived image that says it is synthetic, and by default names nobody.

Policy. The file is built from an allow-list, never by deleting from a copy of the source:

* Kept: sex, age (90 years and above as 090Y), projection, side, body part (in its domain's words),
  exposure numbers, orientation, spacing or aspect ratio, grey scale (rescale, window, LUTs), lossy
  compression; each only where its value is one that the standard defines, so that free text cannot
  pass in a coded field.
* Dropped: names, identifiers, dates and times, institutions, people, devices, comments and other
  free text, private tags, overlays, Pixel Padding Value (an edit may hit that level by chance).
* UIDs are replaced by hashes: the pictures of one study stay one study, and the Source Image
  Sequence names the hash of the source's UID. Who holds the source can compute the same hash.
  Patient ID is a hash of the study's UID, not of the source's Patient ID, which could be guessed.
  A class of the source that the standard does not have is replaced, too.
* With ``keep_identity`` the patient and study modules are carried over too, with their UIDs, but
  for what is no UID.
* Text burned into the pixels cannot be seen from the header. Where the source says there is some,
  the file says so, and does not claim that the identity was removed.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

import roentmod
from roentmod.domain import registered
from roentmod.imaging import provenance
from roentmod.imaging.checks import unheard
from roentmod.imaging.grey_scale import set_window
from roentmod.imaging.position import SPACINGS
from roentmod.radiograph import Radiograph

__all__ = ["encode_dicom"]

log = logging.getLogger(__name__)
_DIGITAL = (DigitalXRayImageStorageForPresentation, DigitalXRayImageStorageForProcessing)
_DX_NEEDS = (
    "PresentationIntentType", "PixelIntensityRelationship", "PixelIntensityRelationshipSign",
    "RescaleSlope", "RescaleIntercept", "PresentationLUTShape", "BurnedInAnnotation",
    "ImageLaterality", "ImagerPixelSpacing",
)  # fmt: skip
# No code of CID 7203 (image derivation) means "edited by a generator", so the scheme is ours.
_DERIVATION = ("SYNTH-EDIT", "99ROENTMOD", "Finding edited by a generative model")
_SOURCE_PURPOSE = ("121322", "DCM", "Source image for image processing operation")
_EQUIPMENT_PURPOSE = ("109100", "DCM", "Synthesizing Equipment")
_METHOD = "RoentMod: allow-list of tags, UIDs replaced by hashes"

# Type 2 attributes: they must be there, and may be empty.
_EMPTY = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientBirthDate",
    "PatientSex", "StudyID", "PatientOrientation", "ViewPosition",
)  # fmt: skip
_CODED = {
    "PatientSex": ("F", "M", "O"),
    "ViewPosition": ("AP", "PA", "LLD", "RLD"),
    "ImageLaterality": ("L", "R", "U", "B"),
    "PresentationIntentType": ("FOR PRESENTATION", "FOR PROCESSING"),
    "PixelIntensityRelationship": ("LIN", "LOG", "DISP"),
    "PresentationLUTShape": ("IDENTITY", "INVERSE"),
    "RescaleType": ("OD", "HU", "US"),
    "VOILUTFunction": ("LINEAR", "LINEAR_EXACT", "SIGMOID"),
    "BurnedInAnnotation": ("YES", "NO"),
    "PixelSpacingCalibrationType": ("GEOMETRY", "FIDUCIAL"),
    "LossyImageCompression": ("00", "01"),
    "LossyImageCompressionMethod": ("ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15"),
}
_NUMBERS = (
    "KVP", "DistanceSourceToDetector", "DistanceSourceToPatient", "ExposureTime",
    "XRayTubeCurrent", "Exposure", "ExposureInuAs", "EstimatedRadiographicMagnificationFactor",
    "PixelIntensityRelationshipSign", "RescaleSlope", "RescaleIntercept", "WindowCenter",
    "WindowWidth", "LossyImageCompressionRatio",
)  # fmt: skip
_IDENTITY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientAge", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "StudyDescription",
)  # fmt: skip


def encode_dicom(
    radiograph: Radiograph,
    *,
    facts: Mapping[str, Any] | None,
    keep_identity: bool = False,
    as_original: bool = True,
) -> bytes:
    """Return explicit little-endian DICOM with the source's own rows, columns, bits and levels.

    The same input gives the same bytes: there are no times, and UIDs are hashes of source, edit,
    arm and content.

    Args:
        radiograph: what to write.
        facts: what `provenance.describe` returned; None for an unedited copy.
        keep_identity: see the policy above.
        as_original: keep the class of a CR or (complete) DX source; else secondary capture.
    """
    source = radiograph.origin if isinstance(radiograph.origin, Dataset) else Dataset()
    # Values outside the standard in the source are read here, and dropped or kept.
    with unheard():
        data = _identify(radiograph, source, facts, keep_identity)
        _classify(data, source, as_original)
        _describe(data, source, facts)
        if keep_identity:
            for name in _IDENTITY:
                if source.get(name) not in (None, ""):
                    data[name] = source[name]
        _set_picture(data, source, radiograph)
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.ImplementationClassUID = _hashed("implementation")
        data.file_meta.ImplementationVersionName = f"ROENTMOD_{roentmod.__version__}"[:16]
        file = io.BytesIO()
        data.save_as(file, enforce_file_format=True)
        return file.getvalue()


def _identify(
    radiograph: Radiograph, source: Dataset, facts: Mapping[str, Any] | None, keep: bool
) -> Dataset:
    """Return a data set with its UIDs, the source reference and the (empty) patient and study."""
    facts = facts or {}
    root = str(source.get("SOPInstanceUID") or facts.get("baseline_id") or radiograph.id)
    edit = [str(facts.get(key, "copy")) for key in ("edit_id", "arm")]
    study = str(source.get("StudyInstanceUID") or root)
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPInstanceUID = _hashed("instance", root, *edit, radiograph.id)
    data.SeriesInstanceUID = _hashed("series", root, *edit)
    data.StudyInstanceUID = _uid("study", study, keep)
    for name in _EMPTY:
        setattr(data, name, None)
    data.PatientName = None if keep else "Anonymous"
    data.PatientID = None if keep else _hashed("patient", study)[-16:]
    _keep(source, data)
    burned = source.get("BurnedInAnnotation") == "YES"
    data.PatientIdentityRemoved = "NO" if keep or burned else "YES"
    if not keep:
        data.DeidentificationMethod = _METHOD
    if source.get("SOPClassUID") and source.get("SOPInstanceUID"):
        item = _item(
            ReferencedSOPClassUID=_class(source.SOPClassUID),
            ReferencedSOPInstanceUID=_uid("source", root, keep),
            PurposeOfReferenceCodeSequence=[_code(*_SOURCE_PURPOSE)],
        )
        data.SourceImageSequence = [item]
    return data


def _classify(data: Dataset, source: Dataset, as_original: bool) -> None:
    """Choose the SOP class, and add what that class requires."""
    kind = source.get("SOPClassUID")
    data.Modality = source.get("Modality") or "OT"
    if as_original and kind == ComputedRadiographyImageStorage:
        data.SOPClassUID = kind
        data.ImageType = ["DERIVED", "SECONDARY"]
        return
    lacking = [name for name in _DX_NEEDS if data.get(name) in (None, "")]
    if as_original and kind in _DIGITAL and not lacking:
        data.SOPClassUID = kind
        # The class allows only PRIMARY here, and an empty third value.
        data.ImageType = ["DERIVED", "PRIMARY", ""]
        # It requires these, and lets them be empty or at their default.
        data.DetectorType = data.PositionerType = None
        data.AnatomicRegionSequence = [_code("51185008", "SCT", "Chest")]
        data.AcquisitionContextSequence = []
        if "LossyImageCompression" not in data:
            data.LossyImageCompression = "00"
        return
    if as_original and kind in _DIGITAL:
        log.warning("written as secondary capture: the source lacks %s", ", ".join(lacking))
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.ConversionType = "WSD"


def _describe(data: Dataset, source: Dataset, facts: Mapping[str, Any] | None) -> None:
    """Add what made the picture, and that it is synthetic."""
    version = f"roentmod {roentmod.__version__}"
    data.Manufacturer = data.ManufacturerModelName = "RoentMod"
    data.SoftwareVersions = version
    data.SeriesNumber = data.InstanceNumber = 1
    if facts is None:
        data.DerivationDescription = f"Unedited copy by {version}."
        return
    data.SyntheticData = "YES"
    data.SeriesDescription = provenance.title(facts)
    data.DerivationDescription = provenance.summary(facts)
    data.DerivationCodeSequence = [_code(*_DERIVATION)]
    data.ImageComments = provenance.as_json(facts)[:10240]
    equipment = _item(
        PurposeOfReferenceCodeSequence=[_code(*_EQUIPMENT_PURPOSE)],
        Manufacturer="RoentMod",
        ManufacturerModelName=str(facts.get("model", {}).get("editor", "RoentMod"))[:64],
        SoftwareVersions=version,
        ContributionDescription=provenance.STATEMENT,
    )
    data.ContributingEquipmentSequence = [equipment]


def _set_picture(data: Dataset, source: Dataset, radiograph: Radiograph) -> None:
    stored = radiograph.native
    signed = bool(source.get("PixelRepresentation", 0))
    allocated = int(source.get("BitsAllocated") or (8 if radiograph.bits <= 8 else 16))
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = source.get("PhotometricInterpretation", "MONOCHROME2")
    data.Rows, data.Columns = stored.shape
    data.BitsAllocated, data.BitsStored = allocated, radiograph.bits
    data.HighBit = radiograph.bits - 1
    data.PixelRepresentation = int(signed)
    if not source:
        rising = radiograph.grey.table[-1] > radiograph.grey.table[0]
        data.PhotometricInterpretation = "MONOCHROME2" if rising else "MONOCHROME1"
        set_window(data, 0, (1 << radiograph.bits) - 1)
        if radiograph.origin == "JPEG":
            data.LossyImageCompression = "01"
            data.LossyImageCompressionMethod = "ISO_10918_1"
        if radiograph.frame.aspect != 1:
            ratio = Fraction(radiograph.frame.aspect).limit_denominator(1000)
            data.PixelAspectRatio = [ratio.numerator, ratio.denominator]
    levels = stored.astype(f"<{'i' if signed else 'u'}{allocated // 8}")
    raw = levels.tobytes()
    data.add_new("PixelData", "OB" if allocated == 8 else "OW", raw + b"\0" * (len(raw) % 2))


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _uid(kind: str, uid: str, keep: bool) -> str:
    return uid if keep and UID(uid).is_valid else _hashed(kind, uid)


def _class(uid: UID) -> str:
    """Return a class of the standard as it is, and a hash of any other text."""
    return str(uid) if UID(str(uid)).type == "SOP Class" else _hashed("class", str(uid))


def _hashed(*parts: str) -> str:
    return str(generate_uid(entropy_srcs=["roentmod", *parts]))


def _body_part(source: Dataset) -> str | None:
    """Return the part that the domain of the source's modality is of: the chest, if in doubt."""
    modality, part = source.get("Modality"), str(source.get("BodyPartExamined") or "").upper()
    pack = next((p for p in registered() if modality in p.modalities), None)
    if pack is None or pack.anatomy == "chest":
        return "CHEST"
    return next((known for known in pack.body_parts if known in part), None)


def _keep(source: Dataset, data: Dataset) -> None:
    """Copy into `data` what identifies nobody and has a value that the standard defines."""
    for name, choices in _CODED.items():
        if source.get(name) in choices:
            setattr(data, name, source.get(name))
    for name in (*_NUMBERS, *SPACINGS, "PixelAspectRatio"):
        _copy_numbers(source, data, name)
    if any(name in data for name in SPACINGS):
        data.pop("PixelAspectRatio", None)
    if "PixelSpacing" not in data:
        data.pop("PixelSpacingCalibrationType", None)
    elif "PixelSpacingCalibrationType" in data:
        data.PixelSpacingCalibrationDescription = "As in the source image"
    data.BodyPartExamined = _body_part(source)
    orientation = source.get("PatientOrientation")
    parts = [orientation] if isinstance(orientation, str) else list(orientation or ())
    if len(parts) == 2 and all(re.fullmatch("[APRLHF]{1,3}", str(part)) for part in parts):
        data.PatientOrientation = parts
    if re.fullmatch(r"\d{3}[DWMY]", age := str(source.get("PatientAge") or "")):
        # 90 and over as 90 (US HIPAA safe harbour, 45 CFR 164.514).
        data.PatientAge = "090Y" if age.endswith("Y") and int(age[:3]) > 89 else age
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        if source.get(name):
            data[name] = source[name]  # the reader left only numbers in it
    _complete_rescale(data)


def _copy_numbers(source: Dataset, data: Dataset, name: str) -> None:
    try:
        value = source.get(name)
        if value is None or value == "":
            return
        numbers = np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError):
        log.warning("%s is not a number and was left out", name)
        return
    if not np.isfinite(numbers).all() or (
        numbers.ndim and (numbers <= 0).any() and name not in _NUMBERS
    ):
        return
    setattr(data, name, value)


def _complete_rescale(data: Dataset) -> None:
    """Make slope, intercept and type stand together, or none where a LUT takes their place."""
    names = ("RescaleSlope", "RescaleIntercept", "RescaleType")
    if "ModalityLUTSequence" in data:
        for name in names:
            data.pop(name, None)
    elif "RescaleSlope" in data or "RescaleIntercept" in data:
        for name, usual in zip(names, (1, 0, "US"), strict=True):
            if name not in data:
                setattr(data, name, usual)
