"""The record of a run: what its folder belongs to, and where its result came from."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import roentmod
from roentmod.documents import read_document
from roentmod.errors import InputError, RunError
from roentmod.store import write_json

__all__ = [
    "EARLIER",
    "check_folder",
    "differences",
    "made_with",
    "now",
    "read_record",
    "write_record",
]

_KEPT = ("started", "finished", "seconds")
# What a model says of itself since later versions: its answer to one picture, hashes of its files.
_YOUNG = ("fingerprint", "files", "configuration")
# What runs whose records lack it were made with.
EARLIER = {"control": "sham"}


def now() -> str:
    """Return the time, UTC, ISO 8601 to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def made_with(libraries: Sequence[str]) -> dict[str, str]:
    """Return what a record says of its making: that it is synthetic, when, and with what."""
    return {
        "synthetic": "YES",
        "started": now(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "roentmod": roentmod.__version__,
        **{name: version(name) for name in libraries},
    }


def read_record(path: Path) -> dict[str, Any]:
    """Return a run's record; an empty one where there is none.

    Raises:
        RunError: the file is no record.
    """
    try:
        return read_document(path)
    except FileNotFoundError:
        return {}
    except InputError as error:
        raise RunError(
            f"{error} A run's record is {path.name} in {path.parent.name}: name another folder, or "
            "remove this one."
        ) from error


def check_folder(
    path: Path, identity: Mapping[str, Any], article: str, free: Collection[str]
) -> dict[str, Any]:
    """Return the record at `path`, {} where there is none, if the folder may be this run's.

    Raises:
        RunError: the folder is a file, or belongs to another run.
    """
    folder = path.parent
    if folder.exists() and not folder.is_dir():
        raise RunError(f"--out names a folder; '{folder.name}' is a file. Name another.")
    record = read_record(path)
    if record:
        fixed = {key: value for key, value in identity.items() if key not in free}
        other = differences(record, fixed)
        if other:
            raise RunError(
                f"{folder} holds {article} with {', '.join(other)}. Give it back, or name another "
                "folder."
            )
    return record


def differences(record: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    """Return what of an identity, as JSON has it, is another in a record, in words."""
    return [
        f"{'other' if key.endswith('s') else 'another'} {key}{_values(there, value)}"
        for key, value in identity.items()
        if not _same(there := record.get(key, EARLIER.get(key)), value)
    ]


def write_record(
    path: Path,
    identity: Mapping[str, Any],
    libraries: Sequence[str],
    earlier: Mapping[str, Any],
) -> dict[str, Any]:
    """Write and return the record of a run that begins or goes on.

    When an earlier call began, when it ended and what all took are kept, as is what else it wrote;
    with another identity, its result is not this call's, and it has not ended.
    """
    provenance = made_with(libraries)
    provenance |= {k: v for k, v in earlier.get("provenance", {}).items() if k in _KEPT}
    if any(earlier.get(key) != value for key, value in identity.items()):
        provenance.pop("finished", None)
    record = {**earlier, **identity, "provenance": provenance}
    if record != earlier:
        write_json(path, record)
    return record


def _values(there: Any, value: Any) -> str:
    """Return two different words in brackets; anything longer is left to the record."""
    words = isinstance(there, str) and isinstance(value, str)
    return f" ({there}, not {value})" if words else ""


def _same(old: Any, new: Any) -> bool:
    """Compare two parts of a record; what older ones lack fits any where a side has none."""
    if isinstance(old, dict) and isinstance(new, dict):
        unknown = {key for key in _YOUNG if old.get(key) is None or new.get(key) is None}
        keys = {*old, *new} - unknown
        return all(key in old and key in new and _same(old[key], new[key]) for key in keys)
    return bool(old == new)
