"""Does it matter how a finding is worded? Variance between wordings against that between seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roentmod.errors import AuditError
from roentmod.science import stats

__all__ = ["agreement", "intraclass"]

Floats = NDArray[np.float64]


def intraclass(
    values: ArrayLike,
    patient: ArrayLike | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Return the share of variance within a patient that the wording makes.

    Each table of wordings x seeds is analysed in two ways: variance between wordings (w), between
    seeds (s) and of the rest (e), from mean squares that are averaged over tables.
    The coefficient is w / (w + s + e): ICC(2,1) of Shrout and Fleiss (Psychol. Bull. 86 (1979)
    420), or ICC(A,1) of McGraw and Wong (1996), with wordings as targets and seeds as raters. Near
    0, another wording changes no more than another seed; near 1, the wording decides. It can fall
    slightly below 0 by chance.

    Args:
        values: tables x wordings x seeds, two or more of both; tables with a value that is not
            finite are left out.
        patient: of each table, to draw a patient's tables together; None: all of different
            patients.
        resamples: of patients.
        seed: of resamples.
        level: of the interval.

    Returns:
        icc, low, high, patients, variance_wording, variance_seed, variance_rest; NaN without
        patients, and the interval with one.

    Raises:
        AuditError: not three axes, or fewer than two wordings or seeds.
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 3 or min(table.shape[1:]) < 2:
        raise AuditError(
            "An intraclass correlation needs tables x wordings x seeds, two or more of the last "
            f"two; got shape {table.shape}. Ask for more seeds."
        )
    whole = np.isfinite(table).all(axis=(1, 2))
    names_of = np.arange(len(table)) if patient is None else np.asarray(patient, str)
    if len(names_of) != len(table):
        raise AuditError(f"A table has one patient; got {len(names_of)} for {len(table)} tables.")
    table, names_of = table[whole], names_of[whole]
    _, w, s = table.shape
    squares = _mean_squares(table)
    owners = np.unique(names_of)
    n = len(owners)
    parts = np.array([squares[names_of == one].mean(axis=0) for one in owners]).reshape(-1, 3)
    names = ("icc", "low", "high", "variance_wording", "variance_seed", "variance_rest")
    if not n:
        return {**dict.fromkeys(names, math.nan), "patients": 0}
    mean = parts.mean(axis=0, keepdims=True)
    low = high = math.nan
    if n > 1:
        drawn = stats.resampled_means(parts, resamples, seed)
        low, high = stats.interval(_ratio(drawn, w, s), level)
    variances = (float(part[0]) for part in _variances(mean, w, s))
    values_of = (float(_ratio(mean, w, s)[0]), low, high, *variances)
    return {**dict(zip(names, values_of, strict=True)), "patients": n}


def _mean_squares(table: Floats) -> Floats:
    """Return mean squares between wordings, between seeds and of the rest, n x 3."""
    _, w, s = table.shape
    grand = table.mean(axis=(1, 2), keepdims=True)
    rows, columns = table.mean(axis=2, keepdims=True), table.mean(axis=1, keepdims=True)
    rest = table - rows - columns + grand
    return np.stack(
        [
            s * ((rows - grand) ** 2).sum(axis=(1, 2)) / (w - 1),
            w * ((columns - grand) ** 2).sum(axis=(1, 2)) / (s - 1),
            (rest**2).sum(axis=(1, 2)) / ((w - 1) * (s - 1)),
        ],
        axis=1,
    )


def _variances(squares: Floats, w: int, s: int) -> tuple[Floats, Floats, Floats]:
    between, raters, rest = squares.T
    return (between - rest) / s, (raters - rest) / w, rest


def _ratio(squares: Floats, w: int, s: int) -> Floats:
    wording, seeds, rest = _variances(squares, w, s)
    whole = wording + seeds + rest
    return np.divide(wording, whole, out=np.full_like(whole, np.nan), where=np.abs(whole) > 1e-15)


def agreement(passed: ArrayLike) -> dict[str, float]:
    """Return how often two edits of a patient get one verdict, if only wording or seed differs.

    Args:
        passed: patients x wordings x seeds, bool.

    Returns:
        wordings: share of equal verdicts in pairs of wordings (same patient and seed); seeds: in
        pairs of seeds (same patient and wording); NaN where there are no pairs.

    Raises:
        AuditError: not three axes.
    """
    table = np.asarray(passed, bool)
    if table.ndim != 3:
        raise AuditError(f"Verdicts are patients x wordings x seeds; got shape {table.shape}.")
    return {"wordings": _same(table, 1), "seeds": _same(table, 2)}


def _same(table: NDArray[np.bool_], axis: int) -> float:
    n = table.shape[axis]
    yes = table.sum(axis=axis).astype(np.float64)
    if n < 2 or not yes.size:
        return math.nan
    equal = (yes * (yes - 1) + (n - yes) * (n - yes - 1)) / (n * (n - 1))
    return float(equal.mean())
