"""Requirements of pictures in every format, and how the rest is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.errors import UnsuitableError
from roentmod.radiograph import MAX_SIDE

__all__ = ["check_size", "line", "single"]


def check_size(height: int, width: int) -> None:
    """Refuse the size that a header states, before anything is allocated for it.

    Raises:
        UnsuitableError: no pixel, or more than `MAX_SIDE` per side.
    """
    if not 0 < min(height, width) <= max(height, width) <= MAX_SIDE:
        raise UnsuitableError(
            f"A picture has 1 to {MAX_SIDE} pixels per side; the header says {height} x {width}. "
            "Give a smaller one."
        )


def single(channels: NDArray[Any]) -> NDArray[Any]:
    """Return the grey picture, h x w, of equal channels, h x w x c.

    Raises:
        UnsuitableError: they differ.
    """
    if not (channels == channels[..., :1]).all():
        raise UnsuitableError(
            "The picture must be grey; got colour (its red, green and blue differ). "
            "Save it as grey."
        )
    return np.ascontiguousarray(channels[..., 0])


def line(error: object) -> str:
    """Return a message as one short line."""
    return " ".join(str(error).split())[:160]
