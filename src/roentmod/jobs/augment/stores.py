"""Training sets in object stores and other places that fsspec knows: ``s3://``, ``gs://``."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from roentmod.errors import RunError
from roentmod.jobs.augment.manifest import MANIFEST
from roentmod.jobs.augment.result import RECORD, AugmentResult
from roentmod.runs.record import differences
from roentmod.store import file_sha256

__all__ = ["SUMS", "check_place", "put"]

# What is there, in the form of sha256sum; it says which files need not be sent again.
SUMS = "SHA256SUMS"
# Bytes between two looks of it at what has been sent.
_OFTEN = 64 * 2**20
# Pictures and shards, which alone may be removed: lists of others may name any file.
_OWN = re.compile(r"(images/\d+/[\w-][\w.-]*\.png|shards/[\w-][\w.-]*\.(tar|parquet))", re.ASCII)
# What of its record makes a set the same; the rest tells its states apart.
_SAME = ("plan", "control", "data", "cases_sha256", "editor", "judge", "form")


def check_place(url: str, record: Mapping[str, Any]) -> None:
    """Refuse a URL that `put` could not use, before there is anything to put.

    Args:
        url: as for `put`.
        record: of the set, or what is known of it already.

    Raises:
        RunError: no such kind of URL, its library is not installed, or the place holds something
            else.
    """
    with _in_one_line(url, "Name another"):
        _check(*_resolved(url), url, record)


def put(result: AugmentResult, url: str) -> None:
    """Put a training set's record, pictures and tables at a URL, the manifest last.

    Each file comes there whole or not at all where the store can do that. An interrupted call goes
    on where it stopped; pictures of an earlier state of the set are removed at the end. The record
    comes first: it says whose the place is.

    Args:
        result: the training set.
        url: of a folder, in a form of fsspec: ``s3://bucket/set``, ``gs://``, ``memory://``.

    Raises:
        RunError: no such kind of URL, its library is not installed, the place holds something
            else, or the store refused.
    """
    with _in_one_line(url, f"The set is in '{result.folder}': run again to go on"):
        system, root = _resolved(url)
        _check(system, root, url, result.record)
        _put(result, system, root)


@contextmanager
def _in_one_line(url: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except RunError:
        raise
    # Every store has exceptions that are its own.
    except Exception as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(
            f"A training set is put into a store whole; '{url}' gave '{message}'. {remedy}."
        ) from error


def _resolved(url: str) -> tuple[Any, str]:
    system, root = fsspec.core.url_to_fs(url)
    return system, root.rstrip("/")


def _check(system: Any, root: str, url: str, record: Mapping[str, Any]) -> None:
    """Refuse a place that is neither empty nor this set's.

    Raises:
        RunError: with what is there.
    """
    system.invalidate_cache()
    there = _content(system, f"{root}/{RECORD}")
    if there is None:
        names = [name.rstrip("/").rpartition("/")[2] for name in _names(system, root)]
        other = sorted(names)
        what = f"no training set, but {', '.join(other[:3])}{', ...' * (len(other) > 3)}"
    else:
        wanted = json.loads(json.dumps({key: record.get(key) for key in _SAME}))
        other = differences(_record(there), wanted)
        what = f"a training set with {', '.join(other)}"
    if other:
        raise RunError(
            f"A training set is put into a store where nothing else is; '{url}' holds {what}. "
            "Name another place, or empty that one."
        )


def _content(system: Any, path: str) -> bytes | None:
    """Return a file's bytes, None where there is none; any other fault is raised."""
    try:
        data: bytes = system.cat_file(path)
    except FileNotFoundError:
        return None
    return data


def _names(system: Any, root: str) -> list[str]:
    try:
        return [str(name) for name in system.ls(root or "/", detail=False)]
    except FileNotFoundError:
        return []


def _record(data: bytes) -> dict[str, Any]:
    """Return the record of a set, {} where the file is something else."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


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
        if _OWN.fullmatch(name) and system.exists(f"{root}/{name}"):
            # Not `rm`, which takes names for patterns.
            system.rm_file(f"{root}/{name}")
    _write_sums(system, f"{root}/{SUMS}", local)


def _files(result: AugmentResult) -> Iterator[tuple[str, str]]:
    """Yield the files of a set and their hashes, the record first, the manifest last."""
    yield RECORD, file_sha256(result.folder / RECORD)
    if "shards" in result.record:
        yield from ((one["path"], one["sha256"]) for one in result.record["shards"])
    else:
        yield from zip(result.training["path"], result.training["sha256"], strict=True)
    for name in ("manifest.csv", MANIFEST):
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
    text = (_content(system, path) or b"").decode(errors="replace")
    pairs = (line.partition("  ") for line in text.splitlines())
    return {name: digest for digest, _, name in pairs}


def _write_sums(system: Any, path: str, sums: dict[str, str]) -> None:
    text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    system.pipe_file(path, text.encode())
