"""Numbers, names and times in words, as all pages write them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

__all__ = [
    "NOTHING",
    "Form",
    "Row",
    "date",
    "decimals",
    "flat",
    "interval",
    "known",
    "number",
    "p_value",
    "percent",
    "readable",
    "records",
    "signed",
    "triple",
    "unique",
]

Row = Mapping[str, Any]
Form = Callable[[Any], str]
NOTHING = "–"
_MINUS = "−"
_GAP = "\u00a0"


def known(value: Any) -> bool:
    """Return whether `value` is a finite number."""
    return value is not None and math.isfinite(float(value))


def number(value: Any, digits: int = 2) -> str:
    """Return a number with `digits` decimals, a dash for NaN."""
    if not known(value):
        return NOTHING
    text = f"{float(value):.{digits}f}"
    return (text[1:] if float(text) == 0 else text).replace("-", _MINUS) if value < 0 else text


def signed(value: Any, digits: int = 2) -> str:
    """Return a number with its sign, also a plus."""
    text = number(value, digits)
    return f"+{text}" if known(value) and float(value) > 0 and float(text) != 0 else text


def decimals(digits: int, *, sign: bool = False) -> Form:
    """Return `number`, or `signed`, with that many decimals."""
    return lambda value: (signed if sign else number)(value, digits)


def percent(value: Any) -> str:
    """Return a share (1 is 100 %) as a whole percentage."""
    return f"{number(100 * value, 0)}{_GAP}%" if known(value) else NOTHING


def interval(low: Any, high: Any, form: Form = signed) -> str:
    """Return "low to high", both as `form` writes them, the sign of percent once."""
    if not (known(low) and known(high)):
        return NOTHING
    return f"{form(low).removesuffix(f'{_GAP}%')} to {form(high)}"


def p_value(value: Any) -> str:
    """Return a p- or q-value as in print."""
    if not known(value):
        return NOTHING
    return "<0.001" if value < 0.001 else f"{float(value):.3f}"


def readable(text: object, limit: int = 0) -> str:
    """Return `text` on one line without control characters, shortened to `limit` characters."""
    line = str(text)
    if not line.isprintable():
        line = "".join(c if c.isprintable() or c == _GAP else " " for c in line)
    return f"{line[: limit - 1]}…" if limit and len(line) > limit else line


def date(provenance: Mapping[str, Any]) -> str:
    """Return when a run ended, or began if its end is not recorded, to the minute."""
    text = str(provenance.get("finished") or provenance.get("started") or "date not recorded")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return readable(text)
    return f"{moment:%Y-%m-%d %H:%M} {moment:%Z}".strip()


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def triple(row: Row, keys: Sequence[str], scale: float = 1.0) -> tuple[float, float, float]:
    """Return a value and the ends of its interval, times `scale`."""
    value, low, high = (scale * float(row[key]) for key in keys)
    return value, low, high


def unique(rows: Sequence[Row], key: str) -> list[Any]:
    """Return the values of `key`, each once, in their order."""
    return list(dict.fromkeys(row[key] for row in rows))


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
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)
