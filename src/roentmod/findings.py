"""The findings RoentMod speaks of, their aliases in the public data sets, and how to say them.

They come from the registered domain packs (`roentmod.domain`); those of chest radiographs are
always there.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import overload

from roentmod import domain
from roentmod.domain import NO_FINDING, Finding
from roentmod.errors import UnknownFindingError

__all__ = ["FINDINGS", "NO_FINDING", "Finding", "finding"]


class _Catalogue(Sequence[Finding]):
    """The findings of all registered packs; reading any of it closes the registry."""

    def __len__(self) -> int:
        return len(domain.catalogue())

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Finding, ...]: ...
    def __getitem__(self, index: int | slice) -> Finding | tuple[Finding, ...]:
        return domain.catalogue()[index]


FINDINGS: Sequence[Finding] = _Catalogue()


def finding(name: str) -> Finding:
    """Return the finding that `name` (canonical, phrase or alias, any case) stands for.

    Raises:
        UnknownFindingError: no finding has that name; the message proposes the nearest.
    """
    words, key = domain.words(), domain.key(name)
    if key in words:
        return words[key]
    near = difflib.get_close_matches(key, words, n=1)
    hint = f"Did you mean '{words[near[0]].name}'?" if near else "Use --prompt for free text."
    known = ", ".join(dict.fromkeys(item.name for item in words.values()))
    raise UnknownFindingError(f"Findings are: {known}; got '{name}'. {hint}")
