"""What has been made of a run's parts, and where: one log per process, each line a part.

A line is complete or not there: its checksum says so, and a process never appends to the log of
another, so that a torn end stays an end. Readers follow all logs. Files of parts lie beside the
run or, packed, behind each other in one file per process: 100,000 parts need a handful of files.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from roentmod.runs.parts import Made
from roentmod.store import file_sha256, naming

__all__ = ["Journal"]

_LOG, _PACK = ".log", ".pack"
_TRY_AGAIN, _LOOSE = 1, 2


class _Entry(NamedTuple):
    """Where the last line about a part stands, and its flags: `_TRY_AGAIN`, `_LOOSE` files."""

    flags: int
    length: int
    log: int
    offset: int

    def packed(self) -> int:
        """Return it as one number, a third as large: a run may have millions."""
        return self.offset << 64 | self.log << 40 | self.length << 2 | self.flags

    @staticmethod
    def of(number: int) -> _Entry:
        """Return what `packed` was called on."""
        length, log = number >> 2 & (1 << 38) - 1, number >> 40 & (1 << 24) - 1
        return _Entry(number & 3, length, log, number >> 64)


class Journal:
    """The logs of a run's folder; a context manager.

    Args:
        root: the run's folder.
        folder: where logs lie; made where missing.
        name: of this process's log.
        scratch: folder for files that are not whole yet, on the same disk.
    """

    def __init__(self, root: Path, folder: Path, name: str, scratch: Path) -> None:
        """Read what is there."""
        self._root, self._folder, self._name, self._scratch = root, folder, name, scratch
        self._logs: list[Path] = []
        self._read: list[int] = []
        self._entries: dict[str, int] = {}
        self._written: dict[Path, IO[bytes]] = {}
        self._readers: dict[Path, IO[bytes]] = {}
        self._old: set[str] = set()
        self.refresh()
        self._old = {key for key, entry in self._entries.items() if entry & _TRY_AGAIN}

    def __enter__(self) -> Journal:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all files."""
        for file in (*self._written.values(), *self._readers.values()):
            file.close()
        self._written, self._readers = {}, {}

    def refresh(self) -> None:
        """Read on where logs have grown, those of other processes too."""
        for path in sorted(self._folder.glob(f"*{_LOG}")):
            if path not in self._logs:
                self._logs.append(path)
                self._read.append(0)
        for log, path in enumerate(self._logs):
            if path.stat().st_size > self._read[log]:
                self._follow(log, path)

    def _follow(self, log: int, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._read[log])
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._note(log, line)
                self._read[log] += len(line)

    def _note(self, log: int, line: bytes) -> None:
        """Keep where a line stands; one that is damaged counts as not there."""
        fields = line.rstrip(b"\n").split(b"\t", 3)
        if len(fields) != 4 or not fields[1].isdigit():
            return
        key, flags, checksum, text = fields
        if checksum != b"%08x" % zlib.crc32(text):
            return
        name = key.decode("utf-8", "replace")
        self._old.discard(name)
        start = self._read[log] + len(line) - 1 - len(text)
        self._entries[name] = _Entry(int(flags), len(text), log, start).packed()

    def settled(self, key: str, *, hashed: bool = False) -> bool:
        """Tell whether nothing is left to do for a part in this run.

        A part that failed is tried again by a run that began afterwards, as is one of whose loose
        files one is gone, has another size or, with `hashed`, other bytes.
        """
        if key not in self._entries or key in self._old:
            return False
        if not self._entries[key] & _LOOSE:
            return True
        stored = self._stored(key)["files"]
        return all(self._whole(path, sha, size, hashed) for path, sha, size, _ in stored)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys of parts of which anything was ever made."""
        return iter(self._entries)

    def __contains__(self, key: str) -> bool:
        """Tell whether anything was ever made of a part."""
        return key in self._entries

    def get(self, key: str) -> Made:
        """Return what was made of a part; `files` is left empty, see `open_file`.

        Raises:
            KeyError: nothing was made of it.
        """
        stored = self._stored(key)
        stored.pop("files", None)
        return Made(**stored)

    def files(self, key: str) -> list[str]:
        """Return the paths of a part's files."""
        return [path for path, *_ in self._stored(key).get("files", ())]

    def content(self, key: str, path: str) -> bytes:
        """Return the bytes of a part's file, packed or loose.

        Raises:
            KeyError: the part has no such file.
            OSError: it cannot be read.
        """
        for name, _, size, place in self._stored(key).get("files", ()):
            if name == path:
                if place is None:
                    return (self._root / path).read_bytes()
                pack, offset = place
                return self._at(self._folder / pack, offset, size)
        raise KeyError(path)

    def commit(self, key: str, made: Made, *, packed: bool) -> None:
        """Keep a part: its files, then the line that says that it is whole.

        Raises:
            OSError: the disk is full, or the folder is gone.
        """
        files = [self._put(path, data, packed=packed) for path, data in made.files.items()]
        kept = {name: value for name, value in vars(made).items() if name != "files" and value}
        text = json.dumps(kept | ({"files": files} if files else {}), default=_plain).encode()
        flags = _TRY_AGAIN * made.again | _LOOSE * (bool(files) and not packed)
        line = b"%s\t%d\t%08x\t%s\n" % (key.encode(), flags, zlib.crc32(text), text)
        self._append(_LOG, line)

    def sync(self) -> None:
        """Make sure that what was committed survives a crash of the machine."""
        for file in self._written.values():
            os.fsync(file.fileno())

    def _put(self, path: str, data: bytes, *, packed: bool) -> tuple[Any, ...]:
        digest = hashlib.sha256(data).hexdigest()
        if packed:
            offset = self._append(_PACK, data)
            return path, digest, len(data), (f"{self._name}{_PACK}", offset)
        target, part = self._root / path, self._scratch / digest
        self._scratch.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        with naming(target):
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        return path, digest, len(data), None

    def _append(self, suffix: str, data: bytes) -> int:
        """Append to one of this process's files and return where `data` begins."""
        path = self._folder / f"{self._name}{suffix}"
        if path not in self._written:
            # Without a buffer nothing is left to be written when a full disk ends the run.
            self._written[path] = path.open("ab", buffering=0)
        file = self._written[path]
        start, view = file.tell(), memoryview(data)
        with naming(path):
            while view:
                view = view[file.write(view) :]
        return start

    def _whole(self, path: str, digest: str, size: int, hashed: bool) -> bool:
        file = self._root / path
        if not file.is_file() or file.stat().st_size != size:
            return False
        return not hashed or file_sha256(file) == digest

    def _stored(self, key: str) -> dict[str, Any]:
        entry = _Entry.of(self._entries[key])
        stored: dict[str, Any] = json.loads(
            self._at(self._logs[entry.log], entry.offset, entry.length)
        )
        return stored

    def _at(self, path: Path, offset: int, length: int) -> bytes:
        if path not in self._readers:
            self._readers[path] = path.open("rb")
        file = self._readers[path]
        file.seek(offset)
        return file.read(length)


def _plain(value: Any) -> Any:
    """Return what JSON has for numbers and arrays of numpy, and for paths.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"A part keeps what JSON has a form for; got {type(value).__name__}.")
