"""The ground of every rendering: the working grid, seeded noise, and attenuation.

A display value is taken for a sigmoid of attenuation (the film's characteristic curve, Hurter and
Driffield, 1890), so that what lies in the beam adds to the logit of the display value. An opacity
of the lung takes the place of air: what it can add at most is the attenuation that the air left
out, against soft tissue of the same body. It therefore shows fully over lung, hardly over the
heart, ribs stay visible through it, and it is never brighter than the host's own soft tissue.
Vessels are seen against air, so they go with it. What has moved is moved, with its own texture and
sharpness; all else is added, so that grain and blur are the film's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.interpolate import CubicSpline

from roentmod.anatomy import Anatomy, LungSide, Mask
from roentmod.editors.compose import resized

__all__ = [
    "Array",
    "Canvas",
    "Change",
    "Rng",
    "Stroke",
    "apply",
    "branches",
    "curve",
    "logit",
    "step",
]

Array = NDArray[np.float32]
Rng = np.random.Generator
# Points (row, column) of a smooth line, and its width in mm at both ends.
Stroke = tuple[NDArray[np.float64], float, float]
GRID = 512
# Inner thoracic width of an adult at the detector, for radiographs without pixel spacing.
ASSUMED_WIDTH_MM = 280.0
# One level of an 8-bit picture: smaller changes would be lost in storage.
LEAST = 1 / 255
# Least part of what moves that an area must hold.
_MOVED = 0.75
# Width, in mm, of the border of an area that lies across a lung.
_SOFT = 14.0
# How much of the markings goes with the air that is replaced.
_DROWNED = 0.7
# How much of the grain goes where all air is replaced.
_GRAIN = 0.7


@dataclass(frozen=True, eq=False)
class Change:
    """Change of the beam by a rendering, on the canvas's grid.

    Attributes:
        fill: part of the lung's air replaced by tissue or fluid, h x w in [0, 1].
        density: attenuation added besides, in logits of the display value, h x w, or None;
            negative is lucent.
        calm: how far vessels and fine markings disappear, h x w in [0, 1], or None.
        metal: attenuation of objects on top, in logits, at least 0, h x w, or None.
        shift: where each pixel's content comes from, as (row, column) offsets in pixels of the
            grid, 2 x h x w, or None; it happens before all else.
        cover: how far moved content hides what was there, h x w in [0, 1]; None is wholly.
        severity: the rendering, in units a reader would use.
    """

    fill: Array
    density: Array | None = None
    calm: Array | None = None
    metal: Array | None = None
    shift: Array | None = None
    cover: Array | None = None
    severity: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep arrays as float32."""
        for name in ("fill", "density", "calm", "metal", "shift", "cover"):
            if (array := getattr(self, name)) is not None:
                object.__setattr__(self, name, np.asarray(array, dtype=np.float32))

    def within(self, seen: Array) -> Change:
        """Return the change as far as it is seen, `seen` in [0, 1], h x w."""
        names = ("fill", "density", "calm", "metal", "shift")
        parts: dict[str, Any] = {name: getattr(self, name) for name in names}
        kept = {name: part * seen for name, part in parts.items() if part is not None}
        return replace(self, **kept)

    def __add__(self, other: Change) -> Change:
        """Return both changes together; severities are kept under their own names."""
        return Change(
            np.maximum(self.fill, other.fill),
            _together(self.density, other.density, np.add),
            _together(self.calm, other.calm, np.maximum),
            _together(self.metal, other.metal, np.add),
            _together(self.shift, other.shift, np.add),
            _together(self.cover, other.cover, np.maximum),
            self.severity | other.severity,
        )


def _together(a: Array | None, b: Array | None, how: Any) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    both: Array = how(a, b)
    return both


@dataclass(frozen=True, eq=False)
class Canvas:
    """A radiograph on the working grid (at most 512 pixels per side), with its anatomy.

    Attributes:
        pixels: display values in [0, 1], h x w.
        anatomy: outlines on the same grid.
        mm: millimetres per pixel of the grid.
        mm_known: False where `mm` was taken from an adult's usual thoracic width.
        area: where a change may lie, h x w; None: everywhere.
    """

    pixels: Array
    anatomy: Anatomy
    mm: float
    mm_known: bool
    area: Mask | None = None

    @classmethod
    def of(
        cls, pixels: Array, anatomy: Anatomy, spacing_mm: float | None, area: Mask | None = None
    ) -> Canvas:
        """Bring a radiograph, its anatomy and the area of a change to the grid."""
        scale = GRID / max(pixels.shape)
        if scale < 1:
            shape = (round(pixels.shape[0] * scale), round(pixels.shape[1] * scale))
            small = resized(pixels, shape)
            outlines = (anatomy.right_lung, anatomy.left_lung, anatomy.heart)
            right, left, heart = (resized(m.astype(np.float32), shape) > 0.5 for m in outlines)
            anatomy = Anatomy(right, left, heart, anatomy.quality, anatomy.doubts)
            area = None if area is None else resized(area.astype(np.float32), shape) > 0.5
        else:
            scale, small = 1.0, pixels
        if spacing_mm is None:
            return cls(small, anatomy, ASSUMED_WIDTH_MM / anatomy.thoracic_width, False, area)
        return cls(small, anatomy, spacing_mm / scale, True, area)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the grid."""
        height, width = self.pixels.shape
        return height, width

    @cached_property
    def unit(self) -> float:
        """Pixels of this grid to one of a 224 px picture: the scale of textures and soft edges."""
        return max(self.shape) / 224

    @cached_property
    def rows(self) -> Array:
        """Row of every pixel, h x 1."""
        return np.arange(self.shape[0], dtype=np.float32)[:, None]

    @cached_property
    def columns(self) -> Array:
        """Column of every pixel, 1 x w."""
        return np.arange(self.shape[1], dtype=np.float32)[None, :]

    @cached_property
    def seen(self) -> Array:
        """How far a change shows, in [0, 1], h x w: 0 outside the area, soft where it is cut off.

        Across a lung the area's border is drawn as soft and uneven as that of an opacity.
        """
        if self.area is None:
            return np.ones(self.shape, dtype=np.float32)
        # Of a small area the middle shows the change whole.
        soft = min(_SOFT, float(self._to_cut[self.area].max(initial=1.0)))
        uneven = 0.2 * soft * self.noise(np.random.default_rng(0), 9)
        return np.asarray(step((self._to_cut + uneven) / soft) * self.rim, dtype=np.float32)

    def room_for(self, shift: Array | None) -> Array | None:
        """Return a shift, 2 x h x w, if the area holds most of what it moves; half would tear."""
        if shift is None or self.area is None:
            return shift
        away = np.abs(shift).sum(0)
        return shift if (away * self.seen).sum() > _MOVED * away.sum() else None

    @cached_property
    def rim(self) -> Array:
        """How far what lies in the area whole shows, in [0, 1], h x w: its border is no knife's."""
        if self.area is None:
            return np.ones(self.shape, dtype=np.float32)
        inwards = ndimage.distance_transform_edt(self.area) * self.mm
        return np.asarray(step(inwards), dtype=np.float32)

    @cached_property
    def _to_cut(self) -> Array:
        """Distance to the lung outside of the area, in mm, h x w; 1e4 where there is none."""
        if self.area is None or not (left_out := self.anatomy.lungs & ~self.area).any():
            return np.full(self.shape, 1e4, dtype=np.float32)
        return np.asarray(ndimage.distance_transform_edt(~left_out) * self.mm, dtype=np.float32)

    def holds(self, side: LungSide, down: float, across: float, reach_mm: float) -> bool:
        """Tell whether a place of a lung and what lies within `reach_mm` of it are in the area."""
        if self.area is None:
            return True
        row, column = self._chart(side, down, across)
        at = row, int(np.clip(round(column), 0, self.shape[1] - 1))
        return bool(self.area[at] and self._to_cut[at] > reach_mm)

    @cached_property
    def value(self) -> Array:
        """Attenuation, in logits, h x w."""
        return np.asarray(logit(self.pixels), dtype=np.float32)

    @cached_property
    def tissue(self) -> float:
        """The display value of soft tissue without air: the heart's, beside the spine."""
        anatomy = self.anatomy
        inner = ndimage.binary_erosion(anatomy.heart, iterations=max(1, round(2 * self.unit)))
        away = np.abs(self.columns - anatomy.midline[:, None]) / anatomy.thoracic_width
        beside = inner & (away > 0.10)
        values = self.pixels[beside if beside.any() else anatomy.heart]
        level = float(np.median(values)) if values.size else 0.8
        return float(np.clip(level, np.quantile(self.pixels[anatomy.lungs], 0.9), 0.95))

    @cached_property
    def liver(self) -> float:
        """The display value below the right dome: that of thick soft tissue."""
        row, column = (round(x) for x in self.anatomy.dome("right"))
        down, reach = round(5 * self.unit), round(14 * self.unit)
        values = self.pixels[row + down : row + 3 * down, max(0, column - reach) : column + reach]
        return max(self.tissue, min(0.97, float(np.median(values)))) if values.size else self.tissue

    @cached_property
    def air(self) -> Array:
        """Attenuation that the lungs' air leaves out against soft tissue, in logits, h x w."""
        return np.asarray(np.maximum(self.solid - self.level, 0), dtype=np.float32)

    @cached_property
    def solid(self) -> Array:
        """Attenuation, in logits, that a lung without air would have, h x w.

        That of the heart, but towards a border that of the tissue which goes on there, so that no
        seam is left: above an apex it is less, above the diaphragm more.
        """
        every, unit = self._coarse
        value, lungs = self.value[::every, ::every], self.anatomy.lungs[::every, ::every]
        # What is darker than the lungs is no tissue.
        dense = np.quantile(value[lungs], 0.25) if lungs.any() else 0.0
        outside = (~lungs & (value > dense)).astype(np.float32)
        solid = np.full_like(value, logit(self.tissue))
        for reach, most in ((15, 0.75), (4, 0.9)):
            share, total = (
                ndimage.gaussian_filter(x, reach * unit, truncate=3.0)
                for x in (outside, outside * value)
            )
            near = most * step(share / 0.35)
            solid = near * total / np.maximum(share, 1e-3) + (1 - near) * solid
        return resized(solid, self.shape)

    @cached_property
    def _coarse(self) -> tuple[int, float]:
        """Step of the coarse grid that wide means are taken on, and `unit` on it."""
        every = 2 if self.unit < 1.9 else 4
        return every, self.unit / every

    @cached_property
    def level(self) -> Array:
        """Attenuation of what lies about a pixel, in logits, h x w.

        Taken from the lung's local mean, so that ribs and vessels keep their contrast when air is
        replaced; near and outside the lung's border from the pixel itself, so that none is bright.
        """
        every, unit = self._coarse
        value, lungs = self.value, self.anatomy.lungs[::every, ::every].astype(np.float32)
        weight, total = (
            ndimage.gaussian_filter(x, 5 * unit, truncate=3.0)
            for x in (lungs, lungs * value[::every, ::every])
        )
        mean = resized(total / np.maximum(weight, 1e-3), self.shape)
        depth = np.maximum(self.depth("right"), self.depth("left"))
        seam = np.clip((depth - self.unit) / (7 * self.unit), 0, 1)
        return np.asarray(seam * mean + (1 - seam) * value, dtype=np.float32)

    @cached_property
    def markings(self) -> Array:
        """Attenuation of vessels and other bright structures finer than a rib, in logits, h x w.

        White top-hat (Serra) of the smoothed picture, less what grain alone leaves, so that taking
        it away spares grain and ribs.
        """
        smooth = self.blur(self.value, 0.45)
        size = 2 * max(1, round(2.0 * self.unit)) + 1
        hat = smooth - ndimage.grey_opening(smooth, size=(size, size))
        grain = float(np.median(hat[self.anatomy.lungs])) if self.anatomy.lungs.any() else 0.0
        return self.blur(np.maximum(hat - 0.6 * grain, 0), 0.3)

    @cached_property
    def drowned(self) -> Array:
        """What vessels lose where air is replaced, in logits, h x w; the local mean stays."""
        return _DROWNED * (self.blur(self.markings, 5) - self.markings)

    @cached_property
    def _depths(self) -> dict[LungSide, Array]:
        sides: tuple[LungSide, ...] = ("left", "right")
        depths = {}
        for side in sides:
            depths[side] = np.zeros(self.shape, dtype=np.float32)
            if (box := _box(self.anatomy.lung(side))) is not None:
                lung = np.pad(self.anatomy.lung(side)[box], 1)
                depths[side][box] = ndimage.distance_transform_edt(lung)[1:-1, 1:-1]
        return depths

    def depth(self, side: LungSide) -> Array:
        """Return the distance from the outside of a lung, in pixels, 0 outside it, h x w."""
        return self._depths[side]

    @cached_property
    def _charts(self) -> dict[LungSide, tuple[Array, Array]]:
        sides: tuple[LungSide, ...] = ("left", "right")
        return {side: self._borders(side) for side in sides}

    def _borders(self, side: LungSide) -> tuple[Array, Array]:
        """Return columns of a lung's inner and outer border in every row, each h x 1.

        Beyond the lung both go straight on, and below the dome the inner one does.
        """
        lung, (first, last) = self.anatomy.lung(side), self.anatomy.span(side)
        rows = np.arange(int(first), int(last) + 1)
        left = lung[rows].argmax(1).astype(np.float64)
        right = lung.shape[1] - 1.0 - lung[rows][:, ::-1].argmax(1)
        inner, outer = (right, left) if side == "right" else (left, right)
        dome = int(np.clip(self.anatomy.dome(side)[0] - first, 0, len(rows) - 1))
        inner[dome:] = inner[dome]
        every = np.arange(self.shape[0])
        smooth = (
            ndimage.gaussian_filter1d(x, 2.5 * self.unit, mode="nearest") for x in (inner, outer)
        )
        inner, outer = (np.interp(every, rows, x) for x in smooth)
        # The apex is a point; its coordinates are those of a narrow lung.
        least = 0.3 * float(np.abs(outer - inner).max())
        outer = np.where(
            np.abs(outer - inner) < least, inner + np.sign(outer - inner) * least, outer
        )
        return inner.astype(np.float32)[:, None], outer.astype(np.float32)[:, None]

    def across(self, side: LungSide) -> Array:
        """Return 0 at the lung's inner and 1 at its outer border of each row, h x w, unclipped."""
        inner, outer = self._charts[side]
        return np.asarray((self.columns - inner) / (outer - inner), dtype=np.float32)

    def from_wall(self, side: LungSide) -> Array:
        """Return the distance inwards from the chest wall along each row, in mm, h x w."""
        inner, outer = self._charts[side]
        inwards = (self.columns - outer) * np.sign(inner - outer)
        return np.asarray(inwards * self.mm, dtype=np.float32)

    def lift(self, side: LungSide, skew: float = 1.0) -> Array:
        """Return how far each pixel follows a dome that moves, in [0, 1], h x w.

        Chest wall and spine stay, and so do the upper lung and what lies far below. With `skew`
        below 1 the dome's top lies further out.
        """
        outer = self._charts[side][1]
        part = (self.columns - outer) / (self.anatomy.midline[:, None] - outer)
        sideways = np.sin(np.pi * np.clip((part + 0.05) / 0.93, 0, 1) ** skew) ** 2
        first, last = self.anatomy.span(side)
        floor = (self.anatomy.dome(side)[0] - first) / (last - first)
        down = self.descent(side)
        # The film's edge does not move.
        edge = float((self.rows[-1, 0] - first) / (last - first))
        end = min(floor + 0.21, max(edge - 0.02, floor + 0.1))
        upright = step((down - 0.4 * floor) / (0.6 * floor)) * step((end - down) / (end - floor))
        return np.asarray(sideways * upright, dtype=np.float32)

    def _chart(self, side: LungSide, down: float, across: float) -> tuple[int, float]:
        first, last = self.anatomy.span(side)
        row = int(np.clip(round(first + down * (last - first)), 0, self.shape[0] - 1))
        inner, outer = (float(border[row, 0]) for border in self._charts[side])
        return row, inner + across * (outer - inner)

    def at(
        self, side: LungSide, down: float, across: float, margin_mm: float, reach_mm: float = 0
    ) -> tuple[float, float]:
        """Return row and column of the place nearest to one of a lung that is `lodging`.

        A place outside the area says no more than its digits do: they choose one in it. Where the
        area holds nothing of the lung, the place is as without an area.
        """
        row, column = self._chart(side, down, across)
        rooms = (self.lodging(side, margin_mm, reach) for reach in (reach_mm, 0.0))
        room = next((room for room in rooms if room.any()), None)
        outside = room is not None and not self.holds(side, down, across, 0.0)
        if room is None:
            room = self._deep(self.depth(side), margin_mm)
        rows, columns = np.nonzero(room)
        if not rows.size:
            return self.anatomy.hilum(side)
        nearest = int(np.argmin((rows - row) ** 2 + (columns - column) ** 2))
        if outside:
            nearest = int(1e4 * (down + across)) % rows.size
        return float(rows[nearest]), float(columns[nearest])

    def lodging(self, side: LungSide, margin_mm: float, reach_mm: float) -> Mask:
        """Return where the middle of what reaches `reach_mm` may lie in a lung, h x w.

        It is at least `margin_mm` from the lung's border, or as far as there is room, and all of it
        that lies in a lung is in the area.
        """
        depth = self.depth(side) if self.area is None else self.depth(side) * self.area
        return self._deep(depth, margin_mm) & (self._to_cut > reach_mm)

    def _deep(self, depth: Array, margin_mm: float) -> Mask:
        deep: Mask = depth > min(margin_mm / self.mm, 0.7 * float(depth.max()))
        return deep

    def soft(self, mask: Mask, reach: float = 1.5) -> Array:
        """Return `mask` with soft edges; `reach` in pixels of a 224 px picture."""
        return self.blur(mask.astype(np.float32), reach)

    def blur(self, image: Array, reach: float) -> Array:
        """Return a Gaussian blur; `reach` is its deviation in pixels of a 224 px picture."""
        # Wide ones are taken on a coarser grid.
        coarse = max(1, int(reach * self.unit / 2.4))
        shape = self.shape[0] // coarse, self.shape[1] // coarse
        small = resized(np.asarray(image, dtype=np.float32), shape)
        soft = ndimage.gaussian_filter(small, reach * self.unit / coarse, truncate=3.0)
        return resized(soft, self.shape)

    def field(self, side: LungSide, spare: float = 2.0) -> Array:
        """Return where an opacity of one lung may lie, in [0, 1], h x w.

        `spare` pixels (of a 224 px picture) wider than the outline, so that no dark rim of lung is
        left at its border; there the tissue is dense, and adding attenuation hardly shows.
        """
        lung = self.anatomy.lung(side)
        # At one deviation from a straight border a blurred mask has the value 0.16.
        inside = self.soft(lung, spare) > 0.16 if spare else lung
        # Widening must not reach over the spine into the other lung.
        inside = inside & ~self.anatomy.lung("left" if side == "right" else "right")
        return self.soft(inside, 1.2)

    def descent(self, side: LungSide) -> Array:
        """Return 0 at the lung's first and 1 at its last row, h x 1, unclipped."""
        first, last = self.anatomy.span(side)
        down: Array = (self.rows - first) / max(last - first, 1.0)
        return down

    def noise(self, rng: np.random.Generator, reach: float) -> Array:
        """Return smooth Gaussian noise of mean 0 and deviation 1, h x w.

        Drawn on a grid as coarse as `reach` (pixels of a 224 px picture) allows, so that a picture
        of another size shows the same texture.
        """
        cells = max(4, round(224 / (2 * reach)))
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        side = max(self.shape)
        made = resized(coarse, (side, side))[: self.shape[0], : self.shape[1]]
        some = made[::3, ::3]
        return np.asarray((made - some.mean()) / (some.std() + 1e-6), dtype=np.float32)

    def distance(self, row: float, column: float) -> Array:
        """Return the distance of every pixel from a point, in mm, h x w."""
        away: Array = np.hypot(self.rows - row, self.columns - column) * np.float32(self.mm)
        return away

    def fractal(self, rng: Rng, reach: float, octaves: int = 3) -> Array:
        """Return noise of several scales, each half as large and as strong as the one before."""
        total = sum(self.noise(rng, reach / 2**i) / 2**i for i in range(octaves))
        return np.asarray(total / np.sqrt(sum(4.0**-i for i in range(octaves))), dtype=np.float32)

    def ragged(self, rng: Rng, mm: float, reach: float = 11) -> tuple[Array, Array]:
        """Return rows and columns displaced by about `mm`: shapes drawn on them are irregular."""
        amount = mm / self.mm
        return (
            self.rows + amount * self.fractal(rng, reach, 2),
            self.columns + amount * self.fractal(rng, reach, 2),
        )

    def draw(self, strokes: Sequence[Stroke]) -> Array:
        """Return how far each pixel is covered by lines, h x w in [0, 1]."""
        # Drawn four times too large and averaged down: thin lines and edges come out right.
        fine, (height, width) = 4, self.shape
        board = Image.new("L", (width * fine, height * fine), 0)
        pen = ImageDraw.Draw(board)
        for path, begin, end in strokes:
            dots = [(float(c) * fine + fine / 2, float(r) * fine + fine / 2) for r, c in path]
            parts = 1 if begin == end else 4
            cuts = np.linspace(0, len(dots) - 1, parts + 1).round().astype(int)
            for k in range(parts):
                wide = begin + (end - begin) * (k + 0.5) / parts
                level = min(1.0, wide / self.mm * fine)
                pen.line(
                    dots[cuts[k] : cuts[k + 1] + 1],
                    fill=max(1, round(255 * level)),
                    width=max(1, round(wide / self.mm * fine)),
                    joint="curve",
                )
        small = board.resize((width, height), Image.Resampling.BOX)
        return np.asarray(np.asarray(small) / 255, dtype=np.float32)


def step(x: Any) -> Any:
    """Return a smooth step: 0 below 0, 1 above 1."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def curve(
    points: Sequence[tuple[float, float]] | NDArray[np.float64],
    width_mm: float,
    end_mm: float | None = None,
) -> Stroke:
    """Return a smooth line through `points` (row, column)."""
    knots = np.asarray(points, dtype=np.float64)
    places = np.linspace(0, len(knots) - 1, 14 * len(knots))
    if len(knots) == 3:
        t = places[:, None]
        path = (
            (t - 1) * (t - 2) / 2 * knots[0] + t * (2 - t) * knots[1] + t * (t - 1) / 2 * knots[2]
        )
    elif len(knots) > 3:
        path = CubicSpline(np.arange(len(knots)), knots, axis=0)(places)
    else:
        path = np.stack([np.interp(places, [0, 1], knots[:, i]) for i in (0, 1)], axis=1)
    return path, width_mm, width_mm if end_mm is None else end_mm


def branches(
    rng: Rng,
    start: tuple[float, float],
    tip: tuple[float, float],
    width_mm: float,
    levels: int = 4,
) -> list[Stroke]:
    """Return a tree that grows from `start` towards `tip`, each branch thinner and shorter."""
    ahead = np.subtract(tip, start)
    length, heading = float(np.hypot(*ahead)), float(np.arctan2(ahead[0], ahead[1]))
    strokes, buds = [], [(np.asarray(start, dtype=np.float64), heading, 0.62 * length, width_mm)]
    for _ in range(levels):
        grown = []
        for foot, angle, long, wide in buds:
            bend, turn = rng.uniform(-0.16, 0.16), rng.uniform(0.25, 0.6, 2)
            way = np.array([np.sin(angle), np.cos(angle)])
            across = np.array([way[1], -way[0]])
            head = foot + long * way
            strokes.append(
                curve(
                    np.stack([foot, (foot + head) / 2 + bend * long * across, head]),
                    wide,
                    0.8 * wide,
                )
            )
            # One goes on, one turns off further down.
            fork = foot + (head - foot) * rng.uniform(0.55, 0.9)
            sign = 1 if rng.random() < 0.5 else -1
            grown.append((head, angle + sign * 0.4 * turn[0], 0.70 * long, 0.76 * wide))
            grown.append((fork, angle - sign * turn[1], 0.62 * long, 0.66 * wide))
        buds = grown
    return strokes


def logit(display: Any) -> Any:
    """Return the attenuation, in logits, of display values in [0, 1]."""
    inside = np.clip(display, 0.004, 0.996)
    return np.log(inside / (1 - inside))


def apply(pixels: Array, canvas: Canvas, change: Change) -> Array:
    """Return `pixels` (native h x w) with a change of the beam; what changes too little stays."""
    shape = pixels.shape[0], pixels.shape[1]
    result = pixels
    if change.shift is not None:
        result = _moved(pixels, change, max(shape) / max(canvas.shape))
        canvas = replace(canvas, pixels=_moved(canvas.pixels, change, 1.0))
    fill = np.clip(change.fill, 0, 1)
    added = fill * (canvas.air + canvas.drowned)
    if change.calm is not None:
        added = added - np.clip(change.calm, 0, 1) * (1 - _DROWNED * fill) * canvas.markings
    if change.density is not None:
        added = added + change.density
    result = _attenuate(result, resized(added, shape))
    if fill.max() > 0.25:
        result = _settled(result, resized(fill, shape))
    if change.metal is not None:
        result = _attenuate(result, np.maximum(resized(change.metal, shape), 0))
    changed = np.abs(result - pixels) >= LEAST
    return np.where(changed, np.clip(result, 0, 1), pixels).astype(np.float32)


def _settled(pixels: Array, fill: Array) -> Array:
    """Return pixels with less grain where air was replaced, as dense tissue has."""
    box = _box(fill > 0.1)
    if box is None:
        return pixels
    inside = pixels[box]
    grain = inside - ndimage.gaussian_filter(inside, 1.5, truncate=2.0)
    result = pixels.copy()
    result[box] = inside - _GRAIN * fill[box] * grain
    return result


def _moved(pixels: Array, change: Change, scale: float) -> Array:
    """Return pixels moved by the shift of a change made on a grid `scale` times coarser."""
    assert change.shift is not None
    shape = pixels.shape[0], pixels.shape[1]
    down, right = (resized(part, shape) * np.float32(scale) for part in change.shift)
    away = np.abs(down) + np.abs(right)
    box = _box(away > 0.05)
    if box is None:
        return pixels
    reach = int(away.max()) + 4
    outer = tuple(slice(max(0, b.start - reach), b.stop + reach) for b in box)
    top, left = (np.float32(b.start - o.start) for b, o in zip(box, outer, strict=True))
    rows, columns = (np.arange(b.stop - b.start, dtype=np.float32) for b in box)
    places = [rows[:, None] + top + down[box], columns[None, :] + left + right[box]]
    # Cubic splines keep grain and edges as sharp as they were.
    moved = ndimage.map_coordinates(pixels[outer], places, order=3, mode="nearest")
    if change.cover is not None:
        cover = np.clip(resized(change.cover, shape)[box], 0, 1)
        moved = cover * moved + (1 - cover) * pixels[box]
    result = pixels.copy()
    result[box] = np.clip(moved, 0, 1)
    return result


def _box(mask: Mask) -> tuple[slice, slice] | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _attenuate(pixels: Array, added: Array) -> Array:
    """Add attenuation, in logits, to display values."""
    touched = np.abs(added) > 1e-3
    box = _box(touched)
    if box is None:
        return pixels
    inside = pixels[box]
    raised = 1 / (1 + np.exp(-(logit(inside) + added[box])))
    result = pixels.copy()
    result[box] = np.where(touched[box], raised, inside)
    return result
