"""The frozen design of a reader study, as those who serve and analyse it read it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from roentmod.documents import read_document
from roentmod.errors import InputError, ReadersError
from roentmod.jobs.readers.orders import Step
from roentmod.plans import ReadersPlan
from roentmod.store import canonical_hash

__all__ = ["KEY", "PLAN", "Design", "load"]

PLAN, KEY, PICTURES = "plan.json", "key", "pictures"


@dataclass(frozen=True, eq=False, repr=False)
class Design:
    """A frozen design.

    Attributes:
        folder: the study's.
        content: what ``plan.json`` holds.
    """

    folder: Path
    content: dict[str, Any]

    def __repr__(self) -> str:
        """Return numbers and folder."""
        readers, pictures = len(self.readers), len(self.content["pictures"])
        return f"<Design: {pictures} cases, {readers} readers, in '{self.folder}'>"

    @property
    def plan(self) -> ReadersPlan:
        """What was requested."""
        return ReadersPlan(**self.content["plan"])

    @property
    def hash(self) -> str:
        """SHA-256 of all the rest."""
        return str(self.content["hash"])

    @property
    def readers(self) -> list[str]:
        """Opaque ids."""
        return list(self.content["orders"])

    @property
    def findings(self) -> list[str]:
        """Findings that are asked of every case, in order."""
        return list(self.content["findings"])

    @cached_property
    def steps(self) -> dict[str, list[Step]]:
        """Each reader's steps, in order."""
        return {
            reader: [Step(*step) for step in steps]
            for reader, steps in self.content["orders"].items()
        }

    @property
    def notes(self) -> list[str]:
        """What people must know of the design, a sentence each."""
        return list(self.content["notes"])

    def picture(self, case: str) -> Path:
        """Return a case's picture: side x side little-endian 16-bit display values."""
        return self.folder / PICTURES / f"{case}.raw"

    def key(self) -> bytes:
        """Return the key that signs invitations and hides ids.

        Raises:
            ReadersError: it is missing or something else.
        """
        try:
            key = bytes.fromhex((self.folder / KEY).read_text().strip())
        except (OSError, ValueError):
            key = b""
        if len(key) != 32:
            raise ReadersError(
                f"A study's folder holds its {KEY}, 64 hexadecimal digits; {self.folder.name} has "
                "none. Bring it back: without it, nobody can log in."
            )
        return key


def load(folder: Path) -> Design:
    """Return a frozen design.

    Raises:
        ReadersError: there is none, or it was changed after it was made.
    """
    try:
        content = read_document(folder / PLAN)
    except FileNotFoundError:
        raise ReadersError(
            f"A reader study's folder holds {PLAN}; {folder} has none. Make it: roentmod readers "
            "design."
        ) from None
    except InputError as error:
        raise ReadersError(str(error)) from error
    rest = {name: value for name, value in content.items() if name != "hash"}
    if content.get("hash") != canonical_hash(rest):
        raise ReadersError(
            f"A study's plan is frozen; {PLAN} in {folder.name} does not fit its hash any more. "
            "Bring the original back, or design another study."
        )
    return Design(folder, content)
