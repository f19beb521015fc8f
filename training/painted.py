"""Painted positives: simple renderings of findings that teach `mini` its words.

Real positives are few, and they differ from normals in much besides the finding. A rendering placed
by a rough lung outline differs in nothing else, so it ties a word to its picture. These are
teaching material, not ground truth: outlines are thresholded, and pictures where that fails are
left unpainted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
SEVERITY = {"mild": 0.35, "moderate": 0.65, "severe": 1.0}


@dataclass(frozen=True)
class Lungs:
    """Rough outlines of both lungs, h x w bool; `right` is the patient's (left in the picture)."""

    right: Mask
    left: Mask

    def side(self, name: str) -> Mask:
        """Return the patient's "right" or "left" lung."""
        return self.right if name == "right" else self.left


def find_lungs(image: NDArray[np.uint8]) -> Lungs | None:
    """Return lung outlines of a 224 x 224 picture, or None where the estimate is not credible."""
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 2)
    h, w = smooth.shape
    core = smooth[h // 6 : 5 * h // 6, w // 8 : 7 * w // 8]
    dark = smooth < np.percentile(core, 48)
    dark = ndimage.binary_opening(dark, iterations=3)
    labels, _ = ndimage.label(dark)
    halves = []
    for target in (0.3, 0.7):
        near = labels[
            int(0.3 * h) : int(0.65 * h), int((target - 0.1) * w) : int((target + 0.1) * w)
        ]
        counts = np.bincount(near[near > 0], minlength=2)
        if counts.sum() == 0:
            return None
        lung = labels == int(counts.argmax())
        lung = ndimage.binary_fill_holes(ndimage.binary_closing(lung, iterations=5))
        halves.append(lung)
    if not all(_credible(lung, at) for lung, at in zip(halves, (0.3, 0.7), strict=True)):
        return None
    return Lungs(*halves)


def _credible(lung: Mask, at: float) -> bool:
    h, w = lung.shape
    share = lung.mean()
    if not 0.06 < share < 0.22:
        return False
    rows, columns = np.nonzero(lung)
    touches = lung[0].any() or lung[-1].any() or lung[:, 0].any() or lung[:, -1].any()
    tall = np.ptp(rows) > 0.4 * h
    return bool(tall and not touches and abs(columns.mean() / w - at) < 0.1)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Array:
    field = ndimage.gaussian_filter(rng.standard_normal(shape), scale)
    return (field / (field.std() + 1e-6)).astype(np.float32)


def _opacify(image: Array, density: Array) -> Array:
    """Add attenuation: approaches white as radiographs do, and never overshoots."""
    white = 0.86
    return np.where(density > 0, image + (np.maximum(white, image) - image) * density, image)


def effusion(image: Array, lung: Mask, dose: float, rng: np.random.Generator) -> Array:
    """Fluid at the base with a meniscus that climbs along the lateral chest wall."""
    rows, columns = np.nonzero(lung)
    top, bottom = rows.min(), rows.max()
    level = bottom - (0.10 + 0.5 * dose) * (bottom - top)
    outer = columns.min() if columns.mean() < image.shape[1] / 2 else columns.max()
    yy, xx = np.indices(image.shape, dtype=np.float32)
    across = np.abs(xx - outer) / (np.ptp(columns) + 1)
    surface = level - (0.22 * (bottom - top)) * np.exp(-4 * across) + 3 * rng.standard_normal()
    chest = ndimage.binary_dilation(lung, iterations=5)
    # The base below the outline is already dense diaphragm: the fluid fills down to it.
    below = np.maximum.accumulate(chest, axis=0) & (yy < bottom + 12) & (across < 1.25)
    fluid = ndimage.gaussian_filter((yy > surface) & below, 2.5, output=np.float32)
    texture = 1 + 0.03 * _noise(rng, image.shape, 1.5)
    return _opacify(image, (0.8 * fluid * texture).astype(np.float32))


def consolidation(image: Array, lung: Mask, dose: float, rng: np.random.Generator) -> Array:
    """Patchy dense airspace opacity in one zone of the lung."""
    rows, columns = np.nonzero(lung)
    pick = rng.integers(len(rows))
    yy, xx = np.indices(image.shape, dtype=np.float32)
    radius = 14 + 22 * dose
    blob = np.exp(-((yy - rows[pick]) ** 2 + (xx - columns[pick]) ** 2) / (2 * radius**2))
    ragged = blob * (1 + 0.45 * _noise(rng, image.shape, 5) + 0.25 * _noise(rng, image.shape, 2))
    inside = ndimage.gaussian_filter(lung.astype(np.float32), 2)
    density = np.clip(1.5 * ragged - 0.25, 0, 1) * inside * (0.45 + 0.4 * dose)
    return _opacify(image, density.astype(np.float32))


def edema(image: Array, lungs: Lungs, dose: float, rng: np.random.Generator) -> Array:
    """Perihilar haze on both sides, fading outwards, with streaks."""
    both = lungs.right | lungs.left
    rows, columns = np.nonzero(both)
    yy, xx = np.indices(image.shape, dtype=np.float32)
    centre_y, centre_x = rows.mean() + 8, columns.mean()
    away = np.hypot((yy - centre_y) / 55, (xx - centre_x) / 62)
    haze = np.exp(-(away**2)) * (1 + 0.3 * _noise(rng, image.shape, 3))
    streaks = 0.16 * np.clip(_noise(rng, image.shape, 1.2), 0, None)
    inside = ndimage.gaussian_filter(both.astype(np.float32), 3)
    density = np.clip(haze + streaks * haze, 0, 1) * inside * (0.25 + 0.5 * dose)
    return _opacify(image, density.astype(np.float32))


def cardiomegaly(image: Array, lungs: Lungs, dose: float, _: np.random.Generator) -> Array:
    """Warp the heart border outwards, more to the patient's left, fading above the hila."""
    rows, _columns = np.nonzero(lungs.right | lungs.left)
    top, bottom = rows.min(), rows.max()
    middle = (np.nonzero(lungs.right)[1].mean() + np.nonzero(lungs.left)[1].mean()) / 2
    yy, xx = np.indices(image.shape, dtype=np.float32)
    centre_y = top + 0.80 * (bottom - top)
    fade = np.exp(-(((yy - centre_y) / (0.30 * (bottom - top))) ** 2))
    reach = np.where(xx > middle, 74.0, 58.0)
    offset = (xx - middle) / reach
    gain = (0.14 + 0.36 * dose) * fade * np.exp(-(np.abs(offset) ** 3))
    source = middle + (xx - middle) * (1 - gain)
    warped = ndimage.map_coordinates(image, [yy, source], order=1, mode="nearest")
    return warped.astype(np.float32)


def ball(image: Array, lung: Mask, radius: float, rng: np.random.Generator) -> Array:
    """Round opacity of the given radius in pixels (a nodule up to 6, a mass beyond)."""
    inner = ndimage.binary_erosion(lung, iterations=int(min(8, radius)))
    rows, columns = np.nonzero(inner if inner.any() else lung)
    pick = rng.integers(len(rows))
    yy, xx = np.indices(image.shape, dtype=np.float32)
    wobble = 1 + 0.12 * _noise(rng, image.shape, 5)
    distance = np.hypot(yy - rows[pick], (xx - columns[pick]) * rng.uniform(0.85, 1.15)) * wobble
    density = 0.62 / (1 + np.exp((distance - radius) / max(0.9, radius / 9)))
    return _opacify(image, density.astype(np.float32))


def pneumothorax(image: Array, lung: Mask, dose: float, _: np.random.Generator) -> Array:
    """Lucent rim without markings at apex and lateral wall, bounded by a fine visceral line."""
    rows, columns = np.nonzero(lung)
    inwards = ndimage.distance_transform_edt(lung).astype(np.float32)
    high = 1 - (np.arange(image.shape[0]) - rows.min()) / (np.ptp(rows) + 1)
    middle = image.shape[1] / 2
    lateral = np.abs(np.arange(image.shape[1]) - middle) > np.abs(columns.mean() - middle) * 0.75
    width = (6 + 26 * dose) * np.clip(high, 0, 1)[:, None]
    lateral_or_apex = lateral[None, :] | (high[:, None] > 0.8)
    air = ((inwards < width) & lung & lateral_or_apex).astype(np.float32)
    soft = ndimage.gaussian_filter(air, 1.2)
    smooth = ndimage.gaussian_filter(image, 5)
    lucent = image * (1 - soft) + (0.80 * np.minimum(smooth, image + 0.05)) * soft
    line = (
        np.exp(-(((inwards - width) / 1.1) ** 2)) * lung * lateral_or_apex * (high[:, None] > 0.05)
    )
    return _opacify(lucent.astype(np.float32), (0.28 * line).astype(np.float32))


def atelectasis(image: Array, lung: Mask, dose: float, rng: np.random.Generator) -> Array:
    """Plate-like bands low in the lung."""
    rows, columns = np.nonzero(lung)
    yy, xx = np.indices(image.shape, dtype=np.float32)
    density = np.zeros_like(image)
    for _ in range(1 + int(2 * dose)):
        y0 = rows.min() + rng.uniform(0.6, 0.92) * np.ptp(rows)
        slope = rng.uniform(-0.25, 0.25)
        distance = yy - (y0 + slope * (xx - columns.mean()))
        along = np.exp(-(((xx - columns.mean()) / (0.42 * np.ptp(columns))) ** 4))
        thick = 1.5 + 2.5 * dose
        density += np.exp(-((distance / thick) ** 2)) * along * (0.35 + 0.25 * dose)
    inside = ndimage.gaussian_filter(lung.astype(np.float32), 1.5)
    return _opacify(image, np.clip(density, 0, 0.7).astype(np.float32) * inside)


SIDED: dict[str, Callable[[Array, Mask, float, np.random.Generator], Array]] = {
    "Pleural Effusion": effusion,
    "Consolidation": consolidation,
    "Pneumonia": consolidation,
    "Atelectasis": atelectasis,
    "Nodule": lambda i, m, d, r: ball(i, m, 3 + 3 * d, r),
    "Mass": lambda i, m, d, r: ball(i, m, 8 + 12 * d, r),
    "Pneumothorax": pneumothorax,
}
WHOLE: dict[str, Callable[[Array, Lungs, float, np.random.Generator], Array]] = {
    "Edema": edema,
    "Cardiomegaly": cardiomegaly,
}
PAINTABLE = (*SIDED, *WHOLE)


def paint(
    image: NDArray[np.uint8],
    lungs: Lungs,
    finding: str,
    side: str | None,
    severity: str,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return `image` (224 x 224, uint8) with the finding at the side and severity asked for."""
    dose = SEVERITY[severity] * rng.uniform(0.9, 1.1)
    picture = image.astype(np.float32) / 255
    if finding in WHOLE:
        picture = WHOLE[finding](picture, lungs, dose, rng)
    else:
        for one in ("left", "right") if side == "both" else (side or "left",):
            picture = SIDED[finding](picture, lungs.side(one), dose, rng)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
