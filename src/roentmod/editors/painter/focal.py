"""Focal lesions: nodules and masses of several forms, and the hiatal hernia.

The contract of `airspace`: (canvas, side, dose, rng, form), random numbers independent of dose.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from roentmod.anatomy import LungSide
from roentmod.editors.painter import places
from roentmod.editors.painter.canvas import Array, Canvas, Change, Rng, curve, step
from roentmod.editors.painter.places import Place

__all__ = ["hernia", "mass", "nodule"]

Point = tuple[float, float]
# How far a lesion reaches from its middle, as a part of its diameter, where its form adds to it.
_REACH = {"spiculated": 0.85, "lobulated": 0.66}


def nodule(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change | None:
    """A round opacity of up to 30 mm (the glossary's limit)."""
    return _lesion(canvas, side, dose, "Nodule", rng, form)


def mass(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change | None:
    """An opacity of more than 30 mm."""
    return _lesion(canvas, side, dose, "Mass", rng, form)


def _lesion(
    canvas: Canvas, side: LungSide, dose: float, name: str, rng: Rng, form: str
) -> Change | None:
    """Return a lesion of a form at a place where such lesions lie: a solid body's projection.

    In an area it is whole; None where that has no room for it.
    """

    def size(one: Place) -> float:
        return places.graded(name, "diameter_mm", dose, one.rank)

    def reach(one: Place) -> float:
        return _REACH.get(form, 0.58) * size(one) + 2

    def fits(one: Place) -> bool:
        return canvas.holds(side, one.down, 0.12 + 0.88 * one.across, reach(one))

    place, margin = places.draw(name, rng, fits), 14 if name == "Mass" else 9
    if not canvas.lodging(side, margin, reach(place)).any():
        return None
    diameter = size(place)
    centre = canvas.at(side, place.down, 0.12 + 0.88 * place.across, margin, reach(place))
    part, lobes = _distance(canvas, centre, diameter, rng, form)
    # The chord of a rounded body, and blur of about a millimetre.
    body = canvas.blur(np.clip(1 - part**2, 0, 1) ** 0.45, 0.6)
    grainy, spots = canvas.fractal(rng, 3), rng.random()
    peak = 0.48 + 0.22 * min(1.0, diameter / 50)
    bright: Array | None = None
    whole = body
    if form == "spiculated":
        whole = np.maximum(
            body * np.clip(1 + 0.1 * grainy, 0, 1.1),
            0.40 * _spicules(canvas, centre, diameter, rng),
        )
    elif form == "cavitated":
        whole = body * (1 - _cavity(canvas, centre, diameter, lobes, rng))
    elif form == "calcified":
        core = body**3 if spots < 0.5 else body * np.clip(0.45 + 0.55 * grainy, 0, 1.3)
        bright = (0.45 + 0.25 * min(1.0, diameter / 28)) * core * canvas.field(side, 1.0)
    texture = 1 - 0.06 * np.abs(canvas.noise(rng, 4))
    fill = peak * whole * texture * canvas.field(side, 1.0)
    return Change(
        np.asarray(fill, np.float32),
        bright,
        severity={f"{name.lower()}_{side}_mm": round(diameter, 1)},
    )


def _distance(
    canvas: Canvas, centre: Point, diameter: float, rng: Rng, form: str
) -> tuple[Array, Array]:
    """Return the distance from a lesion's centre in its own radii, and its direction, h x w."""
    rows, columns = canvas.ragged(rng, 0.014 * diameter, 8)
    y, x = (rows - centre[0]) * canvas.mm, (columns - centre[1]) * canvas.mm
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.72, 1.0)
    along = x * np.cos(turn) + y * np.sin(turn)
    aside = (y * np.cos(turn) - x * np.sin(turn)) / squeeze
    part = np.hypot(along, aside) / (diameter / 2)
    angle = np.arctan2(aside, along)
    waves = np.zeros(canvas.shape, dtype=np.float32)
    for k in range(2, 6):
        waves += rng.normal(0, 0.025 if form == "smooth" else 0.06) * np.cos(
            k * angle + rng.uniform(0, 2 * np.pi)
        )
    part = part / (1 + waves)
    lobes = rng.uniform((0, 0.40, 0.42), (2 * np.pi, 0.6, 0.62), (4, 3))
    # Lobes are spheres half sunk in the first.
    for way, out, size in lobes if form == "lobulated" else ():
        place = 0.5 * diameter * out
        lobe = np.hypot(along - place * np.cos(way), aside - place * np.sin(way))
        part = np.minimum(part, 0.9 * lobe / (0.5 * diameter * size))
    return part.astype(np.float32), angle.astype(np.float32)


def _spicules(canvas: Canvas, centre: Point, diameter: float, rng: Rng) -> Array:
    """Return fine strands that radiate from a lesion's border, h x w in [0, 1]."""
    strokes = []
    for turn in np.linspace(0, 2 * np.pi, 15)[:-1] + rng.uniform(-0.2, 0.2, 14):
        begin, end = 0.40 * diameter, rng.uniform(0.55, 0.85) * diameter + 2
        bend = turn + rng.uniform(-0.14, 0.14)
        ways = ((begin, turn), (0.5 * (begin + end), bend), (end, bend))
        points = [
            (centre[0] + r * np.sin(a) / canvas.mm, centre[1] + r * np.cos(a) / canvas.mm)
            for r, a in ways
        ]
        strokes.append(curve(points, rng.uniform(1.2, 2.4), 0.4))
    return canvas.blur(canvas.draw(strokes), 0.35)


def _cavity(canvas: Canvas, centre: Point, diameter: float, angle: Array, rng: Rng) -> Array:
    """Return how much of a lesion's depth its cavity takes: eccentric, uneven, thick-walled."""
    out = rng.uniform(-0.10, 0.10, 2) * diameter / canvas.mm
    radius = diameter / 2 * rng.uniform(0.42, 0.64)
    part = canvas.distance(centre[0] + out[0], centre[1] + out[1]) / radius
    part = part + 0.07 * np.cos(2 * angle + rng.uniform(0, 6)) + 0.05 * canvas.noise(rng, 7)
    hollow = np.sqrt(np.clip(1 - part**2, 0, 1))
    # Fluid in it stands level.
    level = centre[0] + out[0] + rng.uniform(0.2, 1.6) * radius / canvas.mm
    dry = step(0.5 + (level - canvas.rows) * canvas.mm / 1.5)
    return canvas.blur((0.72 * hollow * dry).astype(np.float32), 0.4)


def hernia(canvas: Canvas, _side: LungSide, dose: float, rng: Rng, _form: str) -> Change:
    """Hiatal hernia: a round retrocardiac density above the diaphragm, with air and fluid level."""
    anatomy = canvas.anatomy
    radius = (24 + 22 * dose) / canvas.mm
    floor = (anatomy.dome("right")[0] + anatomy.dome("left")[0]) / 2
    row = floor - 0.50 * radius
    column = anatomy.midline[int(row)] + rng.uniform(-0.1, 0.5) * radius
    flat, skew = rng.uniform(0.75, 0.95), rng.uniform(-0.25, 0.25)
    y, x = canvas.rows - row, canvas.columns - column
    part = np.hypot(y / (radius * flat), (x + skew * y) / radius) + 0.04 * canvas.noise(rng, 20)
    body = np.sqrt(np.clip(1 - part**2, 0, 1)) ** 0.7
    wall = np.clip(1 - (part / 0.88) ** 2, 0, 1) ** 0.5
    level = row - rng.uniform(-0.1, 0.3) * radius
    air = wall * expit((level - canvas.rows) / (0.35 * canvas.unit))
    above = expit((floor + 0.3 * radius - canvas.rows) / (3 * canvas.unit))
    lungs = np.maximum(canvas.field("left", 3.0), canvas.field("right", 3.0))
    return Change(
        0.85 * canvas.blur(body.astype(np.float32), 0.5) * above,
        (0.16 * body * (1 - lungs) - (0.42 + 0.2 * dose) * canvas.blur(air.astype(np.float32), 0.4))
        * above,
        severity={"hernia_mm": round(2 * radius * canvas.mm, 1)},
    )
