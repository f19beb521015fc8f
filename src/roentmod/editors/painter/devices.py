"""Objects on top of or inside the patient, by kind, and the marks of the film.

The contract of `airspace`: (canvas, side, dose, rng, form), random numbers independent of dose.
Each kind is drawn as strokes and plates of metal; the densest of them is what it adds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from roentmod.anatomy import LungSide
from roentmod.editors.compose import resized
from roentmod.editors.painter.canvas import Array, Canvas, Change, Rng, Stroke, curve, step

__all__ = ["KINDS", "SHARES", "support_devices", "text_marker"]

Path = NDArray[np.float64]
Kind = Callable[[Canvas, LungSide, Rng], Array]


def support_devices(canvas: Canvas, side: LungSide, dose: float, rng: Rng, form: str) -> Change:
    """One device, of the kind `form`; where none is named, as many kinds as the dose says.

    More dose is denser metal in either case; a second kind appears at a third of its range, a
    third one at two thirds.
    """
    names, shares = list(SHARES), np.array(list(SHARES.values()))
    order = [names[i] for i in rng.choice(len(names), len(names), False, shares / shares.sum())]
    first = next(name for name in order if name in _GENERATORS)
    order = [name for name in order if name not in _GENERATORS or name == first]
    shown = [form] if form else order[: 1 + int(dose * 3 - 1e-9)]
    total = np.zeros(canvas.shape, dtype=np.float32)
    for name in shown:
        own = np.random.default_rng(int(rng.integers(2**31)))
        total = np.maximum(total, KINDS[name](canvas, side, own))
    return Change(
        np.zeros_like(total),
        metal=(1.2 + 0.6 * dose) * total,
        severity={"devices": ", ".join(sorted(shown))},
    )


def _along(canvas: Canvas, heights: ArrayLike, aways: ArrayLike, sign: float = 1.0) -> Path:
    """Return points n x 2: `heights` of the thorax below the apices, half widths to the left.

    With a `sign` of -1 they lie to the right.
    """
    anatomy = canvas.anatomy
    rows = anatomy.top + np.asarray(heights) * (anatomy.bottom - anatomy.top)
    middle = anatomy.midline[np.clip(rows, 0, canvas.shape[0] - 1).astype(int)]
    columns = middle + sign * np.asarray(aways) * anatomy.thoracic_width / 2
    return np.stack([rows, columns], axis=1)


def _point(canvas: Canvas, height: float, away: float) -> tuple[float, float]:
    ((row, column),) = _along(canvas, [height], [away])
    return float(row), float(column)


def _drawn(canvas: Canvas, strokes: list[Stroke], bright: float = 1.0, soft: float = 0.22) -> Array:
    return canvas.blur(bright * canvas.draw(strokes), soft)


def _beside(canvas: Canvas, path: Path, mm: float) -> Path:
    """Return a line `mm` to the right of another in the direction of travel."""
    ahead = np.gradient(path, axis=0)
    ahead /= np.maximum(np.hypot(*ahead.T)[:, None], 1e-6)
    return path + np.stack([ahead[:, 1], -ahead[:, 0]], axis=1) * mm / canvas.mm


def _tube(canvas: Canvas, path: Path, wide: float, gap: float = 2.0) -> Array:
    """Return a hollow tube: faint walls `wide` mm apart, an opaque stripe with a gap in it."""
    line, thick, _ = curve(path, 1.5)
    cut = round(gap * len(line))
    stripe: list[Stroke] = [(line[:cut], thick, thick), (line[cut + 4 :], thick, thick)]
    walls = [curve(_beside(canvas, path, side * wide / 2), 0.8) for side in (-1, 1)]
    body = _drawn(canvas, [curve(path, wide)], 0.09, 0.35) + _drawn(canvas, walls, 0.26)
    whole: Array = np.maximum(body, _drawn(canvas, [s for s in stripe if len(s[0]) > 1], 0.75))
    return whole


def _vein(canvas: Canvas, sign: float, rng: Rng) -> Path:
    """Return the way from below a clavicle to the superior vena cava; `sign` 1 for the left."""
    sway = rng.uniform(-0.02, 0.02, 5)
    if sign > 0:
        heights, aways = (0.17, 0.10, 0.12, 0.20, 0.29), (0.58, 0.40, 0.20, -0.02, -0.13)
    else:
        heights, aways = (0.17, 0.10, 0.12, 0.17, 0.24), (-0.58, -0.42, -0.26, -0.16, -0.14)
    return _along(canvas, heights + sway, aways)


def _central_line(canvas: Canvas, side: LungSide, rng: Rng) -> Array:
    """From the neck, a subclavian vein or the arm, to where the vena cava meets the atrium."""
    sign = 1.0 if side == "left" else -1.0
    sway, way = rng.uniform(-0.02, 0.02, 3), rng.random()
    tip = _along(canvas, (0.36, 0.44 + 2 * sway[1]), (-0.14 + sway[0], -0.145 + sway[0]))
    if way < 0.4:
        neck = _along(canvas, (-0.22, -0.02, 0.15), (-0.26 + sway[2], -0.19, -0.14))
        return _drawn(canvas, [curve(np.vstack([neck, tip]), 1.7)], 0.75)
    vein = _vein(canvas, sign, rng)[1:]
    if way < 0.7:
        arm = _along(canvas, (0.80, 0.45, 0.22, 0.14), (1.62, 1.28, 1.0, 0.76), sign)
        return _drawn(canvas, [curve(np.vstack([arm, vein, tip]), 1.1)], 0.7)
    # A port: a ring under the skin.
    port = _along(canvas, (0.30 + sway[2], 0.2), (0.62, 0.64), sign)
    away = canvas.distance(*port[0]) / 10
    ring = step((1 - away) / 0.08) * (0.28 + 0.6 * step((away - 0.62) / 0.12))
    line = _drawn(canvas, [curve(np.vstack([port, vein, tip]), 1.5)], 0.7)
    return np.maximum(line, canvas.blur(ring.astype(np.float32), 0.25))


def _tracheal_tube(canvas: Canvas, _side: LungSide, rng: Rng) -> Array:
    """Down the trachea to some centimetres above the carina."""
    shift, depth = rng.uniform(-0.03, 0.03), rng.uniform(0.13, 0.24)
    aways = (0.5 * shift + 0.02, 0.7 * shift, shift, shift)
    return _tube(canvas, _along(canvas, (-0.36, -0.15, 0.02, depth), aways), 9.2)


def _gastric_tube(canvas: Canvas, _side: LungSide, rng: Rng) -> Array:
    """Down the oesophagus into the stomach; the gap is at its side hole."""
    aways = np.array([0, 0.02, 0.035, 0.02, 0.09, 0.24, 0.42]) + rng.uniform(-0.02, 0.02, 7)
    return _tube(canvas, _along(canvas, (-0.36, 0.1, 0.38, 0.7, 0.93, 1.04, 1.1), aways), 4.6, 0.9)


def _chest_drain(canvas: Canvas, side: LungSide, rng: Rng) -> Array:
    """Through the side of the chest towards its apex; the gap is at the last hole."""
    high, inner, entry = rng.uniform((0.12, 0.34, 0.60), (0.26, 0.55, 0.74))
    heights = (entry + 0.10, entry, 0.5 * (entry + high), high)
    path = _along(canvas, heights, (1.22, 0.92, 0.66, inner), 1.0 if side == "left" else -1.0)
    return _tube(canvas, path, 8.0, rng.uniform(0.5, 0.62))


def _can(canvas: Canvas, rng: Rng, centre: tuple[float, float], wide: float, tall: float) -> Array:
    """Return a pulse generator: titanium case, battery, circuit, and a clear header with plugs."""
    turn = rng.uniform(-0.5, 0.5)
    y, x = (canvas.rows - centre[0]) * canvas.mm, (canvas.columns - centre[1]) * canvas.mm
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    edge = (np.abs(u) / (wide / 2)) ** 3.2 + (np.abs(v) / (tall / 2)) ** np.where(v > 0, 2.2, 5.0)
    case = step((1 - edge) / 0.10)
    battery = step((0.70 - edge) / 0.08) * step(v + 0.02 * tall)
    parts = canvas.noise(rng, 2.2) + 0.8 * (np.sin(1.9 * u) > 0.2) * (np.abs(v + 0.25 * tall) < 4)
    circuit = step((0.75 - edge) / 0.1) * step(-v - 0.03 * tall) * np.clip(0.3 + 0.35 * parts, 0, 1)
    top = -0.47 * tall - v
    header = (np.abs(u) < 0.36 * wide) & (top > 0) & (top < 9)
    plugs = header & ((np.abs(top - 3) < 1.1) | (np.abs(top - 6.5) < 1.1))
    plugs &= np.sin(1.1 * u + 0.6) > -0.5
    made = 0.62 * case + 0.5 * battery + 0.3 * circuit + 0.12 * header + 0.75 * plugs
    return canvas.blur(np.clip(made, 0, 1.15).astype(np.float32), 0.22)


def _leads(
    canvas: Canvas, rng: Rng, centre: tuple[float, float], sign: float, *, shocks: bool
) -> Array:
    """Return leads from a generator through the veins to right atrium and ventricle."""
    turn = rng.uniform(0, 2 * np.pi) + np.linspace(0, 5, 6)
    loop = np.stack([17 * np.sin(turn), 23 * np.cos(turn)], axis=1) / canvas.mm + centre
    out = np.array([centre]) + np.array([[-14.0, -4.0 * sign]]) / canvas.mm
    vein, low = _vein(canvas, sign, rng), rng.uniform(-0.02, 0.02, 4)
    atrium = _along(canvas, (0.38, 0.52, 0.57, 0.53 + low[0]), (-0.15, -0.17, -0.12, -0.07))
    heights = (0.38, 0.55, 0.69, 0.74 + low[1], 0.76 + low[2])
    ventricle = _along(canvas, heights, (-0.14, -0.15, -0.06, 0.12, 0.30 + low[3]))
    one = curve(np.vstack([out, vein, atrium]), 1.5)
    two = curve(np.vstack([out, _beside(canvas, vein, 2.5), ventricle]), 1.5)
    total = _drawn(canvas, [one, two, curve(np.vstack([loop, out]), 1.4)], 0.75)
    # Two electrodes at each tip.
    ends: list[Stroke] = [
        (p[a:b], 2.4, 2.4) for p, *_ in (one, two) for a, b in ((-4, None), (-9, -7))
    ]
    total = np.maximum(total, _drawn(canvas, ends))
    if shocks:
        n = len(two[0])
        spans = ((int(0.50 * n), int(0.62 * n)), (int(0.84 * n), int(0.97 * n)))
        coils: list[Stroke] = [(two[0][a:b], 3.2, 3.2) for a, b in spans]
        total = np.maximum(total, _drawn(canvas, coils, 1.1))
    return total


def _paced(
    canvas: Canvas, side: LungSide, rng: Rng, size: tuple[float, float], *, shocks: bool
) -> Array:
    # Most lie on the left whatever side is drawn.
    sign = 1.0 if side == "left" or rng.random() < 0.7 else -1.0
    centre = _point(canvas, rng.uniform(0.24, 0.34), sign * rng.uniform(0.60, 0.74))
    can = _can(canvas, rng, centre, *size)
    return np.maximum(can, _leads(canvas, rng, centre, sign, shocks=shocks))


def _pacemaker(canvas: Canvas, side: LungSide, rng: Rng) -> Array:
    """A generator below a clavicle with leads in right atrium and right ventricle."""
    return _paced(canvas, side, rng, (42.0, 44.0), shocks=False)


def _defibrillator(canvas: Canvas, side: LungSide, rng: Rng) -> Array:
    """An ICD: a larger generator, and a lead with two shock coils."""
    return _paced(canvas, side, rng, (56.0, 62.0), shocks=True)


def _ecg_leads(canvas: Canvas, _side: LungSide, rng: Rng) -> Array:
    """Electrodes on the skin, with press studs and wires that leave the picture."""
    total = np.zeros(canvas.shape, dtype=np.float32)
    wires, clips = [], []
    for height, away in ((0.10, -0.82), (0.12, 0.80), (0.74, -0.86), (0.72, 0.88)):
        shift = rng.uniform(-0.07, 0.07), rng.uniform(-0.14, 0.14)
        row, column = _point(canvas, height + shift[0], away + shift[1])
        apart = canvas.distance(row, column)
        stud = step((5.2 - apart) / 0.8) * (0.45 + 0.5 * step((2.4 - apart) / 0.6))
        total = np.maximum(total, stud + 0.07 * step((15 - apart) / 1.2))
        exits = canvas.shape[1] * (1.02 if away > 0 else -0.02)
        fall = row + rng.uniform(0.05, 0.35, 2) * canvas.shape[0]
        near = (row + 6 / canvas.mm, column + 4 / canvas.mm)
        middle = (0.4 * row + 0.6 * fall[0], 0.5 * (column + exits) + rng.normal(0, 12) / canvas.mm)
        wires.append(curve([(row, column), near, middle, (fall[1], exits)], 1.2))
        clips.append(curve([(row, column), (2 * row - near[0], near[1])], 2.6))
    total = canvas.blur(np.maximum(total, 0.7 * canvas.draw(clips)), 0.25)
    return np.maximum(total, _drawn(canvas, wires, 0.5))


def _clips(canvas: Canvas, _side: LungSide, rng: Rng) -> Array:
    """Wires of a sternotomy down the middle, with small clips beside the heart."""
    strokes = []
    around = np.linspace(0, 2 * np.pi, 12)
    for height in np.linspace(0.16, 0.66, 6) + rng.uniform(-0.015, 0.015, 6):
        centre = np.array(_point(canvas, height, rng.uniform(-0.02, 0.02)))
        wide, tall, tilt = rng.uniform((6, 2.5, -2), (9, 5, 2)) / canvas.mm
        ring = np.stack([tall * np.sin(around) + tilt * np.cos(around), wide * np.cos(around)], 1)
        knot = np.array([[0, 0], [4, rng.uniform(-3, 3)]]) / canvas.mm
        strokes += [curve(centre + ring, 0.9), curve(centre + ring[3] + knot, 1.3)]
    for _ in range(5):
        centre = np.array(_point(canvas, rng.uniform(0.35, 0.7), rng.uniform(0.05, 0.32)))
        turn, long = rng.uniform(0, np.pi), rng.uniform(2, 3) / canvas.mm
        half = long * np.array([np.sin(turn), np.cos(turn)])
        strokes.append(curve(np.stack([centre - half, centre + half]), 1.3))
    return _drawn(canvas, strokes, 0.85)


KINDS: dict[str, Kind] = {
    "central line": _central_line,
    "tracheal tube": _tracheal_tube,
    "gastric tube": _gastric_tube,
    "pacemaker": _pacemaker,
    "defibrillator": _defibrillator,
    "chest drain": _chest_drain,
    "ecg leads": _ecg_leads,
    "clips": _clips,
}
# How often a kind is drawn, to one.
_OTHERS = {"central line": 1.6, "defibrillator": 0.5, "chest drain": 0.7, "clips": 0.7}
SHARES = dict.fromkeys(KINDS, 1.0) | _OTHERS
# A patient has one of these.
_GENERATORS = ("pacemaker", "defibrillator")


def text_marker(canvas: Canvas, side: LungSide, dose: float, rng: Rng, _form: str) -> Change:
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
