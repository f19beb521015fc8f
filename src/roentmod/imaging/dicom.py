"""DICOM in: one grey picture of a registered domain, checked from its header before its pixels."""

from __future__ import annotations

import logging
import warnings
from typing import Any, BinaryIO

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

from roentmod.domain import Domain, registered
from roentmod.errors import InputError, UnreadableError, UnsuitableError
from roentmod.imaging.checks import check_size, line, single
from roentmod.imaging.grey_scale import grey_scale, set_window
from roentmod.radiograph import Radiograph

__all__ = ["missing_decoders", "read_dicom"]

log = logging.getLogger(__name__)
_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
_SIDEWAYS = ("LL", "RL", "LLO", "RLO")
# Of a slice, by the patient's axis that its normal is nearest to (PS3.3 C.7.6.2.1.1).
_PLANES = ("sagittal", "coronal", "axial")


def read_dicom(stream: BinaryIO, name: str) -> Radiograph:
    """Read one picture of a registered domain from the DICOM file `name`.

    Its Modality says which domain it is of; some modalities (for radiographs OT, SC or none) are
    taken too, as secondary captures often say so, unless another tag contradicts. View Position and
    View Code of radiographs must not be lateral or oblique; a slice must lie in a plane of its
    domain. Body Part Examined, where given, must name a part of it. One frame; grey of 8 to 16
    bits, or RGB whose three channels are equal (then grey). Palettes are refused. Bits beyond Bits
    Stored (old overlays) are cut off by pydicom. Spacing is Pixel Spacing, else Imager Pixel
    Spacing; one that is not positive counts as unknown. Where the domain has a window it replaces
    the file's own.

    Raises:
        UnreadableError: damaged, truncated, or in a transfer syntax that no decoder handles.
        UnsuitableError: not one grey picture of a registered domain.
    """
    # pydicom warns about values outside the standard; those that matter are checked below.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _read(stream, name)
        except InputError:
            raise
        except Exception as error:  # a damaged header can raise nearly anything in any accessor
            raise UnreadableError(
                f"A DICOM file must follow the standard; reading it gave '{line(error)}'. "
                "Export it again."
            ) from error


def _read(stream: BinaryIO, name: str) -> Radiograph:
    file = pydicom.dcmread(stream)
    file.buffer = None  # else a file from inside a tar would be kept whole, pixels and all
    domain = _domain(file)
    _check_pixels(file)
    stored = _decode(file)
    del file.PixelData
    file.SamplesPerPixel = 1
    if file.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        file.PhotometricInterpretation = "MONOCHROME2"
    if file.file_meta.TransferSyntaxUID in _LOSSY:
        file.LossyImageCompression = "01"
    if domain.window:
        _rewindow(file, domain, domain.window)
    grey = grey_scale(file, stored, little=file.original_encoding[1] is not False)
    if file.get("PresentationIntentType") == "FOR PROCESSING":
        log.warning("%s holds raw detector data (FOR PROCESSING), not a picture", name)
    return Radiograph(
        stored,
        grey,
        _spacing(file, name),
        int(file.BitsStored),
        name,
        synthetic=file.get("SyntheticData") == "YES",
        origin=file,
    )


def _domain(file: Dataset) -> Domain:
    """Return the domain of a file's picture; refuse what no registered one takes."""
    modality = str(file.get("Modality") or "").strip().upper()
    packs = registered()
    fitting = [p for p in packs if modality in (*p.modalities, *p.captures)]
    if not fitting:
        raise UnsuitableError(
            f"{'; '.join(map(_modalities, packs))}; got {modality}. Give a "
            f"{' or a '.join(pack.statement for pack in packs)}, or name this one's domain."
        )
    for pack in fitting[:-1]:
        try:
            _check_content(file, pack)
        except UnsuitableError:
            continue
        return pack
    _check_content(file, fitting[-1])
    return fitting[-1]


def _modalities(pack: Domain) -> str:
    others = ", ".join(code for code in pack.captures if code)
    known = f"{', '.join(pack.modalities)}" + (f" (or {others})" if others else "")
    return f"A {pack.statement} has Modality {known}"


def _check_content(file: Dataset, pack: Domain) -> None:
    """Refuse what cannot be a picture of the domain."""
    if "frontal" in pack.views:
        _check_projection(file)
    else:
        _check_plane(file, pack)
    part = str(file.get("BodyPartExamined") or "").strip().upper()
    if part and pack.body_parts and not any(known in part for known in pack.body_parts):
        raise UnsuitableError(
            f"The body part must name {', '.join(pack.body_parts)}; got '{line(part)}'. Give a "
            f"{pack.statement}."
        )


def _check_projection(file: Dataset) -> None:
    view = str(file.get("ViewPosition") or "").strip().upper()
    codes = file.get("ViewCodeSequence") or []
    names = [view, *(str(code.get("CodeMeaning") or "").upper() for code in codes)]
    # A decubitus view is frontal, although its name says which side the patient lies on.
    for name in names:
        if name in _SIDEWAYS or (("LAT" in name or "OBLI" in name) and "DECUB" not in name):
            raise UnsuitableError(
                f"The view must be frontal; got '{line(name)}'. Give the PA or AP picture."
            )


def _check_plane(file: Dataset, pack: Domain) -> None:
    cosines = file.get("ImageOrientationPatient")
    if cosines is None or len(cosines) != 6:
        return
    row, column = np.array(cosines, dtype=np.float64).reshape(2, 3)
    plane = _PLANES[int(np.argmax(np.abs(np.cross(row, column))))]
    if plane not in pack.views:
        raise UnsuitableError(
            f"A {pack.statement} is {' or '.join(pack.views)}; got a {plane} one. Give another."
        )


def _rewindow(file: Dataset, domain: Domain, window: tuple[float, float]) -> None:
    """Exchange the file's window for the domain's, which is in the values that rescaling gives."""
    lacks = [n for n in ("RescaleSlope", "RescaleIntercept") if file.get(n) is None]
    kind = str(file.get("RescaleType") or "")
    # CT is in HU unless it says that it is not (PS3.3 C.8.2.1).
    if lacks or (file.Modality == "CT" and kind not in ("", "HU")):
        raise UnsuitableError(
            f"A {domain.statement} is shown in its domain's window and needs the rescale that this "
            f"is in; got {'no ' + lacks[0] if lacks else kind}. Export the original."
        )
    set_window(file, *window)


def _check_pixels(file: FileDataset) -> None:
    """Refuse pixel formats, and sizes before anything is allocated for them."""
    if "PixelData" not in file:
        # Of a file cut short inside its pixels, nothing at all or all but the pixels remains.
        if not len(file) or "Rows" in file:
            raise UnreadableError("Pixel data must be whole; the file ends before. Copy it again.")
        raise UnsuitableError("The file must hold pixel data; got none. Give an image file.")
    check_size(int(file.get("Rows") or 0), int(file.get("Columns") or 0))
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
    except (KeyboardInterrupt, SystemExit):
        raise
    # Decoders are many and raise what they like; those in Rust panic past Exception.
    except BaseException as error:
        text = line(error)
        if "missing" in text and ("plugin" in text or "dependencies" in text):
            raise UnreadableError(
                f"A decoder for the transfer syntax {syntax.name} is needed; none is installed. "
                "Run: pip install 'pylibjpeg[all]' pyjpegls"
            ) from error
        raise UnreadableError(
            f"The pixel data must be whole; decoding {syntax.name} gave '{text}'. Copy the file "
            "again."
        ) from error
    return single(pixels) if pixels.ndim == 3 else np.ascontiguousarray(pixels)


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
