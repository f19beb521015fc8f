"""Regions of a frontal radiograph in words: "left lower zone", "heart + both hila".

::

    region = part { "+" part }
    part   = ["around"] ([side] place | whole)
    side   = left | right | both (bilateral); none means both
    place  = lung | upper zone | middle zone | lower zone | apex | base
           | costophrenic angle | hilum
    whole  = heart | mediastinum | retrocardiac

Plurals, case, hyphens and a few synonyms (`_SYNONYMS`) do not matter. Sides are the patient's.
"around" adds a margin: what a finding changes does not end at an outline.
Sizes below are conventions of ours, as fractions of the height of the lung concerned.
"""

from __future__ import annotations

import numpy as np

from roentmod.anatomy import THIRDS, Anatomy, LungSide, Mask, Point, Third
from roentmod.errors import AnatomyError, EditError

__all__ = ["DEPTHS", "LEVELS", "PLACES", "canonical", "mask", "on_side", "sides", "spot", "spots"]

Sides = tuple[LungSide, ...]
# Place and its plural.
_SIDED = {
    "lung": "lungs",
    "upper zone": "upper zones",
    "middle zone": "middle zones",
    "lower zone": "lower zones",
    "apex": "apices",
    "base": "bases",
    "costophrenic angle": "costophrenic angles",
    "hilum": "hila",
}
# Places without a choice of side, and the sides they lie on.
_WHOLE: dict[str, Sides] = {
    "heart": ("left", "right"),
    "mediastinum": ("left", "right"),
    "retrocardiac": ("left",),
}
PLACES = (*_SIDED, *_WHOLE)
_SYNONYMS = {
    "lung field": "lung",
    "lung fields": "lung",
    "mid zone": "middle zone",
    "mid zones": "middle zone",
    "lung apex": "apex",
    "lung base": "base",
    "lung bases": "base",
    "costophrenic sulcus": "costophrenic angle",
    "cardiac silhouette": "heart",
    "retrocardiac region": "retrocardiac",
    "behind the heart": "retrocardiac",
}
_BY_WORD = (
    {place: place for place in PLACES}
    | {plural: place for place, plural in _SIDED.items()}
    | _SYNONYMS
)
_SIDE_WORDS: dict[str, Sides] = {
    "left": ("left",),
    "right": ("right",),
    "both": ("left", "right"),
    "bilateral": ("left", "right"),
}
_THIRDS: dict[str, Third] = {f"{third} zone": third for third in THIRDS}
_BOTH: Sides = ("left", "right")
_AROUND_WORD = "around"
# The lung above the clavicle, and the lung that lies on the diaphragm.
_APEX, _BASE = 1 / 6, 0.2
# A spot is a cell of a lung, in the words of reports: how far out, and how high.
DEPTHS = ("perihilar", "midclavicular", "peripheral")
LEVELS = ("apex", "upper zone", "middle zone", "lower zone", "base")
# Radii of the discs around a costophrenic angle and a hilum.
_ANGLE, _HILUM = 0.14, 0.13
# The margin of "around", of the height of the taller lung.
_AROUND = 0.15


def canonical(words: str) -> str:
    """Return the one spelling of a region, parts in a fixed order: same region, same words.

    Raises:
        EditError: words outside the grammar.
    """
    return " + ".join(_phrase(*part) for part in _parts(words))


def on_side(words: str, side: str) -> str:
    """Return a region with its places that have sides at `side` only.

    Args:
        words: a region.
        side: the patient's: "left", "right" or "both".

    Raises:
        EditError: words outside the grammar, or another side.
    """
    if side not in _SIDE_WORDS:
        raise EditError(f"A side is one of {', '.join(_SIDE_WORDS)}; got '{side}'. Choose one.")
    chosen = _SIDE_WORDS[side]
    return " + ".join(
        _phrase(around, place, touched if place in _WHOLE else chosen)
        for around, place, touched in _parts(words)
    )


def sides(words: str) -> Sides:
    """Return the patient's sides that a region touches: both, or the only one.

    Raises:
        EditError: words outside the grammar.
    """
    touched = {side for _, _, chosen in _parts(words) for side in chosen}
    return tuple(side for side in _BOTH if side in touched)


def mask(words: str, anatomy: Anatomy, within: Mask | None = None) -> Mask:
    """Return the region on a radiograph of known anatomy, h x w bool, never empty.

    Args:
        words: a region.
        anatomy: outlines of the radiograph, h x w.
        within: a mask that the region is cut to, h x w.

    Raises:
        EditError: words outside the grammar, or a mask that misses the region.
        AnatomyError: the outlines leave no pixel for the region.
    """
    found = np.zeros(anatomy.shape, dtype=np.bool_)
    for around, place, chosen in _parts(words):
        if place in _WHOLE:
            part = _whole(place, anatomy)
        else:
            part = np.logical_or.reduce([_sided(place, side, anatomy) for side in chosen])
        found |= _widened(part, anatomy) if around else part
    if not found.any():
        raise AnatomyError(
            f"A region must hold a pixel of the radiograph; its outlines leave none for '{words}'. "
            "Name another region, or give a mask."
        )
    if within is not None and not (found & within).any():
        raise EditError(
            f"Mask and region must overlap; got a mask outside the region '{words}'. Change one."
        )
    return found if within is None else found & within


def spot(anatomy: Anatomy, side: LungSide, row: float, column: float) -> str:
    """Return the words for a point of a lung, a depth and a level: "peripheral upper zone"."""
    first, last = anatomy.span(side)
    inner, outer = _borders(anatomy, side, row)
    across = (column - inner) / (outer - inner or 1)
    return f"{_nth(DEPTHS, across)} {_nth(LEVELS, (row - first) / max(last - first, 1))}"


def spots(area: Mask, anatomy: Anatomy) -> frozenset[tuple[LungSide, str]]:
    """Return the spots of both lungs whose middle an area (h x w) holds.

    Of a smaller area it is the one that most of it lies in; none where it holds no lung.
    """
    held: set[tuple[LungSide, str]] = set()
    for side in _BOTH:
        first, last = anatomy.span(side)
        for level in range(len(LEVELS)):
            row = first + (level + 0.5) / len(LEVELS) * (last - first)
            inner, outer = _borders(anatomy, side, row)
            for depth in range(len(DEPTHS)):
                column = inner + (depth + 0.5) / len(DEPTHS) * (outer - inner)
                if area[round(row), round(column)]:
                    held.add((side, f"{DEPTHS[depth]} {LEVELS[level]}"))
    if held:
        return frozenset(held)
    larger = max(_BOTH, key=lambda side: int((area & anatomy.lung(side)).sum()))
    rows, columns = np.nonzero(area & anatomy.lung(larger))
    if not rows.size:
        return frozenset()
    return frozenset({(larger, spot(anatomy, larger, rows.mean(), columns.mean()))})


def _borders(anatomy: Anatomy, side: LungSide, row: float) -> tuple[float, float]:
    """Return the inner and outer column of a lung in a row."""
    own = np.flatnonzero(anatomy.lung(side)[round(row)])
    if not own.size:
        return anatomy.hilum(side)[1], anatomy.outer(side)
    ends = float(own[0]), float(own[-1])
    return ends[::-1] if side == "right" else ends


def _nth(words: tuple[str, ...], part: float) -> str:
    return words[int(min(max(part, 0.0), 0.999) * len(words))]


def _parts(words: str) -> list[tuple[bool, str, Sides]]:
    """Return places, whether with a margin, and their sides, in the order of `PLACES`.

    A place named twice is one.
    """
    merged: dict[tuple[bool, str], set[LungSide]] = {}
    for part in words.lower().replace("-", " ").replace("_", " ").split("+"):
        around, place, chosen = _part(part.split(), words)
        merged.setdefault((around, place), set()).update(chosen)
    return [
        (around, place, tuple(side for side in _BOTH if side in merged[around, place]))
        for place in PLACES
        for around in (False, True)
        if (around, place) in merged
    ]


def _part(tokens: list[str], words: str) -> tuple[bool, str, Sides]:
    around = tokens[:1] == [_AROUND_WORD]
    tokens = tokens[around:]
    chosen = _SIDE_WORDS.get(tokens[0]) if tokens else None
    place = _BY_WORD.get(" ".join(tokens[1:] if chosen else tokens))
    if place is None or (chosen and place in _WHOLE):
        raise EditError(
            f"A region is [around] [left|right|both] {', '.join(_SIDED)}; or [around] "
            f"{', '.join(_WHOLE)}; several joined by '+'; got '{words}'. Use these words, or give "
            "a mask."
        )
    return around, place, chosen or _WHOLE.get(place, _BOTH)


def _phrase(around: bool, place: str, chosen: Sides) -> str:
    phrase = f"{chosen[0]} {place}"
    if place in _WHOLE:
        phrase = place
    elif len(chosen) == 2:
        phrase = f"both {_SIDED[place]}"
    return f"{_AROUND_WORD} {phrase}" if around else phrase


def _widened(part: Mask, anatomy: Anatomy) -> Mask:
    """Return a part with the margin of "around", h x w."""
    spans = [anatomy.span(side) for side in _BOTH]
    return _near(part, _AROUND * max(last + 1 - first for first, last in spans))


def _near(part: Mask, reach: float) -> Mask:
    """Return the pixels at most `reach` pixels from a part, h x w: its dilation by a disc."""
    height, width = part.shape
    rows, farthest = np.arange(height)[:, None], height + width + int(reach) + 1
    above = rows - np.maximum.accumulate(np.where(part, rows, -farthest), axis=0)
    below = np.minimum.accumulate(np.where(part, rows, 2 * farthest)[::-1], axis=0)[::-1] - rows
    down = np.minimum(above, below)
    # A pixel with the part `down` pixels above or below it brings its row near for `half` columns.
    steps = np.arange(int(reach) + 1)
    half = (np.hypot(steps[:, None], steps) <= reach).sum(axis=1) - 1
    row, column = np.nonzero(down <= reach)
    span = half[down[row, column]]
    first, stop = np.maximum(column - span, 0), np.minimum(column + span + 1, width)
    begun, ended = (
        np.bincount(row * (width + 1) + at, minlength=height * (width + 1)) for at in (first, stop)
    )
    near: Mask = (begun - ended).reshape(height, width + 1).cumsum(axis=1)[:, :-1] > 0
    return near


def _sided(place: str, side: LungSide, anatomy: Anatomy) -> Mask:
    lung = anatomy.lung(side)
    first, last = anatomy.span(side)
    height = last + 1 - first
    rows = np.arange(anatomy.shape[0])[:, None]
    if place == "lung":
        return lung
    if place == "apex":
        return lung & (rows < first + _APEX * height)
    if place == "base":
        on_floor = rows > anatomy.floor(side) - _BASE * height
        return anatomy.zone(side, "lower") & on_floor
    if place == "costophrenic angle":
        # Chest wall and diaphragm beside it too: a blunted angle is seen against them.
        return _disc(anatomy, anatomy.angle(side), _ANGLE * height)
    if place == "hilum":
        half = _left_half(anatomy) if side == "left" else ~_left_half(anatomy)
        return half & _disc(anatomy, anatomy.hilum(side), _HILUM * height)
    return anatomy.zone(side, _THIRDS[place])


def _whole(place: str, anatomy: Anatomy) -> Mask:
    if place == "heart":
        return anatomy.heart
    if place == "mediastinum":
        return _between_lungs(anatomy) | anatomy.heart
    # Lung lies behind the left heart down to the diaphragm.
    above: Mask = np.arange(anatomy.shape[0])[:, None] <= anatomy.dome("left")[0]
    return anatomy.heart & _left_half(anatomy) & above


def _left_half(anatomy: Anatomy) -> Mask:
    """Return the patient's left of the midline, h x w."""
    left: Mask = np.arange(anatomy.shape[1])[None] > anatomy.midline[:, None]
    return left


def _disc(anatomy: Anatomy, centre: Point, radius: float) -> Mask:
    height, width = anatomy.shape
    down, across = np.ogrid[:height, :width]
    disc: Mask = (down - centre[0]) ** 2 + (across - centre[1]) ** 2 <= radius**2
    return disc


def _between_lungs(anatomy: Anatomy) -> Mask:
    """Return what lies between the lungs from the lower apex to the right dome, h x w."""
    between = np.zeros(anatomy.shape, dtype=np.bool_)
    start = max(anatomy.span("right")[0], anatomy.span("left")[0])
    for row in range(int(start), int(anatomy.dome("right")[0]) + 1):
        right, left = (np.flatnonzero(anatomy.lung(side)[row]) for side in ("right", "left"))
        if right.size and left.size:
            between[row, right[-1] + 1 : left[0]] = True
    return between
