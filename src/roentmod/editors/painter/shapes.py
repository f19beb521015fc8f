"""Shapes: moved borders, air let in, and objects on top of the patient.

The same contract as `opacities`: (canvas, side, dose, rng), random numbers independent of dose.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from scipy.special import expit

from roentmod.anatomy import Anatomy, LungSide
from roentmod.editors.compose import resized
from roentmod.editors.painter.canvas import Array, Canvas, Change, polyline

__all__ = ["cardiomegaly", "hernia", "pneumothorax", "support_devices", "text_marker"]

Rng = np.random.Generator
# Cardiothoracic ratios at dose 0 and 1; 0.5 is the usual limit in a PA view (Danzer, 1919).
_RATIO = (0.50, 0.70)


def cardiomegaly(canvas: Canvas, _side: LungSide, dose: float, rng: Rng) -> Change:
    """Warp the heart's border outwards until the cardiothoracic ratio is reached.

    The ratio aimed at grows with dose from the greater of the patient's own and 0.50 to 0.70. Where
    the new silhouette covers lung, heart takes the place of air; ribs stay where they are.
    """
    anatomy = canvas.anatomy
    own = anatomy.cardiothoracic_ratio
    lowest = max(own + 0.02, _RATIO[0])
    wanted = lowest + (max(_RATIO[1], lowest + 0.08) - lowest) * dose
    to_left = rng.uniform(0.64, 0.76)
    grown = _grown(canvas, (wanted - own) * anatomy.thoracic_width, to_left)
    # A rounded body is thinnest at its border.
    depth = ndimage.distance_transform_edt(grown > 0.5).astype(np.float32) * canvas.mm
    profile = 0.62 + 0.36 * np.clip(depth / 28, 0, 1) ** 0.6
    inside = np.maximum(canvas.field("left", 3.0), canvas.field("right", 3.0))
    inside = np.maximum(inside, canvas.soft(anatomy.heart, 0.8))
    reached = Anatomy(anatomy.right_lung, anatomy.left_lung, grown > 0.5).cardiothoracic_ratio
    return Change(
        profile * grown * inside,
        severity={
            "cardiothoracic_ratio_before": round(own, 3),
            "cardiothoracic_ratio": round(reached, 3),
        },
    )


def _grown(canvas: Canvas, pixels: float, to_left: float) -> Array:
    """Return the heart widened by `pixels`, h x w in [0, 1] with a soft border."""
    anatomy = canvas.anatomy
    right, left = anatomy.heart_extent
    gain_left = 1 + to_left * pixels / max(left, 1.0)
    gain_right = 1 + (1 - to_left) * pixels / max(right, 1.0)
    rows = np.flatnonzero(anatomy.heart.any(1))
    if not rows.size:
        return np.zeros(canvas.shape, dtype=np.float32)
    height = max(len(rows), 1)
    # Fades in below the great vessels; the floor of the heart sinks a little as it widens.
    part = np.clip((canvas.rows - rows[0]) / (0.42 * height), 0, 1)
    part = part * part * (3 - 2 * part)
    offset = canvas.columns - anatomy.midline[:, None]
    gain = np.where(offset > 0, gain_left, gain_right)
    source = anatomy.midline[:, None] + offset / (1 + (gain - 1) * part)
    sunk = np.broadcast_to(canvas.rows - 0.06 * pixels * part, canvas.shape)
    depth = ndimage.distance_transform_edt(anatomy.heart) - ndimage.distance_transform_edt(
        ~anatomy.heart
    )
    smooth = canvas.blur(depth.astype(np.float32), 1.5)
    warped = ndimage.map_coordinates(smooth, [sunk, source], order=1, mode="nearest")
    return np.asarray(expit(warped / (0.9 * canvas.unit)), dtype=np.float32)


def pneumothorax(canvas: Canvas, side: LungSide, dose: float, rng: Rng) -> Change:
    """Air between lung and chest wall: a visceral line, no markings beyond it, denser lung."""
    anatomy, lung = canvas.anatomy, canvas.anatomy.lung(side)
    first, last = anatomy.span(side)
    wide = abs(anatomy.outer(side) - anatomy.hilum(side)[1])
    down = np.clip(canvas.descent(side), 0, 1)
    basal = rng.uniform(0.1, 0.35)
    waves = 0.05 * canvas.noise(rng, 40)
    # Upright, air collects at the apex; the rim narrows towards the base.
    rim = wide * (0.10 + 0.52 * dose) * (1 - (1 - basal) * down**1.3) * (1 + waves)
    inwards = _from_wall(canvas, side)
    edge = inwards - rim
    air = canvas.soft((edge < 0) & lung, 0.6) * canvas.field(side, 0.5)
    line = np.exp(-((edge / (0.75 * canvas.unit)) ** 2)) * canvas.soft(lung, 0.8)
    line = line * np.clip((last - canvas.rows) / (0.06 * (last - first)), 0, 1)
    collapsed = canvas.soft((edge >= 0) & lung, 0.8)
    share = float(((edge < 0) & lung).sum() / lung.sum())
    return Change(
        np.maximum((0.04 + 0.22 * dose) * collapsed, 0.34 * line),
        -0.40 * air,
        calm=0.6 * air,
        severity={f"pneumothorax_{side}_lung_fraction": round(share, 4)},
    )


def _from_wall(canvas: Canvas, side: LungSide) -> Array:
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
    return np.asarray(ndimage.distance_transform_edt(chest), dtype=np.float32)


def hernia(canvas: Canvas, _side: LungSide, dose: float, rng: Rng) -> Change:
    """Hiatal hernia: a round retrocardiac density above the diaphragm, with air and fluid level."""
    anatomy = canvas.anatomy
    radius = (24 + 22 * dose) / canvas.mm
    floor = (anatomy.dome("right")[0] + anatomy.dome("left")[0]) / 2
    row = floor - 0.55 * radius
    column = anatomy.midline[int(row)] + rng.uniform(-0.1, 0.5) * radius
    flat = rng.uniform(0.8, 0.95)
    part = np.hypot((canvas.rows - row) / (radius * flat), (canvas.columns - column) / radius)
    part = part * (1 + 0.03 * canvas.noise(rng, 20))
    body = expit((1 - part) * radius / (0.9 * canvas.unit))
    level = row - (rng.uniform(0.0, 0.25)) * radius
    bubble = expit((0.84 - part) * radius / (0.9 * canvas.unit))
    air = bubble * expit((level - canvas.rows) / (0.5 * canvas.unit))
    above = expit((floor + 0.3 * radius - canvas.rows) / (3 * canvas.unit))
    return Change(
        0.9 * body * above,
        (0.25 * body - (1.3 + 0.4 * dose) * air) * above,
        severity={"hernia_mm": round(2 * radius * canvas.mm, 1)},
    )


def support_devices(canvas: Canvas, side: LungSide, dose: float, rng: Rng) -> Change:
    """A central line, a tracheal tube, a gastric tube or a pacemaker: one, or more with dose."""
    makers = (_central_line, _tracheal_tube, _pacemaker, _gastric_tube)
    order = rng.permutation(len(makers))
    total = np.zeros(canvas.shape, dtype=np.float32)
    names = []
    for number, index in enumerate(order):
        drawn = makers[index](canvas, side, rng)
        # The second appears at a third, the third at two thirds of the range.
        if number < 1 + int(dose * 3 - 1e-9):
            total = np.maximum(total, drawn)
            names.append(makers[index].__name__.strip("_").replace("_", " "))
    strength = 1.3 + 1.4 * dose
    return Change(
        np.zeros_like(total), metal=strength * total, severity={"devices": ", ".join(sorted(names))}
    )


def _point(canvas: Canvas, height: float, away: float) -> tuple[float, float]:
    """Return a point: `height` of the thorax below the apices, `away` half widths to the left."""
    anatomy = canvas.anatomy
    row = anatomy.top + height * (anatomy.bottom - anatomy.top)
    middle = anatomy.midline[int(np.clip(row, 0, canvas.shape[0] - 1))]
    return row, float(middle + away * anatomy.thoracic_width / 2)


def _central_line(canvas: Canvas, side: LungSide, rng: Rng) -> Array:
    sign = 1.0 if side == "left" else -1.0
    wobble = rng.uniform(-0.02, 0.02, 3)
    end = _point(canvas, 0.46 + wobble[0], -0.14)
    points = [
        _point(canvas, -0.12 + wobble[1], 0.42 * sign),
        _point(canvas, 0.04, 0.30 * sign + wobble[2]),
        _point(canvas, 0.17, -0.02 if side == "left" else -0.14),
        _point(canvas, 0.30, -0.14),
        end,
    ]
    return polyline(canvas, points, 2.0)


def _tracheal_tube(canvas: Canvas, _side: LungSide, rng: Rng) -> Array:
    shift, depth = rng.uniform(-0.02, 0.02), rng.uniform(0.16, 0.24)
    tip = _point(canvas, depth, shift)
    points = [_point(canvas, -0.30, shift + 0.03), _point(canvas, -0.05, shift), tip]
    line = polyline(canvas, points, 2.0)
    wide = 4.5 / canvas.mm
    walls = [polyline(canvas, [(r, c + s * wide) for r, c in points], 1.0) for s in (-1, 1)]
    return np.maximum(line, 0.55 * np.maximum(*walls))


def _gastric_tube(canvas: Canvas, _side: LungSide, rng: Rng) -> Array:
    sway = rng.uniform(-0.03, 0.03, 3)
    points = [
        _point(canvas, -0.30, sway[0]),
        _point(canvas, 0.15, 0.03 + sway[1]),
        _point(canvas, 0.60, 0.05 + sway[2]),
        _point(canvas, 0.95, 0.10),
        _point(canvas, 1.08, 0.34),
    ]
    return polyline(canvas, points, 2.2)


def _pacemaker(canvas: Canvas, _side: LungSide, rng: Rng) -> Array:
    drop = rng.uniform(0.0, 0.06)
    box = _point(canvas, 0.18 + drop, 0.70)
    part = np.hypot((canvas.rows - box[0]) / 22, (canvas.columns - box[1]) / 26) * canvas.mm
    squircle = (np.abs(canvas.rows - box[0]) * canvas.mm / 21) ** 3 + (
        np.abs(canvas.columns - box[1]) * canvas.mm / 25
    ) ** 3
    body = expit((1 - squircle) * 12) * np.clip(0.75 + 0.25 * part, 0, 1)
    lead = [
        (box[0] - 8 / canvas.mm, box[1] - 16 / canvas.mm),
        _point(canvas, 0.08, 0.36),
        _point(canvas, 0.16, 0.02),
        _point(canvas, 0.36, -0.13),
        _point(canvas, 0.66, -0.10),
        _point(canvas, 0.80, 0.22),
    ]
    return np.asarray(np.maximum(body, 0.9 * polyline(canvas, lead, 2.0)), dtype=np.float32)


def text_marker(canvas: Canvas, side: LungSide, dose: float, rng: Rng) -> Change:
    """A lead marker beside the shoulder: the side's letter, or a word."""
    words = ("L" if side == "left" else "R", "PORTABLE", "AP", "ERECT")
    word = words[int(rng.random() * len(words))]
    high, inset = rng.uniform(0.04, 0.12), rng.uniform(0.03, 0.08)
    size = max(8, round((9 + 9 * dose) * canvas.unit))
    font = ImageFont.load_default(size=2 * size)
    box = font.getbbox(word)
    plate = Image.new("L", (int(box[2]) + 4, int(box[3]) + 4), 0)
    ImageDraw.Draw(plate).text((2, 0), word, 255, font)
    bright = np.asarray(np.asarray(plate) / 255, dtype=np.float32)
    letters = resized(bright, (plate.height // 2, plate.width // 2))
    drawn = np.zeros(canvas.shape, dtype=np.float32)
    top = round(high * canvas.shape[0])
    left = round(inset * canvas.shape[1])
    height, width = letters.shape
    width = min(width, canvas.shape[1] - left)
    if side == "left":
        left = canvas.shape[1] - left - width
    drawn[top : top + height, left : left + width] = letters[:, :width]
    return Change(
        np.zeros_like(drawn),
        metal=(2.5 + 1.5 * dose) * drawn,
        severity={"text": word, "size": size},
    )
