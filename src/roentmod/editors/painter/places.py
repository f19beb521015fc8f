"""Places and sizes that real findings have, as a seed draws them.

The table holds quantiles of lesion boxes of NIH ChestX-ray14 (Wang et al., CVPR 2017) in the
coordinates of a lung; ``python -m training.places`` makes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TABLE", "Place", "draw", "right_share"]

TABLE = Path(__file__).with_name("places.json")


@dataclass(frozen=True)
class Place:
    """Place and size of one finding.

    Attributes:
        down: 0 at the lung's apex, 1 at its base.
        across: 0 at its inner, 1 at its outer border.
        size_mm: side of a square of the finding's area, for an adult of usual width.
    """

    down: float
    across: float
    size_mm: float


@cache
def _table() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(TABLE.read_text())
    return read


def right_share(name: str) -> float:
    """Return how often a finding lies on the patient's right; 0.5 where that is not known."""
    return float(_table()[name]["right"]) if name in _table() else 0.5


def draw(name: str, rng: np.random.Generator) -> Place:
    """Draw place and size of a finding of the table; five numbers are drawn from `rng`."""
    row = _table()[name]
    keys = ("down", "across", "size_mm")
    levels = np.linspace(0, 1, len(row["down"]))
    down, across, size = (float(np.interp(rng.random(), levels, row[key])) for key in keys)
    # Boxes are few: places between them are as likely. What leaves the lung is reflected.
    down, across = (1 - abs(1 - abs(x + rng.normal(0, 0.04))) for x in (down, across))
    return Place(down, across, size)
