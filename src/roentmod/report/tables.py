"""Tables: what columns are called, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from roentmod.report.words import (
    NOTHING,
    Form,
    Row,
    interval,
    known,
    number,
    readable,
    signed,
)

__all__ = [
    "Cell",
    "Column",
    "Table",
    "across",
    "pivot",
    "ranged",
    "settings",
    "table",
    "text",
    "value",
]


@dataclass(frozen=True)
class Cell:
    """One place of a table: its first line, and a second one in smaller type where there is one."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its header, its cell of a row, its style ("number", "text", "pair", "long")."""

    label: str
    cell: Callable[[Row], Cell]
    kind: str = "number"


@dataclass(frozen=True)
class Table:
    """A table as it is shown, or what stands there if it has no rows (`empty`)."""

    kind: ClassVar = "table"
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = ""
    note: str = ""


def table(
    caption: str, columns: Sequence[Column], rows: Iterable[Row], empty: str = "", note: str = ""
) -> Table:
    """Return `rows` as a table."""
    filled = tuple(tuple(column.cell(row) for column in columns) for row in rows)
    return Table(caption, tuple(columns), filled, empty, note)


def settings(caption: str, rows: Iterable[tuple[str, str]], empty: str = "") -> Table:
    """Return names and their values as a table."""
    columns = (text("Name", "name"), text("Value", "value", "long"))
    return table(caption, columns, ({"name": n, "value": v} for n, v in rows), empty)


def text(label: str, key: str, kind: str = "text") -> Column:
    """Return a column of what a row says at `key`."""
    return Column(label, lambda row: Cell(readable(row[key]) or NOTHING), kind)


def value(label: str, key: str, form: Form = number) -> Column:
    """Return a column of numbers."""
    return Column(label, lambda row: Cell(form(row[key])))


def ranged(
    label: str, key: str, low: str = "low", high: str = "high", form: Form = signed
) -> Column:
    """Return a column of numbers with their intervals below."""

    def cell(row: Row) -> Cell:
        ends = interval(row[low], row[high], form)
        return Cell(form(row[key]), ends if known(row[low]) else "")

    return Column(label, cell)


def pivot(rows: Iterable[Row], by: Sequence[str], key: str) -> list[dict[str, Any]]:
    """Return one line per combination of `by`: its first row, and its rows by `key` in "own"."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        line = lines.setdefault(tuple(str(row[name]) for name in by), {**row, "own": {}})
        line["own"][str(row[key])] = row
    return list(lines.values())


def across(
    lines: Iterable[Row], cell: Callable[[Row], Cell], names: Iterable[str] = ()
) -> list[Column]:
    """Return one column per name of the rows of `pivot`; `names` gives the order if it matters."""

    def column(name: str) -> Column:
        def shown(line: Row) -> Cell:
            return cell(line["own"][name]) if name in line["own"] else Cell(NOTHING)

        return Column(readable(name), shown)

    present = dict.fromkeys(name for line in lines for name in line["own"])
    return [column(name) for name in names or present]
