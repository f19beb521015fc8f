"""What an output DICOM file takes over from its source: an allow-list, checked value by value."""

from __future__ import annotations

import logging
import re

import numpy as np
from pydicom.dataset import Dataset

from roentmod.domain import registered

__all__ = ["EMPTY", "digital", "facts", "identity"]

log = logging.getLogger(__name__)

# Type 2 attributes: they must be there, and may be empty.
EMPTY = (
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
    "LossyImageCompression": ("00", "01"),
}
_NUMBERS = (
    "KVP", "DistanceSourceToDetector", "DistanceSourceToPatient", "ExposureTime",
    "XRayTubeCurrent", "Exposure", "ExposureInuAs", "EstimatedRadiographicMagnificationFactor",
    "PixelIntensityRelationshipSign", "RescaleSlope", "RescaleIntercept", "WindowCenter",
    "WindowWidth", "LossyImageCompressionRatio",
)  # fmt: skip
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")
_METHODS = ("ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15")
_IDENTITY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientAge", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "StudyDescription",
)  # fmt: skip


def _body_part(source: Dataset) -> str | None:
    """Return the part that the domain of the source's modality is of: the chest, if in doubt."""
    modality, part = source.get("Modality"), str(source.get("BodyPartExamined") or "").upper()
    pack = next((p for p in registered() if modality in p.modalities), None)
    if pack is None or pack.anatomy == "chest":
        return "CHEST"
    return next((known for known in pack.body_parts if known in part), None)


def facts(source: Dataset, data: Dataset) -> None:
    """Copy into `data` what identifies nobody and has a value that the standard defines."""
    for name, choices in _CODED.items():
        if source.get(name) in choices:
            setattr(data, name, source.get(name))
    for name in (*_NUMBERS, *_SPACINGS):
        _copy_numbers(source, data, name)
    data.BodyPartExamined = _body_part(source)
    orientation = source.get("PatientOrientation")
    parts = [orientation] if isinstance(orientation, str) else list(orientation or ())
    if len(parts) == 2 and all(re.fullmatch("[APRLHF]{1,3}", str(part)) for part in parts):
        data.PatientOrientation = parts
    if source.get("LossyImageCompressionMethod") in _METHODS:
        data.LossyImageCompressionMethod = source.LossyImageCompressionMethod
    if age := _age(source.get("PatientAge")):
        data.PatientAge = age
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        if source.get(name):
            data[name] = source[name]  # the reader left only numbers in it
    _complete_rescale(data)


def identity(source: Dataset, data: Dataset) -> None:
    """Copy the patient's and the study's identity into `data`."""
    for name in _IDENTITY:
        if source.get(name) not in (None, ""):
            data[name] = source[name]


def digital(data: Dataset) -> None:
    """Add what a digital X-ray requires and may leave empty or at its default."""
    data.DetectorType = data.PositionerType = None
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator = "51185008", "SCT"
    region.CodeMeaning = "Chest"
    data.AnatomicRegionSequence = [region]
    if "LossyImageCompression" not in data:
        data.LossyImageCompression = "00"
    data.AcquisitionContextSequence = []


def _copy_numbers(source: Dataset, data: Dataset, name: str) -> None:
    try:
        value = source.get(name)
        if value is None or value == "":
            return
        numbers = np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError):
        log.warning("%s is not a number and was left out", name)
        return
    if not np.isfinite(numbers).all() or (name in _SPACINGS and (numbers <= 0).any()):
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


def _age(age: object) -> str:
    """Return a DICOM age, 90 and over as 90 (US HIPAA safe harbour, 45 CFR 164.514)."""
    text = str(age or "")
    if not re.fullmatch(r"\d{3}[DWMY]", text):
        return ""
    return "090Y" if text.endswith("Y") and int(text[:3]) > 89 else text
