"""The radiograph: one frontal chest X-ray with its grey scale, geometry and source.

Range, polarity, spacing and geometry are settled when a `Radiograph` is made. `pixels` are display
values in [0, 1], bright where the body attenuates (MONOCHROME2), upright, the patient's right at
the left, with square pixels. The stored levels of the file stay beside them, so that an edit
returns to the file's own bits, rows and columns, and leaves untouched pixels untouched.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roentmod.errors import UnsuitableError

__all__ = ["Frame", "GreyScale", "Mark", "Radiograph", "Square", "View"]

View = Literal["PA", "AP", ""]

MIN_SIDE = 64
MAX_SIDE = 16384
_ASPECTS = (0.2, 5.0)
_WHOLE = slice(None), slice(None)
# Rows brought into stored levels at a time: what lies between stays in a processor's cache.
_STRIP = 32


@dataclass(frozen=True)
class GreyScale:
    """How stored levels become display values: a monotone table, invertible outside plateaus.

    Attributes:
        lowest: the stored level of ``table[0]``.
        table: display value in [0, 1] of each stored level, float32, monotone (either direction).
    """

    lowest: int
    table: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check the table.

        Raises:
            UnsuitableError: the table is empty, leaves [0, 1], or is not monotone.
        """
        table = self.table
        if table.ndim != 1 or table.size < 2 or not np.isfinite(table).all():
            raise UnsuitableError("A grey scale needs at least two finite levels.")
        steps = np.diff(table)
        if table.min() < 0 or table.max() > 1 or not ((steps >= 0).all() or (steps <= 0).all()):
            raise UnsuitableError("A grey scale must be monotone and stay in [0, 1].")

    @classmethod
    def linear(cls, levels: int) -> GreyScale:
        """Return the scale of a plain picture: level 0 is 0, level ``levels - 1`` is 1."""
        return cls(0, np.linspace(0, 1, levels, dtype=np.float32))

    def display(self, stored: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return display values in [0, 1] for stored levels of any shape."""
        shown: NDArray[np.float32] = self.table[stored.astype(np.int64) - self.lowest]
        return shown

    def store(
        self, display: NDArray[np.float32], stored: NDArray[np.integer]
    ) -> NDArray[np.integer]:
        """Return the stored levels that show `display`, close to `stored` where that is free.

        Pixels whose display value is unchanged keep their stored level exactly, also in plateaus
        (levels outside the window, which the display cannot tell apart).
        """
        changed = display != self.display(stored)
        result = stored.copy()
        wanted = np.clip(display[changed].astype(np.float64), 0, 1)
        index = np.rint(self._inverse(wanted)).astype(np.int64)
        if self.table[-1] < self.table[0]:
            index = self.table.size - 1 - index
        result[changed] = (index + self.lowest).astype(stored.dtype)
        return result

    @cached_property
    def _inverse(self) -> _Interpolation:
        """From display values to places in the rising table."""
        table = self.table if self.table[-1] >= self.table[0] else self.table[::-1]
        # Of levels with one display value take the edge nearest the rest: no contrast is invented.
        values, first = np.unique(table, return_index=True)
        last = np.concatenate([first[1:] - 1, [table.size - 1]])
        inner = np.where(values <= values.mean(), last, first)
        return _Interpolation(values.astype(np.float64), inner.astype(np.float64))


class _Interpolation:
    """``np.interp`` over [0, 1] of fixed knots, the same bits, several times as fast.

    Intervals are looked up by cell of an even grid, and not searched for.
    """

    def __init__(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        """Take the knots, x rising, in [0, 1]."""
        self._cells = 4 * x.size
        edges = np.arange(self._cells + 2) / self._cells
        # Rounding may put a number near an edge into the cell beside its own.
        lowest, highest = (
            np.maximum(np.searchsorted(x, edges + aside, side="right") - 1, 0)
            for aside in (-1e-12, 1e-12)
        )
        self._start = lowest
        self._steps = int((highest[1:] - lowest[:-1]).max())
        self._x = np.concatenate([x, [np.inf]])
        self._y = y
        slope = np.diff(y) / np.diff(x) if x.size > 1 else y[:0]
        self._slope = np.concatenate([slope, [0.0]])

    def __call__(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the interpolated numbers, the same shape."""
        low = self._start[(at * self._cells).astype(np.int64)]
        for _ in range(self._steps):
            low += at >= self._x[low + 1]
        offset = np.maximum(at - self._x[low], 0)
        result: NDArray[np.float64] = self._slope[low] * offset + self._y[low]
        return result


@dataclass(frozen=True)
class Frame:
    """How a file's rows and columns lie to the upright picture with square pixels.

    The file's picture is transposed, then turned over top to bottom, then left to right, then
    stretched along its coarser axis, so that nothing is lost.

    Attributes:
        transposed: the file's rows are columns of the upright picture.
        upside_down: the first row of the transposed picture is the lowest.
        mirrored: the first column of the transposed picture is the patient's left.
        aspect: a pixel's height over its width in the upright picture.
    """

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False
    aspect: float = 1.0

    def __post_init__(self) -> None:
        """Check the aspect.

        Raises:
            UnsuitableError: not 1:5 to 5:1.
        """
        if not _ASPECTS[0] <= self.aspect <= _ASPECTS[1]:
            raise UnsuitableError(
                f"A pixel's height is {_ASPECTS[0]:g} to {_ASPECTS[1]:g} of its width; the header "
                f"says {self.aspect:g}. Correct its spacing or aspect ratio."
            )

    def upright(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Turn a picture on the file's rows and columns (h x w) upright."""
        turned = picture.T if self.transposed else picture
        return np.ascontiguousarray(turned[:: _step(self.upside_down), :: _step(self.mirrored)])

    def turned_back(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Undo `upright`."""
        turned = picture[:: _step(self.upside_down), :: _step(self.mirrored)]
        return np.ascontiguousarray(turned.T if self.transposed else turned)

    def squared(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Interpolate an upright picture (integers or floats) linearly on square pixels.

        Raises:
            UnsuitableError: more than 16384 pixels per side.
        """
        if self.aspect == 1:
            return picture
        axis, factor = (0, self.aspect) if self.aspect > 1 else (1, 1 / self.aspect)
        count = picture.shape[axis]
        length = round(count * factor)
        if length > MAX_SIDE:
            raise UnsuitableError(
                f"A picture has at most {MAX_SIDE} pixels per side; with square pixels it has "
                f"{length}. Give a smaller one."
            )
        at = np.clip((np.arange(length) + 0.5) * count / length - 0.5, 0, count - 1)
        low = np.minimum(at.astype(np.int64), count - 2)
        share = _along(axis, (at - low).astype(np.float32))
        values = picture.astype(np.float32)
        mixed = values.take(low, axis) * (1 - share) + values.take(low + 1, axis) * share
        whole: NDArray[Any] = np.rint(mixed) if picture.dtype.kind in "iu" else mixed
        return whole.astype(picture.dtype)

    def averaged(self, picture: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return a square-pixel picture on the file's pixels, `shape` of them, by area.

        What is 0 throughout a pixel stays exactly 0.
        """
        axis = 0 if self.aspect > 1 else 1
        count, length = shape[axis], picture.shape[axis]
        edges = np.arange(count + 1) * length / count
        first = edges[:-1].astype(np.int64)
        total = np.zeros(shape, dtype=np.float32)
        for place in (first + k for k in range(int(np.ceil(length / count)) + 1)):
            share = np.minimum(edges[1:], place + 1) - np.maximum(edges[:-1], place)
            weight = (np.clip(share, 0, None) * count / length).astype(np.float32)
            total += _along(axis, weight) * picture.take(np.minimum(place, length - 1), axis)
        return total


def _step(backwards: bool) -> int:
    return -1 if backwards else 1


def _along(axis: int, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    return weights[:, None] if axis == 0 else weights[None, :]


@dataclass(frozen=True)
class Square:
    """Where a picture of height x width pixels lies in the square it is padded to."""

    height: int
    width: int

    @property
    def side(self) -> int:
        """Side of the square, in pixels."""
        return max(self.height, self.width)

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the picture's first pixel inside the square."""
        return (self.side - self.height) // 2, (self.side - self.width) // 2

    def pad(self, image: NDArray[np.float32], value: float = 0.0) -> NDArray[np.float32]:
        """Return `image` (h x w) centred in a side x side array filled with `value`."""
        top, left = self.origin
        canvas = np.full((self.side, self.side), value, dtype=image.dtype)
        canvas[top : top + self.height, left : left + self.width] = image
        return canvas

    def crop(self, square: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo `pad`, bit for bit."""
        top, left = self.origin
        return square[top : top + self.height, left : left + self.width].copy()


@dataclass(frozen=True)
class Mark:
    """Letters burned into a radiograph.

    Attributes:
        box: first row and column, and those after the last, of the upright picture.
        characters: about how many, 3 or more.
        height: of a letter, in pixels.
        over_anatomy: it lies on the body, where nothing is covered.
        covered: background is in its place.
    """

    box: tuple[int, int, int, int]
    characters: int
    height: int
    over_anatomy: bool
    covered: bool = False


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One frontal chest radiograph.

    Attributes:
        stored: levels as in the file (first sample of the modality pipeline), h x w integers,
            upright, with square pixels.
        grey: how stored levels become display values.
        spacing_mm: row and column spacing in mm, or None where unknown.
        bits: bits stored per pixel, 8 to 16.
        source: where it came from (a file name; never a patient's name).
        synthetic: it was drawn or edited, and not taken of a patient: phantoms, and files that say
            so. Everything written of it says so, too.
        origin: what an output file must carry over (for DICOM, the source data set), opaque here.
        frame: how the file's own rows and columns lie to these.
        own: upright levels on the file's own pixels, where those are not square; else None.
        burned_in: whether its header says that text is burned into it.
        marks: such text as was found, or covered, in it; None: nobody has looked.
        view: "PA" or "AP", as its header or data set says; "" where neither does.
    """

    stored: NDArray[np.integer]
    grey: GreyScale
    spacing_mm: tuple[float, float] | None = None
    bits: int = 8
    source: str = ""
    synthetic: bool = False
    origin: object = field(default=None, repr=False)
    frame: Frame = field(default=Frame(), repr=False)
    own: NDArray[np.integer] | None = field(default=None, repr=False)
    burned_in: Literal["yes", "no", "unknown"] = "unknown"
    marks: tuple[Mark, ...] | None = field(default=None, repr=False)
    view: View = ""

    def __post_init__(self) -> None:
        """Check shape and spacing, and lock the stored levels.

        Raises:
            UnsuitableError: not two-dimensional, too small or large, or a spacing not positive.
        """
        shape = self.stored.shape
        if len(shape) != 2 or min(shape) < MIN_SIDE or max(shape) > MAX_SIDE:
            raise UnsuitableError(
                f"A radiograph is one grey picture of {MIN_SIDE} to {MAX_SIDE} pixels per side; "
                f"got shape {'x'.join(map(str, shape))}. Give one full-size frame."
            )
        if self.spacing_mm is not None and min(self.spacing_mm) <= 0:
            raise UnsuitableError(
                f"Pixel spacing must be positive; got {self.spacing_mm}. Use None where unknown."
            )
        self.stored.setflags(write=False)

    @cached_property
    def pixels(self) -> NDArray[np.float32]:
        """Display values, h x w float32 in [0, 1], bright where the body attenuates."""
        shown = self.grey.display(self.stored)
        shown.setflags(write=False)
        return shown

    @cached_property
    def id(self) -> str:
        """Content hash (16 hex digits) of the displayed picture: same picture, same id."""
        shape = np.asarray(self.stored.shape, dtype="<i8").tobytes()
        content = np.ascontiguousarray(self.pixels).astype("<f4").tobytes()
        return hashlib.sha256(shape + content).hexdigest()[:16]

    @property
    def square(self) -> Square:
        """Geometry of the square that editors work in."""
        return Square(*self.stored.shape)

    @property
    def native(self) -> NDArray[np.integer]:
        """Levels on the file's own rows and columns, changed only where the picture was changed.

        Where its pixels are not square, a change is averaged over each of them.
        """
        return self.frame.turned_back(self.stored if self.own is None else self._on_own(self.own))

    def _on_own(self, own: NDArray[np.integer]) -> NDArray[np.integer]:
        before = self.grey.display(self.frame.squared(own))
        change = self.frame.averaged(self.pixels - before, own.shape)
        shown = self.grey.display(own)
        return self.grey.store(np.where(change != 0, np.clip(shown + change, 0, 1), shown), own)

    @classmethod
    def on_file(
        cls,
        levels: NDArray[np.integer],
        grey: GreyScale,
        spacing_mm: tuple[float, float] | None,
        *,
        frame: Frame,
        **facts: Any,
    ) -> Radiograph:
        """Make a radiograph of a file's levels, h x w on its own rows and columns.

        Args:
            levels: as in the file.
            grey: how levels become display values.
            spacing_mm: of the file's rows and columns.
            frame: how those lie to the upright picture with square pixels.
            facts: the other attributes.

        Raises:
            UnsuitableError: as a `Radiograph`, or too large with square pixels.
        """
        upright = frame.upright(levels)
        if spacing_mm is not None and frame.aspect != 1:
            spacing_mm = (min(spacing_mm),) * 2
        elif spacing_mm is not None and frame.transposed:
            spacing_mm = spacing_mm[::-1]
        own = None if frame.aspect == 1 else upright
        picture = frame.squared(upright)
        return cls(picture, grey, spacing_mm, frame=frame, own=own, **facts)

    @classmethod
    def from_array(cls, pixels: NDArray[np.floating], *, source: str = "array") -> Radiograph:
        """Make a radiograph from display values (h x w in [0, 1], bright = dense), kept at 16 bits.

        Raises:
            UnsuitableError: not finite, or outside [0, 1].
        """
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise UnsuitableError(
                "Pixels must be finite and in [0, 1]; got "
                f"{np.nanmin(pixels):g} to {np.nanmax(pixels):g}. Rescale them first."
            )
        stored = np.rint(np.asarray(pixels, dtype=np.float64) * 65535).astype(np.uint16)
        return cls(stored, GreyScale.linear(65536), bits=16, source=source)

    def with_pixels(
        self, pixels: NDArray[np.float32], window: tuple[slice, slice] = _WHOLE
    ) -> Radiograph:
        """Return this radiograph showing `pixels` (clipped to [0, 1]) in its own grey scale.

        Stored levels change only where a display value changed. The result is synthetic.

        Args:
            pixels: display values of the window, h x w where it is the whole picture.
            window: rows and columns that may change.
        """
        stored, shown = self.stored.copy(), self.pixels.copy()
        levels, display = stored[window], shown[window]
        for start in range(0, len(pixels), _STRIP):
            rows = slice(start, start + _STRIP)
            levels[rows] = self.grey.store(pixels[rows], levels[rows])
            display[rows] = self.grey.display(levels[rows])
        result = replace(self, stored=stored, synthetic=True)
        shown.setflags(write=False)
        # Known already: `pixels` is computed at its first use.
        result.__dict__["pixels"] = shown
        return result
