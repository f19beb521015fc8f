"""Augmentation: other place, exposure and grain; never mirrored, as the heart is on the left."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["vary"]

_TURN = 5.0  # degrees
_SHIFT = 0.05  # of the side
_ZOOM = 0.08
_GAMMA = 0.3  # of its logarithm
_CONTRAST, _BRIGHTNESS, _GRAIN = 0.15, 0.08, 0.02


def vary(images: Tensor, rows: Sequence[int], total: int, seed: int) -> Tensor:
    """Return pictures turned, moved, zoomed, exposed and grained a little, each by chance.

    What is drawn for a picture depends on `seed` and its row in the whole batch, not on which
    process has it.

    Args:
        images: b x 1 x size x size in [0, 1].
        rows: which rows of the whole batch they are, b.
        total: pictures in the whole batch.
        seed: of all chance.
    """
    from kornia.enhance import adjust_gamma
    from kornia.geometry.transform import get_affine_matrix2d, warp_affine

    chance = torch.Generator().manual_seed(seed)
    side, own = images.shape[-1], list(rows)
    drawn = (2 * torch.rand((total, 8), generator=chance) - 1)[own].to(images.device)
    grain = torch.randn((total, 1, side, side), generator=chance)[own].to(images.device)
    middle = torch.full_like(drawn[:, :2], (side - 1) / 2)
    zoom = (1 + _ZOOM * drawn[:, 3:4]).expand(-1, 2)
    matrix = get_affine_matrix2d(drawn[:, 1:3] * _SHIFT * side, middle, zoom, drawn[:, 0] * _TURN)
    # Outside the picture is the black that it was padded with.
    x = warp_affine(images, matrix[:, :2], (side, side), padding_mode="zeros")
    x = adjust_gamma(x.clamp(1e-4, 1), (drawn[:, 4] * _GAMMA).exp())
    contrast, brightness, grains = (drawn[:, i, None, None, None] for i in (5, 6, 7))
    x = (x - 0.5) * (1 + _CONTRAST * contrast) + 0.5 + _BRIGHTNESS * brightness
    varied: Tensor = (x + grain * _GRAIN * (grains + 1) / 2).clamp(0, 1)
    return varied
