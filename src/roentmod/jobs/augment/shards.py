"""Pictures in shards: tars as WebDataset reads them, or Parquet tables with pictures in them.

A shard's entries follow the manifest, and nothing in it tells time, owner or machine: the same
pictures give the same bytes.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from roentmod.imaging.provenance import STATEMENT
from roentmod.jobs.augment.manifest import COLUMNS, NUMBERS, Row
from roentmod.store import as_name, file_sha256, members, naming, read_bytes

__all__ = ["SHARDS", "Packed", "Repacking", "Shards"]

Packed = Literal["webdataset", "parquet"]
SHARDS = "shards"
_MOST = 256 * 2**20
# What closes an archive, and what one entry costs besides its content, at most.
_END, _ENTRY = 2 * tarfile.RECORDSIZE, 8 * tarfile.BLOCKSIZE
# Pictures per row group: what a reader of one picture loads.
_GROUP = 16


class _Tar:
    """``NAME.png`` and ``NAME.json`` per picture; the latter has facts, edit and labels."""

    def __init__(self, path: Path, heads: Sequence[str]) -> None:
        # Not tarfile.TarFile, which keeps all entries in memory.
        self._file = path.open("wb")
        self._heads, self.count = heads, 0

    @property
    def size(self) -> int:
        return self._file.tell()

    def add(self, row: Row, picture: bytes) -> None:
        facts = json.dumps(_facts(row, self._heads), sort_keys=True, separators=(",", ":"))
        for suffix, content in ((".png", picture), (".json", facts.encode())):
            # The default entry has no time, owner or machine.
            entry = tarfile.TarInfo(f"{row['image_id']}{suffix}")
            entry.size = len(content)
            header = entry.tobuf(tarfile.USTAR_FORMAT)
            self._file.write(header + content + bytes(-len(content) % tarfile.BLOCKSIZE))
        self.count += 1

    def close(self) -> None:
        with self._file as file:
            end = bytes(2 * tarfile.BLOCKSIZE)
            file.write(end + bytes(-(file.tell() + len(end)) % tarfile.RECORDSIZE))


class _Table:
    """Per picture its row of the manifest, with `image` ({bytes, path}) and `size` (bytes).

    Hugging Face's libraries show such an `image` as a picture.
    """

    def __init__(self, path: Path, heads: Sequence[str]) -> None:
        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns = [("image", image), ("size", pa.int64())]
        names = [name for name in COLUMNS if name != "path"]
        columns += [(n, pa.float64() if n in NUMBERS else pa.string()) for n in names]
        columns += [(name, pa.float64()) for name in heads]
        known = json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})
        self._schema = pa.schema(columns, metadata={"huggingface": known})
        self._writer = pq.ParquetWriter(path, self._schema, compression="none")
        self._rows: list[Row] = []
        self.size = self.count = 0

    def add(self, row: Row, picture: bytes) -> None:
        image = {"bytes": picture, "path": f"{row['image_id']}.png"}
        self._rows.append(row | {"image": image, "size": len(picture)})
        self.size += len(picture) + len(str(row))
        self.count += 1
        if len(self._rows) == _GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
            self._rows = []


class Shards:
    """Shards ``SPLIT-00000.tar`` or ``.parquet`` of a folder, written one after the other.

    Args:
        folder: where they go; made where missing.
        form: which kind.
        heads: columns of a row that are labels.
        count: most pictures of a shard, besides its 256 MB; None for any number.
    """

    def __init__(
        self, folder: Path, form: Packed, heads: Sequence[str], *, count: int | None = None
    ) -> None:
        """Make the folder."""
        self._folder, self._heads, self._count = folder, heads, count
        self._kind: type[_Tar | _Table] = _Tar if form == "webdataset" else _Table
        self._suffix = ".tar" if form == "webdataset" else ".parquet"
        self._open: dict[str, tuple[Path, _Tar | _Table]] = {}
        self._numbers: Counter[str] = Counter()
        # One entry per shard: "path" (its name), "pictures", "bytes", "sha256".
        self.written: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: Row, picture: bytes) -> str:
        """Append the picture of a manifest's row and return its path: ``SHARD/NAME.png``.

        Raises:
            OSError: the folder cannot be written.
        """
        split = as_name(str(row["split"]) or "all")
        if split in self._open and self._full(self._open[split][1], len(picture)):
            self._close(split)
        if split not in self._open:
            path = self._folder / f"{split}-{self._numbers[split]:05d}{self._suffix}"
            self._open[split] = path, self._kind(path, self._heads)
            self._numbers[split] += 1
        path, shard = self._open[split]
        with naming(path):
            shard.add(row, picture)
        return f"{path.name}/{row['image_id']}.png"

    def close(self) -> None:
        """Close every shard, safe on the disk."""
        for split in list(self._open):
            self._close(split)
        self.written.sort(key=lambda one: str(one["path"]))

    def drop(self) -> None:
        """Let go of shards that will not be whole."""
        for _, shard in self._open.values():
            with suppress(OSError):
                shard.close()
        self._open = {}

    def _full(self, shard: _Tar | _Table, size: int) -> bool:
        if shard.count == self._count:
            return True
        return shard.size + size + _ENTRY + _END > _MOST

    def _close(self, split: str) -> None:
        path, shard = self._open.pop(split)
        with naming(path):
            shard.close()
        with path.open("r+b") as file:
            os.fsync(file.fileno())
        entry = {"path": path.name, "pictures": shard.count, "bytes": path.stat().st_size}
        self.written.append(entry | {"sha256": file_sha256(path)})


class Repacking:
    """New shards beside those of a folder, which take their place when all are whole.

    A context manager. Whatever was cut off before is put right first: at any time the old shards
    or the new ones are whole, if not under their name.

    Args:
        folder: the run directory; shards are in ``shards/``.
        form: which kind.
        heads: columns of a row that are labels.
    """

    def __init__(self, folder: Path, form: Packed, heads: Sequence[str]) -> None:
        """Put right what was cut off."""
        self._there = folder / SHARDS
        self._new, self._old = (folder / "parts" / f"{SHARDS}.{age}" for age in ("new", "old"))
        if self._old.exists() and not self._there.exists():
            self._new.rename(self._there)
        for left in (self._new, self._old):
            shutil.rmtree(left, ignore_errors=True)
        self._known: dict[str, Path] | None = None
        self._shards = Shards(self._new, form, heads)

    def __enter__(self) -> Repacking:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of what `finish` did not put in place."""
        self._shards.drop()

    def earlier(self, name: str) -> bytes | None:
        """Return a picture of the shards that are there, None where they lack it."""
        if self._known is None:
            self._known = {}
            for path in sorted(self._there.glob("*")):
                # One that is damaged has none.
                with suppress(OSError):
                    self._known |= dict.fromkeys(members(path), path)
        shard = self._known.get(name)
        return None if shard is None else read_bytes(shard / name)

    def add(self, row: Row, picture: bytes) -> str:
        """Append the picture of a manifest's row and return its path from the run directory."""
        return f"{SHARDS}/{self._shards.add(row, picture)}"

    def finish(self) -> list[dict[str, Any]]:
        """Put the new shards in place, and return what they are: `Shards.written`."""
        self._shards.close()
        if self._there.exists():
            self._there.rename(self._old)
        self._new.rename(self._there)
        shutil.rmtree(self._old, ignore_errors=True)
        return [one | {"path": f"{SHARDS}/{one['path']}"} for one in self._shards.written]


def _facts(row: Mapping[str, Any], heads: Sequence[str]) -> dict[str, Any]:
    """Return what a picture's JSON says: its row, less the path; null is unlabelled."""
    facts = {
        name: _plain(row[name]) for name in COLUMNS if name not in ("path", "edit", "synthetic")
    }
    # A baseline may be a phantom, or edited already.
    synthetic = row["synthetic"] != "NO"
    return facts | {
        "edit": json.loads(row["edit"]) if row["edit"] else None,
        "labels": {name: _plain(row[name]) for name in heads},
        "synthetic": "YES" if synthetic else "NO",
        "statement": STATEMENT if synthetic else "",
    }


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
