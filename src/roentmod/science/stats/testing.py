"""Tests of means by flipping and permuting patients, and p-values of many tests together."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from roentmod.errors import AuditError
from roentmod.science.stats.resampling import matrix

__all__ = [
    "benjamini_hochberg",
    "holm",
    "interaction",
    "sign_flip",
    "sign_flip_columns",
    "step_down",
    "trend",
]

Floats = NDArray[np.float64]
_EXACT = 12  # patients up to which all 2^n sign flips are enumerated
_BLOCK = 2**20  # numbers held at once by resampling
_TIE = 1e-12  # sums this close, relative to their terms, are the same sum


def sign_flip(values: ArrayLike, *, count: int = 9999, seed: int) -> float:
    """Return the two-sided p of a mean of 0 among n values, as `sign_flip_columns`."""
    return float(sign_flip_columns(np.reshape(values, (-1, 1)), count, seed)[0])


def sign_flip_columns(values: ArrayLike, count: int, seed: int) -> Floats:
    """Return two-sided p-values of column means of 0, m of them, by flipping signs of patients.

    Valid where values are symmetric about 0 under the null, and asymptotically without that. All
    columns share the flips, so that a p-value cannot depend on its neighbours. With up to 12 values
    a column is enumerated, p = b / 2^n; beyond, p = (b + 1) / (count + 1) (Phipson and Smyth 2010).

    Args:
        values: n x m, NaN where missing.
        count: random flips.
        seed: of the flips.
    """
    table = matrix(values)
    here = ~np.isnan(table)
    filled = np.where(here, table, 0)
    sizes, size = here.sum(axis=0), np.abs(filled).sum(axis=0)
    least = np.abs(filled.sum(axis=0)) - _TIE * size
    hits = np.ones(table.shape[1])
    for signs in _signs(count, len(table), seed) if (sizes > _EXACT).any() else ():
        hits += (np.abs(signs @ filled) >= least).sum(axis=0)
    p: Floats = hits / (count + 1)
    for column in np.flatnonzero(sizes <= _EXACT):
        sums = np.abs(_all_signs(int(sizes[column])) @ table[here[:, column], column])
        p[column] = (sums >= least[column]).mean()
    p[sizes == 0] = np.nan
    return p


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Return p-values adjusted for the false discovery rate, of the shape of `p`.

    Benjamini and Hochberg, JRSS B 57 (1995) 289. NaN stays NaN, and is not counted as a test.

    Raises:
        AuditError: a value outside [0, 1].
    """
    raw = np.asarray(p, np.float64)
    known = raw[~np.isnan(raw)]
    if ((known < 0) | (known > 1)).any():
        raise AuditError(f"p-values must be in [0, 1]; got {known.min():g} to {known.max():g}.")
    q = np.full_like(raw, np.nan)
    q[~np.isnan(raw)] = stats.false_discovery_control(known)
    return q


def holm(p: ArrayLike) -> Floats:
    """Return p-values adjusted for the family-wise error rate, of the shape of `p`.

    Holm, Scandinavian Journal of Statistics 6 (1979) 65. NaN stays NaN, and is not counted as a
    test.
    """
    raw = np.asarray(p, np.float64)
    adjusted, known = np.full_like(raw, np.nan), np.flatnonzero(~np.isnan(raw.ravel()))
    order = known[np.argsort(raw.ravel()[known], kind="stable")]
    steps = raw.ravel()[order] * np.arange(len(order), 0, -1)
    np.put(adjusted, order, np.minimum(np.maximum.accumulate(steps), 1))
    return adjusted


def step_down(observed: ArrayLike, chance: ArrayLike) -> Floats:
    """Return one-sided p-values of m statistics, adjusted so that any wrong one is rare.

    Romano and Wolf, JASA 100 (2005) 94: the largest statistic is compared with the largest of all
    by chance, the next with the largest of all but the first, and so on. Rejecting at p <= alpha,
    at least one true hypothesis is rejected with probability alpha at most, whichever are true and
    however statistics depend on each other.

    Args:
        observed: m, large where the hypothesis is false; NaN is left out, and stays NaN.
        chance: count x m, the same statistics resampled as under their hypotheses, together.

    Raises:
        AuditError: shapes do not fit.
    """
    row, table = np.asarray(observed, np.float64).ravel(), matrix(chance)
    if table.shape[1] != row.size:
        raise AuditError(f"Chance needs one column per statistic, {row.size}; got {table.shape}.")
    p = np.full(row.size, np.nan)
    order = np.argsort(row, kind="stable")[: int(np.isfinite(row).sum() + np.isinf(row).sum())]
    largest = np.maximum.accumulate(table[:, order], axis=1)
    raw = (1 + (largest >= row[order]).sum(axis=0)) / (len(table) + 1)
    p[order] = np.maximum.accumulate(raw[::-1])[::-1]
    return p


def interaction(values: ArrayLike, groups: ArrayLike, *, count: int = 9999, seed: int) -> float:
    """Return the p-value that group means differ, by permuting patients between groups.

    The statistic is Welch's, between-group squares weighted by n / variance: it stays valid for
    unequal variances in large samples, where plain sums of squares do not (Chung and Romano 2013).

    Args:
        values: n, NaN where missing.
        groups: n labels. Every label is a group, an empty one too: leave unknown patients out.
        count: permutations.
        seed: of the permutations.

    Returns:
        p; NaN with fewer than two groups of at least two values.

    Raises:
        AuditError: lengths differ.
    """
    column, labels = np.asarray(values, np.float64).ravel(), np.asarray(groups, str).ravel()
    if column.size != labels.size:
        raise AuditError(f"A value has one group; got {labels.size} for {column.size} values.")
    column, labels = column[~np.isnan(column)], labels[~np.isnan(column)]
    names, sizes = np.unique(labels, return_counts=True)
    inside = np.isin(labels, names[sizes >= 2])
    column, labels = column[inside], labels[inside]
    names, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) < 2:
        return math.nan
    spread, reach = float(column.std()), float(np.abs(column).max())
    if spread <= _TIE * reach:
        return 1.0
    column = column - column.mean()
    scaled = np.stack([column / spread, (column / spread) ** 2], axis=1)
    observed = float(_welch(codes[None], scaled, sizes)[0])
    rng, hits, step = np.random.default_rng(seed), 1, max(1, _BLOCK // codes.size)
    for start in range(0, count, step):
        rows = min(step, count - start)
        shuffled = rng.permuted(np.tile(codes, (rows, 1)), axis=1)
        hits += int((_welch(shuffled, scaled, sizes) >= observed * (1 - 1e-9)).sum())
    return hits / (count + 1)


def trend(
    levels: ArrayLike, values: ArrayLike, *, count: int = 9999, seed: int
) -> tuple[float, float]:
    """Return the mean slope over patients, and its two-sided p by `sign_flip`.

    Args:
        levels: d doses, on the scale in which a straight line is meant.
        values: n x d, NaN where missing. A patient's slope is of least squares over what is there;
            patients at fewer than two different doses are left out.
        count: random flips.
        seed: of the flips.

    Raises:
        AuditError: not one column a dose.
    """
    doses, table = np.asarray(levels, np.float64).ravel(), matrix(values)
    if table.shape[1] != doses.size:
        raise AuditError(f"Values need one column a dose, {doses.size}; got {table.shape[1]}.")
    doses = doses - (doses.mean() if doses.size else 0)
    here = ~np.isnan(table)
    centre = (here * doses).sum(axis=1) / np.maximum(here.sum(axis=1), 1)
    offset = np.where(here, doses - centre[:, None], 0)
    squares = (offset**2).sum(axis=1)
    usable = squares > _TIE * (doses**2).sum()
    slopes = (offset * np.where(here, table, 0)).sum(axis=1)[usable] / squares[usable]
    if not slopes.size:
        return math.nan, math.nan
    return float(slopes.mean()), sign_flip(slopes, count=count, seed=seed)


def _signs(count: int, n: int, seed: int) -> Iterator[Floats]:
    """Yield `count` rows of n signs in blocks whose size depends on n alone."""
    rng, step = np.random.default_rng(seed), min(1024, max(1, _BLOCK // max(n, 1)))
    for start in range(0, count, step):
        rows = min(step, count - start)
        yield rng.integers(0, 2, (rows, n), dtype=np.int8).astype(np.float64) * 2 - 1


def _all_signs(n: int) -> Floats:
    """Return all 2^n rows of n signs."""
    return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64) * 2 - 1


def _welch(codes: NDArray[np.intp], scaled: Floats, sizes: NDArray[np.intp]) -> Floats:
    """Return Welch's between-group statistic, one a row of codes.

    `scaled` is n x 2: values of mean 0 and deviation 1, and their squares.
    """
    sums = np.stack([(codes == g) @ scaled for g in range(len(sizes))], axis=1)
    means = sums[..., 0] / sizes
    variances = (sums[..., 1] - sizes * means**2) / (sizes - 1)
    # Values all equal within a group would weigh without bound.
    weights = sizes / np.maximum(variances, 1e-9)
    grand = (weights * means).sum(axis=1) / weights.sum(axis=1)
    return np.asarray((weights * (means - grand[:, None]) ** 2).sum(axis=1), np.float64)
