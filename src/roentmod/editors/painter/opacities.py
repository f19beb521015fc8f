"""Opacities: fillings and thickenings of the lung.

Each rendering takes (canvas, side, dose, rng). `dose` in (0, 1] only scales: the random numbers
drawn do not depend on it, so one seed is one lesion at every dose. Shapes follow the descriptions
of the Fleischner glossary (Hansell et al., Radiology 2008).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.special import expit

from roentmod.anatomy import LungSide
from roentmod.editors.painter.canvas import Array, Canvas, Change, polyline

__all__ = ["atelectasis", "consolidation", "edema", "effusion", "mass", "nodule", "pneumonia"]

Rng = np.random.Generator


def effusion(canvas: Canvas, side: LungSide, dose: float, rng: Rng) -> Change:
    """Pleural fluid: blunts the costophrenic angle, then rises with a meniscus along the wall."""
    across, down = np.clip(canvas.lateral(side), -0.2, 1.2), canvas.descent(side)
    tilt, climb = rng.uniform(-0.02, 0.04), rng.uniform(0.16, 0.26)
    angle_row = canvas.anatomy.angle(side)[0]
    first, last = canvas.anatomy.span(side)
    base = (angle_row - first) / max(last - first, 1.0)
    depth = 0.04 + 0.56 * dose
    # The surface dips in the middle and climbs at both walls, most at the outer one.
    rise = climb * np.clip(across, 0, 1) ** 2.5 + 0.05 * np.clip(1 - across, 0, 1) ** 3
    surface = base - depth + climb * 0.6 + tilt * across - rise
    below = down - surface
    thickness = np.clip(below / (0.12 + 0.10 * dose), 0, 1) ** 0.7
    fluid = canvas.blur(thickness.astype(np.float32), 1.2) * canvas.field(side, 2.5)
    veil = 0.22 * dose * np.exp(-np.clip(-below, 0, None) / 0.12) * canvas.field(side)
    texture = 1 - 0.04 * np.abs(canvas.noise(rng, 9))
    fill = np.maximum((0.86 + 0.12 * dose) * fluid * texture, veil)
    share = float((fluid * canvas.anatomy.lung(side)).sum() / canvas.anatomy.lung(side).sum())
    return Change(fill, severity={f"effusion_{side}_lung_fraction": round(share, 4)})


def consolidation(canvas: Canvas, side: LungSide, dose: float, rng: Rng) -> Change:
    """One dense region that keeps to a lobe, with air bronchograms."""
    lower = rng.random() < 0.62
    heights = (0.55, 0.88) if lower else (0.18, 0.45)
    row, column = canvas.spot(rng, side, heights, margin_mm=18)
    tall, wide = rng.uniform(38, 58), rng.uniform(34, 52)
    size = 0.62 + 0.5 * dose
    away = np.hypot(
        (canvas.rows - row) * canvas.mm / (tall * size),
        (canvas.columns - column) * canvas.mm / (wide * size),
    )
    ragged = away + 0.13 * canvas.noise(rng, 9) + 0.05 * canvas.noise(rng, 4)
    body = np.clip((1.25 - ragged) / 0.75, 0, 1)
    body = body * body * (3 - 2 * body)
    # A fissure bounds the lobe: below it for the upper, above it for the lower one.
    slope, sharp = rng.uniform(-0.22, 0.22), rng.uniform(1.2, 3.0)
    offset = (-0.62 if lower else 0.62) * tall * size / canvas.mm
    edge = canvas.rows - (row + offset + slope * (canvas.columns - column))
    fissure = expit((edge if lower else -edge) / (sharp * canvas.unit))
    branches = _bronchi(canvas, side, (row, column), rng)
    texture = 1 - 0.07 * np.abs(canvas.noise(rng, 5)) - 0.03 * np.abs(canvas.noise(rng, 2))
    whole = body * fissure * canvas.field(side)
    fill = (0.50 + 0.40 * dose) * whole * texture * (1 - 0.22 * branches)
    area = float((whole > 0.5).sum()) * canvas.mm**2 / 100
    return Change(fill, severity={f"consolidation_{side}_area_cm2": round(area, 2)})


def _bronchi(canvas: Canvas, side: LungSide, centre: tuple[float, float], rng: Rng) -> Array:
    """Return air-filled bronchi that fan out from the hilum through `centre`, in [0, 1]."""
    start = canvas.anatomy.hilum(side)
    total = np.zeros(canvas.shape, dtype=np.float32)
    for turn in rng.uniform(-0.45, 0.45, 4):
        reach = np.array(centre) - start
        length = max(float(np.hypot(*reach)), 12 * canvas.unit)
        heading = float(np.arctan2(reach[0], reach[1])) + turn
        tip = (
            start[0] + 1.45 * length * np.sin(heading),
            start[1] + 1.45 * length * np.cos(heading),
        )
        bend = rng.uniform(-0.12, 0.12) * length
        middle = ((start[0] + tip[0]) / 2 + bend, (start[1] + tip[1]) / 2 + bend)
        total = np.maximum(total, polyline(canvas, [start, middle, tip], 2.0))
    return canvas.blur(total, 0.8)


def pneumonia(canvas: Canvas, side: LungSide, dose: float, rng: Rng) -> Change:
    """Several ill-defined patches that run together, denser where they overlap."""
    first = canvas.spot(rng, side, (0.40, 0.90), margin_mm=12)
    density = np.zeros(canvas.shape, dtype=np.float32)
    mottle = canvas.noise(rng, 5)
    for number in range(6):
        shift, reach = rng.normal(0, 26 / canvas.mm, 2), rng.uniform(10, 20)
        strength = rng.uniform(0.7, 1.1)
        row, column = first if number == 0 else (first[0] + shift[0], first[1] + shift[1])
        size = reach * (0.75 + 0.45 * dose)
        away = canvas.distance(row, column) / size
        # Later patches come in as the dose rises.
        present = np.clip(1.0 + 6 * dose - number, 0, 1)
        density += present * strength * np.exp(-(away**2) / 1.3).astype(np.float32)
    fluffy = density * np.clip(1 + 0.22 * mottle + 0.08 * canvas.noise(rng, 2.5), 0.2, 1.8)
    fill = (0.72 + 0.16 * dose) * np.tanh((0.45 + 0.45 * dose) * fluffy) * canvas.field(side)
    lung = canvas.anatomy.lung(side)
    share = float((fill[lung] > 0.15).mean())
    return Change(fill, severity={f"pneumonia_{side}_lung_fraction": round(share, 4)})


def atelectasis(canvas: Canvas, side: LungSide, dose: float, rng: Rng) -> Change:
    """Plate-like bands low in the lung, and the loss of volume that lifts the diaphragm."""
    lung = canvas.anatomy.lung(side)
    density = np.zeros(canvas.shape, dtype=np.float32)
    outer = -1.0 if side == "right" else 1.0
    for number in range(4):
        row, column = canvas.spot(rng, side, (0.58, 0.86), margin_mm=8)
        length, slope = rng.uniform(50, 95), rng.uniform(-0.05, 0.40) * outer
        thick, strength = rng.uniform(2.6, 4.6), rng.uniform(0.8, 1.1)
        present = np.clip(1.2 + 3.5 * dose - number, 0, 1)
        half = length * (0.7 + 0.4 * dose) / 2 / canvas.mm
        bend = rng.uniform(-0.07, 0.07) * half
        ends = [(row + slope * x, column + x) for x in (-half, half)]
        band = polyline(canvas, [ends[0], (row + bend, column), ends[1]], thick)
        fade = np.exp(-(((canvas.columns - column) / (1.05 * half)) ** 4))
        density += present * strength * canvas.blur(band, 0.7) * fade
    bands = (0.42 + 0.30 * dose) * np.clip(density, 0, 1.1) * canvas.field(side, 1.0)
    lift = _raised_floor(canvas, side, (4 + 20 * dose) / canvas.mm)
    haze = 0.14 * dose * canvas.blur((density > 0.3).astype(np.float32), 6) * canvas.soft(lung)
    return Change(
        np.maximum(bands + haze, 0.78 * lift),
        severity={f"atelectasis_{side}_diaphragm_raised_mm": round(4 + 20 * dose, 1)},
    )


def _raised_floor(canvas: Canvas, side: LungSide, pixels: float) -> Array:
    """Return where the diaphragm rises over lung when lifted by `pixels`, in [0, 1]."""
    floor = canvas.anatomy.floor(side)
    known = np.where(np.isfinite(floor), floor, np.nanmax(floor))
    known = ndimage.gaussian_filter1d(known, 2 * canvas.unit)
    # Where the lower border is steep it is the heart's; the diaphragm goes on level beneath it.
    steep = ndimage.gaussian_filter1d(np.abs(np.gradient(known)), 3 * canvas.unit)
    gentle = np.isfinite(floor) & (steep < 0.9)
    if not gentle.any():
        return np.zeros(canvas.shape, dtype=np.float32)
    # Nothing at the angle, most under and inside the dome.
    outwards = np.clip(canvas.lateral(side)[0], 0.5, 1)
    raised = known - pixels * np.sin(np.pi * outwards) ** 0.8
    places = np.arange(canvas.shape[1])
    level = np.interp(places, places[gentle], raised[gentle])
    rise = np.clip((known - level) / (2 * canvas.unit), 0, 1)
    above = expit((canvas.rows - level[None, :]) / (0.8 * canvas.unit))
    return np.asarray(above * canvas.field(side) * rise[None, :], dtype=np.float32)


def edema(canvas: Canvas, side: LungSide, dose: float, rng: Rng) -> Change:
    """One lung's share: perihilar haze, blurred vessels, septal lines at the base."""
    row, column = canvas.anatomy.hilum(side)
    first, last = canvas.anatomy.span(side)
    tall, wide = 0.42 * (last - first), 0.78 * abs(canvas.anatomy.outer(side) - column)
    row = row + 0.10 * (last - first)
    away = np.hypot((canvas.rows - row) / tall, (canvas.columns - column) / wide)
    haze = np.exp(-((away / (0.75 + 0.35 * dose)) ** 2))
    cloudy = np.clip(1 + 0.14 * canvas.noise(rng, 7) + 0.05 * canvas.noise(rng, 2.5), 0.4, 1.6)
    # Outer lung and apex stay clearer, as in a bat-wing distribution.
    inside = canvas.field(side, 1.0)
    lines = _septal_lines(canvas, side, rng)
    hilum = np.exp(-((canvas.distance(row, column) / (20 + 8 * dose)) ** 2))
    cloud = (0.20 + 0.50 * dose) * haze * cloudy + 0.22 * dose * hilum
    fill = np.maximum(cloud, (0.12 + 0.16 * dose) * lines + 0.7 * cloud) * inside
    share = float(fill[canvas.anatomy.lung(side)].mean())
    return Change(
        fill,
        calm=0.35 * dose * np.clip(1.3 * haze, 0, 1) * inside,
        severity={f"edema_{side}_mean_fill": round(share, 4)},
    )


def _septal_lines(canvas: Canvas, side: LungSide, rng: Rng) -> Array:
    """Return Kerley B lines: short, level, touching the outer wall of the lower third."""
    lung = canvas.anatomy.lung(side)
    first, last = canvas.anatomy.span(side)
    total = np.zeros(canvas.shape, dtype=np.float32)
    for place, length in zip(rng.uniform(0.62, 0.90, 7), rng.uniform(9, 18, 7), strict=True):
        row = round(first + place * (last - first))
        own = np.flatnonzero(lung[row])
        if own.size:
            wall, inwards = (own[0], 1) if side == "right" else (own[-1], -1)
            end = wall + inwards * length / canvas.mm
            total = np.maximum(total, polyline(canvas, [(row, wall), (row + 1, end)], 1.2))
    return total


def nodule(canvas: Canvas, side: LungSide, dose: float, rng: Rng) -> Change:
    """A round opacity of 10 to 28 mm (the glossary's limit is 30 mm)."""
    return _ball(canvas, side, 10 + 18 * dose, "nodule", rng)


def mass(canvas: Canvas, side: LungSide, dose: float, rng: Rng) -> Change:
    """A lobulated opacity of 34 to 74 mm."""
    return _ball(canvas, side, 34 + 40 * dose, "mass", rng)


def _ball(canvas: Canvas, side: LungSide, diameter: float, name: str, rng: Rng) -> Change:
    row, column = canvas.spot(rng, side, (0.12, 0.85), margin_mm=26 if name == "mass" else 12)
    squeeze, turn = rng.uniform(0.86, 1.0), rng.uniform(0, np.pi)
    y, x = (canvas.rows - row) * canvas.mm, (canvas.columns - column) * canvas.mm
    along = x * np.cos(turn) + y * np.sin(turn)
    across = (y * np.cos(turn) - x * np.sin(turn)) / squeeze
    angle = np.arctan2(across, along)
    lobes = sum(
        rng.normal(0, 0.05) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6)
    )
    radius = diameter / 2 * (1 + (1.0 if name == "mass" else 0.5) * lobes)
    part = np.hypot(along, across) / radius
    # A sphere's chord, its border softened by about a millimetre of motion and blur.
    chord = np.sqrt(np.clip(1 - part**2, 0, None)).astype(np.float32)
    chord = canvas.blur(0.55 * chord + 0.45 * (part < 1), 0.75)
    texture = 1 - 0.05 * np.abs(canvas.noise(rng, 4))
    peak = 0.50 + 0.36 * min(1.0, diameter / 60)
    fill = peak * chord * texture * canvas.field(side, 1.0)
    return Change(np.asarray(fill, np.float32), severity={f"{name}_{side}_mm": round(diameter, 1)})
