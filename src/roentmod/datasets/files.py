"""Where the picture files are, and which of them are the same picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod.datasets.labels import Texts
from roentmod.errors import DatasetError
from roentmod.imaging.checks import unheard
from roentmod.imaging.headers import read_header
from roentmod.store import file_sha256, file_size, open_bytes

__all__ = [
    "PICTURES",
    "check_text",
    "copies",
    "is_text",
    "join",
    "locate",
    "named_twice",
    "shape",
    "sizes",
    "visible",
]

_PEEK = 4096
PICTURES = {".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".tif", ".tiff"}


def join(folder: Path, names: Texts) -> Texts:
    """Return n absolute paths; a name that is absolute already stays."""
    root = str(folder.absolute())
    made = [name if os.path.isabs(name) else f"{root}{os.sep}{name}" for name in names]
    return np.array(made, dtype=object)


def locate(folder: Path, usual: Texts, tail: int) -> tuple[Texts, list[str]]:
    """Find those of n pictures that are missing anywhere under `folder`.

    They are known by the last parts of their paths, with another suffix where no file has theirs. A
    file that is where another picture's path says is that picture's.

    Args:
        folder: where to look.
        usual: n absolute paths; those that lead to a file stay.
        tail: how many parts name a picture.

    Returns:
        n absolute paths, the usual ones where nothing is found or several files could be meant, and
        the names of the latter.
    """
    there = sizes(usual) >= 0
    if there.all():
        return usual, []
    exact: dict[str, list[str]] = {}
    stems: dict[str, list[str]] = {}
    for path in {*_pictures(folder)} - {*usual[there]}:
        name = _tail(path, tail)
        exact.setdefault(name, []).append(path)
        stems.setdefault(_stem(name), []).append(path)
    places, several = usual.copy(), []
    for row in np.flatnonzero(~there):
        name = _tail(usual[row], tail)
        found = exact.get(name) or stems.get(_stem(name)) or [usual[row]]
        if len(found) == 1:
            places[row] = found[0]
        else:
            several.append(name)
    return places, several


def _tail(path: str, parts: int) -> str:
    return "/".join(path.split(os.sep)[-parts:])


def _stem(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    # The last number of a DICOM UID is no suffix.
    return name if suffix[1:].isdigit() else stem


def _pictures(folder: Path) -> Iterator[str]:
    for path in visible(folder):
        if os.path.splitext(path)[1].lower() in PICTURES and is_text(path):
            yield path


def is_text(path: str) -> bool:
    """Tell whether a path is UTF-8, as tables are; file systems allow any bytes."""
    return path.encode(errors="ignore").decode() == path


def check_text(place: Path) -> None:
    """Refuse the path of a data set that is no text.

    Raises:
        DatasetError: it is none.
    """
    if not is_text(str(place)):
        raise DatasetError(f"A data set's path is UTF-8; got {str(place)!a}. Rename it.")


def visible(folder: Path, failed: Callable[[OSError], object] | None = None) -> Iterator[str]:
    """Yield the absolute paths of all files under a folder, save hidden ones.

    Those are named, or lie in a folder that is named, with a dot first: macOS puts one beside each
    file that it copies or packs.

    Args:
        folder: where to look.
        failed: called with the error of each folder that cannot be read.
    """
    for place, folders, names in os.walk(folder.absolute(), onerror=failed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(place, name) for name in names if not name.startswith("."))


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
