"""Pictures for people: the signed difference with its colour bar, and the sheet of edits.

Every picture carries the word SYNTHETIC. Warm colours mean brighter than the baseline (denser),
cold colours darker; where nothing changed, the dimmed baseline shows through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from roentmod.radiograph import Radiograph

__all__ = [
    "Cell",
    "Row",
    "burned",
    "colour_limit",
    "difference_picture",
    "grey_picture",
    "grid",
    "sheet",
    "visible",
]

Array = NDArray[np.float32]
_BACKGROUND, _INK, _FAINT, _ALARM = (16, 17, 20), (236, 238, 242), (150, 155, 163), (255, 178, 44)
_DIM = 0.5
# A shorter range would show jitter in strong colours.
_LIMITS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
# A change that people can see, of the display range, and the least share of pixels that have it.
_VISIBLE, _LEAST = 0.02, 1e-5
# Stops at 0, 1/2 and 1 of the limit.
_WARM = np.array([(150, 24, 24), (226, 72, 40), (255, 214, 102)], dtype=np.float32)
_COLD = np.array([(22, 50, 150), (40, 120, 226), (128, 226, 255)], dtype=np.float32)
_MARK = "SYNTHETIC"
_MARGIN, _GAP = 18, 8


class Row(NamedTuple):
    """One row of a sheet: three h x w arrays and what to call them.

    Attributes:
        label: what was done ("Pleural Effusion added").
        baseline: display values in [0, 1].
        counterfactual: display values in [0, 1].
        difference: counterfactual minus baseline, in [-1, 1].
        note: what the judge sees of it, shown at the right.
        alarm: whether the note says that something is not as requested.
    """

    label: str
    baseline: Array
    counterfactual: Array
    difference: Array
    note: str = ""
    alarm: bool = False


class Cell(NamedTuple):
    """One picture of a grid.

    Attributes:
        pixels: display values in [0, 1], h x w.
        synthetic: False for a radiograph that nobody edited, which then carries no mark.
        note: a few words shown in the picture's upper right corner.
    """

    pixels: Array
    synthetic: bool = True
    note: str = ""


def colour_limit(differences: Sequence[Array]) -> float:
    """Return a round limit in [0.1, 1] that holds 99.5 % of the visible changes of all pictures."""
    changed = np.concatenate([np.abs(d[np.abs(d) > 0.004]).ravel()[::7] for d in differences])
    wanted = float(np.quantile(changed, 0.995)) if changed.size else 0.0
    return next(limit for limit in _LIMITS if limit >= min(wanted, 1.0))


def visible(difference: Array) -> bool:
    """Tell whether a difference, in [-1, 1], shows: by 2 % in one pixel of 100,000 at least."""
    return bool(np.mean(np.abs(difference) > _VISIBLE) >= _LEAST)


def burned(radiograph: Radiograph) -> Radiograph:
    """Return a radiograph with the word SYNTHETIC in its pixels, at the lower left.

    It lies as the file's own rows and columns do, which is how files are shown.
    """
    pixels = radiograph.frame.turned_back(radiograph.pixels).copy()
    height, width = pixels.shape
    font = _font(max(9, round(0.03 * min(height, width))))
    canvas = Image.new("L", (width, height))
    draw, gap = ImageDraw.Draw(canvas), max(2, round(0.01 * min(height, width)))
    place = (2 * gap, height - 2 * gap)
    left, top, right, bottom = (round(v) for v in draw.textbbox(place, _MARK, font, anchor="lb"))
    plate = np.s_[max(0, top - gap) : bottom + gap, max(0, left - gap) : right + gap]
    draw.text(place, _MARK, 255, font, anchor="lb")
    pixels[plate] = (np.asarray(canvas, dtype=np.float32) / 255)[plate]
    return radiograph.with_pixels(radiograph.frame.upright(pixels))


def difference_picture(
    difference: Array,
    baseline: Array | None = None,
    *,
    limit: float | None = None,
    long_side: int = 1024,
) -> Image.Image:
    """Return the signed difference in colour, with a colour bar in percent of the display range.

    Args:
        difference: counterfactual minus baseline, h x w in [-1, 1].
        baseline: display values in [0, 1] to show, dimmed, beneath; None for black.
        limit: the difference shown in the strongest colour; None chooses it from the picture.
        long_side: the longer side of the difference itself, in pixels, at most.
    """
    top = limit or colour_limit([difference])
    side = min(long_side, max(difference.shape))
    size = _fitted(difference.shape, side)
    head, bar = 44, 96
    canvas = Image.new("RGB", (size[0] + bar + 2 * _MARGIN, size[1] + head + _MARGIN), _BACKGROUND)
    _text(canvas, (_MARGIN, head // 2), _MARK, 19, _ALARM)
    # A narrow picture has no room for more than the word.
    if size[0] > 380:
        after = _MARGIN + int(_font(19).getlength(_MARK)) + 14
        _text(canvas, (after, head // 2), "counterfactual - baseline", 16, _FAINT)
    canvas.paste(_coloured(difference, baseline, top, size), (_MARGIN, head))
    height = min(size[1] - 24, 520)
    left = _MARGIN + size[0] + 18
    _bar(canvas, (left, head + (size[1] - height) // 2 + 8), height - 16, top)
    return canvas


def grey_picture(pixels: Array, long_side: int = 1024) -> Image.Image:
    """Return display values in [0, 1], h x w, as a picture of at most `long_side` pixels."""
    return _grey(pixels, _fitted(pixels.shape, min(long_side, max(pixels.shape))))


def sheet(rows: Sequence[Row], *, title: str = "", cell: int = 420) -> Image.Image:
    """Return rows of baseline | counterfactual | difference under one colour scale.

    Args:
        rows: what to show; every picture is fitted into a square cell.
        title: a line above the column titles.
        cell: side of a cell in pixels.
    """
    limit = colour_limit([row.difference for row in rows])
    head, band, side, bar = (84 if title else 46), 34, cell, 104
    width = 2 * _MARGIN + 3 * side + 2 * _GAP + bar
    height = head + len(rows) * (side + band) + _MARGIN
    canvas = Image.new("RGB", (width, height), _BACKGROUND)
    _text(canvas, (_MARGIN, 26), title, 22)
    columns = [_MARGIN + i * (side + _GAP) for i in range(3)]
    for left, name in zip(
        columns, ("Baseline", "Counterfactual", "Difference from baseline"), strict=True
    ):
        _text(canvas, (left + side // 2, head - 18), name, 18, anchor="mm")
    for index, row in enumerate(rows):
        upper = head + index * (side + band)
        _text(canvas, (_MARGIN, upper + band // 2), row.label, 18)
        ink = _ALARM if row.alarm else _FAINT
        _text(canvas, (columns[2] + side, upper + band // 2), row.note, 16, ink, anchor="rm")
        size = _fitted(row.baseline.shape, side)
        pictures = (
            _grey(row.baseline, size),
            _grey(row.counterfactual, size),
            _coloured(row.difference, row.baseline, limit, size),
        )
        for left, picture in zip(columns, pictures, strict=True):
            _place(canvas, picture, (left, upper + band), side)
        for left in columns[1:]:
            _stamp(canvas, (left + 8, upper + band + side - 8))
    span = min(height - head - band - _MARGIN, 720)
    _bar(canvas, (columns[2] + side + 22, head + band + 8), span - 16, limit)
    return canvas


def grid(
    rows: Sequence[tuple[str, Sequence[Cell]]],
    *,
    title: str = "",
    columns: Sequence[str] = (),
    cell: int = 240,
) -> Image.Image:
    """Return rows of pictures, each row with its label at the left.

    Args:
        rows: label and pictures; every picture is fitted into a square cell.
        title: a line above everything.
        columns: column titles, or none.
        cell: side of a cell in pixels.
    """
    gap, left = 4, 34
    head = 10 + (32 if title else 0) + (24 if columns else 0)
    count = max(len(cells) for _, cells in rows)
    size = (left + count * (cell + gap) + 6, head + len(rows) * (cell + gap) + 6)
    canvas = Image.new("RGB", size, _BACKGROUND)
    _text(canvas, (left, 22), title, 19)
    for index, name in enumerate(columns):
        place = (left + index * (cell + gap) + cell // 2, head - 13)
        _text(canvas, place, name, 15, anchor="mm")
    for index, (label, cells) in enumerate(rows):
        upper = head + index * (cell + gap)
        _sideways(canvas, label, (left // 2, upper + cell // 2), cell)
        for number, one in enumerate(cells):
            x = left + number * (cell + gap)
            _place(canvas, _grey(one.pixels, _fitted(one.pixels.shape, cell)), (x, upper), cell)
            # In the upper corner: the lower ones hold the costophrenic angles, where findings are.
            if one.synthetic:
                _stamp(canvas, (x + 3, upper + 19), 10)
            if one.note:
                _stamp(canvas, (x + cell - 3, upper + 19), 10, one.note)
    return canvas


def _text(
    canvas: Image.Image,
    place: tuple[int, int],
    text: str,
    size: int,
    ink: tuple[int, int, int] = _INK,
    anchor: str = "lm",
) -> None:
    ImageDraw.Draw(canvas).text(place, text, ink, _font(size), anchor=anchor)


def _place(canvas: Image.Image, picture: Image.Image, corner: tuple[int, int], side: int) -> None:
    """Paste a picture into the middle of a black square."""
    left, upper = corner
    canvas.paste((0, 0, 0), (left, upper, left + side, upper + side))
    canvas.paste(
        picture, (left + (side - picture.width) // 2, upper + (side - picture.height) // 2)
    )


def _sideways(canvas: Image.Image, text: str, middle: tuple[int, int], length: int) -> None:
    """Write `text` from below upwards around `middle`, in at most `length` pixels."""
    strip = Image.new("RGB", (length, 24), _BACKGROUND)
    _text(strip, (length // 2, 12), text, 15, anchor="mm")
    canvas.paste(strip.rotate(90, expand=True), (middle[0] - 12, middle[1] - length // 2))


def _stamp(
    canvas: Image.Image, corner: tuple[int, int], size: int = 15, note: str | None = None
) -> None:
    """Write the mark on a dark plate whose lower left corner is `corner`.

    A `note` is written instead, in plain ink, with `corner` as the plate's lower right corner.
    """
    draw = ImageDraw.Draw(canvas)
    across, down = round(size * 0.47), round(size / 3)
    ink, anchor = (_ALARM, "lb") if note is None else (_INK, "rb")
    place = (corner[0] + (across if note is None else -across), corner[1] - down)
    text = _MARK if note is None else note
    box = draw.textbbox(place, text, _font(size), anchor=anchor)
    plate = (box[0] - across, box[1] - down, box[2] + across, box[3] + down)
    draw.rounded_rectangle(plate, 4, fill=_BACKGROUND)
    draw.text(place, text, ink, _font(size), anchor=anchor)


def _bar(canvas: Image.Image, corner: tuple[int, int], height: int, limit: float) -> None:
    """Draw the colour bar, `height` pixels high, with ticks in percent of the display range."""
    left, upper = corner
    ramp = np.linspace(limit, -limit, height, dtype=np.float32)[:, None].repeat(20, axis=1)
    canvas.paste(_coloured(ramp, None, limit, (20, height)), corner)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left - 1, upper - 1, left + 20, upper + height), outline=_FAINT)
    for part in (1.0, 0.5, 0.0, -0.5, -1.0):
        y = upper + round((1 - part) / 2 * (height - 1))
        draw.line((left + 21, y, left + 26, y), fill=_FAINT)
        label = f"{part * limit * 100:+g} %" if part else "0"
        _text(canvas, (left + 31, y), label, 15)
    _text(canvas, (left, upper + height + 10), "of display range", 12, _FAINT, anchor="la")


def _coloured(
    difference: Array, baseline: Array | None, limit: float, size: tuple[int, int]
) -> Image.Image:
    """Blend the colours over the dimmed baseline, opaque from 40 % of the limit on."""
    part = np.clip(_resized(difference, size) / limit, -1, 1)
    amount = np.abs(part)
    stops = np.array([0, 0.5, 1], dtype=np.float32)
    colour = np.stack(
        [
            np.where(part > 0, np.interp(amount, stops, warm), np.interp(amount, stops, cold))
            for warm, cold in zip(_WARM.T, _COLD.T, strict=True)
        ],
        axis=-1,
    )
    under = np.zeros_like(part) if baseline is None else _resized(baseline, size) * _DIM * 255
    cover = np.clip(amount * 2.5, 0, 1)[..., None]
    mixed = colour * cover + under[..., None] * (1 - cover)
    return Image.fromarray(np.rint(np.clip(mixed, 0, 255)).astype(np.uint8))


def _grey(pixels: Array, size: tuple[int, int]) -> Image.Image:
    levels = np.rint(np.clip(_resized(pixels, size), 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(levels).convert("RGB")


def _resized(array: Array, size: tuple[int, int]) -> Array:
    """Return `array` at `size` (width, height), averaged where it shrinks."""
    image = Image.fromarray(np.ascontiguousarray(array, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def _fitted(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Return the greatest width and height inside a square for a picture of `shape`."""
    scale = side / max(shape)
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
