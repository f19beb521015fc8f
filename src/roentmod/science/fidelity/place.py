"""Is everything still where it was? What pFID, which ignores place, cannot say."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roentmod.anatomy import Mask
from roentmod.errors import AuditError

__all__ = ["displaced"]

Floats = NDArray[np.float64]
# Tiles along a side, and how far each is looked for, as a share of the picture's side.
_TILES, _REACH = 14, 0.04
# A tile is looked for if it varies at least so much; it has moved only if another place fits better
# by so much of a correlation, and is lost where no place fits so well.
_TEXTURE, _BETTER, _LOST = 0.01, 0.02, 0.5


def displaced(before: ArrayLike, after: ArrayLike, where: Mask | None = None) -> float:
    """Return how far the places of a picture moved, as a share of its side in [0, 0.057].

    Block matching: each of 14 x 14 tiles of `before`, with a margin of half a tile, is looked for
    in `after`, by the correlation of values, up to 0.04 of the side down and across. What changes
    brightness or contrast moves nothing; a tile that is found nowhere counts as moved by all that
    it was looked for. The mean is over tiles that have texture.

    Args:
        before: h x h display values, h at least 56.
        after: the same.
        where: h x h; only tiles that lie wholly in it, with their margins, are looked at; None is
            everywhere. NaN is returned where no tile is left.

    Raises:
        AuditError: pictures that are small, not square, or differ in shape.
    """
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    side = first.shape[0]
    if first.shape != second.shape or first.shape != (side, side) or side < 4 * _TILES:
        raise AuditError(
            f"Places are compared in square pictures of one shape, {4 * _TILES} pixels a side or "
            f"more; got {first.shape} and {second.shape}."
        )
    tile, reach = side // _TILES, round(_REACH * side)
    mean = _means(first, tile)
    variance = _variance(first, mean, tile)
    looked_at = np.sqrt(variance) >= _TEXTURE
    if where is not None:
        looked_at &= _means(where.astype(np.float64), tile) > 1 - 1e-9
    if not looked_at.any():
        return float("nan")
    padded = np.pad(second, reach, mode="edge")
    steps = [
        (down, across) for down in range(-reach, reach + 1) for across in range(-reach, reach + 1)
    ]
    rows = []
    # All steps across at once: with those down as well, large pictures would need much memory.
    for shifted in np.lib.stride_tricks.sliding_window_view(padded, (side, side)):
        there = _means(shifted, tile)
        both = _means(first * shifted, tile) - mean * there
        spread = np.sqrt(variance * _variance(shifted, there, tile))
        # Pearson's correlation of each window; 0 where one does not vary.
        rows.append((both / np.where(spread > 1e-12, spread, np.inf))[:, looked_at])
    fits = np.concatenate(rows)
    best, still = fits.max(axis=0), fits[steps.index((0, 0))]
    away = np.hypot(*np.array(steps, np.float64).T)
    # Of places that fit as well, the nearest.
    moved = np.where(fits >= best - 1e-9, away[:, None], np.inf).min(axis=0)
    moved = np.where(best - still < _BETTER, 0.0, moved)
    moved = np.where(best < _LOST, np.hypot(reach, reach), moved)
    return float(moved.mean() / side)


def _means(values: Floats, tile: int) -> Floats:
    """Return the means of windows of two tiles a side, a tile apart, `_TILES` - 1 a side.

    `values` are of one or more pictures, ... x h x h.
    """
    side = values.shape[-1]
    windows = np.zeros((side, _TILES - 1))
    for number in range(_TILES - 1):
        windows[number * tile : (number + 2) * tile, number] = 1 / (2 * tile)
    return np.asarray(windows.T @ (values @ windows))


def _variance(values: Floats, mean: Floats, tile: int) -> Floats:
    """Return the variance of each window, of which `mean` are the means."""
    variance: Floats = np.maximum(_means(values**2, tile) - mean**2, 0)
    return variance
