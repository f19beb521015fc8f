"""Pictures at the network's size, made once per run and shared by all arms and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod.editors.compose import resize, shrink
from roentmod.errors import InputError, RetrainError
from roentmod.learning.samples import Samples
from roentmod.radiograph import Radiograph

__all__ = ["BLOCK", "Levels", "Pictures", "levels", "make_block", "open_blocks"]

Levels = NDArray[np.uint8]
BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Pictures:
    """n square pictures of 8 bits, mapped from files.

    Attributes:
        blocks: `BLOCK` pictures each, the last one fewer; b x size x size.
        readable: n bool; a picture that could not be read is black.
    """

    blocks: tuple[Levels, ...]
    readable: NDArray[np.bool_]

    def __getitem__(self, rows: NDArray[np.int64]) -> Levels:
        """Return the pictures of `rows` (b), b x size x size."""
        return np.stack([self.blocks[row // BLOCK][row % BLOCK] for row in rows.tolist()])


def levels(radiograph: Radiograph, size: int, through: int | None) -> Levels:
    """Return a radiograph, size x size of 256 levels, padded to a square.

    Args:
        radiograph: any size.
        size: side of the result.
        through: side it is brought to first; None goes to `size` at once.
    """
    picture = shrink(radiograph, through or size)
    return np.rint(255 * np.clip(resize(picture, size), 0, 1)).astype(np.uint8)


def make_block(
    samples: Samples, names: Sequence[str], size: int, through: int | None
) -> tuple[Levels, dict[str, InputError]]:
    """Return some pictures, b x size x size, and why each that is black could not be read.

    Args:
        samples: where they are read.
        names: their image ids, b.
        size: as in `levels`.
        through: as in `levels`.
    """
    block = np.zeros((len(names), size, size), dtype=np.uint8)
    unread: dict[str, InputError] = {}
    for row, name in enumerate(names):
        try:
            block[row] = levels(samples.read(name), size, through)
        except InputError as error:
            unread[name] = error
    return block, unread


def open_blocks(samples: Samples, files: Sequence[Path], unread: Mapping[str, object]) -> Pictures:
    """Return the pictures of `samples` from the files of their blocks, in order.

    Raises:
        RetrainError: none can be read.
    """
    names = [str(name) for name in samples.table["image_id"]]
    readable = np.array([name not in unread for name in names], dtype=np.bool_)
    if not readable.any():
        raise RetrainError(
            f"'{samples.name}' needs pictures that can be read; of {len(names):,} none can. The "
            f"first: {unread[names[0]]}"
        )
    return Pictures(tuple(np.load(file, mmap_mode="r") for file in files), readable)
