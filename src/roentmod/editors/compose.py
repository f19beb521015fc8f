"""Between native resolution and the generator's: down for editing, and only the change back up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from roentmod.edits import Composite
from roentmod.radiograph import Radiograph, Square

__all__ = ["Decoded", "compose", "feather", "resize", "resized", "shrink", "significance", "soften"]

Array = NDArray[np.float32]
# Local mean change, as a fraction of the display range, below which the generator's own jitter is
# taken for no change, and above which a change is kept whole.
NO_CHANGE, FULL_CHANGE = 0.012, 0.035


@dataclass(frozen=True, eq=False)
class Decoded:
    """Decoder outputs that one counterfactual needs, size x size in [0, 1]."""

    edit: Array
    sham: Array
    baseline: Array


def resized(image: Array, shape: tuple[int, int]) -> Array:
    """Return `image` at `shape` (h, w): area average down, bicubic up."""
    if image.shape == shape:
        return image
    method = Image.Resampling.BICUBIC if shape[0] > image.shape[0] else Image.Resampling.BOX
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


def compose(
    baseline: Radiograph,
    decoded: Decoded,
    mode: Composite,
    mask: NDArray[np.bool_] | None = None,
    *,
    sham: bool = False,
) -> tuple[Radiograph, Array, NDArray[np.bool_]]:
    """Bring an edit to native resolution.

    Args:
        baseline: the radiograph, h x w.
        decoded: the decoder's outputs.
        mode: ``none``: the decoded picture, as in the paper; ``baseline``: the original plus the
            change against the decoded baseline; ``sham``: the original plus the change against the
            decoded sham, jitter left out, so that the losses of autoencoder and denoising cancel.
        mask: h x w region; outside it the result equals the baseline bit for bit.
        sham: return the control arm. In mode ``sham`` its change is taken against the decoded
            baseline, since against itself it would be nothing.

    Returns:
        The picture, its difference from the baseline (h x w, display units) and where that may be
        nonzero (h x w).
    """
    shown = decoded.sham if sham else decoded.edit
    square = baseline.square
    if mode == "none":
        wanted = square.crop(resize(shown, square.side))
        weight = np.ones(wanted.shape, dtype=np.float32)
    else:
        reference = decoded.sham if mode == "sham" and not sham else decoded.baseline
        change = shown - reference
        wanted = baseline.pixels + square.crop(resize(change, square.side))
        weight = np.ones(wanted.shape, dtype=np.float32)
        if mode == "sham":
            soft = np.clip(resize(significance(change), square.side), 0, 1)
            weight = square.crop(np.where(soft > 1e-3, soft, 0).astype(np.float32))
    if mask is not None:
        weight = weight * feather(mask)
    support = weight > 0
    mixed = baseline.pixels + weight * (wanted - baseline.pixels)
    pixels = np.where(weight == 1, wanted, mixed)
    pixels = np.where(support, np.clip(pixels, 0, 1), baseline.pixels).astype(np.float32)
    result = baseline.with_pixels(pixels)
    return result, result.pixels - baseline.pixels, support
