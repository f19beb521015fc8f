"""Requirements of pictures in every format, and how the rest is refused."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.errors import UnsuitableError
from roentmod.radiograph import MAX_SIDE

_LARGE, _MOST_PACKED = 64 * 2**20, 200

__all__ = ["check_expansion", "check_size", "line", "single", "unheard"]

_UNHEARD = ContextVar("unheard", default=False)
for _library in ("pydicom", "tifffile"):
    logging.getLogger(_library).addFilter(lambda _: not _UNHEARD.get())


@contextmanager
def unheard() -> Iterator[None]:
    """Keep from screen and logs what libraries remark on a file: they quote it, names included.

    What matters of it is reported by the package. Other threads and tasks are heard as before in
    logs; Python's filters of warnings are those of the whole process.
    """
    token = _UNHEARD.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _UNHEARD.reset(token)


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


def check_expansion(decoded: int, stored: int) -> None:
    """Refuse a file that holds far more than it weighs, before it is unpacked.

    The noise of a radiograph does not compress: lossless ones weigh a third of their pixels, lossy
    ones a fiftieth; a thousandth is one colour, or an attack on memory.

    Args:
        decoded: bytes of its pixels.
        stored: bytes of the file.

    Raises:
        UnsuitableError: more than 64 MB that weigh less than 1/200 of that.
    """
    if decoded > _LARGE and decoded > _MOST_PACKED * stored:
        raise UnsuitableError(
            f"A picture's file weighs 1/{_MOST_PACKED} of its pixels or more; got {stored:,} bytes "
            f"for {decoded:,}. Save it again with its own size."
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
