"""A radiograph as the viewer takes it: raw display values of 16 bits."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import numpy as np

from roentmod.radiograph import Radiograph

__all__ = ["Pixels", "encode"]

# Level 1 takes a third of the time of level 6 and leaves 5 % more.
_LEVEL = 1


@dataclass(frozen=True)
class Pixels:
    """What an answer to a viewer holds.

    Attributes:
        body: gzip of h x w little-endian uint16, row by row; 65535 is display value 1.
        headers: encoding, size, and millimetres per pixel (empty where unknown).
    """

    body: bytes
    headers: dict[str, str]


def encode(radiograph: Radiograph) -> Pixels:
    """Return the display values of a radiograph, byte for byte repeatable."""
    shown = radiograph.pixels
    values = np.rint(shown.astype(np.float64) * 65535).astype("<u2")
    height, width = values.shape
    spacing = radiograph.spacing_mm
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Encoding": "gzip",
        "X-Width": str(width),
        "X-Height": str(height),
        "X-Spacing-Mm": "" if spacing is None else f"{spacing[0]:.6g}",
    }
    return Pixels(gzip.compress(values.tobytes(), _LEVEL, mtime=0), headers)
