"""Numbers and rows of an audit in words: what the report says, without what it looks like."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = [
    "SYMBOLS",
    "cell_sentence",
    "count_sentence",
    "flat",
    "interval",
    "number",
    "off_target",
    "p_value",
    "pair",
    "percent",
    "ranked",
    "readable",
    "signed",
]

Row = Mapping[str, Any]
NOTHING = "–"
_MINUS = "−"
_GAP = "\u00a0"

# Told apart in black and white; in the order in which a reader wants them.
SYMBOLS = {
    "shortcut": "▲",
    "suppression": "▼",
    "leakage": "◐",
    "undecided": "?",
    "no yardstick": "∅",
    "too few": "×",
    "within margin": "✓",
    "on target": "◆",
}
_ORDER = {verdict: place for place, verdict in enumerate(SYMBOLS)}
_PLURALS = {"shortcut": "shortcuts", "suppression": "suppressions"}


def _known(value: Any) -> bool:
    return value is not None and math.isfinite(float(value))


def number(value: Any, digits: int = 2) -> str:
    """Return a number with `digits` decimals, a dash for NaN."""
    if not _known(value):
        return NOTHING
    text = f"{float(value):.{digits}f}"
    return (text[1:] if float(text) == 0 else text).replace("-", _MINUS) if value < 0 else text


def signed(value: Any, digits: int = 2) -> str:
    """Return a number with its sign, also a plus."""
    text = number(value, digits)
    return f"+{text}" if _known(value) and float(value) > 0 and float(text) != 0 else text


def percent(value: Any) -> str:
    """Return a share (1 is 100 %) as a whole percentage."""
    return f"{number(100 * value, 0)}{_GAP}%" if _known(value) else NOTHING


def interval(low: Any, high: Any, digits: int = 2, *, share: bool = False) -> str:
    """Return "low to high", as numbers with their sign, or as percentages."""
    if not (_known(low) and _known(high)):
        return NOTHING
    if share:
        return f"{number(100 * low, 0)} to {percent(high)}"
    return f"{signed(low, digits)} to {signed(high, digits)}"


def p_value(value: Any) -> str:
    """Return a p- or q-value as in print."""
    if not _known(value):
        return NOTHING
    return "<0.001" if value < 0.001 else f"{float(value):.3f}"


def readable(text: object, limit: int = 0) -> str:
    """Return `text` on one line without control characters, shortened to `limit` characters."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return f"{line[: limit - 1]}…" if limit and len(line) > limit else line


def pair(row: Row, limit: int = 0) -> str:
    """Return "edited → read"."""
    return f"{readable(row['edited'], limit)} → {readable(row['read'], limit)}"


def flat(data: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Return nested settings as rows of ("outer.inner", text)."""
    rows: list[tuple[str, str]] = []
    for key, value in data.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{name}.")
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
            rows += flat({str(i): v for i, v in enumerate(value, 1)}, f"{name}.")
        else:
            rows.append((name, _text(value)))
    return rows


def _text(value: Any) -> str:
    if value is None or (isinstance(value, str | list | tuple | Mapping) and len(value) == 0):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(
            _text(v) for v in (value if isinstance(value, list | tuple) else sorted(value))
        )
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)


def off_target(rows: Iterable[Row]) -> list[Row]:
    """Return the rows in which another finding is read than the one edited."""
    return [row for row in rows if not row["on_target"]]


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Return rows by verdict, shortcuts first, then by size of the corrected ratio."""

    def place(row: Row) -> tuple[int, float, str, str]:
        size = abs(float(row["corrected"])) if _known(row["corrected"]) else -1.0
        return _ORDER.get(row["verdict"], len(_ORDER)), -size, str(row["edited"]), str(row["read"])

    return sorted(rows, key=place)


def count_sentence(rows: Sequence[Row]) -> str:
    """Return how many off-target pairs have which verdict."""
    counts = Counter(str(row["verdict"]) for row in rows)
    known = [name for name in SYMBOLS if counts[name]]
    named = [*known, *sorted(set(counts) - set(SYMBOLS))]
    parts = [
        f"{counts[name]} {_PLURALS.get(name, name) if counts[name] != 1 else name}"
        for name in named
    ]
    what = "off-target pair" if len(rows) == 1 else "off-target pairs"
    return f"{len(rows)} {what}: {', '.join(parts)}." if parts else "No off-target pair was tested."


def cell_sentence(row: Row, plan: Mapping[str, Any], *, removed: bool = False) -> str:
    """Return one off-target pair in a sentence: the effect, its interval, ratio and margin.

    Amounts are in the direction of the verb. Rows of removals come with their sign turned: a
    positive effect is a fall.
    """
    edited, read = readable(row["edited"]), readable(row["read"])
    action = "Removing" if removed else "Adding"
    effect, low, high = row["effect"], row["low"], row["high"]
    if not _known(effect):
        return f"{action} {edited}: the effect on {read} is not known."
    if effect < 0:
        effect, low, high = -effect, -high, -low
    rises = (row["effect"] >= 0) is not removed
    amount = signed(effect, 1) if rises else number(effect, 1)
    inside = ""
    if _known(low) and _known(high):
        level = percent(plan.get("level", 0.95))
        inside = f" ({level} CI {number(low, 1)} to {number(high, 1)})"
    verb = "raises" if rises else "lowers"
    text = f"{action} {edited} {verb} {read} by {amount} logits{inside}"
    return f"{text}{_share(row, action.lower(), read)}{_margin(plan)}."


def _share(row: Row, action: str, read: str) -> str:
    if not _known(row["corrected"]):
        return f"; {read} has no sure effect of its own to compare with"
    other_way = ", the other way" if row["corrected"] < 0 else ""
    text = f": {percent(abs(row['corrected']))} of what {action} {read} itself does{other_way}"
    if _known(row["ratio"]) and percent(row["ratio"]) != percent(row["corrected"]):
        text += f" ({percent(row['ratio'])} before leakage is taken off)"
    return text


def _margin(plan: Mapping[str, Any]) -> str:
    return f"; margin {percent(plan['margin'])}" if "margin" in plan else ""
