"""PNG, JPEG and TIFF in, PNG out."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

import roentmod
from roentmod.errors import InputError, UnreadableError, UnsuitableError
from roentmod.imaging import provenance
from roentmod.imaging.checks import check_size, line, single
from roentmod.radiograph import MAX_SIDE, GreyScale, Radiograph

__all__ = ["encode_picture", "encode_png", "read_raster", "read_tones"]

Tones = NDArray[np.generic]
_WIDE_GREY = ("I", "I;16", "I;16L", "I;16B")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class _Picture:
    """The content of a file: h x w tones, unsigned integers or floats, and what it says of them."""

    tones: Tones
    kind: str
    inverted: bool = False
    synthetic: bool = False


def read_raster(stream: BinaryIO, name: str) -> Radiograph:
    """Read the PNG, JPEG or TIFF `name` as a radiograph; its spacing is unknown.

    Grey of 8 or 16 bits, or floats in [0, 1] (TIFF; kept at 16 bits). Colour files are taken when
    red, green and blue are equal, transparent ones when wholly opaque. A TIFF's MINISWHITE is
    honoured.

    Raises:
        UnreadableError: damaged or truncated.
        UnsuitableError: not one grey picture of 8 or 16 bits.
    """
    picture = _load(stream)
    tones = picture.tones
    if tones.dtype == bool:
        raise UnsuitableError(
            "A radiograph has grey levels; got 1 bit per pixel. Give 8 or 16 bits."
        )
    if tones.dtype.kind == "f":
        if not np.isfinite(tones).all():
            raise UnsuitableError(
                "Float pixels must be finite; got NaN or infinity. Replace them and save again."
            )
        shown = tones.astype(np.float64)
        return Radiograph.from_array(1 - shown if picture.inverted else shown, source=name)
    bits = 8 * tones.dtype.itemsize
    grey = GreyScale.linear(1 << bits)
    if picture.inverted:
        grey = GreyScale(0, 1 - grey.table)
    stored: NDArray[np.integer] = tones.astype(np.uint8 if bits == 8 else np.uint16)
    return Radiograph(
        stored, grey, None, bits, name, synthetic=picture.synthetic, origin=picture.kind
    )


def read_tones(stream: BinaryIO) -> NDArray[np.float64]:
    """Return a PNG's, JPEG's or TIFF's tones, h x w in [0, 1] of what its format can hold.

    Raises:
        UnreadableError: damaged or truncated.
        UnsuitableError: not one grey picture.
    """
    picture = _load(stream)
    tones = picture.tones.astype(np.float64)
    if picture.tones.dtype.kind == "u":
        tones /= (1 << 8 * picture.tones.dtype.itemsize) - 1
    return 1 - tones if picture.inverted else tones


def encode_png(radiograph: Radiograph, facts: Mapping[str, Any] | None) -> bytes:
    """Return a grey PNG of 8 bits, or 16 where the radiograph has more than 8, with its facts.

    PNG has no window: levels that a plain picture would hold are written as they are, others (a
    window, MONOCHROME1, 12 bits) as display values. The same input gives the same bytes.
    """
    wide = radiograph.bits > 8
    plain = GreyScale.linear(1 << (16 if wide else 8))
    if np.array_equal(radiograph.grey.table, plain.table) and radiograph.grey.lowest == 0:
        tones = np.asarray(radiograph.stored)
    else:
        tones = np.rint(radiograph.pixels.astype(np.float64) * (plain.table.size - 1))
    image = Image.fromarray(tones.astype(np.uint16 if wide else np.uint8))
    return encode_picture(image, facts)


def encode_picture(image: Image.Image, facts: Mapping[str, Any] | None) -> bytes:
    """Return `image` as PNG with text chunks; `facts` None says that nothing in it is synthetic."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Software", f"RoentMod {roentmod.__version__}")
    if facts is not None:
        chunks.add_text("Title", provenance.title(facts))
        chunks.add_text("Description", provenance.summary(facts))
        chunks.add_text("Comment", provenance.STATEMENT)
        chunks.add_text("Source", f"baseline {facts.get('baseline_id', 'unknown')}")
        chunks.add_text("SyntheticData", "YES")
        chunks.add_text("roentmod", provenance.as_json(facts))
        chunks.add_itxt("XML:com.adobe.xmp", provenance.xmp(facts))
    # Higher levels take twice the time for 3 % less: the noise of a radiograph does not compress.
    file = io.BytesIO()
    image.save(file, format="PNG", pnginfo=chunks, compress_level=1)
    return file.getvalue()


def _load(file: BinaryIO) -> _Picture:
    """Read a file whose damage, whatever it is, becomes one of our errors."""
    try:
        head = file.read(26)
        file.seek(0)
        return _load_tiff(file) if head[:2] in (b"II", b"MM") else _load_other(file, head)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise UnsuitableError(
            f"A picture has at most {MAX_SIDE} pixels per side; got far more. Give a smaller one."
        ) from error
    except Exception as error:  # damaged files raise SyntaxError, OSError, struct.error and others
        # Pillow's own text for a broken header is little more than the path.
        text = "a broken header" if isinstance(error, UnidentifiedImageError) else line(error)
        if "imagecodecs" in text:
            raise UnreadableError(
                "A compressed TIFF like this needs another decoder. Save it uncompressed, or run: "
                "pip install imagecodecs"
            ) from error
        raise UnreadableError(
            f"The picture must be whole; reading it gave '{text}'. Copy the file again."
        ) from error


def _load_other(file: BinaryIO, head: bytes) -> _Picture:
    # Pillow reads 16-bit colour and 16-bit alpha as 8 bits without a word.
    if head.startswith(_PNG) and head[24:25] == b"\x10" and head[25:26] != b"\x00":
        raise UnsuitableError(
            "A 16-bit PNG must be grey without transparency; got another kind. Save it as grey."
        )
    with warnings.catch_warnings():
        # The size check below is stricter than Pillow's warning.
        warnings.simplefilter("ignore")
        with Image.open(file) as image:
            check_size(image.height, image.width)
            kind = image.format or ""
            image.load()
            synthetic = image.info.get("SyntheticData") == "YES"
            return _Picture(_grey(image), kind, synthetic=synthetic)


def _grey(image: Image.Image) -> Tones:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise UnsuitableError(f"One picture is needed; got {frames}. Save one of them.")
    if image.mode == "1":
        return np.asarray(image)
    if image.mode in _WIDE_GREY and "transparency" not in image.info:
        return np.asarray(image).astype(np.uint16)
    if image.mode == "L" and "transparency" not in image.info:
        return np.asarray(image)
    if image.mode not in ("L", "LA", "P", "PA", "RGB", "RGBA"):
        raise UnsuitableError(f"The picture must be grey; got mode {image.mode}. Save it as grey.")
    channels = np.asarray(image.convert("RGBA"))
    if (channels[..., 3] != 255).any():
        raise UnsuitableError(
            "A radiograph must be opaque; got transparent pixels. Save it without transparency."
        )
    return single(channels[..., :3])


def _load_tiff(stream: BinaryIO) -> _Picture:
    with tifffile.TiffFile(stream) as file:
        if len(file.pages) != 1:
            raise UnsuitableError(
                f"A TIFF must have one page; got {len(file.pages)}. Save one of them."
            )
        page = file.pages.first
        check_size(page.imagelength, page.imagewidth)
        _check_tiff(page)
        tones = page.asarray()
        inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        if page.samplesperpixel > 1:
            tones = single(tones if page.planarconfig == 1 else np.moveaxis(tones, 0, -1))
        return _Picture(tones, "TIFF", inverted)


def _check_tiff(page: Any) -> None:
    kinds = tifffile.PHOTOMETRIC
    if page.photometric not in (kinds.MINISBLACK, kinds.MINISWHITE, kinds.RGB):
        raise UnsuitableError(
            f"A TIFF must be grey; got {getattr(page.photometric, 'name', page.photometric)}. "
            "Save it as grey."
        )
    if page.samplesperpixel not in (1, 3) or page.imagedepth > 1:
        raise UnsuitableError(
            f"A TIFF must be grey without transparency; got {page.samplesperpixel} samples per "
            "pixel. Save it as grey."
        )
    dtype = page.dtype
    if dtype is None or not (dtype in (np.uint8, np.uint16, bool) or dtype.kind == "f"):
        raise UnsuitableError(
            f"A TIFF must hold unsigned 8 or 16 bits, or floats in [0, 1]; got {dtype}. Convert it."
        )
