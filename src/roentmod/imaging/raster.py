"""PNG, JPEG and TIFF in, PNG out."""

from __future__ import annotations

import io
import logging
import re
import struct
import zlib
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
from roentmod.imaging.checks import check_expansion, check_size, line, single, unheard
from roentmod.imaging.position import exif_frame, squareness
from roentmod.radiograph import MAX_SIDE, Frame, GreyScale, Radiograph

__all__ = ["encode_picture", "encode_png", "read_raster", "read_tones"]

log = logging.getLogger(__name__)
Tones = NDArray[np.generic]
# What 16 bits hold that are not all used: the least of these that is enough.
_DEPTHS = (8, 10, 12, 14, 15, 16)
_WIDE_GREY = ("I", "I;16", "I;16L", "I;16B")
_PILLOWS = Image.MAX_IMAGE_PIXELS or 0
_PNG = b"\x89PNG\r\n\x1a\n"
_AFTER_IHDR = 33
_ORIENTATION = 274


@dataclass(frozen=True)
class _Picture:
    """The content of a file and what it says of that.

    Attributes:
        tones: unsigned integers or floats, h x w, upright.
        kind: its format.
        inverted: its lowest tone is white.
        synthetic: it says so.
        aspect: height over width of its pixels.
        bits: of its tones that are in use, as far as it says.
    """

    tones: Tones
    kind: str
    inverted: bool = False
    synthetic: bool = False
    aspect: float = 1.0
    bits: int | None = None

    @property
    def depth(self) -> int:
        """Bits in use; of 16, fewer where the file says so or no tone needs them."""
        held = 8 * self.tones.dtype.itemsize
        if held != 16 or self.bits == 16:
            return held
        needed = int(self.tones.max()).bit_length()
        return next(n for n in _DEPTHS if n >= max(needed, self.bits or 0))


def read_raster(stream: BinaryIO, name: str) -> Radiograph:
    """Read the PNG, JPEG or TIFF `name` as a radiograph; its spacing is unknown.

    Grey of 8 or 16 bits, or floats in [0, 1] (TIFF; kept at 16 bits). Colour files are taken when
    red, green and blue are equal, transparent ones when wholly opaque. A TIFF's MINISWHITE is
    honoured. The orientation of EXIF, XMP or TIFF turns the picture upright, for good: outputs are
    upright and state none. A resolution that differs across and down is the shape of its pixels.
    Of 16 bits, fewer are in use where PNG's sBIT, TIFF's MaxSampleValue or the tones say so.

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
        whole = Radiograph.from_array(1 - shown if picture.inverted else shown, source=name)
        stored, grey, bits, kind = whole.stored, whole.grey, whole.bits, None
    else:
        bits, kind = picture.depth, picture.kind
        stored = tones.astype(np.uint8 if tones.dtype.itemsize == 1 else np.uint16)
        grey = GreyScale.linear(1 << bits)
        if picture.inverted:
            grey = GreyScale(0, 1 - grey.table)
        if picture.bits is None and bits < 8 * tones.dtype.itemsize:
            log.warning(
                "%s: no level of 16 bits is above %d, so white is taken to be %d, of %d bits",
                *(name, stored.max(), (1 << bits) - 1, bits),
            )
    if picture.aspect != 1:
        log.warning(
            "%s: its resolution says that pixels are %.3g high for 1 wide", name, picture.aspect
        )
    return Radiograph.on_file(
        stored,
        grey,
        None,
        frame=Frame(aspect=picture.aspect),
        bits=bits,
        source=name,
        synthetic=picture.synthetic,
        origin=kind,
    )


def read_tones(stream: BinaryIO) -> NDArray[np.float64]:
    """Return a PNG's, JPEG's or TIFF's tones, upright, h x w in [0, 1] of the bits in use.

    Raises:
        UnreadableError: damaged or truncated.
        UnsuitableError: not one grey picture.
    """
    picture = _load(stream)
    tones = picture.tones.astype(np.float64)
    if picture.tones.dtype.kind == "u":
        tones /= (1 << picture.depth) - 1
    return 1 - tones if picture.inverted else tones


def encode_png(radiograph: Radiograph, facts: Mapping[str, Any] | None) -> bytes:
    """Return a grey PNG of 8 bits, or 16 where the radiograph has more than 8, with its facts.

    PNG has no window: levels of pictures are written as they were read, on their own pixels, those
    of DICOM files that a plain picture would hold likewise, others (a window, MONOCHROME1, 12 bits)
    as display values. The picture is upright. The same input gives the same bytes.
    """
    picture = radiograph.origin is None or isinstance(radiograph.origin, str)
    tones = radiograph.native if picture else radiograph.stored
    held = 8 if radiograph.bits <= 8 else 16
    bits = radiograph.bits if picture else held
    grey = radiograph.grey
    if grey.lowest != 0 or not np.array_equal(grey.table, GreyScale.linear(1 << bits).table):
        bits = held
        tones = np.rint(grey.display(tones).astype(np.float64) * ((1 << held) - 1))
    return encode_picture(
        Image.fromarray(tones.astype(f"u{held // 8}")),
        facts,
        bits=bits if held == 16 else None,
        aspect=radiograph.frame.aspect if picture else 1.0,
    )


def encode_picture(
    image: Image.Image,
    facts: Mapping[str, Any] | None,
    *,
    bits: int | None = None,
    aspect: float = 1.0,
) -> bytes:
    """Return a picture as PNG with text chunks.

    Args:
        image: the picture.
        facts: about it; None says that nothing in it is synthetic.
        bits: of 16, those in use.
        aspect: height over width of its pixels.
    """
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Software", f"RoentMod {roentmod.__version__}")
    if bits is not None:
        chunks.add_text("BitsStored", str(bits))
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
    data = file.getvalue()
    return data if aspect == 1 else data[:_AFTER_IHDR] + _physical(aspect) + data[_AFTER_IHDR:]


def _physical(aspect: float) -> bytes:
    """Return PNG's chunk that says how many pixels across are as long as how many down."""
    body = b"pHYs" + struct.pack(">IIB", round(1000 * aspect), 1000, 0)
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


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
            f"A picture has at most {MAX_SIDE} pixels per side and {2 * _PILLOWS:,} in all; got "
            "more. Give a smaller one."
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
    # The size check below is stricter than Pillow's warning.
    with unheard(), Image.open(file) as image:
        check_size(image.height, image.width)
        # I;16 and colour take as many bytes as are counted here, or fewer.
        pixels = image.height * image.width * (2 if len(image.mode) > 3 else len(image.mode))
        check_expansion(pixels, _length(file))
        image.load()
        tones, info = _grey(image), image.info
        frame = exif_frame(_orientation(image), _aspect(info))
        return _Picture(
            frame.upright(tones),
            image.format or "",
            synthetic=info.get("SyntheticData") == "YES",
            aspect=frame.aspect,
            bits=_png_bits(file, info) if tones.dtype == np.uint16 else None,
        )


def _length(stream: BinaryIO) -> int:
    here = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(here)
    return size


def _orientation(image: Image.Image) -> int:
    """Return what EXIF, or else XMP, says."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception as error:  # of whatever damage; the picture itself is whole
        log.warning("EXIF cannot be read (%s): taken as upright", line(error))
        return 1


def _aspect(info: Mapping[Any, Any]) -> float:
    """Return height over width of a pixel from resolutions across and down."""
    across, down = info.get("jfif_density") or info.get("aspect") or info.get("dpi") or (1, 1)
    return squareness(float(across), float(down)) or 1.0


def _png_bits(file: BinaryIO, info: Mapping[Any, Any]) -> int | None:
    """Return the bits in use of a 16-bit PNG: our own mark, else its chunk sBIT."""
    if str(info.get("Software", "")).startswith("RoentMod "):
        mark = str(info.get("BitsStored", ""))
        return int(mark) if mark in map(str, _DEPTHS) else 16
    file.seek(len(_PNG))
    while (head := file.read(8))[4:] not in (b"IDAT", b"") and len(head) == 8:
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"sBIT":
            return min(max(file.read(1)[0], 8), 16)
        file.seek(length + 4, io.SEEK_CUR)
    return None


def _grey(image: Image.Image) -> Tones:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise UnsuitableError(f"One picture is needed; got {frames}. Save one of them.")
    if image.mode == "1":
        return np.asarray(image)
    clear = image.info.get("transparency")
    if image.mode in _WIDE_GREY:
        tones = np.asarray(image).astype(np.uint16)
        _check_opaque(clear is None or not (tones == clear).any())
        return tones
    if image.mode == "L" and clear is None:
        return np.asarray(image)
    if image.mode not in ("L", "LA", "P", "PA", "RGB", "RGBA"):
        raise UnsuitableError(f"The picture must be grey; got mode {image.mode}. Save it as grey.")
    channels = np.asarray(image.convert("RGBA"))
    _check_opaque((channels[..., 3] == 255).all())
    return single(channels[..., :3])


def _check_opaque(opaque: np.bool_ | bool) -> None:
    if not opaque:
        raise UnsuitableError(
            "A radiograph must be opaque; got transparent pixels. Save it without transparency."
        )


def _load_tiff(stream: BinaryIO) -> _Picture:
    with unheard(), tifffile.TiffFile(stream) as file:
        if len(file.pages) != 1:
            raise UnsuitableError(
                f"A TIFF must have one page; got {len(file.pages)}. Save one of them."
            )
        page = file.pages.first
        check_size(page.imagelength, page.imagewidth)
        check_expansion(page.nbytes, _length(stream))
        _check_tiff(page)
        tones = page.asarray()
        inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        if page.samplesperpixel > 1:
            tones = single(tones if page.planarconfig == 1 else np.moveaxis(tones, 0, -1))
        across, down = (_number(page, name) for name in ("XResolution", "YResolution"))
        frame = exif_frame(_tiff_orientation(page), squareness(across, down) or 1.0)
        return _Picture(
            frame.upright(tones),
            "TIFF",
            inverted,
            aspect=frame.aspect,
            bits=_tiff_bits(page, tones),
        )


def _number(page: Any, name: str) -> float:
    """Return a number of a TIFF, 0 where it has none or one that cannot be."""
    value = page.tags.valueof(name, default=0)
    above, below = (*value, 1)[:2] if isinstance(value, tuple) else (value, 1)
    return float(above) / float(below) if below else 0.0


def _tiff_orientation(page: Any) -> int:
    if _ORIENTATION in page.tags:
        return int(_number(page, "Orientation"))
    known = re.search(rb"""tiff:Orientation(?:=["']|>)(\d)""", page.tags.valueof(700, default=b""))
    return int(known[1]) if known else 1


def _tiff_bits(page: Any, tones: Tones) -> int | None:
    """Return the bits in use of 16 by Bits Per Sample or the highest tone that the file states."""
    if tones.dtype != np.uint16:
        return None
    stated = max(int(_number(page, "MaxSampleValue")), int(_number(page, "SMaxSampleValue")))
    bits = min(page.bitspersample, stated.bit_length() or 16)
    return max(bits, 8) if stated or bits < 16 else None


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
