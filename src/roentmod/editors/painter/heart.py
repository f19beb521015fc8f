"""The heart, enlarged: the patient's own heart moved outwards, with its texture and its edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from roentmod.anatomy import Anatomy, LungSide
from roentmod.editors.painter import places
from roentmod.editors.painter.canvas import Array, Canvas, Change, Rng, step

__all__ = ["cardiomegaly"]

# Least growth of the ratio at dose 0 and 1, where the patient's own is already large.
_GROWTH = (0.02, 0.10)
# Share of the growth to the patient's left, and the part of the heart's height at which the
# widening begins and is complete, by form; the left ventricle widens low down.
_FORMS = {
    "left ventricular": ((0.68, 0.78), 0.20, 0.62),
    "globular": ((0.55, 0.66), 0.02, 0.50),
    "right-sided": ((0.42, 0.55), 0.10, 0.55),
}
# The spine does not move.
_SPINE = 0.06


def cardiomegaly(
    canvas: Canvas, _side: LungSide, dose: float, rng: Rng, form: str
) -> Change | None:
    """Move the heart's border outwards until the cardiothoracic ratio is reached.

    The ratio aimed at is one of real enlarged hearts, of the dose's third. The heart is stretched
    between spine and border; the lung it covers, and its ribs, stay. None where the area leaves
    less than half of the growth.
    """
    anatomy = canvas.anatomy
    own = anatomy.cardiothoracic_ratio
    share, begin, complete = _FORMS[form]
    to_left, bulge = rng.uniform(*share), 0.03 * canvas.noise(rng, 24)
    least = own + _GROWTH[0] + (_GROWTH[1] - _GROWTH[0]) * dose
    wanted = max(least, places.graded("Cardiomegaly", "ratio", dose, rng.random()))
    grow = (wanted - own) * anatomy.thoracic_width
    source = _source(canvas, grow, to_left, (begin, complete), bulge)
    depth = ndimage.distance_transform_edt(anatomy.heart) - ndimage.distance_transform_edt(
        ~anatomy.heart
    )
    smooth = canvas.blur(depth.astype(np.float32), 1.0)
    # What rests on the diaphragm stays on it.
    floor = _diaphragm(anatomy)
    fall = floor[None, :] - np.interp(source, np.arange(len(floor)), floor)
    near = step((canvas.rows - floor[None, :]) * canvas.mm / 60 + 1)
    rows = np.asarray(canvas.rows - near * fall, dtype=np.float32)

    def taken(part: Array) -> Array:
        places = [
            canvas.rows + part * (rows - canvas.rows),
            canvas.columns + part * (source - canvas.columns),
        ]
        result: Array = ndimage.map_coordinates(smooth, places, order=1, mode="nearest")
        return result

    moved = taken(np.ones_like(canvas.seen))
    shown = moved if canvas.area is None else taken(canvas.seen)
    reached = Anatomy(anatomy.right_lung, anatomy.left_lung, shown > 0).cardiothoracic_ratio
    if canvas.area is not None and reached - own < 0.5 * (wanted - own):
        return None
    inside = np.maximum(canvas.field("left", 2.0), canvas.field("right", 2.0))
    inside = np.maximum(inside, canvas.soft(anatomy.heart, 1.5))
    # The true border may lie some millimetres off the outline; what moved is blended into lung.
    cover = expit((shown * canvas.mm + 9) / 1.6) * inside
    columns = (source - canvas.columns) * (cover > 0.004)
    return Change(
        np.zeros(canvas.shape, dtype=np.float32),
        shift=np.stack([(rows - canvas.rows) * (cover > 0.004), columns]).astype(np.float32),
        cover=cover,
        severity={
            "cardiothoracic_ratio_before": round(own, 3),
            "cardiothoracic_ratio": round(reached, 3),
        },
    )


def _diaphragm(anatomy: Anatomy) -> NDArray[np.float64]:
    """Return the diaphragm's row in every column, w: level from dome to dome, under the heart."""
    columns = np.arange(anatomy.shape[1])
    right, left = anatomy.floor("right"), anatomy.floor("left")
    (_, first), (_, last) = anatomy.dome("right"), anatomy.dome("left")
    known = np.where(columns <= first, right, np.where(columns >= last, left, np.nan))
    seen = np.isfinite(known)
    return np.asarray(np.interp(columns, columns[seen], known[seen]), dtype=np.float64)


def _source(
    canvas: Canvas, grow: float, to_left: float, heights: tuple[float, float], bulge: Array
) -> Array:
    """Return the column each pixel's content comes from, h x w."""
    anatomy = canvas.anatomy
    rows = np.flatnonzero(anatomy.heart.any(1))
    if not rows.size:
        return np.broadcast_to(canvas.columns, canvas.shape)
    begin, complete = (rows[0] + h * len(rows) for h in heights)
    part = step((canvas.rows - begin) / max(complete - begin, 1.0)) * (1 + bulge)
    spine = _SPINE * anatomy.thoracic_width
    middle = anatomy.midline[:, None]
    away = np.abs(canvas.columns - middle)
    right, left = (max(reach - spine, 4.0) for reach in anatomy.heart_extent)
    wider = np.where(canvas.columns > middle, to_left * grow / left, (1 - to_left) * grow / right)
    stretched = spine + (away - spine) / (1 + wider * part)
    inwards = np.where(away > spine, stretched, away)
    return np.asarray(middle + np.sign(canvas.columns - middle) * inwards, dtype=np.float32)
