"""Resampling of patients: draws, means of them, and percentile intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from roentmod.errors import AuditError

__all__ = [
    "bootstrap_means",
    "draw_blocks",
    "draws",
    "interval",
    "matrix",
    "normal_quantile",
    "percentile_interval",
    "ratio",
    "resampled_means",
]

Floats = NDArray[np.float64]
_BLOCK = 2**20  # numbers held at once by resampling


def draw_blocks(
    count: int, n: int, seed: int, *, width: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """Yield bootstrap resamples of n patients as weights, rows of n whose sum is n.

    A weight says how often a patient was drawn. That is the same bootstrap as drawing indices, and
    makes means one matrix product and keeps all columns on the same patients. The rows are the
    same whatever the size of the blocks.

    Args:
        count: resamples, over all blocks.
        n: patients.
        seed: of the resamples.
        width: numbers per resample that its user holds, which bounds the rows of a block; n if
            None.

    Raises:
        AuditError: fewer than one resample or 0 patients.
    """
    if count < 1 or n < 0:
        raise AuditError(f"Resampling needs count >= 1 and n >= 0; got {count} and {n}.")
    step = max(1, _BLOCK // max(1, width or n))
    starts = range(0, count, step)
    if count * n <= _BLOCK:
        yield from (_drawn(count, n, seed)[start : start + step] for start in starts)
        return
    rng = np.random.default_rng(seed)
    for start in starts:
        yield rng.multinomial(n, np.full(n, 1 / n), size=min(step, count - start))


@lru_cache(maxsize=2)
def _drawn(count: int, n: int, seed: int) -> NDArray[np.int64]:
    """Return all resamples of few patients: those of an audit are used again and again."""
    rows = np.zeros((count, 0), np.int64)
    rows = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=count) if n else rows
    rows.flags.writeable = False
    return rows


def draws(count: int, n: int, seed: int) -> NDArray[np.int64]:
    """Return the resamples of `draw_blocks` at once, count x n: for few patients."""
    return np.concatenate(list(draw_blocks(count, n, seed)))


def bootstrap_means(values: ArrayLike, weights: ArrayLike) -> Floats:
    """Return the mean of each column in each resample, count x m.

    Args:
        values: n x m, NaN where missing.
        weights: count x n, from `draws`.

    A resample that draws nobody with a value in a column has NaN there.

    Raises:
        AuditError: shapes do not fit.
    """
    table, drawn = matrix(values), np.asarray(weights)
    if drawn.ndim != 2 or drawn.shape[1] != len(table):
        raise AuditError(
            f"Weights must be count x {len(table)}, a column a patient; got shape {drawn.shape}."
        )
    return _means_of(table, [drawn])


def resampled_means(values: ArrayLike, count: int, seed: int) -> Floats:
    """Return `bootstrap_means` of `count` resamples, which are never held at once, count x m.

    Columns are resampled together: give those that are compared in one table.

    Raises:
        AuditError: values are not n x m.
    """
    table = matrix(values)
    return _means_of(table, draw_blocks(count, len(table), seed))


def _means_of(table: Floats, blocks: Iterable[NDArray[Any]]) -> Floats:
    missing = np.isnan(table)
    # Where nothing is missing, every column's mass is how many were drawn.
    here = (~missing).astype(np.float64) if missing.any() else np.ones((len(table), 1))
    filled, means = np.where(missing, 0, table) if missing.any() else table, []
    for block in blocks:
        drawn = block.astype(np.float64)
        total = drawn @ filled
        means.append(ratio(total, np.broadcast_to(drawn @ here, total.shape)))
    return np.concatenate(means)


def ratio(above: ArrayLike, below: ArrayLike, *, least: float = 0) -> Floats:
    """Return above / below, of the shape of `below`; NaN where `below` is not above `least`."""
    under = np.asarray(below, np.float64)
    result: Floats = np.full(under.shape, np.nan)
    np.divide(above, under, out=result, where=under > least)
    return result


def percentile_interval(
    samples: ArrayLike, level: float = 0.95, axis: int = 0
) -> tuple[Floats, Floats]:
    """Return low and high percentiles along `axis`, without NaN; NaN where all are NaN."""
    table, tail = np.asarray(samples, np.float64), _tail(level)
    missing = np.isnan(table)
    empty = missing.all(axis=axis)
    quantile = np.nanquantile if missing.any() else np.quantile
    # Zeros keep numpy from warning of slices that are all NaN.
    filled = np.where(np.expand_dims(empty, axis), 0, table)
    low, high = quantile(filled, [tail, 1 - tail], axis=axis)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def interval(samples: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return low and high of `percentile_interval` of one column of samples."""
    low, high = percentile_interval(samples, level)
    return float(low), float(high)


def normal_quantile(level: float) -> float:
    """Return the normal quantile of a two-sided interval: 1.96 of level 0.95."""
    return float(stats.norm.isf(_tail(level)))


def _tail(level: float) -> float:
    if not 0 < level < 1:
        raise AuditError(f"A confidence level must be between 0 and 1; got {level:g}.")
    return (1 - level) / 2


def matrix(values: ArrayLike) -> Floats:
    """Return values as n x m floats, patients in rows.

    Raises:
        AuditError: they are not n x m.
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2:
        raise AuditError(f"Values must be n x m, patients in rows; got shape {table.shape}.")
    return table
