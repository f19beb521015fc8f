"""Strokes of the viewer's brush become a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from roentmod.errors import EditError, RoentModError
from roentmod.plans.base import Plan

__all__ = ["Stroke", "painted"]

Mask = NDArray[np.bool_]
# Points of all strokes of a region.
_MOST = 20_000


class _Point(Plan):
    """A place in pixels of the upright picture; the upper left corner is 0, 0."""

    error: ClassVar[type[RoentModError]] = EditError
    x: float = Field(ge=-1e5, le=1e5)
    y: float = Field(ge=-1e5, le=1e5)


class Stroke(Plan):
    """A disc that was drawn along points, to paint or to erase."""

    error: ClassVar[type[RoentModError]] = EditError
    radius: float = Field(gt=0, le=2000)
    erase: bool = False
    points: tuple[_Point, ...] = Field(min_length=1, max_length=_MOST)


def painted(strokes: Sequence[Stroke], shape: tuple[int, int]) -> Mask:
    """Return the pixels whose middle lies in what was painted last, h x w.

    Raises:
        EditError: more points than a hand draws, or nothing left of the region.
    """
    if sum(len(stroke.points) for stroke in strokes) > _MOST:
        raise EditError(
            f"A region has at most {_MOST:,} points; got more. Paint with fewer strokes."
        )
    mask = np.zeros(shape, dtype=np.bool_)
    for stroke in strokes:
        places = np.array([(one.y, one.x) for one in stroke.points])
        ends = np.roll(places, -1, axis=0)[:-1] if len(places) > 1 else places
        for start, end in zip(places, ends, strict=False):
            _capsule(mask, start, end, stroke.radius, not stroke.erase)
    if not mask.any():
        raise EditError("A painted region holds a pixel of the radiograph; got none. Paint again.")
    return mask


def _capsule(
    mask: Mask, start: NDArray[np.float64], end: NDArray[np.float64], radius: float, value: bool
) -> None:
    """Set the pixels that are at most `radius` from a segment."""
    low = np.maximum(np.floor(np.minimum(start, end) - radius), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(start, end) + radius) + 1, mask.shape).astype(int)
    if (high <= low).any():
        return
    rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
    down, across = rows + 0.5 - start[0], columns + 0.5 - start[1]
    way = end - start
    length = float(way @ way)
    along = np.clip((down * way[0] + across * way[1]) / length, 0, 1) if length else 0.0
    near = (down - along * way[0]) ** 2 + (across - along * way[1]) ** 2 <= radius**2
    mask[low[0] : high[0], low[1] : high[1]][near] = value
