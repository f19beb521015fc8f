"""Procedural frontal chest radiographs whose anatomy is known.

A phantom is drawn in millimetres: `_Body` holds what was chosen by chance, the outlines below are
functions of it, and the picture is the sum of what X-rays lose on their way through soft tissue,
lung air and bone, shown through a film-like curve. Overlapping parts therefore look as they do on a
radiograph, and the masks are the outlines that were drawn.

Body frame: x to the right of the picture (the patient's left), y down, in mm at the detector; the
origin is the midline at the height of the lung apices. ``t = y / height`` is 0 at the apex and 1 at
the costophrenic angle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from roentmod.anatomy import Anatomy, Mask
from roentmod.radiograph import Radiograph, View

__all__ = ["Phantom", "phantom", "sex_and_view"]

Array = NDArray[np.float64]
Knots = tuple[tuple[float, float], ...]
# Places x and y in the body frame and the volume in mm3 at each, arrays of one shape.
Points = tuple[Array, Array, Array]

# Linear attenuation in 1/mm at 60 keV, near the mean energy of a 120 kVp beam: water 0.206 and
# cortical bone 0.315 cm2/g at 1.92 g/cm3 (NIST, Hubbell and Seltzer 1995). Bone replaces water.
_WATER, _BONE = 0.0206, 0.0605 - 0.0206
_CANCELLOUS = 0.009
# Inflated lung holds about a quarter of the mass of water.
_AIR = 0.75
# Outlines as (place, value): lung borders over t as parts of the lung's half width, heart borders
# from its top (0) to the domes (1) as parts of their greatest reach.
_WALL: Knots = ((0, 0.66), (0.1, 0.75), (0.22, 0.86), (0.45, 0.96), (0.7, 1), (1.2, 1))
_RIGHT_INNER: Knots = ((0, 0.16), (0.25, 0.17), (0.45, 0.2), (0.8, 0.2), (1.2, 0.2))
_LEFT_INNER: Knots = ((0, 0.17), (0.3, 0.18), (0.45, 0.21), (0.8, 0.19), (1.2, 0.19))
_RIGHT_HEART: Knots = ((0, 0.45), (0.25, 0.72), (0.55, 0.97), (0.7, 1), (0.9, 0.95), (1.3, 0.75))
_LEFT_HEART: Knots = ((0, 0.32), (0.2, 0.45), (0.45, 0.72), (0.7, 0.95), (0.88, 1), (1.3, 0.86))
# The lines of the outlines, and how far they sway from body to body.
_LINES = ((_WALL, 1), (_RIGHT_INNER, 4), (_LEFT_INNER, 3), (_RIGHT_HEART, 2), (_LEFT_HEART, 2))
_APEX_AT, _HEART_TOP = 0.46, 0.42
# 5 x 7 dot letters, one base-32 digit a row, the leftmost dot in the highest bit.
_LETTERS = {"L": "ggggggv", "R": "uhhukih", "A": "ehhvhhh", "P": "uhhuggg"}


@dataclass(frozen=True, eq=False)
class Phantom:
    """One drawn radiograph and what was drawn.

    Attributes:
        radiograph: display values in [0, 1], bright = dense, with spacing from the body's size.
        anatomy: the outlines as drawn, before blur and noise.
        facts: sex, view, cardiothoracic_ratio, lengths in mm, and the (row, column) of each dome,
            angle and hilum (`dome_right`, ...) and of the midline at apex and angles (`midline`).
    """

    radiograph: Radiograph
    anatomy: Anatomy
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Body:
    """Facts of a patient that chance decides; lengths in mm, domes as t, knob in half widths."""

    female: bool
    ap: bool
    half_width: float
    height: float
    depth: float
    fat: float
    ratio: float
    right_share: float
    domes: tuple[float, float]
    dome_at: float
    dome_power: float
    wobble: tuple[tuple[float, ...], ...]
    turn: float
    tilt: float
    shift: tuple[float, float]
    field: float
    knob: float
    bones: float
    gas: float
    breast: float

    def wide(self, left: Mask | bool) -> Array:
        """Return the half width of the lung cage on each side; turning narrows one side."""
        return np.asarray(self.half_width * np.where(left, 1 - self.turn, 1 + self.turn))

    @property
    def shoulder(self) -> float:
        """Half width of the shoulders."""
        return self.half_width + 50 + 0.6 * self.fat


@dataclass(frozen=True, eq=False)
class _Grid:
    """The pixels of the picture in the body frame, and back."""

    body: _Body
    size: int
    x: Array
    y: Array

    @classmethod
    def over(cls, body: _Body, size: int) -> _Grid:
        """Lay size x size pixel centres into the body frame."""
        axis = ((np.arange(size) + 0.5) / size - 0.5) * body.field
        across, down = (axis - body.shift[0])[None], (axis - body.shift[1])[:, None]
        cos, sin = np.cos(body.tilt), np.sin(body.tilt)
        return cls(body, size, cos * across + sin * down, cos * down - sin * across)

    @property
    def pixel(self) -> float:
        """Spacing in mm."""
        return self.body.field / self.size

    def pixels(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return rows and columns of points of the body frame."""
        cos, sin = np.cos(self.body.tilt), np.sin(self.body.tilt)
        down = (sin * x + cos * y + self.body.shift[1]) / self.pixel + (self.size - 1) / 2
        across = (cos * x - sin * y + self.body.shift[0]) / self.pixel + (self.size - 1) / 2
        return down, across


def phantom(seed: int, *, size: int = 224) -> Phantom:
    """Draw the chest radiograph of one seed, size x size pixels.

    The same seed gives the same bytes; at another size it gives the same body. Cardiothoracic
    ratios run from 0.38 to 0.6, with 0.5 the usual upper limit of normal on PA films (Danzer,
    1919) and AP films larger through magnification.
    """
    rng = np.random.default_rng(seed)
    body = _draw_body(rng)
    grid = _Grid.over(body, size)
    anatomy, air = _outlines(grid)
    loss = _soft_tissue(grid, air, rng) + _bones(grid, rng) + _vessels(grid, air, rng)
    shown = _film(grid, loss, anatomy, rng)
    picture = Radiograph.from_array(shown, source=f"phantom-{seed}")
    spacing = (grid.pixel, grid.pixel)
    view: View = "AP" if body.ap else "PA"
    picture = replace(picture, spacing_mm=spacing, synthetic=True, view=view)
    return Phantom(picture, anatomy, _facts(grid))


def sex_and_view(seed: int) -> tuple[str, str]:
    """Return the facts "sex" and "view" of one seed's phantom, without drawing it."""
    female, ap = _draw_kind(np.random.default_rng(seed))
    return "F" if female else "M", "AP" if ap else "PA"


def _draw_kind(rng: np.random.Generator) -> tuple[bool, bool]:
    """Choose whether a patient is female, and whether the beam comes from the front."""
    return bool(rng.uniform() < 0.5), bool(rng.uniform() < 0.4)


def _draw_body(rng: np.random.Generator) -> _Body:
    """Choose a patient and how the beam meets him or her."""
    u = rng.uniform
    female, ap = _draw_kind(rng)
    half_width = u(122, 142) if female else u(132, 156)
    height = 2 * half_width * (u(0.7, 0.95) if ap else u(0.88, 1.05))
    field = float(np.clip(max(2 * half_width * u(1.18, 1.65), height * u(1.2, 1.4)), 320, 450))
    dome = u(0.75, 0.85)
    wobble = tuple(tuple(row) for row in rng.normal(0, 0.022, (5, 8)).tolist())
    return _Body(
        female=female, ap=ap, half_width=half_width, height=height, field=field, wobble=wobble,
        depth=u(92, 115) if female else u(100, 125), fat=u(8, 42),
        ratio=u(0.42, 0.59) if ap else u(0.39, 0.53), right_share=u(0.28, 0.38),
        domes=(dome, dome + u(0.005, 0.045)), dome_at=u(0.36, 0.56), dome_power=u(1.6, 2.4),
        turn=u(-0.06, 0.06) if ap else u(-0.03, 0.03),
        tilt=np.deg2rad(u(-3, 3) if ap else u(-2, 2)),
        shift=(u(-9, 9), -height * u(0.48, 0.54)),
        knob=u(0.02, 0.07), bones=u(0.8, 1.5), gas=u(0, 1), breast=u(0, 1),
    )  # fmt: skip


def _curve(knots: Knots, at: Array, smooth: float = 16) -> Array:
    """Return a smooth curve through the neighbourhood of `knots` at the given places."""
    places, values = np.array(knots).T
    dense = np.linspace(places[0], places[-1], 400)
    line = ndimage.gaussian_filter1d(np.interp(dense, places, values), smooth, mode="nearest")
    return np.asarray(np.interp(at, dense, line))


def _round(off: Array) -> Array:
    """Return the height of a half circle of radius 1 at a distance off its centre."""
    return np.asarray(np.sqrt(np.clip(1 - np.square(off), 0, 1)))


def _cap(t: Array) -> Array:
    """Return how far the rounded apex has opened, 0 to 1."""
    return np.asarray(_round(np.clip(1 - t / 0.2, 0, 1)) * (t > 0))


def _line(body: _Body, which: int, at: Array) -> Array:
    """Return one of the `_LINES` at the given places, with this body's own deviations."""
    knots, swing = _LINES[which]
    places = np.linspace(-0.1, 1.3, 8)
    own = _curve(tuple(zip(places, body.wobble[which], strict=True)), at, smooth=24)
    return _curve(knots, at) * (1 + swing * own)


def _wall(body: _Body, t: Array) -> Array:
    """Return the lung's outer border as a fraction of its half width."""
    peak = _line(body, 0, np.linspace(0, 1, 101)).max()
    return np.asarray(_APEX_AT + (_line(body, 0, t) / peak - _APEX_AT) * _cap(t))


def _inner(body: _Body, t: Array, left: Mask | bool) -> Array:
    """Return the lung's mediastinal border (heart aside) as a fraction of its half width."""
    knob = body.knob * np.exp(-np.square((t - 0.27) / 0.05))
    trunk = 0.5 * body.knob * np.exp(-np.square((t - 0.42) / 0.06))
    border = np.where(left, _line(body, 2, t) + knob + trunk, _line(body, 1, t))
    return np.asarray(_APEX_AT - (_APEX_AT - border) * _cap(t))


def _diaphragm(body: _Body, x: Array, left: Mask | bool) -> Array:
    """Return y of the domes over x: steep to the costophrenic angle, flat to the heart."""
    across = np.abs(x) / body.wide(left)
    top = np.where(left, body.domes[1], body.domes[0])
    peak = body.dome_at
    outward = np.clip((across - peak) / (0.98 - peak), 0, 1.2) ** body.dome_power
    inward = np.square(np.clip((peak - across) / peak, 0, 1))
    return np.asarray(body.height * (top + (1.0 - top) * outward + 0.06 * inward))


def _heart_borders(body: _Body, y: Array) -> tuple[Array, Array]:
    """Return the heart's reach to the right and to the left of the midline at y, in mm."""
    top, bottom = _HEART_TOP * body.height, max(body.domes) * body.height
    tau = (y - top) / (bottom - top)
    whole = body.ratio * 2 * body.half_width * np.sqrt(np.clip(tau / 0.15, 0, 1))
    right, left = (
        _line(body, which, tau) / _line(body, which, np.linspace(0, 1.1, 111)).max()
        for which in (3, 4)
    )
    return body.right_share * whole * right, (1 - body.right_share) * whole * left


def _outlines(grid: _Grid) -> tuple[Anatomy, Array]:
    """Return the masks, and the depth of lung air in mm (h x w)."""
    body, x, y = grid.body, grid.x, grid.y
    left, t, away = x > 0, y / body.height, np.abs(x)
    wide, floor = body.wide(left), _diaphragm(body, x, left)
    outer, inner = wide * _wall(body, t), wide * _inner(body, t, left)
    right_reach, left_reach = _heart_borders(body, y)
    reach = np.where(left, left_reach, right_reach)
    field = (t > 0) & (away < outer) & (away > np.maximum(inner, reach)) & (y < floor)
    # The heart's lower border runs from dome to dome and sags in between.
    domes = body.height * (sum(body.domes) / 2 + 0.05 + (body.domes[1] - body.domes[0]) * x / wide)
    heart = (away < reach) & (t > _HEART_TOP) & (y < domes)

    air = 1.45 * body.depth * _round((away / np.maximum(outer, 1)) ** 1.3)
    air *= np.sqrt(np.clip((t + 0.03) / 0.5, 0, 1)) * (t > 0)
    # Lung reaches in front of and behind heart and domes; both grow thick quickly at their edge.
    air *= np.where(away > inner, 0.3 + 0.7 * np.sqrt(np.clip((away - inner) / 30, 0, 1)), 0.04)
    middle, half = (left_reach - right_reach) / 2, (left_reach + right_reach) / 2
    air = np.maximum(air - 0.98 * body.depth * _round((x - middle) / np.maximum(half, 1)), 0)
    air *= 1 - np.sqrt(np.clip((y - floor) / (0.17 * body.height), 0, 1))
    return Anatomy(field & ~left, field & left, heart), air


def _soft_tissue(grid: _Grid, air: Array, rng: np.random.Generator) -> Array:
    """Return the loss in trunk, arms and breasts, less what air lets through."""
    body, y, away = grid.body, grid.y, np.abs(grid.x)
    side, low, edge = body.half_width + body.fat + 14, body.height, body.shoulder
    neck, rise = rng.uniform(48, 60) + 0.3 * body.fat, rng.uniform(-22, 14)
    knots = (
        (-200, neck + 10), (-75 + rise, neck), (-55 + rise, neck + 12), (-32 + rise, neck + 60),
        (-12 + rise, edge - 25), (15 + rise, edge), (45, edge - 4), (85, side + 14),
        (130, side + 2), (low, side), (low + 120, side),
    )  # fmt: skip
    half = _curve(knots, y, smooth=7)
    deep = _curve(((-200, 68), (-40, 70), (20, 95), (90, body.depth), (low, 1.4 * body.depth)), y)
    trunk = 2 * deep * _round((away / half) ** 1.8)
    spread = rng.uniform(-5, 25) if body.ap else rng.uniform(10, 110)
    tissue = np.hypot(trunk, _arm(body, away, y, spread))
    if body.female:
        tissue += _breasts(body, away, y)
    # Lung is aerated unevenly, over half a centimetre and more.
    places = np.stack([y / 5 + 10, grid.x / 5 + 36])
    mottle = ndimage.map_coordinates(rng.normal(size=(72, 72)), places, order=1, mode="reflect")
    tissue = tissue - _AIR * air * (1 - 0.02 * mottle) - _hollows(grid, rng)
    # Beam and table are never quite even.
    slant = rng.normal(0, 0.08, 2)
    return np.asarray(_WATER * tissue + (slant[0] * grid.x + slant[1] * y) / body.height)


def _arm(body: _Body, away: Array, y: Array, spread: float) -> Array:
    """Return the thickness of the upper arm in mm."""
    slope = spread / 260
    radius = 38 + 0.5 * body.fat
    off = (away - (body.shoulder - 22) - slope * (y - 30)) / np.hypot(1, slope)
    start = np.clip((y + 12) / 45, 0, 1)
    return np.asarray(2 * radius * _round(off / radius) * np.sqrt(start))


def _breasts(body: _Body, away: Array, y: Array) -> Array:
    """Return the thickness of the breasts in mm: fading upwards, with a rounded lower edge."""
    wide, tall = 62 + 22 * body.breast, 75 + 30 * body.breast
    centre = body.height * (0.66 + 0.12 * body.breast)
    down = (y - centre) / np.where(y > centre, 0.62 * tall, 1.2 * tall)
    rest = np.clip(1 - np.square((away - 0.62 * body.half_width) / wide) - np.square(down), 0, 1)
    return np.asarray((22 + 38 * body.breast) * np.where(y > centre, rest**0.6, rest))


def _hollows(grid: _Grid, rng: np.random.Generator) -> Array:
    """Return the depth in mm of air in windpipe and stomach."""
    body, x, y = grid.body, grid.x, grid.y
    line = x - rng.uniform(-1, 5) * np.clip(y / 60, -1, 1) + 2
    pipe = 16 * _round(line / 9)
    pipe *= np.clip((0.36 * body.height - y) / 40, 0, 1)
    wide, tall = 22 + 18 * body.gas, 10 + 16 * body.gas
    across = (x - 0.5 * body.half_width) / wide
    down = (y - body.domes[1] * body.height - tall - 9) / tall
    level = 1.0 if body.ap else 0.35
    bubble = _round(np.hypot(across, down)) * (down < level)
    return np.asarray(pipe + (32 * bubble if body.gas > 0.6 else 0.0))


def _splat(grid: _Grid, parts: list[Points]) -> Array:
    """Spread volumes over the pixels they fall between; return thickness in mm, h x w."""
    x, y, volume = (np.concatenate([part.ravel() for part in p]) for p in zip(*parts, strict=True))
    down, across = grid.pixels(x, y)
    size, edge = grid.size, grid.size - 1
    keep = np.flatnonzero((down > 0) & (down < edge) & (across > 0) & (across < edge))
    down, across, volume = down[keep], across[keep], volume[keep] / grid.pixel**2
    row, column = down.astype(np.int64), across.astype(np.int64)
    start = row * size + column
    down, across = down - row, across - column
    low, high = volume * (1 - down), volume * down
    total = np.zeros(size * size)
    for step, share in ((0, low), (size, high)):
        total += np.bincount(start + step, share * (1 - across), total.size)
        total += np.bincount(start + step + 1, share * across, total.size)
    return total.reshape(size, size)


def _around(count: int, number: int) -> Array:
    """Return angles around a tube at each of `count` places, s x `number`.

    They turn by the golden angle from place to place, so that no streaks run along the tube.
    """
    step = 2 * np.pi / number
    return step * np.arange(number)[None] + 2.39996 * np.arange(count)[:, None]


def _tube(x: Array, y: Array, radius: Array, wall: Array | None) -> Points:
    """Return points that fill tubes along paths x, y (n x s) of given radius (n x s).

    With walls in mm (n x s) the tubes are shells, as cortical bone is; without, they are solid.
    """
    dx, dy = np.gradient(x, axis=1), np.gradient(y, axis=1)
    length = np.maximum(np.hypot(dx, dy), 1e-9)
    if wall is None:
        off = np.linspace(-0.85, 0.85, 5)
        share = np.sqrt(1 - off**2)
        volume = np.pi * radius**2 * length
    else:
        off = np.sin(_around(x.shape[1], 26))
        share = np.ones(26)
        volume = 2 * np.pi * radius * length * wall
    away = radius[..., None] * off
    xs, ys = -away * (dy / length)[..., None], away * (dx / length)[..., None]
    return x[..., None] + xs, y[..., None] + ys, volume[..., None] * (share / share.sum())


def _bones(grid: _Grid, rng: np.random.Generator) -> Array:
    """Return the loss in bone beyond that of the water it replaces."""
    body = grid.body
    count = int(320 / grid.pixel)
    parts = [*_ribs(body, count), _girdle(body, rng, count)]
    return body.bones * (_BONE * _splat(grid, parts) + _spine(grid, rng))


def _ribs(body: _Body, count: int) -> list[Points]:
    """Return points of twelve pairs of ribs: tilted loops around the lungs."""
    number = np.arange(12)[:, None, None]
    theta, turn = np.linspace(0, 2.65, count)[:, None], _around(count, 18)
    sin, cos = np.sin(theta), np.cos(theta)
    start = body.height * (-0.01 + 0.083 * number + 0.0012 * number**2)
    fall = body.height * (0.075 + 0.025 * np.minimum(number, 4) + 0.004 * number)
    deep = 85 * np.minimum(1, 0.3 + 0.18 * number)
    tall, thin = 5.6 + 0.1 * number, 2.6
    y = start + fall * (1 - cos) + (1.6 * number - 9) * np.sin(2 * theta) * (theta < 1.57)
    around = np.hypot(tall * np.cos(turn), thin * np.sin(turn)) * (2 * np.pi / 18)
    # Cartilage ends the anterior arcs; arcs away from the detector and rib 1, seen on its flat
    # side, are fainter; the lowest ribs float.
    shown = np.clip((2.65 - theta) / 0.3, 0, 1) * np.where(theta > 1.57, 0.5, 1)
    shown = shown * np.clip((13 - number) / 4, 0.3, 1) * np.clip(0.55 + 0.15 * number, 0, 1)
    shown = shown * ((number < 9) | (theta < 1.8))
    parts = []
    for side in (-1, 1):
        reach = float(body.wide(side > 0)) * _wall(body, (start + fall) / body.height) - 13
        reach = np.maximum(reach, 0.5 * body.half_width - 16)
        x = side * (16 + (reach + thin * np.cos(turn)) * sin)
        pace = np.sqrt((reach * cos) ** 2 + ((fall**2 + deep**2) * sin**2)) * (2.65 / count)
        parts.append((x, y + tall * np.sin(turn), 2 * shown * pace * around))
    return parts


def _girdle(body: _Body, rng: np.random.Generator, count: int) -> Points:
    """Return points of clavicles, upper arms and scapulae."""
    s, edge = np.linspace(0, 1, count), body.shoulder
    top = body.height * (rng.uniform(0.04, 0.1) if body.ap else rng.uniform(0.11, 0.15))
    end = rng.uniform(-6, 10) if body.ap else rng.uniform(-14, 6)
    lean = rng.uniform(0, 0.1) if body.ap else rng.uniform(0.15, 0.4)
    blade = body.half_width * ((0.85 if body.ap else 1.0) + rng.uniform(-0.05, 0.08))
    glenoid, down = edge - 48, 400 * s
    head = np.sqrt(np.clip(23**2 - (down - 23) ** 2, 0, None))
    knobs, up = (2 * s - 1) ** 2, end - top
    bones = (
        (15 + (edge - 52) * s, top + up * s + 6 * np.sin(6 * s), 5.5 + 2 * knobs),
        (edge - 30 + lean * down, 2 + down, np.maximum(head, 10.5 * np.clip(down / 30 - 1, 0, 1))),
        (glenoid + (blade - glenoid) * s, 45 + 120 * s - 6 * np.sin(3 * s), 3.5 + 4 * (1 - s) ** 2),
        (blade * 0.7 + (edge - 20 - blade * 0.7) * s, 42 - 38 * s**1.5, 4 + 3 * s),
        (blade * (0.68 + 0.32 * s**2), 35 + 130 * s, 2.5 + 0 * s),
    )
    x, y, radius = (np.array(part) for part in zip(*bones, strict=True))
    x = np.concatenate([x, -x])
    x[[0, 5]] += body.turn * 250
    # The cortex is thin where bone is wide.
    wall = np.array([2.4, 1.6, 1.7, 1.8, 1.5])[:, None] * np.minimum(1, 9 / np.maximum(radius, 1))
    y, radius, wall = (np.concatenate([each, each]) for each in (y, radius, wall))
    return _tube(x, y, radius, wall)


def _spine(grid: _Grid, rng: np.random.Generator) -> Array:
    """Return the loss in vertebral bodies: spongy bone, denser at the end plates."""
    height, start = grid.body.height, rng.uniform()
    inside = np.abs(grid.x) < 23
    x, t = grid.x[inside], grid.y[inside] / height
    phase = np.cos((t / 0.087 + start) * 2 * np.pi)
    disc, plate = np.clip((phase - 0.55) / 0.45, 0, 1), np.exp(-np.square((phase - 0.5) / 0.25))
    chord = _round(np.square(x / (14 + 7 * np.clip(t, -0.3, 1.2))))
    loss = np.zeros_like(grid.x)
    loss[inside] = _CANCELLOUS * 34 * chord * (1 - 0.4 * disc + 0.3 * plate)
    return loss


def _vessels(grid: _Grid, air: Array, rng: np.random.Generator) -> Array:
    """Return the loss in lung vessels: trees from the hila, tapering, denser at the bases."""
    parts = [part for side in (-1, 1) for part in _tree(grid, side, rng)]
    return _WATER * _splat(grid, parts) * np.clip(air / 40, 0, 1)


def _tree(grid: _Grid, side: int, rng: np.random.Generator) -> list[Points]:
    """Return the points of one lung's vessels, one entry a generation of branches."""
    body = grid.body
    angle = np.deg2rad(np.linspace(-65, 84, 9) + rng.normal(0, 6, 9))
    x = 0.19 * body.half_width + rng.normal(0, 4, 9)
    y = body.height * (0.43 if side < 0 else 0.40) + rng.normal(0, 4, 9)
    radius = np.where(angle > 0.3, 6.0, 4.6) + rng.normal(0, 0.4, 9)
    length = body.height * np.where(angle > 0.3, 0.17, 0.13)
    parts = []
    for _ in range(6):
        s = np.linspace(0, 1, 2 + int(length.max() / (0.8 * grid.pixel)))[None]
        bend = (s * (1 - s)) * (rng.normal(0, 0.25, len(x)) * length)[:, None]
        ways = (np.cos(angle)[:, None], np.sin(angle)[:, None])
        along = s * length[:, None]
        xs = x[:, None] + along * ways[0] - bend * ways[1]
        ys = y[:, None] + along * ways[1] + bend * ways[0]
        parts.append(_tube(side * xs, ys, radius[:, None] * (1 - 0.25 * s), None))
        fork = rng.normal(0.35, 0.14, len(angle))
        angle = np.concatenate([angle + fork, angle - 0.75 * fork])
        x, y = np.tile(xs[:, -1], 2), np.tile(ys[:, -1], 2)
        radius = np.concatenate([radius * 0.8, radius * 0.62])
        length = np.tile(length, 2) * rng.uniform(0.6, 0.95, len(angle))
    return parts


def _film(grid: _Grid, loss: Array, anatomy: Anatomy, rng: np.random.Generator) -> Array:
    """Return display values: scatter, noise, blur, film curve, marker and collimation.

    The curve is a logistic one, much as the characteristic curve of film (Hurter and Driffield,
    1890); it is placed so that lung and heart get chosen levels, as automatic windowing does.
    """
    u, scale = rng.uniform, grid.size / 224
    dark, fog, grain, blur, even = (
        u(0.2, 0.48), u(0.003, 0.012), u(0.006, 0.018), u(0.3, 0.65), u(0.15, 0.5),
    )  # fmt: skip
    bright, base = min(0.93, dark + u(0.28, 0.52)), max(0.0, u(-0.1, 0.14))
    marks, open_field = _marks(grid, rng), _collimation(grid.size, rng)
    # Scatter adds an even fog to what comes through, and flattens the dense parts.
    loss = -np.log(np.exp(-np.maximum(loss, 0)) + fog)
    # Photon counts fall as exp(-loss), so that their relative noise grows as exp(loss / 2).
    loss += grain * scale * np.exp(loss / 2 - 1.5) * rng.normal(size=loss.shape)
    loss = ndimage.gaussian_filter(loss, blur * scale, truncate=3)
    # Two boxes blur nearly as a bell curve does, in a fraction of the time.
    box, slow = round(90 / grid.pixel), loss
    for _ in range(2):
        slow = ndimage.uniform_filter(slow, box)
    loss -= even * slow
    lung, heart = np.median(loss[anatomy.lungs]), np.median(loss[anatomy.heart])
    low, high = np.log(dark / (1 - dark)), np.log(bright / (1 - bright))
    slope = (high - low) / max(heart - lung, 0.2)
    shown = base + (1 - base) / (1 + np.exp(-low - slope * (loss - lung)))
    return np.asarray(np.clip(np.maximum(shown, 0.96 * marks) * open_field, 0, 1))


def _collimation(size: int, rng: np.random.Generator) -> Array:
    """Return 1 inside the open field and 0 under the collimator."""
    edges = np.maximum(rng.uniform(-0.09, 0.045, 4), -0.01)
    axis = (np.arange(size) + 0.5) / size
    inside = [(axis > edges[i]) & (axis < 1 - edges[i + 1]) for i in (0, 2)]
    return np.asarray(np.outer(*inside), dtype=np.float64)


def _marks(grid: _Grid, rng: np.random.Generator) -> Array:
    """Return the lead letter of the side, sometimes with the view under it, as 1 on 0."""
    size, right, named = grid.size, rng.uniform() < 0.4, rng.uniform() < 0.5
    text = ("AP" if grid.body.ap else "PA") if named else ""
    across, down = rng.uniform(0.03, 0.1), rng.uniform(0.03, 0.15)
    marks = np.zeros((size, size))
    axis = (np.arange(size) + 0.5) / size / 0.0055
    for row, letters in ((down, "R" if right else "L"), (down + 0.07, text)):
        lines = ["".join(f"{int(_LETTERS[c][i], 32):05b}0" for c in letters) for i in range(7)]
        dots = np.pad(np.array([[float(dot) for dot in line] for line in lines]), 1)
        start = (row, across if right else 0.96 - across)
        at = [np.floor(axis - edge / 0.0055).astype(int) + 1 for edge in start]
        marks += dots[np.ix_(*(np.clip(p, 0, n - 1) for p, n in zip(at, dots.shape, strict=True)))]
    return marks


def _facts(grid: _Grid) -> dict[str, Any]:
    """Return what was drawn; landmarks are (row, column) in pixels, sides the patient's."""
    body = grid.body
    facts: dict[str, Any] = {
        "sex": "F" if body.female else "M",
        "view": "AP" if body.ap else "PA",
        "cardiothoracic_ratio": body.ratio,
        "thoracic_width_mm": 2 * body.half_width,
        "lung_height_mm": body.height,
        "tilt_degrees": float(np.rad2deg(body.tilt)),
        "gastric_bubble": body.gas > 0.6,
    }
    spine = zip(*grid.pixels(np.zeros(2), np.array([0, body.height])), strict=True)
    facts["midline"] = tuple((float(row), float(column)) for row, column in spine)
    for side, sign in (("right", -1.0), ("left", 1.0)):
        wide = float(body.wide(sign > 0))
        # Where the heart hides the top of a dome, its highest visible place counts.
        reach = _heart_borders(body, np.array(max(body.domes) * body.height))[int(sign > 0)]
        peak, hilum = sign * max(body.dome_at * wide, float(reach)), np.array(0.42)
        places = {
            "dome": (peak, float(_diaphragm(body, np.array(peak), sign > 0))),
            "angle": (sign * 0.97 * wide, body.height),
            "hilum": (sign * wide * float(_inner(body, hilum, sign > 0)), 0.42 * body.height),
        }
        for name, (x, y) in places.items():
            row, column = grid.pixels(np.array(x), np.array(y))
            facts[f"{name}_{side}"] = (float(row), float(column))
    return facts
