"""Pictures at the network's size, made once a run directory and shared by all arms and seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod.editors.compose import resize, shrink
from roentmod.errors import InputError, RetrainError
from roentmod.interfaces import Progress
from roentmod.learning.samples import Samples
from roentmod.radiograph import Radiograph
from roentmod.store import atomic, write_json

__all__ = ["Pictures", "gather", "levels"]

Levels = NDArray[np.uint8]
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Pictures:
    """n square pictures of 8 bits, mapped from files.

    Attributes:
        blocks: `_BLOCK` pictures each, the last one fewer; b x size x size.
        unread: image_id to why it could not be read, in the order of the rows; such a picture is
            black.
        readable: n bool.
    """

    blocks: tuple[Levels, ...]
    unread: dict[str, str]
    readable: NDArray[np.bool_]

    def __getitem__(self, rows: NDArray[np.int64]) -> Levels:
        """Return the pictures of `rows` (b), b x size x size."""
        return np.stack([self.blocks[row // _BLOCK][row % _BLOCK] for row in rows.tolist()])


def levels(radiograph: Radiograph, size: int, through: int | None) -> Levels:
    """Return a radiograph, size x size of 256 levels, padded to a square.

    Args:
        radiograph: any size.
        size: side of the result.
        through: side it is brought to first; None goes to `size` at once.
    """
    picture = shrink(radiograph, through or size)
    return np.rint(255 * np.clip(resize(picture, size), 0, 1)).astype(np.uint8)


def gather(
    samples: Samples,
    folder: Path,
    size: int,
    through: int | None,
    progress: Progress | None = None,
) -> Pictures:
    """Return the pictures of `samples`, from files in `folder` where an earlier call left them.

    A call that is killed loses the block it was at. Samples, `size` and `through` must be those of
    the earlier call: the run directory's plan sees to that.

    Args:
        samples: n rows.
        folder: where blocks are kept.
        size: as in `levels`.
        through: as in `levels`.
        progress: called with pictures done and in all.

    Raises:
        RetrainError: none can be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [str(name) for name in samples.table["image_id"]]
    blocks: list[Levels] = []
    unread: dict[str, str] = {}
    for number, start in enumerate(range(0, len(names), _BLOCK)):
        part = folder / f"{samples.name}-{number:05d}.npy"
        note = part.with_suffix(".json")
        some = names[start : start + _BLOCK]
        if not note.exists():
            _make(samples, some, part, size, through)
        blocks.append(np.load(part, mmap_mode="r"))
        unread |= json.loads(note.read_text(encoding="utf-8"))
        if progress:
            progress(start + len(some), len(names))
    readable = np.array([name not in unread for name in names], dtype=np.bool_)
    if not readable.any():
        raise RetrainError(
            f"'{samples.name}' needs pictures that can be read; of {len(names):,} none can. The "
            f"first: {unread[names[0]]}"
        )
    return Pictures(tuple(blocks), unread, readable)


def _make(samples: Samples, names: list[str], part: Path, size: int, through: int | None) -> None:
    """Write one block, then the note that says that it is whole."""
    block, unread = np.zeros((len(names), size, size), dtype=np.uint8), {}
    for row, name in enumerate(names):
        try:
            block[row] = levels(samples.read(name), size, through)
        except InputError as error:
            unread[name] = str(error)
    with atomic(part) as partial:
        np.save(partial, block)
    write_json(part.with_suffix(".json"), unread)
