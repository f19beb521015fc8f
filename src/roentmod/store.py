"""Files that are whole or not there: atomic writing, JSON and hashes."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["atomic", "file_sha256", "write_json"]


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
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


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Write `data` as indented UTF-8 JSON, atomically and with keys in the order given.

    Raises:
        ValueError: a number that is not finite, which JSON cannot say.
        TypeError: something that JSON has no form for.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic(path) as part:
        part.write_text(text + "\n", encoding="utf-8", newline="\n")


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
