"""What every long run has in common: a directory of its own, and where its result came from."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import roentmod
from roentmod.errors import AuditError
from roentmod.radiograph import Radiograph
from roentmod.store import write_json

__all__ = ["Source", "claim", "made_with", "now"]


class Source(Protocol):
    """Where radiographs come from: a `roentmod.datasets.Dataset`."""

    def radiograph(self, image_id: str) -> Radiograph:
        """Return one radiograph; raises InputError where it cannot be read."""
        ...


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


def claim(path: Path, record: dict[str, Any], what: str, *, free: Collection[str] = ()) -> None:
    """Take the folder of `path` for a run, or make sure that it is this run's already.

    The time an earlier part of the run began, and what it took, are kept.

    Args:
        path: the record's file, JSON; its folder is made where missing.
        record: what the run depends on, with "provenance".
        what: the run in a word and its article, for the message.
        free: keys that may change, besides the provenance.

    Raises:
        AuditError: the folder is a file, or belongs to another run.
    """
    folder = path.parent
    if folder.exists() and not folder.is_dir():
        raise AuditError(f"--out names a folder; '{folder.name}' is a file. Name another.")
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        # Through JSON, as the old one came.
        new = json.loads(json.dumps(record))
        fixed = [key for key in new if key not in (*free, "provenance")]
        other = [key for key in fixed if not _same(old.get(key), new[key])]
        if other:
            raise AuditError(
                f"{folder} holds {what} with another {', '.join(other)}. Give it back, or name "
                "another folder."
            )
        kept = ("started", "seconds")
        record["provenance"] |= {k: v for k, v in old["provenance"].items() if k in kept}
    write_json(path, record)


def _same(old: Any, new: Any) -> bool:
    """Compare two parts of a record; a fingerprint that is missing on either side fits any."""
    if isinstance(old, dict) and isinstance(new, dict):
        unknown = old.get("fingerprint") is None or new.get("fingerprint") is None
        keys = {*old, *new} - ({"fingerprint"} if unknown else set())
        return all(key in old and key in new and _same(old[key], new[key]) for key in keys)
    return bool(old == new)
