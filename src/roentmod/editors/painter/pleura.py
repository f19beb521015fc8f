"""Diseases of the pleura: fluid, air, and thick membranes between lung and chest wall.

The contract of `airspace`: (canvas, side, dose, rng, form), random numbers independent of dose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from roentmod.anatomy import LungSide
from roentmod.editors.painter.canvas import Array, Canvas, Change, Rng, logit, step

__all__ = ["effusion", "pleural_thickening", "pneumothorax"]

# Least part of an area, or of all gas, that is gas in the area.
_LEAST_GAS = 0.2
# Least part of the fluid that an area must hold.
_FLUID = 0.8


def effusion(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change | None:
    """Pleural fluid, as free fluid with a meniscus, under the lung, loculated, or a supine veil.

    In an area there is as much as that holds.
    """
    draws = rng.uniform(-1, 1, 6)
    wave = canvas.noise(rng, 30)
    rendering = {"loculated": _loculated, "supine": _veil}.get(form, _meniscus)
    field = np.maximum(canvas.field(side, 2.5), _recess(canvas, side))
    if canvas.area is not None:
        # Cut off, fluid would have a border that fluid has not.
        lower = (dose * part for part in (1, 0.75, 0.55, 0.4, 0.28, 0.2))
        fluids = ((one, rendering(canvas, side, one, draws, wave) * field) for one in lower)
        fits = (one for one, f in fluids if (f * canvas.area).sum() > _FLUID * f.sum() > 0)
        if (dose := next(fits, 0.0)) == 0:
            return None
    shift = None
    if form == "subpulmonic":
        # A false dome, whose top lies far out, and a shallow, blunt angle.
        raised = (4 + 24 * dose) / canvas.mm * canvas.lift(side, 0.62 + 0.06 * draws[0])
        shift, dose = np.stack([raised, np.zeros_like(raised)]), 0.06 + 0.1 * dose
        if canvas.room_for(shift) is None:
            return None
    fluid = np.clip(rendering(canvas, side, dose, draws, wave), 0, 1)
    lung = canvas.anatomy.lung(side)
    share = float((fluid * lung * canvas.seen).sum() / lung.sum())
    # Towards the base fluid and what lies below it are one density: the dome is lost.
    low = step((canvas.descent(side) - 0.35) / 0.4)
    wanted = canvas.solid + 0.25 * low * np.maximum(logit(canvas.liver) - canvas.solid, 0)
    # Ribs fade in it, and all that the lung's border shows.
    seen = 0.93 * canvas.blur(canvas.value, 0.7) + 0.07 * canvas.level
    more = np.maximum(wanted - seen, -0.3) - canvas.air - canvas.drowned
    fill = 0.97 * fluid * field
    return Change(
        fill,
        fill * more,
        shift=shift,
        severity={f"effusion_{side}_lung_fraction": round(share, 4)},
    )


def _recess(canvas: Canvas, side: LungSide) -> Array:
    """Return where the costophrenic recess goes on below the outlined lung, in [0, 1]."""
    lung = canvas.anatomy.lung(side)
    down, across = canvas.descent(side), canvas.across(side)
    # Further in, a stomach's gas may lie not far below.
    reach = np.where(across > 0.7, 30.0, 12.0)
    near = ndimage.distance_transform_edt(~lung) * canvas.mm < reach
    outer = (across > 0.45) & (across < np.where(down > 1, 1.1, 1.02)) & (down > 0.7)
    return canvas.soft(near & outer, 1.2)


def _meniscus(
    canvas: Canvas, side: LungSide, dose: float, draws: NDArray[np.float64], wave: Array
) -> Array:
    """Return the part of the depth that free fluid fills in an upright chest.

    Fluid stands at one level and climbs along all of the pleura, as exp(-distance / length). What
    the beam crosses at a height above the level is the climbing sheet in front, behind and at the
    side: dense at the wall, thin in the middle. This is the meniscus.
    """
    first, last = canvas.anatomy.span(side)
    tall = (last - first) * canvas.mm
    level = (-0.045 + 0.52 * dose**1.25) * tall + 3 * draws[0]
    climb = 16 + 40 * dose + 5 * draws[1]
    length = 6 + 9 * dose
    tilt = 5 * draws[2]
    base = canvas.anatomy.angle(side)[0]
    wall = canvas.from_wall(side) - 2
    across = np.clip(canvas.across(side), 0, 1)
    height = (base - canvas.rows) * canvas.mm - level - tilt * across + 1.2 * wave
    sheet = length * np.log(np.clip(climb / np.maximum(height, 1e-3), 1, None))
    half = 0.5 * (last - first) * canvas.mm * 0.55
    into = np.clip(wall, 0.5, half)
    chord = 2 * np.sqrt(np.clip(2 * half * into - into**2, 16, None))
    at_wall = step(0.5 + (sheet - wall) / (4 + 0.5 * sheet))
    depth = np.maximum(at_wall, np.clip(2 * sheet / chord, 0, 1)) * step((climb - height) / 8)
    full = np.where(height < 0, 1, depth)
    return canvas.blur(np.asarray(full, dtype=np.float32), 0.7)


def _loculated(
    canvas: Canvas, side: LungSide, dose: float, draws: NDArray[np.float64], wave: Array
) -> Array:
    """Return a lens of fluid held against the chest wall by adhesions, and a blunt angle."""
    first, last = canvas.anatomy.span(side)
    centre = first + (0.60 + 0.16 * draws[0]) * (last - first)
    half = (24 + 24 * dose) * (1 + 0.2 * draws[1]) / canvas.mm
    thick = (8 + 24 * dose) * (1 + 0.2 * draws[2])
    part = (canvas.rows - centre) / half
    reach = thick * np.clip(1 - part**2, 0, 1) ** 1.4 + 0.8 * wave * (np.abs(part) < 1)
    wall = canvas.from_wall(side)
    lens = np.sqrt(np.clip(1 - (wall / np.maximum(reach, 0.5)) ** 2, 0, 1)) * (reach > 0.6)
    lens = canvas.blur(np.asarray(lens**0.8, dtype=np.float32), 1.3)
    both: Array = np.maximum(0.9 * lens, _meniscus(canvas, side, 0.10 + 0.2 * dose, draws, wave))
    return both


def _veil(
    canvas: Canvas, side: LungSide, dose: float, draws: NDArray[np.float64], wave: Array
) -> Array:
    """Return fluid layered behind the lung of a lying patient: a haze that thickens downwards."""
    down, across = np.clip(canvas.descent(side), 0, 1), np.clip(canvas.across(side), 0, 1)
    slope = 0.5 + 0.2 * draws[0]
    veil = (0.10 + 0.50 * dose) * (1 - slope + slope * down**1.3) * (0.85 + 0.15 * across)
    cap = 0.5 * dose * step((0.07 - down) / 0.05)
    blunt = _meniscus(canvas, side, 0.04 + 0.14 * dose, draws, wave)
    return np.maximum(np.asarray(np.clip(veil + cap + 0.01 * wave, 0, 1), np.float32), blunt)


def pneumothorax(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change | None:
    """Air between lung and chest wall: a thin pleural line, and no vessels beyond it.

    Lying, air gathers below and in front: a deep lucent angle. At the largest doses it is under
    tension: lung collapsed to its hilum, diaphragm down, mediastinum pushed away. None where an
    area holds but little gas.
    """
    anatomy, lung = canvas.anatomy, canvas.anatomy.lung(side)
    wide = abs(anatomy.outer(side) - anatomy.hilum(side)[1])
    down = np.clip(canvas.descent(side), 0, 1)
    basal, climb, notch = rng.uniform(0.12, 0.4), rng.uniform(0.9, 1.7), rng.uniform(0, 1)
    waves = 0.05 * canvas.noise(rng, 45) + 0.015 * canvas.noise(rng, 14)
    if form == "deep sulcus":
        basal, down = 0.15 + 0.3 * basal, 1 - step((down - 0.1) / 0.85)
    tapered = (1 - (1 - basal) * down**climb) * (1 + waves)
    rim = wide * (0.04 + 0.50 * dose**1.2) * tapered
    rim = rim + 0.04 * wide * dose * np.exp(-(((down - 0.4 - 0.3 * notch) / 0.08) ** 2))
    edge = _to_wall(canvas, side) - rim
    gas = step(0.5 - edge / (1.1 * canvas.unit)) * canvas.soft(lung, 0.5)
    line = np.exp(-((edge * canvas.mm / 0.75) ** 2)) * canvas.soft(lung, 0.6)
    line = line * step((anatomy.span(side)[1] - canvas.rows) * canvas.mm / 18)
    line = line * np.clip(0.75 + 0.3 * canvas.noise(rng, 16), 0.25, 1.1)
    collapsed = (1 - gas) * canvas.soft(lung, 0.8)
    air = (edge < 0) & lung
    share = float((air * canvas.seen).sum() / lung.sum())
    if canvas.area is not None:
        room = float((canvas.area & lung).sum() / lung.sum())
        if share < _LEAST_GAS * min(room, float(air.mean() / lung.mean())):
            return None
    tension = float(step((dose - 0.75) / 0.25)) * (form == "apical")
    return Change(
        np.maximum((0.02 + 0.20 * dose**2) * collapsed, (0.20 + 0.06 * dose) * line),
        -(0.05 + 0.08 * dose) * gas,
        calm=0.92 * gas,
        shift=canvas.room_for(_pushed(canvas, side, tension, form)),
        severity={f"pneumothorax_{side}_lung_fraction": round(share, 4)},
    )


def _pushed(canvas: Canvas, side: LungSide, tension: float, form: str) -> Array | None:
    """Return the shift by air under tension, and of an angle that air deepens; None without."""
    deep = (6 if form == "deep sulcus" else 0) / canvas.mm
    if not tension and not deep:
        return None
    row, column = canvas.anatomy.angle(side)
    near = np.exp(-((canvas.distance(row, column) / 32) ** 2))
    down = canvas.descent(side)
    flat = 12 * tension / canvas.mm * canvas.lift(side)
    # Heart and great vessels move as one; spine and walls stay.
    away = 1.0 if side == "right" else -1.0
    middle = canvas.anatomy.midline[:, None]
    part = (canvas.columns - middle) / (0.5 * canvas.anatomy.thoracic_width)
    bump = np.exp(-((part / 0.45) ** 4)) * step((down - 0.1) / 0.3) * step((1.1 - down) / 0.2)
    columns = -away * 9 * tension / canvas.mm * bump
    return np.stack([-(deep * near) - flat, columns]).astype(np.float32)


def _to_wall(canvas: Canvas, side: LungSide) -> Array:
    """Return the distance from the chest wall and apex, blind to mediastinum and diaphragm."""
    lung = canvas.anatomy.lung(side)
    columns = np.arange(canvas.shape[1])
    chest = np.zeros_like(lung)
    top = int(canvas.anatomy.span(side)[0])
    wall = canvas.shape[1] if side == "right" else -1
    for row in range(top, canvas.shape[0]):
        own = np.flatnonzero(lung[row])
        if own.size:
            # Below the widest point the wall goes straight on, past the angle.
            wall = min(wall, int(own[0])) if side == "right" else max(wall, int(own[-1]))
        chest[row] = columns >= wall if side == "right" else columns <= wall
    inner = np.flatnonzero(lung[top : top + max(3, round(4 * canvas.unit))].any(0))
    # Medial to the apex there is no wall: the mediastinum goes on upwards.
    beyond = columns > inner[-1] if side == "right" else columns < inner[0]
    chest[:top] |= beyond[None, :]
    return canvas.blur(ndimage.distance_transform_edt(chest).astype(np.float32), 1.0)


def pleural_thickening(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change:
    """A rind along the chest wall, a cap over the apex, or plaques, some of them calcified."""
    thick = 2 + 8 * dose
    down, wall = canvas.descent(side), canvas.from_wall(side)
    wave, fine = canvas.noise(rng, 26), canvas.noise(rng, 9)
    centre, half = rng.uniform(0.55, 0.8), rng.uniform(0.22, 0.36)
    blunt = _meniscus(canvas, side, 0.06 + 0.12 * dose, rng.uniform(-1, 1, 6), wave)
    bright = 0.0
    if form == "apical cap":
        depth = (_to_wall(canvas, side) * canvas.mm) + 1.6 * wave
        reach = thick * step((0.20 - down) / 0.16)
        sheet = step(0.5 + (reach - depth) / 2.2) * (reach > 0.5)
        blunt = 0 * blunt
    elif form == "plaques":
        spots = np.maximum(1.2 * wave - 0.2, np.exp(-(((down - 0.8 * centre) / 0.08) ** 2)))
        reach = 0.8 * thick * np.clip(spots, 0, 1) * step((0.5 - np.abs(down - 0.55)) / 0.2)
        sheet, bright = step(0.5 + (reach - wall) / 1.6) * (reach > 0.7), 0.16 + 0.24 * dose
        blunt = 0 * blunt
    else:
        bell = step((half + 0.25 - np.abs(down - centre)) / 0.25)
        reach = thick * bell * (1 + 0.22 * wave + 0.08 * fine)
        sheet = step(0.5 + (reach - wall) / 4.5) * (reach > 0.5)
    sheet = np.maximum(canvas.blur(np.asarray(sheet, np.float32), 0.5), blunt)
    field = np.maximum(canvas.field(side, 0.6), _recess(canvas, side) * (blunt > 0))
    return Change(
        np.asarray((0.36 + 0.24 * dose) * sheet * field, dtype=np.float32),
        bright * sheet * canvas.field(side, 1.0) * np.clip(1 + 0.4 * fine, 0, 1.6),
        severity={f"pleural_thickening_{side}_mm": round(thick, 1)},
    )
