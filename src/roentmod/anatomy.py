"""Where things are in a frontal radiograph: lungs and heart, and what follows from them.

Outlines come from `roentmod.imaging.segmentation` (estimated) or `roentmod.datasets.phantom`
(known). Everything else here is geometry on them. Sides are the patient's: the right
lung lies left in the picture. Rows run down, columns to the right, both in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["THIRDS", "Anatomy", "LungSide", "Mask", "Point", "Third", "heart_between"]

Mask = NDArray[np.bool_]
Point = tuple[float, float]
LungSide = Literal["left", "right"]
Third = Literal["upper", "middle", "lower"]
THIRDS: tuple[Third, ...] = get_args(Third)
# Heights of hilum and heart top as fractions of lung height below the apex, in adults of normal
# build; the tests hold them against phantoms.
_HILUM, _HEART_TOP = 0.42, 0.45
# How far the heart's lower border lies below the right dome.
_HEART_FALL = 0.1


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Lungs and heart of one radiograph.

    Attributes:
        right_lung: the patient's right lung field, h x w bool.
        left_lung: the patient's left lung field, h x w bool.
        heart: cardiac silhouette, its parts over spine and diaphragm included, h x w bool.
        quality: how far to trust the outlines, 0 to 1.
        doubts: what speaks against them, in words; empty where nothing does.
    """

    right_lung: Mask
    left_lung: Mask
    heart: Mask
    quality: float = 1.0
    doubts: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.heart.shape
        return height, width

    def lung(self, side: LungSide) -> Mask:
        """Return the patient's left or right lung field, h x w."""
        return self.right_lung if side == "right" else self.left_lung

    @cached_property
    def lungs(self) -> Mask:
        """Both lung fields, h x w."""
        return self.right_lung | self.left_lung

    @cached_property
    def top(self) -> float:
        """Row of the higher apex."""
        return float(np.flatnonzero(self.lungs.any(1))[0])

    @cached_property
    def bottom(self) -> float:
        """Row of the lower costophrenic angle."""
        return float(np.flatnonzero(self.lungs.any(1))[-1])

    @cached_property
    def midline(self) -> NDArray[np.float64]:
        """Column of the spine in every row, h: a straight line through the gap between the lungs.

        Fitted above the hila, where the heart does not push it aside.
        """
        rows, middles = [], []
        stop = self.top + _HILUM * (self.bottom - self.top)
        for row in range(int(self.top), int(stop)):
            right, left = (np.flatnonzero(lung[row]) for lung in (self.right_lung, self.left_lung))
            if right.size and left.size and left[0] > right[-1]:
                rows.append(row)
                middles.append((right[-1] + left[0]) / 2)
        every = np.arange(self.shape[0], dtype=np.float64)
        if len(rows) < 4:
            columns = np.flatnonzero(self.lungs.any(0))
            return np.full_like(every, (columns[0] + columns[-1]) / 2)
        slope, offset = np.polyfit(rows, middles, 1)
        return np.asarray(slope * every + offset)

    @cached_property
    def thoracic_width(self) -> float:
        """Greatest inner width of the thorax, in pixels: outer border to outer border of the lungs.

        Measured at or below the hila, as in the cardiothoracic ratio (Danzer, 1919).
        """
        rows = np.flatnonzero(self.right_lung.any(1) & self.left_lung.any(1))
        rows = rows[rows >= self.hilum("right")[0]]
        if not rows.size:
            return float(np.ptp(np.flatnonzero(self.lungs.any(0))) + 1)
        widths = [np.ptp(np.flatnonzero(self.lungs[row])) + 1 for row in rows]
        return float(max(widths))

    @cached_property
    def heart_extent(self) -> tuple[float, float]:
        """Greatest reach of the heart to the right and to the left of the midline, in pixels."""
        rows, columns = np.nonzero(self.heart)
        if not rows.size:
            return 0.0, 0.0
        away = columns - self.midline[rows]
        return float(max(0.0, -away.min() + 0.5)), float(max(0.0, away.max() + 0.5))

    @property
    def cardiothoracic_ratio(self) -> float:
        """Width of the heart over inner width of the thorax (Danzer, 1919)."""
        return sum(self.heart_extent) / self.thoracic_width

    def lean(self, pixels: NDArray[np.float32]) -> float:
        """Return how much denser a picture is left of the midline than right of it, in its SD.

        Taken between hila and right dome, a quarter of the thorax to either side: the heart lies
        there, more of it left. Below 0, it may lie right, or the picture be mirrored.
        """
        rows = np.arange(*sorted(int(p[0]) for p in (self.hilum("right"), self.dome("right"))))
        reach = np.arange(1, int(self.thoracic_width / 4) + 1)
        middle = np.rint(self.midline[rows]).astype(np.int64)[:, None]
        sides = [
            pixels[rows[:, None], np.clip(middle + step * reach, 0, self.shape[1] - 1)]
            for step in (1, -1)
        ]
        if not sides[0].size:
            return 0.0
        return float((sides[0].mean() - sides[1].mean()) / (pixels.std() + 1e-6))

    def outer(self, side: LungSide) -> float:
        """Column of the lung's outermost point."""
        columns = np.flatnonzero(self.lung(side).any(0))
        return float(columns[0] if side == "right" else columns[-1])

    def span(self, side: LungSide) -> tuple[float, float]:
        """Return first and last row of a lung."""
        rows = np.flatnonzero(self.lung(side).any(1))
        return float(rows[0]), float(rows[-1])

    def hilum(self, side: LungSide) -> Point:
        """Return row and column of a hilum: on the inner border, 0.42 of the lung's height down."""
        first, last = self.span(side)
        row = round(first + _HILUM * (last - first))
        columns = np.flatnonzero(self.lung(side)[row])
        if not columns.size:
            return float(row), float(self.midline[row])
        return float(row), float(columns[-1] if side == "right" else columns[0])

    def floor(self, side: LungSide) -> NDArray[np.float64]:
        """Return the row of the lung's lower border in each column, w; NaN outside the lung."""
        lung = self.lung(side)
        last = self.shape[0] - 1 - np.argmax(lung[::-1], axis=0).astype(np.float64)
        return np.where(lung.any(0), last, np.nan)

    def angle(self, side: LungSide) -> Point:
        """Return the costophrenic angle: the lowest point of the outer third of the lung."""
        floor = self.floor(side)
        columns = np.flatnonzero(np.isfinite(floor))
        third = max(1, len(columns) // 3)
        outer = columns[:third] if side == "right" else columns[-third:]
        column = int(outer[np.argmax(floor[outer])])
        return float(floor[column]), float(column)

    def dome(self, side: LungSide) -> Point:
        """Return the top of the diaphragm's dome.

        It is the highest floor on the way inwards from the costophrenic angle, as far as the floor
        is the diaphragm: where it turns steep, the heart's border begins.
        """
        floor = self.floor(side)
        columns = np.flatnonzero(np.isfinite(floor))
        if side == "left":
            columns = columns[::-1]
        columns = columns[int(np.flatnonzero(columns == int(self.angle(side)[1]))[0]) :]
        step = max(2, round(0.03 * self.shape[1]))
        walked = floor[columns]
        # The angle itself may be steep, so the first two steps are walked in any case.
        rises = walked[2 * step : -step] - walked[3 * step :]
        steep = np.flatnonzero(rises > 1.5 * step)
        stop = 2 * step + int(steep[0]) + 1 if steep.size else len(columns)
        # A large heart may hide all of the dome but its edge, and its border begin with a leap.
        leaps = np.flatnonzero(walked[:-2] - walked[2:] > 1.5 * step)
        leaps = leaps[leaps >= step // 3]
        stop = min(stop, int(leaps[0]) + 1) if leaps.size else stop
        column = int(columns[:stop][np.argmin(walked[:stop])])
        return float(floor[column]), float(column)

    def zone(self, side: LungSide, name: Third) -> Mask:
        """Return a third of a lung by height, h x w."""
        first, last = self.span(side)
        part = THIRDS.index(name)
        low, high = (first + (last + 1 - first) * f / 3 for f in (part, part + 1))
        rows = np.arange(self.shape[0])
        return self.lung(side) & ((rows >= low) & (rows < high))[:, None]


def heart_between(right_lung: Mask, left_lung: Mask) -> Mask:
    """Return the cardiac silhouette that the lungs leave free, h x w.

    Its sides are the inner borders of the lungs below the hila. Its lower border lies at the right
    dome and falls towards the apex; top and corners are rounded.
    """
    outline = Anatomy(right_lung, left_lung, np.zeros_like(right_lung))
    spans = [outline.span(side) for side in ("right", "left")]
    height = max(last - first for first, last in spans)
    top = sum(first + _HEART_TOP * (last - first) for first, last in spans) / 2
    dome = outline.dome("right")[0]
    heart = np.zeros_like(right_lung)
    columns = np.arange(right_lung.shape[1])
    bottom = dome + _HEART_FALL * height
    inner = [float(outline.midline[int(top)])] * 2
    for row in range(int(top), min(right_lung.shape[0], int(bottom) + 1)):
        for index, lung in enumerate((right_lung, left_lung)):
            own = np.flatnonzero(lung[row])
            if own.size and (index == 1 or row <= dome):
                inner[index] = float(own[-1] + 1 if index == 0 else own[0] - 1)
        heart[row] = (columns >= inner[0]) & (columns <= inner[1])
    rows, across = np.nonzero(heart)
    if rows.size:
        # A superellipse tilted towards the apex rounds the corners off.
        left, right = across.min(), across.max() + 1
        x = 2 * (columns - left) / (right - left) - 1
        centre, half = (top + bottom) / 2, (bottom - top) / 2
        y = (np.arange(heart.shape[0])[:, None] - centre - 0.25 * half * x) / half
        heart &= np.abs(x) ** 3.5 + np.abs(y) ** 3.5 <= 1
    return heart
