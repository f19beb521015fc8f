"""Text burned into a radiograph: where it is, and a copy without it.

Letters are small strokes much brighter or darker than what they lie on, of one height and ink, side
by side. `find` looks for three or more of them in a row or column, at any quarter turn, wherever
they lie; one or two, as the letter of a side, name nobody and are left alone. It reads nothing: a
name, a date and "PORTABLE" are alike to it. ``bench/marks.py`` measures what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse.csgraph import connected_components

from roentmod.errors import BurnedInError
from roentmod.radiograph import GreyScale, Mark, Radiograph

__all__ = ["Mark", "cover", "facts", "find", "looked", "screened"]

Levels = NDArray[np.uint8]
Array = NDArray[Any]
Box = tuple[int, int, int, int]

# Letters are looked for in the picture, in its half and in its quarter; pixels of each.
_SCALES, _LEAST_SIDE = 3, 32
_STROKE, _LOWEST, _HIGHEST = 7, 4, 26
# Levels of 255 by which ink differs from what it lies on: of a pixel, of a letter on average.
_PIXEL, _LETTER = 30, 45
# Strokes per letter across a row of text, on average.
_RUNS = 1.7
# Rows nearer than twice this, in heights of a letter, are one mark; steps by which a row grows.
_NEAR = 0.75
_GROWTHS = 12
# The strongest parts of a picture, all others being noise.
_MOST = 600


class _Limits(NamedTuple):
    """Bounds of a row of letters, the first four from below, the others from above.

    Attributes:
        fewest: characters.
        ink: contrast, in levels of 255.
        clear: that over what is left between the letters.
        stroke: ink in a row of a letter, in heights of a letter.
        strokes: spread of that over its mean.
        heights: spread of the letters' heights, in heights of a letter.
        shift: spread of the letters about their line, likewise.
    """

    fewest: float
    ink: float
    clear: float
    stroke: float = 0
    strokes: float = np.inf
    heights: float = 0.32
    shift: float = 0.20

    def within(self, bounds: _Limits) -> bool:
        """Tell whether a row keeps within bounds."""
        above = zip(self[:4], bounds[:4], strict=True)
        below = zip(self[4:], bounds[4:], strict=True)
        return all(a >= b for a, b in above) and all(a <= b for a, b in below)


# Cables and ribs make three or four strokes that resemble letters, but hardly five.
_LIMITS = (
    _Limits(2.5, 70, 3.5, 0.25, 0.40, heights=0.17, shift=0.12),
    _Limits(2.5, 105, 3.3, 0.20, 0.50, heights=0.20, shift=0.14),
    _Limits(4.5, _LETTER, 3.0),
)
# Background, in levels: above the darkest of the picture, and around a mark.
_AIR, _EVEN, _FLAT = 38, 20, 7
_STRIP = 0.08


class _Row(NamedTuple):
    """Letters side by side, or one below another."""

    box: Box
    characters: float
    height: float
    clear: float = 0.0


def find(radiograph: Radiograph) -> list[Mark]:
    """Return rows and columns of three or more letters, from the top; those that touch are one."""
    levels = np.rint(radiograph.pixels * np.float32(255)).astype(np.uint8)
    rows = _joined(_different(list(_rows(levels))), levels.shape)
    if not rows:
        return []
    air = _air(levels)
    return [
        Mark(row.box, round(row.characters), round(row.height), _over_anatomy(levels, air, row))
        for row in sorted(rows)
    ]


def cover(radiograph: Radiograph, marks: Sequence[Mark]) -> Radiograph:
    """Return a radiograph with local background in place of the marks that lie beside the body.

    A mark's box and a margin are filled from around it, grain included. Every other pixel keeps its
    stored level, and so do marks over anatomy. The copy is as synthetic as the radiograph; its
    `marks` are these, and say which are covered.
    """
    boxes = [_margin(mark, radiograph.stored.shape) for mark in marks if not mark.over_anatomy]
    stored, own = radiograph.stored, radiograph.own
    if boxes and own is not None:
        rows, columns = np.divide(own.shape, stored.shape)
        own = _covered(own, radiograph.grey, [_scaled(box, rows, columns) for box in boxes])
    if boxes:
        stored = _covered(stored, radiograph.grey, boxes)
    known = tuple(replace(mark, covered=not mark.over_anatomy) for mark in marks)
    return replace(radiograph, stored=stored, own=own, marks=known)


def looked(radiograph: Radiograph) -> Radiograph:
    """Return a radiograph that knows its marks."""
    if radiograph.marks is not None:
        return radiograph
    return replace(radiograph, marks=tuple(find(radiograph)))


def screened(radiograph: Radiograph, *, refuse: bool = False, mask: bool = False) -> Radiograph:
    """Return a radiograph that knows its marks, as a run may use it.

    Args:
        radiograph: as it was read.
        refuse: none with text: its header says so, or some is found and not covered.
        mask: cover what lies beside the body.

    Raises:
        BurnedInError: it is refused.
    """
    known = looked(radiograph)
    if mask:
        known = cover(known, known.marks or ())
    if not refuse:
        return known
    left = [mark for mark in known.marks or () if not mark.covered]
    if left or known.burned_in == "yes":
        got = f"{len(left)} rows of letters" if left else "Burned In Annotation YES"
        raise BurnedInError(
            f"{radiograph.source}: Radiographs with burned-in text are refused; got {got}. Crop or "
            "blacken it, or leave out --refuse-burned-in."
        )
    return known


def facts(radiograph: Radiograph) -> dict[str, Any]:
    """Return what records hold: what the header says (`burned_in`), and the `marks` found."""
    marks = looked(radiograph).marks or ()
    return {"burned_in": radiograph.burned_in, "marks": [asdict(mark) for mark in marks]}


def _rows(levels: Levels) -> Iterator[_Row]:
    """Yield rows of letters of a picture, some of them several times, at several scales."""
    for number in range(_SCALES):
        if min(levels.shape) < _LEAST_SIDE:
            return
        for picture in (levels, 255 - levels):
            relief, ink = _ink(picture)
            parts = _parts(relief, ink)
            for turned in (False, True):
                for row in _lines(parts, relief, turned):
                    factor = 2**number
                    box = tuple(factor * side for side in row.box)
                    yield row._replace(box=box, height=factor * row.height)
        levels = _half(levels)


def _ink(levels: Levels) -> tuple[Levels, NDArray[np.bool_]]:
    """Return how much brighter thin strokes are than what is beside them, and where strokes are.

    The first is the white top-hat (Serra). Strokes are where it is half of the strongest near by,
    which keeps letters apart that touch.
    """
    wide = np.pad(levels, _STROKE - 1, mode="edge")
    low = _window(np.minimum, wide, _STROKE)
    relief = levels - _window(np.maximum, low, _STROKE)
    strongest = _window(np.maximum, np.pad(relief, 4), 9)
    return relief, (relief >= _PIXEL) & (relief > strongest >> 1)


def _window(extreme: Callable[..., Levels], levels: Levels, size: int) -> Levels:
    """Return the extreme of each size x size window of a picture, (h - size + 1) x (w - ...).

    By doubling: this is ten times as fast as scipy's.
    """
    for axis in (0, 1):
        width = 1
        while width < size:
            step = min(width, size - width)
            pairs = (levels[:-step], levels[step:]) if axis == 0 else (
                levels[:, :-step], levels[:, step:]
            )  # fmt: skip
            levels = extreme(*pairs)
            width += step
    return levels


def _half(levels: Levels) -> Levels:
    even = levels[: levels.shape[0] // 2 * 2, : levels.shape[1] // 2 * 2].astype(np.uint16)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((total + 2) >> 2).astype(np.uint8)


class _Parts(NamedTuple):
    """The n connected parts of the ink: edges of their boxes, pixels, relief, strokes met.

    `across` and `down` are the strokes that a row or column of the box meets, on average.
    """

    top: Array
    bottom: Array
    left: Array
    right: Array
    area: Array
    relief: Array
    across: Array
    down: Array


def _parts(relief: Levels, ink: NDArray[np.bool_]) -> _Parts:
    labels, _ = ndimage.label(ink, np.ones((3, 3)))
    places = np.flatnonzero(ink)
    names = labels.ravel()[places]
    order = np.argsort(names, kind="stable")
    places, names = places[order], names[order]
    first = np.flatnonzero(np.diff(names, prepend=0))
    if not first.size:
        return _Parts(*[np.zeros(0)] * 8)
    row, column = np.divmod(places, ink.shape[1])
    area = np.diff(first, append=len(names))
    top, bottom = row[first], np.maximum.reduceat(row, first) + 1
    left, right = np.minimum.reduceat(column, first), np.maximum.reduceat(column, first) + 1
    wide = np.pad(ink, ((1, 0), (1, 0)))
    begin = [~wide[1:, :-1].ravel()[places], ~wide[:-1, 1:].ravel()[places]]
    across, down = (np.add.reduceat(one.astype(np.int64), first) for one in begin)
    mean = np.add.reduceat(relief.ravel()[places].astype(np.int64), first) / area
    sides = (top, bottom, left, right)
    return _Parts(*sides, area, mean, across / (bottom - top), down / (right - left))


def _lines(parts: _Parts, relief: Levels, turned: bool) -> Iterator[_Row]:
    """Yield the rows of letters among parts; `turned`: columns, of letters that lie on a side."""
    if turned:
        top, bottom, left, right, area, ink, down, across = parts
        parts = _Parts(left, right, top, bottom, area, ink, across, down)
    tall, wide = parts.bottom - parts.top, parts.right - parts.left
    # Small letters touch: their strokes count them.
    touching = np.clip(parts.across / _RUNS, 1, wide / (0.45 * np.maximum(tall, 1)))
    letters = np.where(wide < 1.4 * tall, 1.0, touching)
    full = parts.area / np.maximum(tall * wide, 1)
    fit = (tall >= _LOWEST) & (tall <= _HIGHEST) & (parts.relief >= _LETTER)
    fit &= wide <= np.maximum(1.4, 0.95 * letters) * tall
    fit &= (full > 0.12) & ((full < 0.85) | (wide < 0.6 * tall))
    some = np.flatnonzero(fit)
    some = np.sort(some[np.argsort(-parts.relief[some], kind="stable")[:_MOST]])
    if not some.size:
        return
    for group in _groups(_Parts(*(values[some] for values in parts))):
        row = _row(parts, some[group], letters[some[group]], relief.T if turned else relief)
        if row is not None:
            one, two, three, four = row.box
            yield row._replace(box=(two, one, four, three)) if turned else row


def _groups(parts: _Parts) -> Iterator[Array]:
    """Yield the numbers of parts that are alike and side by side, three or more of them."""
    top, bottom, left, right = (np.asarray(side, dtype=float) for side in parts[:4])
    tall = bottom - top

    def pairs(extreme: Any, values: Array) -> Array:
        return np.asarray(extreme(values[:, None], values))

    least, most = pairs(np.minimum, tall), pairs(np.maximum, tall)
    overlap = pairs(np.minimum, bottom) - pairs(np.maximum, top)
    gap = pairs(np.maximum, left) - pairs(np.minimum, right)
    alike = (most <= 1.6 * least) & (overlap >= 0.6 * least)
    alike &= pairs(np.maximum, parts.relief) <= 1.6 * pairs(np.minimum, parts.relief)
    beside = (gap <= 1.0 * most) & (gap >= -0.2 * least)
    _, names = connected_components(alike & beside, directed=False)
    order = np.argsort(names, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(names[order])) + 1)


def _row(parts: _Parts, group: Array, letters: Array, relief: Levels) -> _Row | None:
    """Return a group of letters as a row; None where there are too few, or unlike a line."""
    characters = float(letters.sum())
    if characters < _LIMITS[0].fewest:
        return None
    some = _Parts(*(values[group] for values in parts))
    tall, strokes = some.bottom - some.top, some.area / (some.bottom - some.top)
    height, ink = float(np.median(tall)), float(some.relief.mean())
    tops, bottoms, lefts, rights = some[:4]
    own = (int(tops.min()), int(lefts.min()), int(bottoms.max()), int(rights.max()))
    top, left, bottom, right = box = _grown(own, ink, parts)
    inside = relief[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2]
    between = inside[inside < ink / 2]
    measured = _Limits(
        fewest=characters,
        ink=ink,
        clear=ink / (1 + float(between.mean()) + float(between.std())),
        stroke=float(strokes.mean()) / height,
        strokes=float(strokes.std() / strokes.mean()),
        heights=float(np.std(tall)) / height,
        shift=float(np.std(some.top + some.bottom)) / 2 / height,
    )
    if not any(map(measured.within, _LIMITS)):
        return None
    return _Row(box, max(characters, (right - left) / height), height, measured.clear)


def _grown(box: Box, ink: float, parts: _Parts) -> Box:
    """Return a row's box with thin letters, commas and accents that belong to it.

    They have its ink, and lie on its line, which does not widen by them.
    """
    high = box[2] - box[0]
    above, beside = 0.35 * high, 1.8 * high
    near = (parts.top >= box[0] - above) & (parts.bottom <= box[2] + above)
    near &= (parts.right - parts.left <= 3 * high) & (parts.relief >= 0.6 * ink)
    top, bottom, left, right = (side[near] for side in parts[:4])
    for _ in range(_GROWTHS):
        own = (left < box[3] + beside) & (right > box[1] - beside)
        grown = (
            int(top[own].min(initial=box[0])),
            int(left[own].min(initial=box[1])),
            int(bottom[own].max(initial=box[2])),
            int(right[own].max(initial=box[3])),
        )
        if grown == box:
            break
        box = grown
    return box


def _different(rows: list[_Row]) -> list[_Row]:
    """Return each row once, as the best of those that lie on it, wide enough for all of them.

    Ink and what it leaves between make rows of one text, at several scales.
    """
    kept: list[_Row] = []
    for row in sorted(rows, key=lambda one: (-one.characters * one.clear, one)):
        area = _area(row.box)
        for number, one in enumerate(kept):
            own = _area(one.box)
            if _shared(row.box, one.box) > 0.3 * min(area, own):
                if area <= 2 * own:
                    kept[number] = one._replace(box=_both(row.box, one.box))
                break
        else:
            kept.append(row)
    return kept


def _joined(rows: list[_Row], shape: tuple[int, ...]) -> list[_Row]:
    """Return rows, those whose margins meet as one."""
    todo, done = list(rows), list[_Row]()
    while todo:
        row = todo.pop()
        near = [
            one for one in done if _shared(_margin(row, shape, _NEAR), _margin(one, shape, _NEAR))
        ]
        if not near:
            done.append(row)
            continue
        other = near[0]
        done.remove(other)
        box = _both(row.box, other.box)
        total = row.characters + other.characters
        todo.append(_Row(box, total, max(row.height, other.height)))
    return done


def _both(one: Box, other: Box) -> Box:
    """Return the smallest box that holds two."""
    low = min(one[0], other[0]), min(one[1], other[1])
    return (*low, max(one[2], other[2]), max(one[3], other[3]))


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(one: Box, other: Box) -> int:
    """Return how many pixels two boxes share."""
    tall = min(one[2], other[2]) - max(one[0], other[0])
    wide = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, tall) * max(0, wide)


def _margin(mark: Mark | _Row, shape: tuple[int, ...], share: float = 0.3) -> Box:
    """Return a mark's box widened by a share of a letter's height, inside the picture."""
    by = max(2, round(share * mark.height))
    top, left, bottom, right = mark.box
    # Ends of a row may have lost a thin letter, a comma or a hyphen.
    return (
        max(0, top - by),
        max(0, left - by),
        min(shape[0], bottom + by),
        min(shape[1], right + by),
    )


def _scaled(box: Box, rows: float, columns: float) -> Box:
    """Return a box on the file's own pixels, rounded outwards."""
    top, left, bottom, right = box
    return (
        int(top * rows),
        int(left * columns),
        int(np.ceil(bottom * rows)),
        int(np.ceil(right * columns)),
    )


def _air(levels: Levels) -> NDArray[np.bool_]:
    """Return the background, h x w: as dark as the darkest, and joined to the picture's border."""
    step = -(-max(levels.shape) // 128)
    rows, columns = (np.arange(0, side, step) for side in levels.shape)
    darkest = float(np.percentile(levels[::step, ::step], 1))
    dark = levels <= darkest + _AIR
    whole = np.logical_and.reduceat(np.logical_and.reduceat(dark, rows, 0), columns, 1)
    names, _ = ndimage.label(whole)
    edges = (names[0], names[-1], names[:, 0], names[:, -1])
    outer = np.isin(names, [name for edge in edges for name in np.unique(edge) if name])
    # Tiles beside a letter hold some of it.
    near = ndimage.binary_dilation(outer, np.ones((3, 3)), iterations=2)
    tiles = near.repeat(step, 0).repeat(step, 1)[: levels.shape[0], : levels.shape[1]]
    joined: NDArray[np.bool_] = dark & tiles
    return joined


def _over_anatomy(levels: Levels, air: NDArray[np.bool_], row: _Row) -> bool:
    """Tell whether a row may lie on the body: where around it is no even background.

    In the outermost strip any tone will do that does not vary: a border, or a plate.
    """
    shape = levels.shape
    inner, outer = _margin(row, shape), _margin(row, shape, 0.6)
    ring = np.ones((outer[2] - outer[0], outer[3] - outer[1]), dtype=bool)
    ring[inner[0] - outer[0] : inner[2] - outer[0], inner[1] - outer[1] : inner[3] - outer[1]] = 0
    part = np.s_[outer[0] : outer[2], outer[1] : outer[3]]
    around = levels[part][ring].astype(float)
    if not around.size:
        return True
    spread = float(np.subtract(*np.percentile(around, [95, 5])))
    if spread <= _EVEN and air[part][ring].mean() >= 0.98:
        return False
    top, left, bottom, right = row.box
    strip = [round(_STRIP * side) for side in shape]
    inside = bottom <= strip[0] or top >= shape[0] - strip[0]
    inside |= right <= strip[1] or left >= shape[1] - strip[1]
    return not (inside and spread <= _FLAT)


def _covered(
    stored: NDArray[np.integer], grey: GreyScale, boxes: Sequence[Box]
) -> NDArray[np.integer]:
    """Return levels with each box filled from around it."""
    shown = grey.display(stored)
    for box in boxes:
        shown[box[0] : box[2], box[1] : box[3]] = _filled(shown, box)
    return grey.store(shown, stored)


def _filled(shown: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
    """Return what fills a box: tones of its sides, each the stronger the nearer, and their grain.

    A side at the picture's own border gives none.
    """
    top, left, bottom, right = box
    tall, wide = bottom - top, right - left
    by = max(2, min(tall, wide) // 4)
    total, weight, grain = np.zeros((tall, wide)), np.zeros((tall, wide)), list[Array]()
    away = (np.arange(tall)[:, None] + 1, np.arange(wide)[None] + 1)
    sides = (
        (shown[max(0, top - by) : top, left:right], 0, away[0]),
        (shown[bottom : bottom + by, left:right], 0, away[0][::-1]),
        (shown[top:bottom, max(0, left - by) : left], 1, away[1]),
        (shown[top:bottom, right : right + by], 1, away[1][:, ::-1]),
    )
    for strip, axis, distance in sides:
        if strip.size:
            line = ndimage.uniform_filter1d(np.median(strip, axis), 2 * by + 1, mode="nearest")
            tone = np.expand_dims(line, axis)
            grain.append((strip - tone).ravel())
            total += tone / distance
            weight += np.ones_like(tone) / distance
    pool = np.concatenate(grain) if grain else np.zeros(1)
    rough = np.random.default_rng(0).choice(pool, (tall, wide))
    filled: NDArray[np.float32] = (total / np.maximum(weight, 1e-9) + rough).astype(np.float32)
    return np.clip(filled, 0, 1)
