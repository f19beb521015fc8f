"""What may be opened: files given or dropped, and those of folders given; nothing else."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from roentmod.errors import InputError, printable

__all__ = ["LARGEST", "Source", "Sources"]

# Bytes of a dropped file: a radiograph of 16384 x 16384 pixels of 16 bits.
LARGEST = 512 * 2**20
_SUFFIXES = (".dcm", ".dicom", ".dic", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
_MOST = 5000
# Of all dropped files together.
_ROOM = 4 * 2**30
# Bytes of a dropped file's name, of which file systems take 255, and characters of its suffix.
_NAME, _SUFFIX = 200, 20


@dataclass(frozen=True)
class Source:
    """A file that may be opened: an id that says nothing, a printable name, and where it lies."""

    id: str
    name: str
    path: Path


class Sources:
    """Files by id; ids are hashes with a secret of this session.

    Attributes:
        given: files and folders that may be opened.
    """

    def __init__(self, given: Sequence[Path], dropped: Path) -> None:
        """Keep what may be opened.

        Args:
            given: files and folders.
            dropped: an empty folder for dropped files.

        Raises:
            InputError: a path that does not exist.
        """
        missing = [path.name for path in given if not path.exists()]
        if missing:
            raise InputError(f"The studio opens files and folders; there is no '{missing[0]}'.")
        self.given = tuple(given)
        self._dropped = dropped
        self._key = secrets.token_bytes(16)
        self._numbers = itertools.count()
        self._names: list[Source] = []
        self._known: dict[str, Source] = {}

    def listed(self) -> list[Source]:
        """Return what can be opened now, dropped files first."""
        listed = [*reversed(self._names), *self._on_disk()]
        self._known = {one.id: one for one in listed}
        return listed

    def find(self, wanted: str) -> Source:
        """Return a source by its id.

        Raises:
            InputError: there is none.
        """
        known = self._known.get(wanted)
        if known is None:
            self.listed()
            known = self._known.get(wanted)
        if known is not None:
            return known
        raise InputError("This picture is not, or no longer, among those given. Open it again.")

    async def drop(self, name: str, chunks: AsyncIterator[bytes]) -> Source:
        """Keep a dropped file.

        Raises:
            InputError: it, or all together, are too large, or it is empty.
            OSError: the disk is full.
        """
        place = self._dropped / f"{next(self._numbers):04d}"
        place.mkdir()
        path = place / _plain(name)
        room = _ROOM - sum(one.path.stat().st_size for one in self._names)
        size = 0
        try:
            with path.open("wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > min(LARGEST, room):
                        raise InputError(
                            f"A dropped file has at most {LARGEST >> 20} MB, and all together "
                            f"{_ROOM >> 30} GB; got more. Start the studio with the file's folder."
                        )
                    file.write(chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        if not size:
            raise InputError("The dropped file is empty. Drop another.")
        one = Source(self._id(path), path.name, path)
        self._names.append(one)
        return one

    def _on_disk(self) -> Iterator[Source]:
        count = 0
        for given in self.given:
            root = given.resolve()
            for path in [given] if given.is_file() else sorted(given.rglob("*")):
                if given.is_dir() and not _picture(path, root):
                    continue
                count += 1
                if count > _MOST:
                    return
                name = path.name if given.is_file() else path.relative_to(given).as_posix()
                yield Source(self._id(path), printable(name), path)

    def _id(self, path: Path) -> str:
        return hashlib.blake2b(os.fsencode(path), key=self._key, digest_size=8).hexdigest()


def _picture(path: Path, root: Path) -> bool:
    """Tell whether a path below a folder is a picture that really lies in it."""
    return (
        path.suffix.lower() in _SUFFIXES
        and path.is_file()
        and path.resolve().is_relative_to(root)
        and not any(part.startswith(".") for part in path.parts[-2:])
    )


def _plain(name: str) -> str:
    """Return a file name without folders or odd characters; a long one is cut before its suffix."""
    last = re.split(r"[\\/]", name)[-1]
    plain = Path(re.sub(r"[^\w. ()+-]", "_", last).strip(" .") or "picture")
    suffix = plain.suffix[:_SUFFIX]
    room = _NAME - len(suffix.encode())
    return plain.stem.encode()[:room].decode(errors="ignore") + suffix
