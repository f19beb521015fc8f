"""Files that are whole or not there, files inside tar archives, and hashes.

A path may lead into an archive: ``shards/train-00000.tar/NAME.png`` is the member ``NAME.png`` of
an uncompressed tar. Everything here that reads a path reads such a path too.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import posixpath
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "atomic",
    "canonical_hash",
    "file_sha256",
    "file_size",
    "open_bytes",
    "read_bytes",
    "write_bytes",
    "write_json",
]

AnyPath = str | os.PathLike[str]


@contextmanager
def atomic(path: AnyPath) -> Iterator[Path]:
    """Give a new empty file beside `path` to write to; it becomes `path` when the block ends well.

    On any exception, Ctrl-C included, the new file is removed and `path` stays as it was. The
    temporary name keeps the suffix, as writers choose a format by it.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:12]}{target.suffix}")
    # Not tempfile: its files are readable by their owner only, and would stay so after the rename.
    part.open("xb").close()
    try:
        yield part
        # Without this a crash of the machine could leave the new name on an empty file.
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Write `data` atomically.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    with atomic(path) as part:
        part.write_bytes(data)


def write_json(path: AnyPath, data: Any) -> None:
    """Write `data` as indented UTF-8 JSON, atomically and with keys in the order given.

    Raises:
        ValueError: a number that is not finite, which JSON cannot say.
        TypeError: something that JSON has no form for.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def canonical_hash(data: Any) -> str:
    """Return the SHA-256 of `data` as canonical JSON: ASCII, keys sorted, no spaces; 64 hex digits.

    Equal data give one hash in any process; a tuple counts as a list.

    Raises:
        ValueError: a number that is not finite.
        TypeError: something that JSON has no form for, such as a path or a NumPy number, or a key
            that is no text, which JSON would turn into one.
    """
    _check_keys(data)
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_keys(data: Any) -> None:
    if isinstance(data, dict):
        for key in data:
            if not isinstance(key, str):
                raise TypeError(f"Keys of hashed data are texts; got {key!r}. Convert it.")
        data = list(data.values())
    if isinstance(data, (list, tuple)):
        for item in data:
            _check_keys(item)


def open_bytes(path: AnyPath) -> BinaryIO:
    """Open a file, or a file inside a tar, for reading.

    Raises:
        OSError: it is not there or cannot be read; the archive is damaged.
    """
    found = _member(path)
    if found is None:
        return open(path, "rb")
    archive, start, size = found
    with open(archive, "rb") as file:
        file.seek(start)
        data = file.read(size)
    if len(data) < size:
        raise OSError(errno.EIO, "The archive is cut short", os.fspath(path))
    return io.BytesIO(data)


def read_bytes(path: AnyPath) -> bytes:
    """Return the content of a file, or of a file inside a tar; errors as `open_bytes`."""
    with open_bytes(path) as file:
        return file.read()


def file_size(path: AnyPath) -> int:
    """Return the size in bytes of a regular file, or of one inside a tar.

    Raises:
        OSError: it is not there or no regular file; the archive is damaged.
    """
    found = _member(path)
    if found is not None:
        return found[2]
    if not os.path.isfile(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
    return os.stat(path).st_size


def file_sha256(path: AnyPath) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits; errors as `open_bytes`."""
    digest = hashlib.sha256()
    with open_bytes(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _member(path: AnyPath) -> tuple[str, int, int] | None:
    """Return archive, first byte and size of a file inside a tar; None for any other path."""
    text = os.fspath(path)
    # Most paths lead into no archive and are not to cost more than this.
    if ".tar" + os.sep not in text:
        return None
    whole = Path(text)
    archive = next((p for p in whole.parents if p.suffix == ".tar" and p.is_file()), None)
    if archive is None:
        return None
    facts = archive.stat()
    members = _index(str(archive), facts.st_mtime_ns, facts.st_size)
    name = whole.relative_to(archive).as_posix()
    if name not in members:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)
    return str(archive), *members[name]


@lru_cache(maxsize=4096)
def _index(archive: str, mtime: int, size: int) -> dict[str, tuple[int, int]]:
    """Return first byte and size of every regular file in a tar; of one name twice, the last.

    Time and size make a changed archive another one.
    """
    try:
        with tarfile.open(archive, "r:") as file:
            return {
                posixpath.normpath(one.name): (one.offset_data, one.size)
                for one in file
                if one.isreg() and not one.issparse()
            }
    except tarfile.TarError as error:
        raise OSError(errno.EIO, f"The archive is damaged ({error})", archive) from error
