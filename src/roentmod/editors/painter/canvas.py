"""The ground of every rendering: the working grid, seeded noise, and attenuation.

A display value is taken for a sigmoid of attenuation (the film's characteristic curve, Hurter and
Driffield, 1890), so that what lies in the beam adds to the logit of the display value. An opacity
of the lung takes the place of air: what it can add at most is the attenuation that the air left
out, against soft tissue of the same body. It therefore shows fully over lung, hardly over the
heart, ribs stay visible through it, and it is never brighter than the host's own soft tissue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.interpolate import CubicSpline

from roentmod.anatomy import Anatomy, LungSide, Mask
from roentmod.editors.compose import resized

__all__ = ["Array", "Canvas", "Change", "apply", "logit", "polyline"]

Array = NDArray[np.float32]
GRID = 512
# Inner thoracic width of an adult at the detector, for radiographs without pixel spacing.
ASSUMED_WIDTH_MM = 280.0
# One level of an 8-bit picture: smaller changes would be lost in storage.
LEAST = 1 / 255


@dataclass(frozen=True, eq=False)
class Change:
    """Change of the beam by a rendering, on the canvas's grid.

    Attributes:
        fill: part of the lung's air replaced by tissue or fluid, h x w in [0, 1].
        density: attenuation added besides, in logits of the display value, h x w, or None;
            negative is lucent.
        calm: how far fine markings disappear, h x w in [0, 1], or None.
        metal: attenuation of objects on top, in logits, at least 0, h x w, or None.
        severity: the rendering, in units a reader would use.
    """

    fill: Array
    density: Array | None = None
    calm: Array | None = None
    metal: Array | None = None
    severity: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep arrays as float32."""
        for name in ("fill", "density", "calm", "metal"):
            if (array := getattr(self, name)) is not None:
                object.__setattr__(self, name, np.asarray(array, dtype=np.float32))

    def __add__(self, other: Change) -> Change:
        """Return both changes together; severities are kept under their own names."""
        return Change(
            np.maximum(self.fill, other.fill),
            _together(self.density, other.density, np.add),
            _together(self.calm, other.calm, np.maximum),
            _together(self.metal, other.metal, np.add),
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
    """

    pixels: Array
    anatomy: Anatomy
    mm: float
    mm_known: bool

    @classmethod
    def of(cls, pixels: Array, anatomy: Anatomy, spacing_mm: float | None) -> Canvas:
        """Bring a radiograph and its anatomy to the grid."""
        scale = GRID / max(pixels.shape)
        if scale < 1:
            shape = (round(pixels.shape[0] * scale), round(pixels.shape[1] * scale))
            small = resized(pixels, shape)
            outlines = (anatomy.right_lung, anatomy.left_lung, anatomy.heart)
            right, left, heart = (resized(m.astype(np.float32), shape) > 0.5 for m in outlines)
            anatomy = Anatomy(right, left, heart, anatomy.quality, anatomy.doubts)
        else:
            scale, small = 1.0, pixels
        if spacing_mm is None:
            return cls(small, anatomy, ASSUMED_WIDTH_MM / anatomy.thoracic_width, False)
        return cls(small, anatomy, spacing_mm / scale, True)

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
    def air(self) -> Array:
        """Attenuation that the lungs' air leaves out against soft tissue, in logits, h x w.

        Taken from the lung's local mean, so that ribs and vessels keep their contrast when air is
        replaced; near and outside the lung's border from the pixel itself, so that none is bright.
        """
        lungs = self.anatomy.lungs
        value = logit(self.pixels)
        weight = self.blur(lungs.astype(np.float32), 5)
        mean = self.blur(np.where(lungs, value, 0).astype(np.float32), 5) / np.maximum(weight, 1e-3)
        depth = ndimage.distance_transform_edt(lungs).astype(np.float32)
        seam = np.clip((depth - self.unit) / (7 * self.unit), 0, 1)
        local = seam * mean + (1 - seam) * value
        return np.asarray(np.maximum(logit(self.tissue) - local, 0), dtype=np.float32)

    def soft(self, mask: Mask, reach: float = 1.5) -> Array:
        """Return `mask` with soft edges; `reach` in pixels of a 224 px picture."""
        return self.blur(mask.astype(np.float32), reach)

    def blur(self, image: Array, reach: float) -> Array:
        """Return a Gaussian blur; `reach` is its deviation in pixels of a 224 px picture."""
        return np.asarray(ndimage.gaussian_filter(image, reach * self.unit, truncate=3.0))

    def field(self, side: LungSide, spare: float = 2.0) -> Array:
        """Return where an opacity of one lung may lie, in [0, 1], h x w.

        `spare` pixels (of a 224 px picture) wider than the outline, so that no dark rim of lung is
        left at its border; there the tissue is dense, and adding attenuation hardly shows.
        """
        lung = self.anatomy.lung(side)
        inside = ndimage.distance_transform_edt(~lung) < spare * self.unit
        # Widening must not reach over the spine into the other lung.
        inside &= ~self.anatomy.lung("left" if side == "right" else "right")
        return self.soft(inside, 1.2)

    def lateral(self, side: LungSide) -> Array:
        """Return 0 at the lung's inner and 1 at its outermost column, 1 x w, unclipped."""
        columns = np.flatnonzero(self.anatomy.lung(side).any(0))
        inner, outer = columns[-1], columns[0]
        if side == "left":
            inner, outer = outer, inner
        across: Array = (self.columns - inner) / float(outer - inner or 1)
        return across

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
        return np.asarray((made - made.mean()) / (made.std() + 1e-6), dtype=np.float32)

    def distance(self, row: float, column: float) -> Array:
        """Return the distance of every pixel from a point, in mm, h x w."""
        away: Array = np.hypot(self.rows - row, self.columns - column) * np.float32(self.mm)
        return away

    def spot(
        self,
        rng: np.random.Generator,
        side: LungSide,
        heights: tuple[float, float],
        margin_mm: float = 0.0,
    ) -> tuple[float, float]:
        """Return row and column of a random place in a lung.

        Args:
            rng: two numbers are drawn, whatever the lung: how far down, and how far across.
            side: which lung.
            heights: the part of the lung's height to choose from, 0 apex to 1 base.
            margin_mm: distance to keep from the lung's border where the lung is large enough.
        """
        down, across = rng.uniform(*heights), rng.random()
        first, last = self.anatomy.span(side)
        inwards = ndimage.distance_transform_edt(self.anatomy.lung(side))
        low, high = (round(first + h * (last - first)) for h in heights)
        keep = min(margin_mm / self.mm, 0.7 * float(inwards[low : high + 1].max(initial=0.0)))
        free = np.flatnonzero((inwards > keep).any(1))
        if not free.size:
            return self.anatomy.hilum(side)
        row = int(free[np.argmin(np.abs(free - (first + down * (last - first))))])
        own = np.flatnonzero(inwards[row] > keep)
        return float(row), float(own[0] + across * (own[-1] - own[0]))


def polyline(canvas: Canvas, points: list[tuple[float, float]], width_mm: float) -> Array:
    """Return a smooth line through `points` (row, column), h x w in [0, 1], soft at its edges."""
    knots = np.asarray(points, dtype=np.float64)
    steps = np.linspace(0, len(knots) - 1, 40 * len(knots))
    if len(knots) > 2:
        path = CubicSpline(np.arange(len(knots)), knots, axis=0)(steps)
    else:
        path = np.stack([np.interp(steps, [0, 1], knots[:, i]) for i in (0, 1)], axis=1)
    return _stroke(canvas, path, width_mm)


def _stroke(canvas: Canvas, path: NDArray[np.float64], width_mm: float) -> Array:
    """Return how far each pixel is covered by a line of `width_mm` along a dense path."""
    # Drawn four times too large and averaged down: width and edges below one pixel come out right.
    fine, (height, width) = 4, canvas.shape
    board = Image.new("L", (width * fine, height * fine), 0)
    wide = max(1, round(width_mm / canvas.mm * fine))
    dots = [(float(c) * fine + fine / 2, float(r) * fine + fine / 2) for r, c in path]
    ImageDraw.Draw(board).line(dots, fill=255, width=wide, joint="curve")
    small = board.resize((width, height), Image.Resampling.BOX)
    return np.asarray(np.asarray(small) / 255, dtype=np.float32)


def logit(display: Any) -> Any:
    """Return the attenuation, in logits, of display values in [0, 1]."""
    inside = np.clip(display, 0.004, 0.996)
    return np.log(inside / (1 - inside))


def apply(pixels: Array, canvas: Canvas, change: Change, rng: np.random.Generator) -> Array:
    """Return `pixels` (native h x w) with a change of the beam; what changes too little stays.

    Where markings are calmed, structures finer than a rib are opened away (Serra's opening) and
    noise of the host's own strength takes their place.
    """
    shape = pixels.shape[0], pixels.shape[1]
    result = pixels
    if change.calm is not None:
        result = result + resized(change.calm, shape) * (_calmed(pixels, canvas, rng) - result)
    added = np.clip(change.fill, 0, 1) * canvas.air
    if change.density is not None:
        added = added + change.density
    result = _attenuate(result, resized(added, shape))
    if change.metal is not None:
        result = _attenuate(result, np.maximum(resized(change.metal, shape), 0))
    changed = np.abs(result - pixels) >= LEAST
    return np.where(changed, np.clip(result, 0, 1), pixels).astype(np.float32)


def _attenuate(pixels: Array, added: Array) -> Array:
    """Add attenuation, in logits, to display values."""
    raised = 1 / (1 + np.exp(-(logit(pixels) + added)))
    return np.where(np.abs(added) > 1e-3, raised, pixels).astype(np.float32)


def _calmed(pixels: Array, canvas: Canvas, rng: np.random.Generator) -> Array:
    scale = max(pixels.shape) / 224
    size = 2 * round(2.2 * scale) + 1
    opened = ndimage.grey_opening(pixels, size=(size, size))
    smooth = ndimage.gaussian_filter(opened, 1.2 * scale)
    fine = pixels - ndimage.gaussian_filter(pixels, 1.0)
    lungs = resized(canvas.anatomy.lungs.astype(np.float32), (pixels.shape[0], pixels.shape[1])) > 0
    # The median is blind to the few strong edges of ribs and vessels.
    strength = 1.48 * float(np.median(np.abs(fine[lungs])))
    grain = rng.standard_normal(pixels.shape).astype(np.float32) * strength
    return np.asarray(smooth + grain, dtype=np.float32)
