"""Files in and out: what a file is, is decided by its content, not by its name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from roentmod.edits import Arm
from roentmod.errors import EditError, InputError, UnreadableError, UnsuitableError
from roentmod.imaging.credentials import Signer, load_signer
from roentmod.imaging.dicom import read_dicom
from roentmod.imaging.dicom_write import encode_dicom
from roentmod.imaging.pictures import (
    Row,
    burned,
    difference_picture,
    grey_picture,
    sheet,
    visible,
)
from roentmod.imaging.provenance import describe, own, without_source
from roentmod.imaging.raster import encode_picture, encode_png, read_raster, read_tones
from roentmod.interfaces import Counterfactual
from roentmod.radiograph import Radiograph
from roentmod.store import open_bytes, write_bytes

__all__ = [
    "RASTER",
    "Row",
    "Signer",
    "burned",
    "difference_picture",
    "encode",
    "encode_edit",
    "encode_picture",
    "grey_picture",
    "load_signer",
    "native_suffix",
    "read",
    "read_mask",
    "save_picture",
    "sheet",
    "visible",
    "write",
    "write_edit",
    "write_mask",
]

log = logging.getLogger(__name__)
RASTER = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PREAMBLE = 128
# Twice what the largest picture of 16 bits weighs.
_HEAVIEST = 2**30


def read(
    path: str | os.PathLike[str], *, name: str | None = None, quiet: bool = False
) -> Radiograph:
    """Read one frontal chest radiograph from a DICOM, PNG, JPEG or TIFF file.

    Args:
        path: of the file, which may lie inside a tar: ``train-00000.tar/NAME.png``.
        name: stands for the file's name in messages and as the radiograph's source.
        quiet: do not warn where its header says that text is burned into it.

    Raises:
        UnreadableError: no such file, no image, damaged, truncated, or no decoder for it.
        UnsuitableError: readable, but not one frontal grey radiograph.
    """
    with _opened(Path(path), name) as (kind, stream, shown):
        radiograph = (read_dicom if kind == "dicom" else read_raster)(stream, shown)
        if radiograph.stored.min() == radiograph.stored.max():
            raise UnsuitableError(
                f"A radiograph must show something; every pixel is {radiograph.stored.flat[0]}. "
                "Give another picture."
            )
        if radiograph.burned_in == "yes" and not quiet:
            log.warning("%s: its header says that text is burned into the picture", shown)
        return radiograph


def read_mask(
    path: str | os.PathLike[str], radiograph: Radiograph, *, name: str | None = None
) -> NDArray[np.bool_]:
    """Read a region from a PNG or TIFF: h x w, True where brighter than half of its range.

    Of two tones the brighter is inside. A mask lies on the file's own rows and columns where the
    radiograph came from DICOM, and otherwise on the picture as viewers show it. `name` stands for
    the file's in messages.

    Raises:
        UnreadableError: no such file, no image, or damaged.
        UnsuitableError: not one grey picture.
        EditError: its shape is not the radiograph's.
    """
    with _opened(Path(path), name) as (kind, stream, shown):
        if kind == "dicom":
            raise UnsuitableError("A mask is a PNG or TIFF; got DICOM. Convert it.")
        tones = read_tones(stream)
    low, high = tones.min(), tones.max()
    two = low < high and ((tones == low) | (tones == high)).all()
    inside: NDArray[np.bool_] = tones == high if two else tones > 0.5
    wanted = radiograph.native.shape
    if inside.shape != wanted:
        shapes = ["x".join(map(str, shape)) for shape in (wanted, inside.shape)]
        raise EditError(
            f"{shown}: A mask has its radiograph's shape {shapes[0]}; got {shapes[1]}. "
            "Draw it on the radiograph itself."
        )
    frame = radiograph.frame
    share: NDArray[np.bool_] = frame.squared(frame.upright(inside).astype(np.float32)) > 0.5
    return share


def write_mask(
    mask: NDArray[np.bool_], radiograph: Radiograph, path: str | os.PathLike[str]
) -> None:
    """Write a region (h x w of the radiograph) as a PNG that `read_mask` reads back.

    Where the file's pixels are not square, a pixel is inside where most of it is.
    """
    share = mask.astype(np.float32)
    if radiograph.own is not None:
        share = radiograph.frame.averaged(share, radiograph.own.shape)
    inside = radiograph.frame.turned_back(share > 0.5)
    write_bytes(
        path, encode_picture(grey_picture(inside.astype(np.float32), max(mask.shape)), None)
    )


def native_suffix(radiograph: Radiograph) -> str:
    """Return ".dcm" for a radiograph that came from DICOM, else ".png"."""
    return ".png" if radiograph.origin is None or isinstance(radiograph.origin, str) else ".dcm"


def write(
    radiograph: Radiograph,
    path: str | os.PathLike[str],
    *,
    provenance: Mapping[str, Any] | None,
    keep_identity: bool = False,
    as_original: bool = True,
) -> None:
    """Write what `encode` returns, whole or not at all; the path's suffix chooses the format.

    Raises:
        UnsuitableError: another suffix.
        OSError: the folder does not exist or cannot be written.
    """
    options = {"keep_identity": keep_identity, "as_original": as_original}
    write_bytes(path, encode(radiograph, path, provenance=provenance, **options))


def encode(
    radiograph: Radiograph,
    name: str | os.PathLike[str],
    *,
    provenance: Mapping[str, Any] | None,
    keep_identity: bool = False,
    as_original: bool = True,
) -> bytes:
    """Return a radiograph as ``.png`` or ``.dcm``, byte for byte repeatable.

    Args:
        radiograph: what to encode.
        name: of the file; the suffix chooses the format.
        provenance: what `provenance.describe` returned, and the file says that it is synthetic;
            None for a copy of a radiograph that nobody edited; a synthetic one still says so.
        keep_identity: carry the patient's and study's identity over (DICOM), and the source's file
            name; by default nothing that names the patient is written.
        as_original: write DICOM in the source's class (CR, DX) where that is valid, instead of as
            secondary capture.

    Raises:
        UnsuitableError: another suffix.
    """
    facts = own(radiograph) if provenance is None else provenance
    if facts is not None and not keep_identity:
        facts = without_source(facts)
    suffix = Path(name).suffix.lower()
    if suffix not in (".png", ".dcm"):
        raise UnsuitableError(f"Output is written as .png or .dcm; got '{Path(name).name}'.")
    if suffix == ".png":
        return encode_png(radiograph, facts)
    return encode_dicom(
        radiograph, facts=facts, keep_identity=keep_identity, as_original=as_original
    )


def write_edit(
    result: Counterfactual,
    path: str | os.PathLike[str],
    *,
    arm: Arm = "counterfactual",
    keep_identity: bool = False,
    as_original: bool = True,
) -> None:
    """Write what `encode_edit` returns; otherwise as `write`."""
    options = {"keep_identity": keep_identity, "as_original": as_original}
    write_bytes(path, encode_edit(result, path, arm=arm, **options))


def encode_edit(
    result: Counterfactual,
    name: str | os.PathLike[str],
    *,
    arm: Arm = "counterfactual",
    keep_identity: bool = False,
    as_original: bool = True,
) -> bytes:
    """Return one arm of an edit with its provenance; otherwise as `encode`.

    Raises:
        EditError: the edit has no picture (its status says why).
    """
    picture = result.sham if arm == "sham" else result.image
    if picture is None:
        raise EditError(f"Only an edit of status 'ok' has pictures; got '{result.status}'.")
    edit = result.edit.sham() if arm == "sham" else result.edit
    return encode(
        picture,
        name,
        provenance=describe(result.baseline, edit, result.facts),
        keep_identity=keep_identity,
        as_original=as_original,
    )


def save_picture(image: Any, path: str | os.PathLike[str], facts: Mapping[str, Any] | None) -> None:
    """Save a picture for people as PNG with its facts; None: nothing in it is synthetic."""
    write_bytes(path, encode_picture(image, facts))


@contextmanager
def _opened(file: Path, name: str | None) -> Iterator[tuple[str, BinaryIO, str]]:
    """Give kind ("dicom" or "raster"), content and name of a file, which its errors begin with."""
    shown = file.name if name is None else name
    try:
        with open_bytes(file) as stream:
            size = stream.seek(0, os.SEEK_END)
            if size > _HEAVIEST:
                raise UnsuitableError(
                    f"A picture's file has at most {_HEAVIEST:,} bytes; got {size:,}. Give another."
                )
            stream.seek(0)
            kind = _kind(stream.read(_PREAMBLE + 4))
            stream.seek(0)
            yield kind, stream, shown
    except InputError as error:
        # The cause may have the file's own name.
        raise type(error)(f"{shown}: {error}") from (error if name is None else None)
    except OSError as error:
        reason = error.strerror or "cannot be opened"
        raise UnreadableError(
            f"{shown}: A file is needed; got '{reason.lower()}'. Check the path."
        ) from (error if name is None else None)


def _kind(head: bytes) -> str:
    if not head:
        raise UnreadableError("The file is empty. Copy it again.")
    if head[_PREAMBLE:] == b"DICM":
        return "dicom"
    if head.startswith(RASTER):
        return "raster"
    raise UnreadableError(
        "The content must be DICOM (with its preamble), PNG, JPEG or TIFF; it is none of them. "
        "Give an image file."
    )
