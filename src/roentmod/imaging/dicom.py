"""DICOM in: one frontal grey chest radiograph, checked from its header before its pixels."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from roentmod.errors import InputError, UnreadableError, UnsuitableError
from roentmod.imaging.levels import grey_scale
from roentmod.radiograph import MAX_SIDE, Radiograph

__all__ = ["MODALITIES", "REGIONS", "missing_decoders", "read_dicom"]

log = logging.getLogger(__name__)
MODALITIES = ("CR", "DX", "RG", "SC", "OT", "")
REGIONS = ("CHEST", "THORAX", "LUNG")
_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
_SIDEWAYS = ("LL", "RL", "LLO", "RLO")


def read_dicom(path: Path) -> Radiograph:
    """Read one frontal chest radiograph from a DICOM file.

    Accepted: Modality CR, DX or RG; OT, SC or none too, as secondary captures of radiographs often
    say so, unless another tag contradicts. View Position and View Code must not be lateral or
    oblique. Body Part Examined, where given, must name the chest. One frame; grey of 8 to 16 bits,
    or RGB whose three channels are equal (then grey). Palettes are refused. Bits beyond Bits Stored
    (old overlays) are cut off by pydicom. Spacing is Pixel Spacing, else Imager Pixel Spacing; one
    that is not positive counts as unknown.

    Raises:
        UnreadableError: damaged, truncated, or in a transfer syntax that no decoder handles.
        UnsuitableError: not one frontal grey chest radiograph.
    """
    # pydicom warns about values outside the standard; those that matter are checked below.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _read(path)
        except InputError:
            raise
        except Exception as error:  # a damaged header can raise nearly anything in any accessor
            raise UnreadableError(
                f"A DICOM file must follow the standard; reading it gave '{_line(error)}'. "
                "Export it again."
            ) from error


def _read(path: Path) -> Radiograph:
    file = pydicom.dcmread(path)
    _check_content(file)
    _check_pixels(file)
    stored = _decode(file)
    del file.PixelData
    file.SamplesPerPixel = 1
    if file.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        file.PhotometricInterpretation = "MONOCHROME2"
    if file.file_meta.TransferSyntaxUID in _LOSSY:
        file.LossyImageCompression = "01"
    grey = grey_scale(file, stored, little=file.original_encoding[1] is not False)
    if file.get("PresentationIntentType") == "FOR PROCESSING":
        log.warning("%s holds raw detector data (FOR PROCESSING), not a picture", path.name)
    return Radiograph(
        stored, grey, _spacing(file, path.name), int(file.BitsStored), path.name, origin=file
    )


def _check_content(file: Dataset) -> None:
    """Refuse what cannot be one frontal chest radiograph."""
    modality = str(file.get("Modality") or "").strip().upper()
    if modality not in MODALITIES:
        raise UnsuitableError(
            f"A radiograph has Modality CR, DX or RG (or OT, SC); got {modality}. "
            "Give a chest radiograph."
        )
    view = str(file.get("ViewPosition") or "").strip().upper()
    codes = file.get("ViewCodeSequence") or []
    names = [view, *(str(code.get("CodeMeaning") or "").upper() for code in codes)]
    # A decubitus view is frontal, although its name says which side the patient lies on.
    for name in names:
        if name in _SIDEWAYS or (("LAT" in name or "OBLI" in name) and "DECUB" not in name):
            raise UnsuitableError(
                f"The view must be frontal; got '{_line(name)}'. Give the PA or AP picture."
            )
    part = str(file.get("BodyPartExamined") or "").strip().upper()
    if part and not any(region in part for region in REGIONS):
        raise UnsuitableError(
            f"The body part must be the chest; got '{_line(part)}'. Give a chest radiograph."
        )


def _check_pixels(file: FileDataset) -> None:
    """Refuse pixel formats, and sizes before anything is allocated for them."""
    if "PixelData" not in file:
        # Of a file cut short inside its pixels, nothing at all or all but the pixels remains.
        if not len(file) or "Rows" in file:
            raise UnreadableError("Pixel data must be whole; the file ends before. Copy it again.")
        raise UnsuitableError("The file must hold pixel data; got none. Give an image file.")
    rows, columns = int(file.get("Rows") or 0), int(file.get("Columns") or 0)
    if not 0 < min(rows, columns) <= max(rows, columns) <= MAX_SIDE:
        raise UnsuitableError(
            f"A radiograph has 1 to {MAX_SIDE} pixels a side; the header says {rows} x {columns}. "
            "Give a smaller one."
        )
    frames = int(file.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnsuitableError(f"One frame is needed; got {frames}. Export one frame as a file.")
    colour = str(file.get("PhotometricInterpretation") or "")
    if int(file.get("SamplesPerPixel") or 1) not in (1, 3) or colour.startswith("PALETTE"):
        raise UnsuitableError(f"The picture must be grey; got {colour}. Export it as grey.")
    bits, allocated = int(file.BitsStored), int(file.BitsAllocated)
    if not (8 <= bits <= 16 and bits <= allocated and allocated in (8, 16)):
        raise UnsuitableError(
            f"Pixels must have 8 to 16 bits; got {bits} stored in {allocated}. Export them so."
        )
    if int(file.get("HighBit", bits - 1)) != bits - 1:
        raise UnsuitableError(
            f"High Bit must be Bits Stored - 1 = {bits - 1}; got {file.HighBit}. Export it again."
        )
    if "TransferSyntaxUID" not in file.file_meta:
        raise UnreadableError("The header must name a transfer syntax; got none. Export it again.")


def _decode(file: FileDataset) -> NDArray[np.integer]:
    syntax: UID = file.file_meta.TransferSyntaxUID
    try:
        pixels: NDArray[Any] = pixel_array(file)
    except Exception as error:  # decoders are many and raise what they like
        raise UnreadableError(_decoding_message(syntax, error)) from error
    if pixels.ndim == 3:
        if not (pixels == pixels[..., :1]).all():
            raise UnsuitableError(
                "The picture must be grey; got colour (its red, green and blue differ). "
                "Export it as grey."
            )
        pixels = pixels[..., 0]
    return np.ascontiguousarray(pixels)


def _decoding_message(syntax: UID, error: Exception) -> str:
    text = _line(error)
    if "missing" in text and ("plugin" in text or "dependencies" in text):
        return (
            f"A decoder for the transfer syntax {syntax.name} is needed; none is installed. "
            "Run: pip install 'pylibjpeg[all]' pyjpegls"
        )
    return (
        f"The pixel data must be whole; decoding {syntax.name} gave '{text}'. Copy the file again."
    )


def _spacing(file: Dataset, name: str) -> tuple[float, float] | None:
    """Return row and column spacing in mm, or None where it is not said or cannot be."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        value = file.get(keyword)
        if value is None or isinstance(value, (str, float)) or len(value) != 2:
            continue
        pair = float(value[0]), float(value[1])
        if min(pair) > 0 and np.isfinite(pair).all():
            return pair
        log.warning("%s: %s is %g\\%g, which is not positive: unknown", name, keyword, *pair)
    return None


def _line(error: object) -> str:
    """Return a message as one short line."""
    return " ".join(str(error).split())[:160]


def missing_decoders() -> list[str]:
    """Return the compressions that this installation cannot decode."""
    needed = {
        "JPEG": JPEGBaseline8Bit,
        "JPEG lossless": pydicom.uid.JPEGLosslessSV1,
        "JPEG-LS": pydicom.uid.JPEGLSLossless,
        "JPEG 2000": pydicom.uid.JPEG2000Lossless,
        "RLE": pydicom.uid.RLELossless,
    }
    return [name for name, uid in needed.items() if not get_decoder(uid).is_available]
