"""Which columns the tables of the report have, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from roentmod.report import words
from roentmod.report.words import number, p_value, percent, readable, signed

__all__ = [
    "CELLS",
    "GATE",
    "HEADS",
    "LEAKAGE",
    "STRESS",
    "SUBGROUPS",
    "Cell",
    "Column",
    "Table",
    "doses",
    "settings",
    "table",
]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        text: the first line.
        small: the second line, in smaller type; empty where there is none.
    """

    text: str
    small: str = ""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        label: what its header says.
        cell: what it shows of a row.
        kind: class of its style: "number", "text" or "long".
    """

    label: str
    cell: Callable[[Row], Cell]
    kind: str = "number"


@dataclass(frozen=True)
class Table:
    """A table as it is shown.

    Attributes:
        caption: what it shows.
        columns: its columns.
        rows: one cell a column; the first is the row's header.
        empty: what is said instead where there are no rows.
        note: what is said below it.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = ""
    note: str = ""


def table(
    caption: str, columns: tuple[Column, ...], rows: Iterable[Row], *, empty: str, note: str = ""
) -> Table:
    """Return `rows` as a table, and what to say where there are none."""
    filled = tuple(tuple(column.cell(row) for column in columns) for row in rows)
    return Table(caption, columns, filled, empty, note)


def settings(caption: str, rows: Iterable[tuple[str, str]], *, empty: str = "") -> Table:
    """Return rows of a name and a text as a table."""
    columns = (
        Column("Name", lambda row: Cell(row["name"]), "text"),
        Column("Value", lambda row: Cell(row["value"]), "long"),
    )
    named = [{"name": readable(name), "value": readable(value)} for name, value in rows]
    return table(caption, columns, named, empty=empty)


def doses(rows: Iterable[Row], *, empty: str, note: str) -> Table:
    """Return effects by dose as a table with one row a pair and one column a dose."""
    levels: dict[str, float] = {}
    pairs: dict[str, dict[str, Any]] = {}
    for row in rows:
        levels[str(row["dose"])] = float(row["level"])
        kept = pairs.setdefault(words.pair(row), dict(row))
        kept |= {(row["dose"], key): row[key] for key in ("effect", "low", "high")}
    columns = [_pair(), _count("Patients", "n")]
    columns += [_dose(label) for label in sorted(levels, key=lambda label: levels[label])]
    columns.append(Column("p of trend", lambda row: Cell(p_value(row["trend_p"]))))
    caption = "Net effect by dose (logits), of the lines drawn"
    return table(caption, tuple(columns), pairs.values(), empty=empty, note=note)


def _dose(label: str) -> Column:
    def cell(row: Mapping[Any, Any]) -> Cell:
        effect, low, high = (row.get((label, key)) for key in ("effect", "low", "high"))
        return Cell(signed(effect), words.interval(low, high))

    return Column(readable(label), cell)


def _text(label: str, key: str, kind: str = "text") -> Column:
    return Column(label, lambda row: Cell(readable(row[key]) or words.NOTHING), kind)


def _count(label: str, key: str) -> Column:
    return Column(label, lambda row: Cell(number(row[key], 0)))


def _with_interval(
    label: str, value: str, low: str, high: str, *, share: bool = False, digits: int = 2
) -> Column:
    def cell(row: Row) -> Cell:
        text = percent(row[value]) if share else signed(row[value], digits)
        return Cell(text, words.interval(row[low], row[high], digits, share=share))

    return Column(label, cell)


def _area(label: str, value: str, low: str, high: str) -> Column:
    def cell(row: Row) -> Cell:
        return Cell(number(row[value], 3), f"{number(row[low], 3)} to {number(row[high], 3)}")

    return Column(label, cell)


def _two(label: str, first: tuple[str, str], second: tuple[str, str]) -> Column:
    """Return a column of two p-values, one below the other."""

    def cell(row: Row) -> Cell:
        return Cell(
            f"{first[0]} {p_value(row[first[1]])}", f"{second[0]} {p_value(row[second[1]])}"
        )

    return Column(label, cell)


def _verdict(row: Row) -> Cell:
    verdict = str(row["verdict"])
    symbol = words.SYMBOLS.get(verdict, "•")
    # What is within the margin needs no reason beside its numbers.
    reason = "" if verdict == "within margin" else readable(row["reason"])
    return Cell(f"{symbol} {readable(verdict)}", reason)


def _pair(label: str = "Edited → read") -> Column:
    return Column(label, lambda row: Cell(words.pair(row)), "pair")


_EFFECT = _with_interval("Net effect (logits)", "effect", "low", "high")

CELLS = (
    _pair(),
    Column("Verdict and reason", _verdict, "long"),
    _count("Patients", "n"),
    _EFFECT,
    _with_interval("Change of probability", "effect_p", "low_p", "high_p", digits=3),
    _two("p, q", ("p", "p"), ("q", "q")),
    _with_interval("Share of own effect", "ratio", "ratio_low", "ratio_high", share=True),
    _with_interval("Leakage", "leak", "leak_low", "leak_high", share=True),
    _with_interval("Corrected", "corrected", "corrected_low", "corrected_high", share=True),
    Column(
        "Margin, detectable (logits)",
        lambda row: Cell(f"±{number(row['margin'])}", f"det. {number(row['detectable'])}"),
    ),
)
LEAKAGE = (
    _pair(),
    _with_interval("Classifier", "ratio", "ratio_low", "ratio_high", share=True),
    _with_interval("Judge", "leak", "leak_low", "leak_high", share=True),
    _with_interval("Left", "corrected", "corrected_low", "corrected_high", share=True),
)
GATE = (
    _text("Edited", "edited"),
    _count("Asked", "asked"),
    _count("Passed", "passed"),
    Column("Share", lambda row: Cell(percent(row["share"]))),
    _with_interval("Judge, net (logits)", "judge_effect", "judge_low", "judge_high"),
)
SUBGROUPS = (
    _pair(),
    _text("Attribute", "attribute"),
    _text("Group", "group"),
    _count("Patients", "n"),
    _EFFECT,
    _two("Interaction", ("p", "interaction_p"), ("q", "interaction_q")),
)
STRESS = (
    _text("Read", "read"),
    _text("Negatives", "against"),
    _count("Positive", "n_positive"),
    _count("Negative", "n_negative"),
    _area("AUC (DeLong)", "auc", "low", "high"),
    Column(
        "Bootstrap",
        lambda row: Cell(f"{number(row['boot_low'], 3)} to {number(row['boot_high'], 3)}"),
    ),
    Column("Drop", lambda row: Cell(number(row["drop"], 3))),
    Column("p of drop", lambda row: Cell(p_value(row["drop_p"]))),
)
HEADS = (
    _text("Head", "head"),
    _text("Finding", "finding"),
    _text("State", "state"),
    _text("Note", "note", "long"),
)
