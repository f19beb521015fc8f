"""Training sets in object stores and other places that fsspec knows: ``s3://``, ``gs://``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from roentmod.errors import RunError
from roentmod.jobs.augment.manifest import MANIFEST
from roentmod.jobs.augment.result import RECORD, AugmentResult
from roentmod.store import file_sha256

__all__ = ["SUMS", "put"]

# What is there, in the form of sha256sum; it says which files need not be sent again.
SUMS = "SHA256SUMS"
# Bytes between two looks of it at what has been sent.
_OFTEN = 64 * 2**20


def put(result: AugmentResult, url: str) -> None:
    """Put a training set's pictures, tables and record at a URL, the manifest last.

    Each file comes there whole or not at all where the store can do that. An interrupted call goes
    on where it stopped; files of an earlier state of the set are removed at the end.

    Args:
        result: the training set.
        url: of a folder, in a form of fsspec: ``s3://bucket/set``, ``gs://``, ``memory://``.

    Raises:
        RunError: no such kind of URL, its library is not installed, or the store refused.
    """
    try:
        system, root = fsspec.core.url_to_fs(url)
        _put(result, system, root.rstrip("/"))
    # Every store has exceptions that are its own.
    except Exception as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(
            f"A training set is put into a store whole; '{url}' gave '{message}'. The set is in "
            f"'{result.folder}': run again to go on."
        ) from error


def _put(result: AugmentResult, system: Any, root: str) -> None:
    sums = _read_sums(system, f"{root}/{SUMS}")
    local = dict(_files(result))
    sent = 0
    for name, digest in local.items():
        path = result.folder / name
        if sums.get(name) == digest and _size(system, f"{root}/{name}") == path.stat().st_size:
            continue
        _send(system, path, f"{root}/{name}")
        sums[name] = digest
        sent += path.stat().st_size
        if sent >= _OFTEN:
            _write_sums(system, f"{root}/{SUMS}", sums)
            sent = 0
    _write_sums(system, f"{root}/{SUMS}", sums)
    for name in sums.keys() - local.keys():
        if system.exists(f"{root}/{name}"):
            system.rm(f"{root}/{name}")
    _write_sums(system, f"{root}/{SUMS}", local)


def _files(result: AugmentResult) -> Iterator[tuple[str, str]]:
    """Yield the files of a set and their hashes, the manifest last."""
    if "shards" in result.record:
        yield from ((one["path"], one["sha256"]) for one in result.record["shards"])
    else:
        yield from zip(result.training["path"], result.training["sha256"], strict=True)
    for name in ("manifest.csv", RECORD, MANIFEST):
        yield name, file_sha256(result.folder / name)


def _send(system: Any, path: Path, target: str) -> None:
    """Copy a file; it has its name there when all of it has arrived."""
    system.makedirs(target.rpartition("/")[0], exist_ok=True)
    with (
        system.transaction,
        path.open("rb") as source,
        system.open(target, "wb") as file,
    ):
        shutil.copyfileobj(source, file, 1 << 20)


def _size(system: Any, path: str) -> int | None:
    return system.size(path) if system.exists(path) else None


def _read_sums(system: Any, path: str) -> dict[str, str]:
    if not system.exists(path):
        return {}
    lines = (line.split("  ", 1) for line in system.cat_file(path).decode().splitlines())
    return {name: digest for digest, name in lines}


def _write_sums(system: Any, path: str, sums: dict[str, str]) -> None:
    text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    system.pipe_file(path, text.encode())
