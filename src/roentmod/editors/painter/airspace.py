"""Diseases of the lung itself: filled air spaces, collapse, thick or destroyed interstitium.

Each rendering takes (canvas, side, dose, rng, form) and names its forms in `FORMS` of the package.
`dose` in (0, 1] only scales: the random numbers drawn do not depend on it, so one seed is one
lesion at every dose. Shapes follow the Fleischner glossary (Hansell et al., Radiology 2008).
"""

from __future__ import annotations

import numpy as np

from roentmod.anatomy import LungSide
from roentmod.editors.compose import resized
from roentmod.editors.painter import places
from roentmod.editors.painter.canvas import Array, Canvas, Change, Rng, branches, curve, step
from roentmod.editors.painter.places import Place

__all__ = ["atelectasis", "consolidation", "edema", "emphysema", "fibrosis", "pneumonia"]

Point = tuple[float, float]
# How far the middle of an opacity is from the border of the area it is requested in, in mm.
_INSIDE = 10.0
# Height of the minor fissure, and of the hilum it points at, as a part of the lung's height.
_FISSURE = 0.47
# Heights in which the middle of a lobe's filling lies.
_LOBES = {"upper lobe": (0.08, 0.42), "middle lobe": (0.55, 1.0), "lower lobe": (0.42, 1.0)}


def consolidation(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change:
    """Lobar or segmental filling: bounded by a fissure, ragged elsewhere, with air bronchograms.

    Beside heart and diaphragm their borders are lost (silhouette sign); a lower lobe's also shows
    through the heart.
    """

    def at(one: Place) -> Point:
        across = 0.6 * one.across if form == "middle lobe" else 0.1 + 0.8 * one.across
        return places.within("Consolidation", one.down, *_LOBES[form]), across

    place = places.draw("Consolidation", rng, lambda one: canvas.holds(side, *at(one), _INSIDE))
    centre = canvas.at(side, *at(place), 14, _INSIDE)
    size = float(np.clip(0.62 * place.size_mm, 50, 100))
    body = _segment(canvas, side, centre, (size, 0.72 + 0.55 * dose), rng, _ground(canvas, rng))
    body = body * _lobe(canvas, side, form, rng)
    tree = canvas.draw(branches(rng, canvas.anatomy.hilum(side), centre, 3.6))
    air = canvas.blur(tree, 0.5) * step(2.5 * body - 0.8)
    texture = 1 - 0.07 * np.abs(canvas.fractal(rng, 8))
    whole = body * canvas.field(side, 2.5)
    fill = (0.36 + 0.44 * dose) * whole * texture * (1 - 0.34 * air)
    behind = canvas.soft(canvas.anatomy.heart, 1.0) * body * (form == "lower lobe")
    area = float((whole * canvas.seen > 0.4).sum()) * canvas.mm**2 / 100
    return Change(
        fill,
        np.asarray((0.10 + 0.22 * dose) * behind * texture, dtype=np.float32),
        severity={f"consolidation_{side}_area_cm2": round(area, 2)},
    )


def _ground(canvas: Canvas, rng: Rng) -> tuple[Array, Array, Array]:
    """Return displaced rows and columns, and fine noise, for the outlines of fillings.

    They are so soft that every other pixel of the grid will do.
    """
    rows, columns = canvas.ragged(rng, 3.2, 16)
    return rows[::2, ::2], columns[::2, ::2], canvas.fractal(rng, 6)[::2, ::2]


def _segment(
    canvas: Canvas,
    side: LungSide,
    centre: Point,
    size: tuple[float, float],
    rng: Rng,
    ground: tuple[Array, Array, Array],
) -> Array:
    """Return how much of the depth a patch fills: lobules strung along their bronchus, in [0, 1].

    `size` is about the square root of its area, in mm, and how far the lobules are filled: they
    stay where they are, so that more dose is a patch around the smaller one.
    """
    rows, columns, fine = ground
    ahead = np.subtract(centre, canvas.anatomy.hilum(side))
    ahead = ahead / max(float(np.hypot(*ahead)), 1e-6)
    scale = size[0] / canvas.mm
    free = np.ones(rows.shape, dtype=np.float32)
    for number in range(8):
        along, aside = rng.normal(0, (0.36, 0.24))
        reach = rng.uniform(0.24, 0.46) * (1.35 if number == 0 else 1.0) * size[1] * scale
        flat = rng.uniform(0.7, 1.3)
        row = centre[0] + (along * ahead[0] + aside * ahead[1]) * scale
        column = centre[1] + (along * ahead[1] - aside * ahead[0]) * scale
        away = ((rows - row) / (reach * flat)) ** 2 + ((columns - column) * flat / reach) ** 2
        # Thickness falls smoothly to the edge of a lobule; it is not a ball's.
        free *= 1 - rng.uniform(0.40, 0.70) * np.clip(1 - away, 0, 1).astype(np.float32)
    # Acini at the border are filled or not: it is fluffy, not smooth.
    edge = np.clip(4 * (1 - free) * free, 0, 1)
    fluffy = np.clip(1.35 * (1 - free + 0.07 * fine * edge), 0, 1)
    return canvas.blur(resized(fluffy.astype(np.float32), canvas.shape), 1.0)


def _lobe(canvas: Canvas, side: LungSide, form: str, rng: Rng) -> Array:
    """Return the lobe a filling keeps to, in [0, 1], h x w: the minor fissure is sharp."""
    down, across = canvas.descent(side), canvas.across(side)
    tilt, sharp = rng.uniform(-0.05, 0.07), rng.uniform(0.006, 0.014)
    height = _FISSURE + rng.uniform(-0.03, 0.03) + tilt * across + 0.01 * canvas.noise(rng, 30)
    below = step(0.5 + (down - height) / (2 * sharp))
    if form == "lower lobe":
        # The oblique fissure is not met by the beam: the border is soft.
        return np.asarray(step((down - 0.30) / 0.2), dtype=np.float32)
    if side == "left":
        # The left upper lobe and its lingula have no minor fissure.
        below = step(0.5 + (down - 0.5) / 0.3)
    kept = below if form == "middle lobe" else 1 - below
    return np.asarray(kept, dtype=np.float32)


def pneumonia(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change:
    """Patches that run together: few and lobular, or many, along thick-walled bronchi."""
    spread, ground = 0.5 if form == "patchy" else 0.16, _ground(canvas, rng)
    highest = 0.36 if canvas.area is None else 0.0

    def at(one: Place) -> Point:
        return max(one.down, highest), 0.1 + 0.75 * one.across

    first = places.draw("Pneumonia", rng, lambda one: canvas.holds(side, *at(one), _INSIDE))
    total = np.zeros(canvas.shape, dtype=np.float32)
    for number in range(7):
        size, strength = rng.uniform(30, 56), rng.uniform(0.5, 1.0)
        shift = rng.normal(0, spread, 2) * (number > 0)
        down = float(np.clip(first.down + 0.6 * shift[0], highest, 1))
        across = float(np.clip(0.1 + 0.75 * first.across + shift[1], 0, 0.95))
        centre = canvas.at(side, down, across, 9, _INSIDE)
        # Later patches come in as the dose rises.
        present = float(np.clip(0.7 + 6.5 * dose - number, 0, 1))
        own = np.random.default_rng(int(rng.integers(2**31)))
        if present > 0:
            patch = _segment(canvas, side, centre, (size, 0.75 + 0.45 * dose), own, ground)
            total = 1 - (1 - total) * (1 - present * strength * patch)
    nodular = np.clip(1 + 0.13 * canvas.fractal(rng, 5), 0.4, 1.5)
    lines = _reticulum(canvas, rng, 4) * step(2 * canvas.blur(total, 6))
    fill = (0.28 + 0.38 * dose) * total * nodular + (0.03 + 0.05 * dose) * lines
    fill = np.clip(fill, 0, 0.95) * canvas.field(side)
    share = float(((fill * canvas.seen)[canvas.anatomy.lung(side)] > 0.12).mean())
    return Change(fill, severity={f"pneumonia_{side}_lung_fraction": round(share, 4)})


def _reticulum(canvas: Canvas, rng: Rng, reach: float) -> Array:
    """Return a net of thickened septa, h x w in [0, 1]: ridges where noise passes zero."""
    net = np.zeros(canvas.shape, dtype=np.float32)
    for scale in (1.0, 0.6):
        ridge = np.exp(-((canvas.noise(rng, scale * reach) / 0.22) ** 2))
        net = np.maximum(net, ridge * np.clip(0.6 + 0.5 * canvas.noise(rng, 2 * reach), 0, 1))
    return canvas.blur(net, 0.4)


def edema(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change:
    """One lung's share: cephalised vessels, Kerley lines, haze; bat-wing where it is alveolar."""
    row, column = canvas.anatomy.hilum(side)
    first, last = canvas.anatomy.span(side)
    tall, wide = 0.44 * (last - first), 0.80 * abs(canvas.anatomy.outer(side) - column)
    row = row + 0.10 * (last - first)
    away = np.hypot((canvas.rows - row) / tall, (canvas.columns - column) / wide)
    away = away + 0.10 * canvas.fractal(rng, 16)
    alveolar = form == "alveolar"
    haze = np.exp(-(np.clip(away / (0.70 + 0.35 * dose), 0, None) ** (2.6 if alveolar else 1.6)))
    cloudy = np.clip(1 + (0.26 if alveolar else 0.13) * canvas.fractal(rng, 6), 0.3, 1.7)
    lines = _septal_lines(canvas, side, rng) + 0.8 * _reticulum(canvas, rng, 4.5)
    upwards = _upper_vessels(canvas, side, rng)
    lower = 0.35 + 0.65 * step((canvas.descent(side) - 0.25) / 0.5)
    cloud = (0.10 + (0.58 if alveolar else 0.44) * dose) * haze * cloudy
    fill = cloud + 0.16 * dose * lower + (0.04 + 0.10 * dose) * lines * lower
    fill = 0.8 * np.tanh((fill + (0.05 + 0.09 * dose) * upwards) / 0.8) * canvas.field(side, 1.0)
    share = float((fill * canvas.seen)[canvas.anatomy.lung(side)].mean())
    return Change(fill, severity={f"edema_{side}_mean_fill": round(share, 4)})


def _upper_vessels(canvas: Canvas, side: LungSide, rng: Rng) -> Array:
    """Return the upper lobe's vessels, as wide as the lower's: pressure has risen."""
    row, column = canvas.anatomy.hilum(side)
    first, last = canvas.anatomy.span(side)
    outer = canvas.anatomy.outer(side)
    strokes = []
    for reach in (0.15, 0.4, 0.65):
        tip = (first + rng.uniform(0.10, 0.30) * (last - first), column + reach * (outer - column))
        start = (row + rng.uniform(-6, 6) / canvas.mm, column)
        strokes += branches(rng, start, tip, rng.uniform(2.2, 3.4), 3)
    return canvas.blur(canvas.draw(strokes), 0.6)


def _septal_lines(canvas: Canvas, side: LungSide, rng: Rng) -> Array:
    """Return Kerley B lines: short, level, touching the outer wall of the lower third."""
    lung = canvas.anatomy.lung(side)
    first, last = canvas.anatomy.span(side)
    strokes = []
    for place, length in zip(rng.uniform(0.60, 0.93, 9), rng.uniform(7, 18, 9), strict=True):
        row = round(first + place * (last - first))
        own = np.flatnonzero(lung[row])
        slope = rng.uniform(-0.1, 0.25)
        if own.size:
            wall, inwards = (own[0], 1) if side == "right" else (own[-1], -1)
            reach = length / canvas.mm
            strokes.append(curve([(row, wall), (row - slope * reach, wall + inwards * reach)], 0.9))
    return canvas.blur(canvas.draw(strokes), 0.3)


def atelectasis(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change:
    """Loss of volume: plates of collapsed lung or a whole collapsed lobe, and what it pulls.

    The diaphragm rises with the picture's own texture; the hilum follows the collapse.
    """
    lift_mm = 4 + 20 * dose
    upper = form == "upper lobe"
    lifted = canvas.room_for(_lifted(canvas, side, lift_mm / canvas.mm, -0.4 if upper else 0.2))
    plates = _plates(canvas, side, dose, rng)
    wedge = _collapsed(canvas, side, dose, rng, upper=upper)
    haze = canvas.blur(np.minimum(plates, 1), 7)
    if form == "plates":
        dense = (0.42 + 0.32 * dose) * np.clip(plates, 0, 1.1) + 0.16 * dose * haze
    else:
        dense = (0.42 + 0.38 * dose) * wedge + 0.12 * dose * plates
    heart = canvas.soft(canvas.anatomy.heart, 1.0) * (form == "lower lobe")
    heart = heart * step((canvas.anatomy.dome(side)[0] - canvas.rows) * canvas.mm / 40 + 0.5)
    sign = 1.0 if side == "left" else -1.0
    beside = sign * (canvas.columns - canvas.anatomy.midline[:, None]) * canvas.mm
    heart = heart * step((beside - 8) / 24)
    return Change(
        dense * canvas.field(side, 1.5),
        (0.10 + 0.20 * dose) * wedge * heart,
        shift=lifted,
        severity={
            f"atelectasis_{side}_diaphragm_raised_mm": round(lift_mm * (lifted is not None), 1)
        },
    )


def _plates(canvas: Canvas, side: LungSide, dose: float, rng: Rng) -> Array:
    """Return plate-like bands, thin, long and a little bent, h x w in about [0, 1]."""
    outer, highest = -1.0 if side == "right" else 1.0, 0.45 if canvas.area is None else 0.0

    def at(one: Place) -> Point:
        return max(one.down, highest), 0.15 + 0.7 * one.across

    total = np.zeros(canvas.shape, dtype=np.float32)
    for number in range(4):
        place = places.draw(
            "Atelectasis",
            rng,
            lambda one: canvas.holds(side, *at(one), _INSIDE),
        )
        centre = canvas.at(side, *at(place), 8, _INSIDE)
        long, slope = rng.uniform(28, 80), rng.uniform(-0.12, 0.5) * outer
        thick, strength = rng.uniform(1.3, 3.4), rng.uniform(0.6, 1.1)
        bend = rng.uniform(-0.10, 0.10)
        present = float(np.clip(1.3 + 3.5 * dose - number, 0, 1))
        half = long * (0.7 + 0.4 * dose) / 2 / canvas.mm
        ends = [(centre[0] + slope * x, centre[1] + x) for x in (-half, half)]
        middle = (centre[0] + bend * half, centre[1])
        band = canvas.draw([curve([ends[0], middle, ends[1]], thick)])
        fade = np.exp(-(((canvas.columns - centre[1]) / (0.9 * half)) ** 4))
        total += present * strength * canvas.blur(band, 0.45) * fade
    return total * np.asarray(np.clip(0.9 + 0.25 * canvas.noise(rng, 8), 0.3, 1.3), np.float32)


def _collapsed(canvas: Canvas, side: LungSide, dose: float, rng: Rng, *, upper: bool) -> Array:
    """Return a collapsed lobe against the mediastinum: its fissure bows towards it."""
    down, across = canvas.descent(side), canvas.across(side)
    reach, bow = rng.uniform(0.42, 0.6) * (0.55 + 0.55 * dose), rng.uniform(0.1, 0.25)
    wave = 0.012 * canvas.noise(rng, 25)
    if upper:
        edge = 0.20 + 0.13 * dose + bow * (0.5 - across) ** 2 - 0.22 * across + wave
        inside = step(0.5 + (edge - down) / (0.03 if side == "right" else 0.16))
    else:
        edge = reach * step((down - 0.42) / 0.6) * (1 + bow * np.sin(3 * down)) + wave
        inside = step(0.5 + (edge - across) / 0.05) * step((down - 0.42) / 0.12)
    texture = 1 - 0.08 * np.abs(canvas.fractal(rng, 6))
    return np.asarray(inside * texture, dtype=np.float32)


def _lifted(canvas: Canvas, side: LungSide, pixels: float, hilum: float) -> Array:
    """Return the shift that raises a dome by `pixels` (or flattens it), and lowers the hilum.

    `hilum` is how far that goes down, as a part of `pixels`. Walls and spine do not move.
    """
    rows = pixels * canvas.lift(side)
    row, column = canvas.anatomy.hilum(side)
    bump = np.exp(-((canvas.distance(row, column) / 26) ** 2))
    rows = rows - hilum * abs(pixels) * bump * step((canvas.across(side) + 0.25) / 0.3)
    return np.stack([rows, np.zeros_like(rows)]).astype(np.float32)


def emphysema(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change:
    """One lung's share: lucent, few vessels, a low flat diaphragm; thin-walled bullae."""
    down, across = canvas.descent(side), canvas.across(side)
    upper = 1.15 - 0.5 * np.clip(down, 0, 1)
    uneven = np.clip(1 + 0.30 * canvas.fractal(rng, 22), 0.3, 1.7)
    lucent = upper * uneven * canvas.field(side, 0.5)
    walls = np.zeros(canvas.shape, dtype=np.float32)
    inside = np.zeros(canvas.shape, dtype=np.float32)
    for _ in range(3):
        centre = canvas.at(side, rng.uniform(0.03, 0.35), rng.uniform(0.3, 1.0), 10)
        radius, flat = rng.uniform(11, 24) * (0.7 + 0.5 * dose), rng.uniform(0.8, 1.3)
        part = np.hypot((canvas.rows - centre[0]) / flat, (canvas.columns - centre[1]) * flat)
        part = part * canvas.mm / radius + 0.03 * canvas.noise(rng, 18)
        walls = np.maximum(walls, np.exp(-(((part - 1) * radius / 0.9) ** 2)))
        inside = np.maximum(inside, step(0.5 + (1 - part) * radius / 2))
    bullous = float(form == "bullous")
    # A dome can be flattened, no more.
    high = max(0.0, canvas.anatomy.angle(side)[0] - canvas.anatomy.dome(side)[0])
    lowered = (0.15 + 0.5 * dose) * min(high, 26 / canvas.mm)
    sink = canvas.room_for(_lifted(canvas, side, -lowered, 0.0))
    return Change(
        0.12 * bullous * walls * canvas.field(side, 0.0),
        -(0.06 + 0.20 * dose) * lucent - 0.12 * bullous * inside * canvas.field(side, 0.0),
        calm=np.clip(
            (0.2 + 0.45 * dose) * lucent * (0.3 + across) + 0.7 * bullous * inside, 0, 0.9
        ),
        shift=sink,
        severity={
            f"emphysema_{side}_diaphragm_lowered_mm": round(
                lowered * canvas.mm * (sink is not None), 1
            )
        },
    )


def fibrosis(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change:
    """A net of thick septa with loss of volume: at base and border, or scars of an apex."""
    down, across = canvas.descent(side), np.clip(canvas.across(side), 0, 1.1)
    apical = form == "apical"
    ragged = 0.12 * canvas.fractal(rng, 14)
    if apical:
        where = step((0.20 + 0.22 * dose - down + ragged) / 0.2)
    else:
        border = np.maximum(across - 0.35, 1.5 * (down - 0.55))
        where = step((border + ragged - 0.35 + 0.3 * dose) / 0.5) * step((down - 0.2) / 0.4)
    net = np.maximum(_reticulum(canvas, rng, 3.2), 0.8 * _reticulum(canvas, rng, 2.0))
    hilum = canvas.anatomy.hilum(side)
    strands = []
    for _ in range(4):
        tip = canvas.at(side, rng.uniform(0.02, 0.3), rng.uniform(0.2, 0.9), 4)
        bend = (0.5 * (hilum[0] + tip[0]), 0.5 * (hilum[1] + tip[1]) + rng.normal(0, 8) / canvas.mm)
        strands.append(curve([hilum, bend, tip], rng.uniform(0.8, 1.8)))
    scars = canvas.blur(canvas.draw(strands), 0.45) * float(apical)
    coarse = np.clip(0.5 + 0.5 * canvas.fractal(rng, 9), 0, 1)
    fill = (0.16 + 0.28 * dose) * net * where + (0.08 + 0.30 * dose) * where * coarse
    fill = np.clip(fill + (0.15 + 0.2 * dose) * scars, 0, 0.9) * canvas.field(side, 1.0)
    lung = canvas.anatomy.lung(side)
    share = float((where * lung * canvas.seen > 0.3).sum() / lung.sum())
    return Change(
        fill,
        shift=canvas.room_for(
            _lifted(canvas, side, (2 + 8 * dose) / canvas.mm, -0.6 if apical else 0.1)
        ),
        severity={f"fibrosis_{side}_lung_fraction": round(share, 4)},
    )
