"""A classifier's heads, and which finding of the catalogue each one means."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from roentmod.domain import NO_FINDING, finding
from roentmod.errors import ClassifierError, UnknownFindingError

__all__ = ["Head", "HeadState", "Labels", "map_heads", "table"]

HeadState = Literal["read", "unmapped", "untrained", "duplicate"]
# What a head is called by its maker -> a finding of the catalogue, or None to leave the head out.
Labels = Mapping[str, str | None]


@dataclass(frozen=True)
class Head:
    """One output of a classifier.

    Attributes:
        name: by its maker.
        finding: canonical name of what it means; None where nothing in the catalogue fits.
        state: "read", or why its answers are left out.
        note: that reason in words, empty for most heads that are read.
    """

    name: str
    finding: str | None
    state: HeadState
    note: str = ""


def map_heads(
    names: Sequence[str], labels: Labels | None = None, *, untrained: Collection[int] = ()
) -> tuple[Head, ...]:
    """Return one `Head` per name, in the order of the outputs.

    `labels` comes first, then the aliases of the catalogue. A head that means "no finding" is read
    only where `labels` says so: every edit of a normal radiograph must move it. Heads without a
    name, and those numbered in `untrained`, are never read.

    Raises:
        ClassifierError: `labels` names a head or finding that is not there, or no head is left.
    """
    labels = labels or {}
    strange = [name for name in labels if name not in names]
    if strange:
        raise ClassifierError(
            f"Labels must name heads of the classifier ({_list(names)}); got {_list(strange)}. "
            "Write them as the classifier does."
        )
    heads: list[Head] = []
    taken: dict[str, str] = {}
    for number, name in enumerate(names):
        head = _untrained(name, number in untrained) or _meaning(name, labels)
        if head.state == "read" and head.finding is not None:
            first = taken.setdefault(head.finding, name)
            if any(other.finding == head.finding and other.state == "read" for other in heads):
                head = Head(name, head.finding, "duplicate", f"'{first}' is read instead")
        heads.append(head)
    if not taken:
        raise ClassifierError(
            f"A classifier must have a head that means a finding; got {_list(names)}. "
            "Give labels={'head': 'Finding'}."
        )
    return tuple(heads)


def table(heads: Sequence[Head]) -> str:
    """Return the heads as lines of text, for people."""
    rows = [("head", "finding", "state", "note")]
    rows += [(h.name or '""', h.finding or "-", h.state, h.note) for h in heads]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _untrained(name: str, known: bool) -> Head | None:
    if not name.strip():
        return Head(name, None, "untrained", "the weights give this output no label")
    return Head(name, None, "untrained", "the weights never taught this output") if known else None


def _meaning(name: str, labels: Labels) -> Head:
    if name in labels:
        wanted = labels[name]
        if wanted is None:
            return Head(name, None, "unmapped", "left out by the labels given")
        try:
            return Head(name, finding(wanted).name, "read", "by the labels given")
        except UnknownFindingError as error:
            raise ClassifierError(
                f"Labels must give findings, for head '{name}': {error}"
            ) from None
    try:
        meant = finding(name)
    except UnknownFindingError:
        return Head(name, None, "unmapped", "no finding of the catalogue; labels can give one")
    if meant is NO_FINDING:
        return Head(name, None, "unmapped", "means no finding: every edit must move it")
    note = "" if meant.name == name else "by its alias"
    return Head(name, meant.name, "read", note)


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:20])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 20 else shown or "none"
