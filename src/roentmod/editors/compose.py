"""Between native resolution and the generator's: down for editing, and only the change back up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from roentmod.edits import WITHOUT_SHAM, Composite
from roentmod.radiograph import Radiograph, Square

__all__ = [
    "Composed",
    "Decoded",
    "compose",
    "feather",
    "resize",
    "resized",
    "shrink",
    "significance",
    "soften",
    "unchanged",
]

Array = NDArray[np.float32]
# Local mean change, as a fraction of the display range, below which the generator's own jitter is
# taken for no change, and above which a change is kept whole.
NO_CHANGE, FULL_CHANGE = 0.012, 0.035


# Interpolated weights below are none.
_SOFTEST = 1e-3
# Rows composed at a time: all that lies between stays in the processor's cache.
_STRIP = 32

# The picture, its difference from the baseline, and where that may be nonzero.
Composed = tuple[Radiograph, Array, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Decoded:
    """Decoder outputs that one counterfactual needs, size x size in [0, 1].

    The baseline's matters to composite "baseline", and to shams of "sham" and "one-way".
    """

    edit: Array
    sham: Array
    baseline: Array | None = None


def resized(image: Array, shape: tuple[int, int]) -> Array:
    """Return `image` at `shape` (h, w): area average down, bicubic up."""
    return image if image.shape == shape else _resampled(image, shape, shape[0] > image.shape[0])


def _resampled(image: Array, shape: tuple[int, int], up: bool) -> Array:
    method = Image.Resampling.BICUBIC if up else Image.Resampling.BOX
    picture = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), method), dtype=np.float32)


def resize(image: Array, side: int) -> Array:
    """Return `image` (h x h) at side x side, as `resized` does."""
    return resized(image, (side, side))


def shrink(radiograph: Radiograph, size: int) -> Array:
    """Return the radiograph padded to a square, at size x size, display values in [0, 1]."""
    return np.clip(resize(radiograph.square.pad(radiograph.pixels), size), 0, 1)


def _blur(image: Array, radius: int) -> Array:
    """Box blur with edge padding, the same shape."""
    width = 2 * radius + 1
    padded = np.pad(image, radius, mode="edge").astype(np.float64)
    total = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    window = total[width:, width:] - total[:-width, width:] - total[width:, :-width]
    mean: Array = ((window + total[:-width, :-width]) / width**2).astype(np.float32)
    return mean


def _ramp(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    return (x * x * (3 - 2 * x)).astype(np.float32)


def feather(mask: NDArray[np.bool_]) -> Array:
    """Return weights in [0, 1] that are exactly 0 outside `mask` and soft inside its border."""
    radius = max(1, round(0.015 * max(mask.shape)))
    inner = np.asarray(
        Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(radius)),
        dtype=np.float32,
    )
    # At a straight border half the box is inside: the ramp starts there.
    weights: Array = _ramp((inner / 255 - 0.5).astype(np.float32) * 2) * mask
    return weights if weights.any() else mask.astype(np.float32)


def soften(mask: NDArray[np.bool_], side: int) -> Array:
    """Return the weights of a region (h x w) on the latents, side x side in [0, 1].

    A cell's weight rises smoothly with the share of it that lies in the region: exactly 1 where it
    lies wholly inside, exactly 0 where wholly outside. The square's padding goes with the pixels
    beside it, so that a region of the whole picture is a weight of 1 everywhere.
    """
    square = Square(*mask.shape)
    (top, left), (height, width) = square.origin, mask.shape
    around = (top, square.side - height - top), (left, square.side - width - left)
    share = resize(np.pad(mask.astype(np.float32), around, mode="edge"), side)
    # Resampling rounds; what is whole must be whole to the bit.
    return _ramp(np.where(share > 1 - 1e-4, 1, np.where(share < 1e-4, 0, share)))


def significance(change: Array) -> Array:
    """Return weights in [0, 1] of a change (size x size): exactly 0 where only jitter is seen."""
    radius = max(1, round(change.shape[0] / 75))
    local = _blur(np.abs(change), radius)
    weight = _ramp((local - NO_CHANGE) / (FULL_CHANGE - NO_CHANGE))
    return _blur(weight, radius) * (_blur((weight > 0).astype(np.float32), radius) > 0)


def _window(weights: Array, square: Square, inside: Array | None) -> tuple[slice, slice]:
    """Return rows and columns of the picture outside which a composite is the baseline.

    Args:
        weights: of the change, size x size; exactly 0 where it is left out.
        square: of the picture, h x w.
        inside: weights of the area that may change, h x w.
    """
    slices = []
    for axis, (start, length) in enumerate(
        zip(square.origin, (square.height, square.width), strict=True)
    ):
        kept = np.flatnonzero(weights.any(axis=1 - axis))
        # Interpolation reaches two cells further.
        cell = square.side / weights.shape[axis]
        first, stop = ((kept[0] - 3) * cell, (kept[-1] + 4) * cell) if kept.size else (0, 0)
        first, stop = int(max(first - start, 0)), int(min(np.ceil(stop) - start, length))
        if inside is not None:
            own = np.flatnonzero(inside.any(axis=1 - axis))
            first, stop = max(first, int(own[0])), min(stop, int(own[-1]) + 1)
        slices.append(slice(first, max(first, stop)))
    return slices[0], slices[1]


@lru_cache(maxsize=4)
def _taps(count: int, side: int) -> NDArray[np.float64]:
    """Return the weights of `count` cells in each of `side` pixels, as Pillow's (`resized`)."""
    scale = count / side
    centres = (np.arange(side) + 0.5) * scale
    away = np.arange(count) + 0.5 - centres[:, None]
    if side > count:
        near = np.abs(away)
        inner = (1.5 * near - 2.5) * near**2 + 1
        outer = -0.5 * (((near - 5) * near + 8) * near - 4)
        taps = np.where(near < 1, inner, np.where(near < 2, outer, 0))
    else:
        taps = ((away > -0.5 * scale) & (away <= 0.5 * scale)).astype(np.float64)
    whole: NDArray[np.float64] = taps / taps.sum(axis=1, keepdims=True)
    return whole


class _Enlarged:
    """Strips of ``square.crop(resize(image, square.side))`` between two columns.

    Pillow resamples along rows first, then along columns: between the two, other columns go.
    """

    def __init__(self, image: Array, square: Square, columns: slice) -> None:
        """Resample along rows."""
        (self._top, left), side = square.origin, square.side
        wide = _resampled(image, (len(image), side), len(image) < side)
        self._cells = wide[:, columns.start + left : columns.stop + left].astype(np.float64)
        self._taps = _taps(len(image), side)

    def __getitem__(self, rows: slice) -> Array:
        """Return some rows of the picture, h x w."""
        taps = self._taps[rows.start + self._top : rows.stop + self._top]
        used = np.flatnonzero(taps.any(axis=0))
        near = slice(used[0], used[-1] + 1) if used.size else slice(0, 0)
        return (taps[:, near] @ self._cells[near]).astype(np.float32)


def unchanged(baseline: Radiograph) -> Composed:
    """Return what is composed of no change: the baseline's own levels."""
    shape, nowhere = baseline.stored.shape, (slice(0, 0), slice(0, 0))
    result = baseline.with_pixels(np.zeros((0, 0), dtype=np.float32), nowhere)
    return result, np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.bool_)


def compose(
    baseline: Radiograph,
    decoded: Decoded,
    mode: Composite,
    inside: Array | None = None,
    *,
    sham: bool = False,
    direction: int = 0,
) -> Composed:
    """Bring an edit to native resolution.

    Args:
        baseline: the radiograph, h x w.
        decoded: the decoder's outputs.
        mode: ``none``: the decoded picture, as in the paper; ``baseline``: the original plus the
            change against the decoded baseline; ``sham``: the original plus the change against the
            decoded sham, jitter left out, so that the losses of autoencoder and denoising cancel;
            ``one-way``: the same, and only in the finding's `direction`, so that an opacity takes
            no density away from what the patient has.
        inside: weights of a region (`feather`), h x w; where they are 0 the result equals the
            baseline bit for bit.
        sham: return the control arm. In modes ``sham`` and ``one-way`` its change is taken against
            the decoded baseline, since against itself it would be nothing.
        direction: 1: no pixel gets darker; -1: none gets brighter; 0: either.

    Returns:
        The picture, its difference from the baseline (h x w, display units) and where that may be
        nonzero (h x w).
    """
    shown = decoded.sham if sham else decoded.edit
    square, weights = baseline.square, np.ones(decoded.edit.shape, dtype=np.float32)
    change, without_sham = shown, mode in WITHOUT_SHAM
    if mode != "none":
        other = decoded.sham if without_sham and not sham else decoded.baseline
        assert other is not None, "the decoded baseline is missing"
        change = _directed(shown - other, direction)
    if without_sham:
        weights = significance(change)
    rows, columns = _window(weights, square, inside)
    changes = _Enlarged(change, square, columns)
    softness = _Enlarged(weights, square, columns) if without_sham else None
    pixels = baseline.pixels[rows, columns].copy()
    support = np.zeros(baseline.stored.shape, dtype=np.bool_)
    for start in range(rows.start, rows.stop, _STRIP):
        strip = slice(start, min(start + _STRIP, rows.stop))
        before, wanted = baseline.pixels[strip, columns], changes[strip]
        if mode != "none":
            # Again, as interpolation overshoots.
            wanted = before + _directed(wanted, direction)
        weight = np.ones(before.shape, dtype=np.float32)
        if softness is not None:
            soft = np.clip(softness[strip], 0, 1)
            weight = np.where(soft > _SOFTEST, soft, 0).astype(np.float32)
        if inside is not None:
            weight = weight * inside[strip, columns]
        pixels[start - rows.start : strip.stop - rows.start] = _mixed(before, wanted, weight)
        support[strip, columns] = weight > 0
    result = baseline.with_pixels(pixels, (rows, columns))
    difference = np.zeros(baseline.stored.shape, dtype=np.float32)
    difference[rows, columns] = result.pixels[rows, columns] - baseline.pixels[rows, columns]
    return result, difference, support


def _directed(change: Array, direction: int) -> Array:
    """Return a change without what goes the other way; all of it where the direction is 0."""
    return np.maximum(change * direction, 0) * direction if direction else change


def _mixed(before: Array, wanted: Array, weight: Array) -> Array:
    """Return a picture moved by a weight, cut off to [0, 1]; where it is 0, not a bit moves."""
    mixed = before + weight * (wanted - before)
    pixels = np.clip(np.where(weight == 1, wanted, mixed), 0, 1)
    return np.where(weight > 0, pixels, before).astype(np.float32)
