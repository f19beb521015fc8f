"""Which way up a file's picture lies, and what shape its pixels have, from its header.

Directions are letters of PS3.3 C.7.6.1.1.1: L and R, H and F (head, feet), A and P. Each plane has
one way up: frontal and coronal pictures with rows towards L and columns towards F, axial ones with
L and P, sagittal ones with P and F. A header that says nothing means that.
"""

from __future__ import annotations

import logging
import re

import numpy as np
from pydicom.dataset import Dataset

from roentmod.errors import UnsuitableError
from roentmod.imaging.checks import line
from roentmod.radiograph import Frame

__all__ = [
    "SPACINGS",
    "dicom_frame",
    "directions",
    "exif_frame",
    "pixel_aspect",
    "plane",
    "spacing",
    "squareness",
]

log = logging.getLogger(__name__)
Directions = tuple[str, str]
# In the standard's order (PS3.3 10.7.1): in the patient where calibrated, at the detector, of the
# scanner that read a film.
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
# Pixels this near to square are not resampled: it would move nothing by more than half a percent.
_NEAR = 0.01
_AXES = {"L": 0, "R": 0, "P": 1, "A": 1, "H": 2, "F": 2}
_UPRIGHT = {"coronal": ("L", "F"), "axial": ("L", "P"), "sagittal": ("P", "F")}
# By the axis that neither rows nor columns run along.
_PLANES = ("sagittal", "coronal", "axial")
# EXIF 2.3 and TIFF 6.0, tag 274: transposed, upside down, mirrored.
_EXIF = {
    1: (False, False, False), 2: (False, False, True), 3: (False, True, True),
    4: (False, True, False), 5: (True, False, False), 6: (True, False, True),
    7: (True, True, True), 8: (True, True, False),
}  # fmt: skip


def directions(file: Dataset) -> Directions | None:
    """Return where rows and columns of a data set run to; None where it does not say.

    Raises:
        UnsuitableError: Image Orientation (Patient) and Patient Orientation contradict each other.
    """
    stated, other = _by_cosines(file), _by_letters(file)
    if stated and other and stated != other:
        pairs = ["\\".join(pair) for pair in (stated, other)]
        raise UnsuitableError(
            f"A header must say one thing; Image Orientation (Patient) gives {pairs[0]}, Patient "
            f"Orientation {pairs[1]}. Correct it."
        )
    return stated or other


def _by_cosines(file: Dataset) -> Directions | None:
    cosines = file.get("ImageOrientationPatient")
    if cosines is None or isinstance(cosines, (str, float)) or len(cosines) != 6:
        return None
    vectors = np.array(cosines, dtype=np.float64).reshape(2, 3)
    if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        return None
    row = int(np.argmax(np.abs(vectors[0])))
    column = int(np.argmax(np.where(np.arange(3) == row, -1, np.abs(vectors[1]))))
    # Coordinates grow towards left, back and head (PS3.3 C.7.6.2.1.1).
    names = ("RL", "AP", "FH")
    return names[row][int(vectors[0][row] > 0)], names[column][int(vectors[1][column] > 0)]


def _by_letters(file: Dataset) -> Directions | None:
    value = file.get("PatientOrientation")
    parts = [str(p).strip().upper() for p in ([value] if isinstance(value, str) else value or ())]
    if not any(parts):
        return None
    known = len(parts) == 2 and all(re.fullmatch("[APRLHF]{1,3}", part) for part in parts)
    if known and _AXES[parts[0][0]] != _AXES[parts[1][0]]:
        return parts[0][0], parts[1][0]
    log.warning("Patient Orientation '%s' cannot be; left out", line("\\".join(parts)))
    return None


def plane(stated: Directions) -> str:
    """Return the plane of a picture whose rows and columns run so."""
    return _PLANES[3 - sum(_AXES[letter] for letter in stated)]


def dicom_frame(stated: Directions | None, aspect: float) -> Frame:
    """Return how a picture lies to its upright one.

    Args:
        stated: where its rows and columns run to.
        aspect: a pixel's height over its width, in the file.
    """
    if stated is None:
        return Frame(aspect=aspect)
    across, down = _UPRIGHT[plane(stated)]
    transposed = _AXES[stated[0]] != _AXES[across]
    row, column = stated[::-1] if transposed else stated
    return _frame((transposed, column != down, row != across), aspect)


def exif_frame(orientation: int, aspect: float) -> Frame:
    """Return how a picture lies to its upright one by its EXIF orientation; 1 if not 1 to 8."""
    if orientation not in _EXIF:
        log.warning("orientation %s is none of 1 to 8; left out", orientation)
    return _frame(_EXIF.get(orientation, _EXIF[1]), aspect)


def _frame(turn: tuple[bool, bool, bool], aspect: float) -> Frame:
    return Frame(*turn, 1 / aspect if turn[0] else aspect)


def spacing(file: Dataset, name: str) -> tuple[float, float] | None:
    """Return row and column spacing in mm, or None where it is not said or cannot be."""
    for keyword in SPACINGS:
        if (pair := _pair(file, keyword)) is None:
            continue
        if squareness(*pair):
            return pair
        log.warning("%s: %s is %g\\%g, which is not positive: unknown", name, keyword, *pair)
    return None


def pixel_aspect(file: Dataset, spacing_mm: tuple[float, float] | None) -> float:
    """Return height over width of a pixel: by its spacing, else by Pixel Aspect Ratio, else 1."""
    pair = spacing_mm or _pair(file, "PixelAspectRatio")
    return (pair and squareness(*pair)) or 1.0


def squareness(height: float, width: float) -> float | None:
    """Return height over width of a pixel, 1 where that is near; None where one cannot be."""
    if not (np.isfinite([height, width]).all() and min(height, width) > 0):
        return None
    aspect = height / width
    return 1.0 if abs(aspect - 1) < _NEAR else aspect


def _pair(file: Dataset, keyword: str) -> tuple[float, float] | None:
    value = file.get(keyword)
    if value is None or isinstance(value, (str, float, int)) or len(value) != 2:
        return None
    return float(value[0]), float(value[1])
