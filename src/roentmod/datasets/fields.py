"""Views, sexes, ages, splits and answers, in the spellings of the public sets and of people."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.datasets.labels import (
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    UNMENTIONED,
    Codes,
    Texts,
)
from roentmod.domain import VIEWS, registered
from roentmod.errors import DatasetError

__all__ = [
    "FRONTAL",
    "OLDEST",
    "WORDS",
    "age",
    "answer",
    "coded",
    "first_of",
    "gather",
    "sex",
    "since",
    "split_name",
    "taken",
    "texts_of",
    "translate",
    "view",
    "years",
]

# "frontal" is PA or AP, the source does not say which.
FRONTAL = ("PA", "AP", "frontal")
OLDEST = 120

_VIEWS = {
    **dict.fromkeys(("pa", "postero-anterior", "posteroanterior", "pa erect"), "PA"),
    **dict.fromkeys(("ap", "antero-posterior", "anteroposterior", "ap erect"), "AP"),
    **dict.fromkeys(("ap horizontal", "ap supine", "ap semi-erect", "ap portable"), "AP"),
    "frontal": "frontal",
    **{plane: plane for plane in VIEWS if plane != "frontal"},
    **dict.fromkeys(("l", "ll", "rl", "lat", "lateral", "xtable lateral"), "lateral"),
    # Oblique, lordotic and lying views, ribs, and what PadChest puts aside.
    **dict.fromkeys(("lao", "rao", "lpo", "rpo", "ap axial", "pa axial", "swimmers"), "other"),
    **dict.fromkeys(("ap lld", "ap rld", "pa lld", "pa rld", "lordotic", "oblique"), "other"),
    **dict.fromkeys(("costal", "exclude", "other"), "other"),
}
_SEXES = {"f": "F", "female": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}
_SPLITS = {
    "training": "train",
    **dict.fromkeys(("valid", "validate", "validation", "dev"), "val"),
    "testing": "test",
}
# What a cell of a column of labels says.
WORDS = {
    **dict.fromkeys(("1", "positive", "pos", "present", "yes", "y", "true", "t"), POSITIVE),
    **dict.fromkeys(("0", "negative", "neg", "absent", "no", "n", "false", "f"), NEGATIVE),
    **dict.fromkeys(("-1", "uncertain"), UNCERTAIN),
    **dict.fromkeys(("", "unmentioned", "unknown"), UNMENTIONED),
    # Excel writes these in the language of its user.
    **dict.fromkeys(("wahr", "vrai", "verdadero"), POSITIVE),
    **dict.fromkeys(("falsch", "faux", "falso"), NEGATIVE),
}
# Programs write these where nothing was said.
_BLANK = ("nan", "none", "null", "n/a", "na", "<na>", "nat", "-", "--")
_UNITS = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}
_YEARS = re.compile(r"\s*(?:YEARS?|YRS?|Y/?O|Y)(?:[ -]?OLD)?\.?$")


def view(text: str) -> str:
    """Return "PA", "AP", "frontal", a plane, "lateral", "other", or "unknown" for anything else."""
    return _VIEWS.get(" ".join(text.lower().replace("_", " ").split()), "unknown")


def taken() -> tuple[str, ...]:
    """Return the views that selections take: frontal ones, and the planes of registered domains."""
    return (*FRONTAL, *(view for pack in registered() for view in pack.views if view != "frontal"))


def sex(text: str) -> str:
    """Return "F", "M" or "" (unknown)."""
    return _SEXES.get(text.strip().lower(), "")


def split_name(text: str) -> str:
    """Return a split in lower case: "train", "val", "test" in their spellings, others as given."""
    name = text.strip().lower()
    return _SPLITS.get(name, name)


def age(text: str) -> float:
    """Return years from "58", "58,5", "58 years" or DICOM's "011M" (PS3.5 6.2); else NaN."""
    text = _YEARS.sub("", text.strip().upper()).replace(",", ".")
    unit = _UNITS.get(text[-1:], 0.0)
    try:
        return float(text[:-1]) / unit if unit else float(text)
    except ValueError:
        return float("nan")


def years(texts: Texts) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return ages in years, n, NaN where unknown, and where a text says something impossible."""
    ages: NDArray[np.float64] = translate(texts, age).astype(np.float64)
    given = translate(texts, lambda text: text.strip().lower() not in ("", *_BLANK))
    with np.errstate(invalid="ignore"):
        possible = (ages >= 0) & (ages <= OLDEST)
    return np.where(possible, ages, np.nan), given.astype(np.bool_) & ~possible


def since(dates: Texts, born: Texts, then: Texts | float = 0) -> Texts:
    """Return ages as n texts, "" where unknown: years from `born` to `dates`, plus `then`.

    Args:
        dates: n dates that begin with a year.
        born: n years.
        then: n ages in the years of `born`.
    """
    year, start, plus = (
        pd.to_numeric(pd.Series(some, range(len(dates))), errors="coerce")
        for some in (pd.Series(dates).str.slice(0, 4), born, then)
    )
    return np.array([f"{age:g}" if age == age else "" for age in plus + year - start], dtype=object)


def translate(texts: Texts | pd.Series[str], function: Callable[[str], Any]) -> Texts:
    """Apply `function` to n texts, once to each distinct one."""
    places, distinct = pd.factorize(np.asarray(texts, dtype=object))
    answers = np.empty(len(distinct), dtype=object)
    answers[:] = [function(str(text)) for text in distinct]
    return answers[places]


def gather(
    frame: pd.DataFrame, table: Path, columns: Mapping[str, str], **more: Texts | str
) -> pd.DataFrame:
    """Return facts of n pictures, as `table.Part` has them.

    Args:
        frame: the table, n rows.
        table: its file, which with the row is each picture's origin.
        columns: fact to the column that holds it.
        more: other facts, n texts or one for all.
    """
    facts = {name: texts_of(frame, column) for name, column in columns.items()}
    origin = [f"{table.name} row {row + 2}" for row in frame.index]
    return pd.DataFrame({**facts, "origin": origin, **more})


def texts_of(frame: pd.DataFrame, column: str, default: str = "") -> Texts:
    """Return a column as n stripped texts, "" where it says nothing ("nan", "None", "n/a").

    It is `default` throughout where the table lacks it.
    """
    if column not in frame.columns:
        return np.full(len(frame), default, dtype=object)
    texts = frame[column].str.strip()
    return np.asarray(texts.mask(texts.str.lower().isin(_BLANK), "").to_numpy(dtype=object))


def answer(text: str, states: Mapping[str, int] = WORDS) -> int:
    """Return the code of an answer; numbers may be written "1.00" or "1,0"; -1 for no answer."""
    word = text.lower()
    try:
        return states.get(word, states.get(f"{float(word.replace(',', '.')):g}", -1))
    except ValueError:
        return states.get(word, -1)


def coded(
    frame: pd.DataFrame, column: str, states: Mapping[str, int], *, table: str | None
) -> Codes:
    """Return a column's labels as n codes of `labels.STATES`.

    Raises:
        DatasetError: `states` lacks a text; without a `table` to name, its code is -1 instead.
    """
    texts = texts_of(frame, column)
    codes = translate(texts, lambda text: answer(text, states)).astype(np.int8)
    if table is not None and (codes < 0).any():
        row = int(np.argmax(codes < 0))
        raise DatasetError(
            f"{table}: labels are 1, 0, -1 or empty; '{column}' has '{texts[row]}' in row "
            f"{frame.index[row] + 2}. Correct it."
        )
    return np.asarray(codes, dtype=np.int8)


def first_of(folder: Path, *patterns: str) -> Path | None:
    """Return the file that the first successful pattern finds; of several, the last by name."""
    for pattern in patterns:
        files = sorted(path for path in folder.glob(pattern) if path.is_file())
        if files:
            return files[-1]
    return None
