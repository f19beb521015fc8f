"""DICOM in: one grey picture of a registered domain, checked from its header before its pixels."""

from __future__ import annotations

import logging
import re
from typing import Any, BinaryIO, Literal, NoReturn

import numpy as np
import pydicom.uid
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from roentmod.domain import Domain, registered
from roentmod.errors import InputError, UnreadableError, UnsuitableError
from roentmod.imaging.checks import check_expansion, check_size, line, single, unheard
from roentmod.imaging.codestream import stream_size
from roentmod.imaging.grey_scale import check_shown, grey_scale, set_window
from roentmod.imaging.headers import read_header
from roentmod.imaging.position import (
    SPACINGS,
    dicom_frame,
    directions,
    pixel_aspect,
    plane,
    spacing,
)
from roentmod.radiograph import Radiograph, View

__all__ = ["missing_decoders", "read_dicom"]

log = logging.getLogger(__name__)
_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
_BURNED_IN: dict[str, Literal["yes", "no"]] = {"YES": "yes", "NO": "no"}
_VIEWS: dict[str, View] = {"PA": "PA", "AP": "AP"}
# Lossy compression may leave the range of levels by this part of it.
_OVERSHOOT = 16
_SIDEWAYS = ("LL", "RL", "LLO", "RLO")
# What names the projection where View Position does not, and how it says so in a few languages.
_DESCRIPTIONS = (
    "SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription",
    "PerformedProcedureStepDescription", "StudyDescription",
)  # fmt: skip
_LATERAL = re.compile(r"\b(LAT|LATERAL|LATERALE|PROFIL|PERFIL|SEITLICH)\b")
_FRONTAL = re.compile(r"\b(AP|PA|FRONTAL|FRONTALE|DECUB\w*|[2-4] ?VIEWS?|TWO VIEWS?)\b")
# Required of every picture (PS3.3 C.7.6.3).
_NEEDED = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "PixelRepresentation",
)  # fmt: skip
# Read below or by the modules that share the work.
_NUMBERS = (
    *_NEEDED[2:], *SPACINGS, "NumberOfFrames", "HighBit", "PixelAspectRatio",
    "ImageOrientationPatient", "PixelPaddingValue", "PixelPaddingRangeLimit", "WindowCenter",
    "WindowWidth", "RescaleSlope", "RescaleIntercept",
)  # fmt: skip


def read_dicom(stream: BinaryIO, name: str) -> Radiograph:
    """Read one picture of a registered domain from the DICOM file `name`.

    Its Modality says which domain it is of; some modalities (for radiographs OT, SC or none) are
    taken too, as secondary captures often say so, unless another tag contradicts. A radiograph is
    frontal by View Position, View Code, orientation and descriptions; a slice lies in a plane of
    its domain. Body Part Examined, where given, must name a part of it. One frame; grey of 8 to 16
    bits, or RGB whose three channels are equal (then grey). Palettes are refused. Bits beyond Bits
    Stored (old overlays) are cut off by pydicom. The picture is turned upright and its pixels made
    square by what `position` reads. Where the domain has a window it replaces the file's own.

    Raises:
        UnreadableError: damaged, truncated, or in a transfer syntax that no decoder handles.
        UnsuitableError: not one grey picture of a registered domain, or its window shows nothing.
    """
    # pydicom warns about values outside the standard; those that matter are checked below.
    with unheard():
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
    file = read_header(stream)
    file.buffer = None  # else a file from inside a tar would be kept whole, pixels and all
    _check_numbers(file)
    stated = directions(file)
    domain = _domain(file, stated)
    _check_pixels(file)
    colour = file.SamplesPerPixel > 1
    _check_stream(file)
    stored = _decode(file)
    del file.PixelData
    if file.file_meta.TransferSyntaxUID in _LOSSY:
        file.LossyImageCompression = "01"
    if colour:
        _as_grey(file)
    if domain.window:
        _rewindow(file, domain, domain.window)
    grey = grey_scale(file, stored, little=file.original_encoding[1] is not False)
    check_shown(file, stored, grey)
    if file.get("PresentationIntentType") == "FOR PROCESSING":
        log.warning("%s holds raw detector data (FOR PROCESSING), not a picture", name)
    if stated is not None:
        file.PatientOrientation = list(stated)  # outputs have no Image Orientation (Patient)
    spacing_mm = spacing(file, name)
    return Radiograph.on_file(
        stored,
        grey,
        spacing_mm,
        frame=dicom_frame(stated, pixel_aspect(file, spacing_mm)),
        bits=int(file.BitsStored),
        source=name,
        synthetic=file.get("SyntheticData") == "YES",
        burned_in=_BURNED_IN.get(str(file.get("BurnedInAnnotation") or "").strip(), "unknown"),
        view=_VIEWS.get(str(file.get("ViewPosition") or "").strip().upper(), ""),
        origin=file,
    )


def _check_numbers(file: Dataset) -> None:
    """Name the first element that should hold numbers and holds text (a decimal comma, say)."""
    for keyword in _NUMBERS:
        try:
            value = file.get(keyword)
        except Exception:  # pydicom converts on access, and raises by the damage
            value = getattr(file.get_item(keyword), "value", b"")
            value = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        parts = [value] if isinstance(value, (str, bytes)) or value is None else np.ravel(value)
        if any(isinstance(part, str) and part for part in parts):
            raise UnreadableError(
                f"{keyword} must hold numbers as the standard writes them; got "
                f"'{line(file.get_item(keyword).value)}'. Correct the header."
            )


def _as_grey(file: Dataset) -> None:
    """Make equal colour channels one grey one, which no grey-scale tag applies to (C.11.2.1)."""
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    gone = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "PresentationLUTShape")
    for keyword in gone:
        file.pop(keyword, None)
    set_window(file, 0, (1 << int(file.BitsStored)) - 1)


def _domain(file: Dataset, stated: tuple[str, str] | None) -> Domain:
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
            _check_content(file, pack, stated)
        except UnsuitableError:
            continue
        return pack
    _check_content(file, fitting[-1], stated)
    return fitting[-1]


def _modalities(pack: Domain) -> str:
    others = ", ".join(code for code in pack.captures if code)
    known = f"{', '.join(pack.modalities)}" + (f" (or {others})" if others else "")
    return f"A {pack.statement} has Modality {known}"


def _check_content(file: Dataset, pack: Domain, stated: tuple[str, str] | None) -> None:
    """Refuse what cannot be a picture of the domain."""
    frontal = "frontal" in pack.views
    if stated is not None and plane(stated) not in (*pack.views, *(["coronal"] if frontal else [])):
        raise UnsuitableError(
            f"A {pack.statement} is {' or '.join(pack.views)}; got a {plane(stated)} one (rows "
            f"run towards {stated[0]}, columns towards {stated[1]}). Give another."
        )
    if frontal:
        _check_projection(file)
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
            _refuse_view(name)
    for keyword in _DESCRIPTIONS:
        text = re.sub(r"[\W_]+", " ", str(file.get(keyword) or "")).upper()
        if not _LATERAL.search(text):
            continue
        if not (any(names) or _FRONTAL.search(text)):
            _refuse_view(text)
        log.warning("%s says '%s', which names a lateral view, too", keyword, line(text))


def _refuse_view(name: str) -> NoReturn:
    raise UnsuitableError(
        f"The view must be frontal; got '{line(name)}'. Give the PA or AP picture."
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
    lacks = [keyword for keyword in _NEEDED if file.get(keyword) in (None, "")]
    if lacks:
        raise UnsuitableError(
            f"The header must hold {', '.join(lacks)}; got none. Export the picture again."
        )
    check_size(int(file.Rows), int(file.Columns))
    frames = int(file.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnsuitableError(f"One frame is needed; got {frames}. Export one frame as a file.")
    colour = file.PhotometricInterpretation = str(file.PhotometricInterpretation).strip().upper()
    grey = colour in ("MONOCHROME1", "MONOCHROME2")
    if grey != (file.SamplesPerPixel == 1) or file.SamplesPerPixel not in (1, 3):
        raise UnsuitableError(
            f"The picture must be grey; got {line(colour)} in {file.SamplesPerPixel} samples per "
            "pixel. Export it as grey."
        )
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


def _check_stream(file: FileDataset) -> None:
    """Refuse compressed pixels that would unpack to something else than the header says."""
    if not file.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    size = int(file.Rows), int(file.Columns)
    pixel = int(file.SamplesPerPixel) * int(file.BitsAllocated) // 8
    check_expansion(size[0] * size[1] * pixel, len(file.PixelData))
    stated = stream_size(get_frame(file.PixelData, 0, number_of_frames=1))
    if stated not in (None, size):
        raise UnreadableError(
            f"Rows and Columns must be those of the compressed picture; got {size[0]} x {size[1]} "
            f"for {stated[0]} x {stated[1]}. Export it again."
        )


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
    stored = single(pixels) if pixels.ndim == 3 else np.ascontiguousarray(pixels)
    return _fitted(file, stored)


def _fitted(file: Dataset, stored: NDArray[np.integer]) -> NDArray[np.integer]:
    """Clip levels to Bits Stored, which codestreams of more bits overshoot a little."""
    bits = int(file.BitsStored)
    lowest = -(1 << (bits - 1)) if file.PixelRepresentation else 0
    highest = lowest + (1 << bits) - 1
    found = int(stored.min()), int(stored.max())
    room = (1 << bits) // _OVERSHOOT
    if found[0] < lowest - room or found[1] > highest + room:
        raise UnsuitableError(
            f"Levels must fit Bits Stored = {bits} ({lowest} to {highest}); got {found[0]} to "
            f"{found[1]}. Correct the header."
        )
    if found[0] < lowest or found[1] > highest:
        log.warning("levels of %d to %d clipped to %d to %d", *found, lowest, highest)
    clipped: NDArray[np.integer] = np.clip(stored, lowest, highest)
    return clipped


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
