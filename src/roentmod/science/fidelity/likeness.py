"""How alike a picture and its edit are: pixels, features and outlines."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from roentmod.anatomy import Anatomy, Mask
from roentmod.errors import AuditError

__all__ = ["dice", "drift", "inside_outside", "nearest", "perceptual", "similarity"]

Floats = NDArray[np.float64]
# Wang et al. (2004): Gaussian window of 1.5 pixels, cut at 3.5 of these, and the two constants.
_SIGMA, _TRUNCATE, _K1, _K2 = 1.5, 3.5, 0.01, 0.03
# Degrees that are tried for a rotation, and the side in pixels at which.
_ANGLES, _COARSE = np.arange(-12.0, 12.1, 2.0), 112


def similarity(first: ArrayLike, second: ArrayLike) -> Floats:
    """Return the structural similarity of every place, h x w in [-1, 1]; 1 where they are equal.

    Wang et al., IEEE Trans. Image Process. 13 (2004) 600, with its Gaussian window, for display
    values in [0, 1]. The mean over the places at least 5 pixels from the border is the usual SSIM.

    Raises:
        AuditError: pictures of different shape.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    _same_shape(a, b)

    def blur(image: Floats) -> Floats:
        return np.asarray(ndimage.gaussian_filter(image, _SIGMA, truncate=_TRUNCATE))

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    both = blur(a * b) - mean_a * mean_b
    c1, c2 = _K1**2, _K2**2
    above = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return np.asarray(above / below)


def inside_outside(values: ArrayLike, support: Mask) -> tuple[float, float]:
    """Return the means of `values` (h x w) inside and outside `support`; NaN where that is empty.

    Raises:
        AuditError: shapes differ.
    """
    table = np.asarray(values, np.float64)
    _same_shape(table, support)
    inside = float(table[support].mean()) if support.any() else math.nan
    outside = float(table[~support].mean()) if not support.all() else math.nan
    return inside, outside


def perceptual(first: ArrayLike, second: ArrayLike) -> float:
    """Return how far two grids of features (h x w x d) are apart, in [0, 4]; 0 where equal.

    As LPIPS (Zhang et al., CVPR 2018) without its learned weights: vectors of every place are
    brought to length 1, their differences squared and summed, and the mean over places taken.

    Raises:
        AuditError: grids of different shape.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    _same_shape(a, b)
    units = [x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12) for x in (a, b)]
    return float(((units[0] - units[1]) ** 2).sum(axis=-1).mean())


def nearest(query: ArrayLike, gallery: ArrayLike) -> tuple[NDArray[np.intp], Floats]:
    """Return which of n gallery vectors (n x d) is nearest to each of m queries, and how far.

    Distances are Euclidean. Of equally near ones the first is taken.

    Raises:
        AuditError: the gallery is empty, or vectors differ in length.
    """
    queries, known = np.asarray(query, np.float64), np.asarray(gallery, np.float64)
    if queries.ndim != 2 or known.ndim != 2 or not len(known) or queries.shape[1] != known.shape[1]:
        raise AuditError(
            f"Retrieval needs m x d queries and n x d vectors; got {queries.shape}, {known.shape}."
        )
    # Differences, not the expanded square: that loses what little equal pictures differ by.
    squares = np.stack([((known - one) ** 2).sum(axis=1) for one in queries])
    at = squares.argmin(axis=1)
    return at, np.sqrt(squares[np.arange(len(queries)), at])


def dice(first: Mask, second: Mask) -> float:
    """Return twice the common area over the sum of areas (Dice, 1945); NaN where both are empty.

    Raises:
        AuditError: masks of different shape.
    """
    _same_shape(first, second)
    areas = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / areas if areas else math.nan


def drift(before: Anatomy, after: Anatomy) -> dict[str, float]:
    """Return how far outlines moved.

    Returns:
        lungs, heart: Dice of the outlines; ratio: change of the cardiothoracic ratio; rotation:
        angle in degrees by which the lungs of `before` must be turned, about their centre, to
        overlap most with those of `after`; positive is anticlockwise as shown.

    Raises:
        AuditError: outlines of pictures of different shape.
    """
    return {
        "lungs": dice(before.lungs, after.lungs),
        "heart": dice(before.heart, after.heart),
        "ratio": after.cardiothoracic_ratio - before.cardiothoracic_ratio,
        "rotation": _turn(before.lungs, after.lungs),
    }


def _turn(before: Mask, after: Mask) -> float:
    """Return the angle of greatest overlap, from a parabola through the best of `_ANGLES`."""
    if not before.any() or (before == after).all():
        return 0.0
    step = max(1, min(before.shape) // _COARSE)
    soft = [
        ndimage.gaussian_filter(m[::step, ::step].astype(np.float32), 1.5) for m in (before, after)
    ]
    centre = np.array(ndimage.center_of_mass(soft[0]))
    overlaps = []
    for angle in np.radians(_ANGLES):
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        turned = ndimage.affine_transform(soft[0], matrix, centre - matrix @ centre, order=1)
        overlaps.append(float((turned * soft[1]).sum()))
    best = int(np.clip(np.argmax(overlaps), 1, len(overlaps) - 2))
    low, middle, high = overlaps[best - 1 : best + 2]
    bend = low - 2 * middle + high
    shift = 0.5 * (low - high) / bend if bend < 0 else 0.0
    return float(_ANGLES[best] + np.clip(shift, -1, 1) * (_ANGLES[1] - _ANGLES[0]))


def _same_shape(first: NDArray[np.generic], second: NDArray[np.generic]) -> None:
    if first.shape != second.shape:
        raise AuditError(
            f"Only pictures of one shape can be compared; got {first.shape} and {second.shape}."
        )
