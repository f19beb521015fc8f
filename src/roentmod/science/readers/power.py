"""How many readers and cases a study needs, by the model of Obuchowski and Rockette.

Hillis, Obuchowski and Berbaum (Academic Radiology 18 (2011) 129). The variance of one reader's area
over cases is Hanley and McNeil's (Radiology 143 (1982) 29), of a share p (1 - p) / n; what readers
share of it is their correlation, and their true values spread besides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from scipy import special, stats

from roentmod.errors import ReadersError

__all__ = ["NEEDED", "Assumed", "Precision", "needed", "precision"]

NEEDED = ("readers", "edited", "real", "half_width", "chance")
_MOST = 5000


@dataclass(frozen=True)
class Assumed:
    """What is assumed of readers and pictures.

    Attributes:
        measure: "realism", an area of edited against real cases, or "share" of edited cases.
        value: the true mean over readers, in (0, 1).
        spread: standard deviation of readers' true values.
        correlation: of two readers' values over cases, in [0, 1].
        real: real cases per edited one, for an area.
        level: of the interval.
    """

    measure: Literal["realism", "share"]
    value: float
    spread: float = 0.05
    correlation: float = 0.3
    real: float = 1.0
    level: float = 0.95


@dataclass(frozen=True)
class Precision:
    """What a study of a size is expected to show.

    Attributes:
        error: standard error of the mean over readers.
        half_width: of its interval.
        chance: that the interval leaves out the limit; NaN without one.
    """

    error: float
    half_width: float
    chance: float


def precision(
    assumed: Assumed, readers: int, edited: int, *, limit: float | None = None
) -> Precision:
    """Return what a study of `readers` who all read `edited` cases is expected to show.

    Args:
        assumed: of readers and pictures.
        readers: 2 or more.
        edited: 2 or more.
        limit: what the interval must leave out, above or below the value: its two-sided level
            makes this a one-sided test at half the rest (noncentral t).

    Raises:
        ReadersError: fewer readers or cases.
    """
    if readers < 2 or edited < 2:
        raise ReadersError(
            f"A study of readers as a sample needs 2 readers and 2 edited cases; got {readers} and "
            f"{edited}. Take more."
        )
    value, real = assumed.value, max(2, round(assumed.real * edited))
    own = value * (1 - value) / edited
    if assumed.measure == "realism":
        first, second = value / (2 - value), 2 * value**2 / (1 + value)
        pairs = (edited - 1) * (first - value**2) + (real - 1) * (second - value**2)
        own = (value * (1 - value) + pairs) / (edited * real)
    common = assumed.correlation * own
    square = assumed.spread**2 + own - common
    whole = square + readers * common
    patients = edited + (real if assumed.measure == "realism" else 0)
    # All noise common to all readers leaves nothing but cases to estimate it from.
    df = whole**2 * (readers - 1) / square**2 if square else math.inf
    df = min(df, patients - 1.0)
    error = math.sqrt(whole / readers)
    quantile = float(special.stdtrit(df, (1 + assumed.level) / 2))
    chance = math.nan
    if limit is not None:
        shift = abs(limit - value) / error
        chance = float(stats.nct.sf(quantile, df, shift)) if shift < 30 else 1.0
    return Precision(error, quantile * error, chance)


def needed(
    assumed: Assumed,
    readers: Sequence[int],
    *,
    half_width: float | None = None,
    limit: float | None = None,
    chance: float = 0.8,
) -> pd.DataFrame:
    """Return the fewest edited cases for each number of readers (`NEEDED`).

    Args:
        assumed: of readers and pictures.
        readers: numbers of readers to compare.
        half_width: of the interval that is wanted, or
        limit: value that the interval must leave out.
        chance: probability with which it must.

    Returns:
        One row per number of readers; `edited` and `real` are missing where no number up to 5,000
        would do, as the spread of readers alone is too large; half_width and chance are then those
        of 5,000.

    Raises:
        ReadersError: neither a half-width nor a limit, both, or a limit that equals the value.
    """
    if (half_width is None) == (limit is None) or limit == assumed.value:
        raise ReadersError(
            "A size follows from a half-width, or from a limit other than the value; got "
            f"half-width {half_width} and limit {limit}. Give one of them."
        )

    def enough(count: int, edited: int) -> bool:
        result = precision(assumed, count, edited, limit=limit)
        return result.half_width <= half_width if half_width else result.chance >= chance

    rows = []
    for count in readers:
        # No bisection: few readers have fewer degrees of freedom where cases are many, so that more
        # cases can make the interval wider again.
        least = next((n for n in range(2, _MOST + 1) if enough(count, n)), None)
        result = precision(assumed, count, least or _MOST, limit=limit)
        real = max(2, round(assumed.real * (least or 0))) if assumed.measure == "realism" else 0
        sizes = (least, real) if least else (None, None)
        rows.append([count, *sizes, result.half_width, result.chance])
    table = pd.DataFrame(rows, columns=list(NEEDED))
    return table.astype({"edited": "Int64", "real": "Int64"})
