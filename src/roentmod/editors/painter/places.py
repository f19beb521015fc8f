"""Places and sizes that real findings have, as a seed draws them.

The table holds quantiles: of lesion boxes of NIH ChestX-ray14 (Wang et al., CVPR 2017) in the
coordinates of a lung, and of cardiothoracic ratios of its enlarged hearts; ``python -m
training.places`` makes it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TABLE", "Place", "draw", "graded", "right_share", "within"]

TABLE = Path(__file__).with_name("places.json")
_TRIES = 60
# Doses of no, a mild, a moderate and a severe finding.
_DOSES = (0.0, 0.3, 0.6, 1.0)


@dataclass(frozen=True)
class Place:
    """Place and size of one finding.

    Attributes:
        down: 0 at the lung's apex, 1 at its base.
        across: 0 at its inner, 1 at its outer border.
        size_mm: side of a square of the finding's area, for an adult of usual width.
        rank: of the size among those of the finding, in [0, 1).
    """

    down: float
    across: float
    size_mm: float
    rank: float


@cache
def _table() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(TABLE.read_text())
    return read


def right_share(name: str) -> float:
    """Return how often a finding lies on the patient's right; 0.5 where that is not known."""
    return float(_table().get(name, {}).get("right", 0.5))


def graded(name: str, key: str, dose: float, rank: float) -> float:
    """Return a size that real findings have, more with dose at every rank.

    Mild, moderate and severe are the thirds of the table's sizes, and the rank is the place within
    the third.

    Args:
        name: a finding of the table.
        key: of its quantiles: "diameter_mm" or "ratio".
        dose: in (0, 1].
        rank: in [0, 1), the seed's.
    """
    sizes = _table()[name][key]
    level = np.interp(dose, _DOSES, [0, rank / 3, (1 + rank) / 3, (2 + rank) / 3])
    return float(np.interp(level, np.linspace(0, 1, len(sizes)), sizes))


def within(name: str, down: float, low: float, high: float) -> float:
    """Return the height in a part of the lung that stands as high among the finding's there.

    Args:
        name: a finding of the table.
        down: its height in the whole lung, 0 at the apex.
        low: where the part begins.
        high: where it ends.
    """
    heights = _table()[name]["down"]
    levels = np.linspace(0, 1, len(heights))
    rank, first, last = np.interp([down, low, high], heights, levels)
    return float(np.interp(first + rank * (last - first), levels, heights).clip(low, high))


def draw(name: str, rng: np.random.Generator, fits: Callable[[Place], bool] | None = None) -> Place:
    """Draw place and size of a finding of the table; five numbers are drawn from `rng`.

    What does not fit is drawn again, `_TRIES` times at most, from numbers besides.
    """
    place, again = _draw(name, rng), copy.deepcopy(rng)
    for _ in range(_TRIES if fits else 0):
        if fits is None or fits(place):
            break
        place = _draw(name, again)
    return place


def _draw(name: str, rng: np.random.Generator) -> Place:
    row = _table()[name]
    keys = ("down", "across", "size_mm")
    levels = np.linspace(0, 1, len(row["down"]))
    ranks = rng.random(3)
    down, across, size = (
        float(np.interp(at, levels, row[key])) for at, key in zip(ranks, keys, strict=True)
    )
    # Boxes are few: places between them are as likely. What leaves the lung is reflected.
    down, across = (1 - abs(1 - abs(x + rng.normal(0, 0.04))) for x in (down, across))
    return Place(down, across, size, float(ranks[2]))
