"""Salted hashes instead of names: ids of pictures and patients, sites and file names.

Results are shared; who can guess an id must not be able to check the guess. The salt is a file of
the user's, outside every result: ``ROENTMOD_SALT`` names it, or it is ``roentmod/salt`` in the
configuration folder (``XDG_CONFIG_HOME``, ``~/.config``). With the same salt a patient has the same
pseudonym in every result, so that splits can be checked across them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from roentmod.datasets.table import PHANTOMS, Dataset
from roentmod.errors import DatasetError
from roentmod.store import atomic

__all__ = ["pseudonymous", "salt"]

_DONE = re.compile(r"[ips]-[0-9a-f]{12}")
_SALT = re.compile(r"[0-9a-f]{64}")


def pseudonymous(data: Dataset) -> Dataset:
    """Return a data set whose ids and sites are pseudonyms.

    What is none of a patient stays: phantoms, pseudonyms, the name of a published set as the site.
    `table["path"]` still leads to the files.

    Raises:
        DatasetError: the salt cannot be read or made.
    """
    if data.name == PHANTOMS:
        return data
    key = salt()
    kinds = {"image_id": "i", "patient_id": "p", "site": "s"}
    columns = {}
    for column, kind in kinds.items():
        values = data.table[column].astype(str)
        names = {value: _named(value, kind, key) for value in set(values) - {"", data.name}}
        columns[column] = values.map(lambda value, names=names: names.get(value, value))
    return replace(data, table=data.table.assign(**columns), hidden=True)


def _named(text: str, kind: str, key: bytes) -> str:
    if _DONE.fullmatch(text):
        return text
    digest = hmac.new(key, f"{kind}\0{text}".encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"{kind}-{digest.hexdigest()[:12]}"


def salt() -> bytes:
    """Return this user's salt, 32 bytes; it is made where there is none.

    Raises:
        DatasetError: the file holds something else, or cannot be written.
    """
    return _salt(_place())


def _place() -> Path:
    named = os.environ.get("ROENTMOD_SALT")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "roentmod" / "salt"


@lru_cache(maxsize=4)
def _salt(place: Path) -> bytes:
    try:
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with atomic(place) as part:
                part.chmod(0o600)
                part.write_text(secrets.token_hex(32))
        text = place.read_text().strip()
    except OSError as error:
        raise DatasetError(
            f"Names are hidden with a salt of yours in {place}; it gave '{error.strerror}'. Name "
            "another file by ROENTMOD_SALT, or keep the names with --keep-ids."
        ) from error
    if not _SALT.fullmatch(text):
        raise DatasetError(
            f"A salt is a file of 64 hexadecimal digits; {place.name} holds something else. Name "
            "another file by ROENTMOD_SALT."
        )
    return bytes.fromhex(text)
