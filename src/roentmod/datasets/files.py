"""Where the picture files are, and which of them are the same picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod.datasets.labels import Texts
from roentmod.errors import DatasetError
from roentmod.imaging.checks import unheard
from roentmod.imaging.headers import read_header
from roentmod.store import file_sha256, file_size, open_bytes

__all__ = ["PICTURES", "copies", "join", "locate", "named_twice", "shape", "sizes"]

_PEEK = 4096
PICTURES = {".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".tif", ".tiff"}


def join(folder: Path, names: Texts) -> Texts:
    """Return n absolute paths; a name that is absolute already stays."""
    root = str(folder.absolute())
    made = [name if os.path.isabs(name) else f"{root}{os.sep}{name}" for name in names]
    return np.array(made, dtype=object)


def locate(folder: Path, usual: Texts, tail: int) -> tuple[Texts, list[str]]:
    """Find n pictures anywhere under `folder` by the last parts of their paths, of any suffix.

    Args:
        folder: where to look.
        usual: n absolute paths, which stand where nothing is found; nothing is looked for where
            all of them are there.
        tail: how many parts name a picture.

    Returns:
        n absolute paths, and the names that lie in several places, of which the first by path is
        taken.
    """
    if all(_size(path) >= 0 for path in usual):
        return usual, []
    names = [_tail(path, tail) for path in usual]
    exact: dict[str, str] = {}
    stems: dict[str, str] = {}
    several: list[str] = []
    for path in _pictures(folder):
        name = _tail(path, tail)
        if name in exact:
            several.append(name)
        exact.setdefault(name, path)
        stems.setdefault(os.path.splitext(name)[0], path)
    places = [
        exact.get(name) or stems.get(os.path.splitext(name)[0]) or other
        for name, other in zip(names, usual, strict=True)
    ]
    wanted = set(names)
    return np.array(places, dtype=object), [name for name in several if name in wanted]


def _tail(path: str, parts: int) -> str:
    return "/".join(path.split(os.sep)[-parts:])


def _pictures(folder: Path) -> Iterable[str]:
    for place, folders, names in os.walk(folder.absolute()):
        folders.sort()
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in PICTURES:
                yield os.path.join(place, name)


def sizes(paths: Texts) -> NDArray[np.int64]:
    """Return the size in bytes of n files, or files inside archives; -1 where there is none."""
    return np.array([_size(path) for path in paths], dtype=np.int64)


def _size(path: str) -> int:
    try:
        return file_size(path)
    except OSError:
        return -1


def shape(path: str) -> str:
    """Return a picture's size in pixels as "width x height", from its header; "" if unreadable."""
    try:
        with unheard(), open_bytes(path) as file:
            file.seek(128)
            is_dicom = file.read(4) == b"DICM"
            file.seek(0)
            if is_dicom:
                wanted = ["Rows", "Columns"]
                header = read_header(file, stop_before_pixels=True, specific_tags=wanted)
                return f"{header.Columns} x {header.Rows}"
            with Image.open(file) as picture:
                return f"{picture.width} x {picture.height}"
    except Exception:  # damaged headers raise nearly anything, and have no size
        return ""


def named_twice(paths: Texts) -> list[tuple[int, ...]]:
    """Return groups of places in `paths` that name the same file."""
    return _groups(range(len(paths)), lambda place: str(paths[place]))


def copies(paths: Texts, size: NDArray[np.int64]) -> list[tuple[int, ...]]:
    """Return groups of places in `paths` whose files have the same bytes.

    Sizes are compared first, then the last 4 KiB, then all: few files are read whole.

    Raises:
        DatasetError: a file cannot be read.
    """
    groups: list[tuple[int, ...]] = []
    try:
        for some in _groups(np.flatnonzero(size >= 0), lambda place: int(size[place])):
            for alike in _groups(some, lambda place: _end(paths[place], int(size[place]))):
                groups += _groups(alike, lambda place: file_sha256(paths[place]))
    except OSError as error:
        raise DatasetError(
            f"Every picture of a data set must be readable; {error.filename} gave "
            f"'{error.strerror}'. Check its permissions."
        ) from error
    return sorted(groups)


def _groups(
    places: Iterable[int], key: Callable[[int], str | int | bytes]
) -> list[tuple[int, ...]]:
    """Return the groups of two or more places with one key."""
    by: dict[str | int | bytes, list[int]] = {}
    for place in places:
        by.setdefault(key(place), []).append(int(place))
    return [tuple(group) for group in by.values() if len(group) > 1]


def _end(path: str, size: int) -> bytes:
    with open_bytes(path) as file:
        file.seek(max(0, size - _PEEK))
        return hashlib.sha256(file.read()).digest()
