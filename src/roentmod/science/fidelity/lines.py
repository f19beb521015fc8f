"""Lines and tubes in a change: long, thin, and standing out to both sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from roentmod.errors import AuditError

__all__ = ["LONG", "longest_line"]

Floats = NDArray[np.float64]
# Length, as a share of the picture's side, from which a line counts as a tube. Most painted tubes
# reach it; the thin crescent by which a heart grows, and linear atelectasis, stay below.
LONG = 0.5
# For changes of SIDE pixels: along which a line is averaged, how far beside it the change must have
# ended, by how much of the display range it must stand out there, and how much broader pieces are.
SIDE = 224
_ALONG, _BESIDE, _STEP, _BROAD = 9, 2, 0.02, 6.0
_ANGLES = 12


def longest_line(change: ArrayLike) -> float:
    """Return the length of the longest line in a change, as a share of the picture's side.

    A pixel is on a line if the change, averaged over 9 pixels along one of 12 directions, exceeds
    the change 2 pixels to both sides by 2 % of the display range (or falls short of it: a dark
    line). A border, which stands out to one side only, is none. Pixels that touch are one piece;
    its length is the diagonal of its extent, and pieces broader than a sixth of that do not count.

    Args:
        change: edited less unedited display values, 224 x 224.

    Raises:
        AuditError: another size.
    """
    table = np.asarray(change, np.float64)
    if table.shape != (SIDE, SIDE):
        raise AuditError(f"Lines are looked for in {SIDE} x {SIDE} pixels; got {table.shape}.")
    if not table.any():
        return 0.0
    return max(_longest(standing >= _STEP) for standing in _standing(table))


def _standing(change: Floats) -> tuple[Floats, Floats]:
    """Return how far every pixel stands out to both sides in its best direction, up and down."""
    up, down = np.full((2, *change.shape), -np.inf)
    for angle in np.arange(_ANGLES) * np.pi / _ANGLES:
        step = np.array([np.sin(angle), np.cos(angle)])
        reach = np.arange(_ALONG) - _ALONG // 2
        kernel = np.zeros((_ALONG, _ALONG))
        places = np.rint(reach[:, None] * step).astype(int) + _ALONG // 2
        np.add.at(kernel, (places[:, 0], places[:, 1]), 1 / _ALONG)
        along = ndimage.correlate(change, kernel, mode="nearest")
        across = np.rint(_BESIDE * np.array([step[1], -step[0]])).astype(int)
        sides = _shifted(along, across), _shifted(along, -across)
        up = np.maximum(up, along - np.maximum(*sides))
        down = np.maximum(down, np.minimum(*sides) - along)
    return up, down


def _shifted(values: Floats, way: NDArray[np.int64]) -> Floats:
    """Return `values` moved by whole pixels, borders repeated."""
    wide = np.pad(values, _BESIDE, mode="edge")
    height, width = values.shape
    top, left = (_BESIDE - int(w) for w in way)
    return np.asarray(wide[top : top + height, left : left + width])


def _longest(mask: NDArray[np.bool_]) -> float:
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if not count:
        return 0.0
    areas = np.bincount(labels.ravel())[1:]
    lengths = np.array(
        [
            np.hypot(rows.stop - rows.start, columns.stop - columns.start)
            for rows, columns in ndimage.find_objects(labels)
        ]
    )
    thin = areas / lengths <= np.maximum(lengths / _BROAD, 1)
    return float((lengths * thin).max() / SIDE)
