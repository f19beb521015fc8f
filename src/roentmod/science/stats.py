"""Statistics of paired edits: areas under the curve, resampling of patients, and tests.

Rows are patients, who are the unit of resampling. Equal arguments give equal results. What the data
cannot tell (no patients, one group) is NaN; what cannot be meant is an `AuditError`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from roentmod.errors import AuditError

__all__ = [
    "DeLong",
    "auc",
    "auc_difference_shared_positives",
    "benjamini_hochberg",
    "bootstrap_means",
    "clustered_auc_interval",
    "delong",
    "delong_interval",
    "delong_paired",
    "draw_blocks",
    "draws",
    "holm",
    "interaction",
    "interval",
    "normal_quantile",
    "percentile_interval",
    "ratio",
    "resampled_auc",
    "resampled_means",
    "sign_flip",
    "sign_flip_columns",
    "smallest_detectable",
    "step_down",
    "structural_components",
    "trend",
    "weighted_auc",
]

Floats = NDArray[np.float64]
_EXACT = 12  # patients up to which all 2^n sign flips are enumerated
_BLOCK = 2**20  # numbers held at once by resampling
_NO_VARIANCE = 1e-24  # components are ratios of ranks: less than this is rounding
_SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")
_TIE = 1e-12  # sums this close, relative to their terms, are the same sum


@dataclass(frozen=True, eq=False)
class DeLong:
    """Areas under k receiver operating characteristic curves on the same cases.

    Attributes:
        auc: areas, k in [0, 1].
        covariance: their covariance, k x k; NaN with fewer than two positives or negatives.
    """

    auc: Floats
    covariance: Floats


def auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Return the share of (positive, negative) pairs ranked rightly, ties as one half.

    Mann-Whitney's U over the number of pairs; NaN where either side is empty.

    Raises:
        AuditError: a score is not finite.
    """
    high, low = _finite(positive).ravel(), _finite(negative).ravel()
    if not (high.size and low.size):
        return math.nan
    return float(structural_components(high[None], low[None])[0].mean())


def delong(scores: ArrayLike, positive: ArrayLike, strata: ArrayLike | None = None) -> DeLong:
    """Return k areas and their covariance by the fast algorithm of DeLong's method.

    Sun and Xu, IEEE Signal Processing Letters 21 (2014) 1389; DeLong et al., Biometrics 44 (1988)
    837.

    Args:
        scores: k x n, or n for one curve; any monotone scale.
        positive: n bool.
        strata: n labels, of areas as in `weighted_auc`. A case's component is then what it adds to
            the pairs ranked rightly less what its pairs add to their number; cases without a pair
            are left out.

    Raises:
        AuditError: lengths differ, or a score is not finite.
    """
    table, chosen = _cases(np.atleast_2d(_finite(scores)), positive)
    k, parts = len(table), _parts(strata, chosen.size)
    ranked, pairs = np.zeros(table.shape), np.zeros(chosen.size)
    for part in range(parts.max(initial=-1) + 1):
        there, absent = ((parts == part) & one for one in (chosen, ~chosen))
        m, n = int(there.sum()), int(absent.sum())
        if m and n:
            first, second = structural_components(table[:, there], table[:, absent])
            ranked[:, there], ranked[:, absent] = first * n, second * m
            pairs[there], pairs[absent] = n, m
    if not pairs.any():
        return DeLong(np.full(k, np.nan), np.full((k, k), np.nan))
    total = pairs[chosen].sum()
    area = ranked[:, chosen].sum(axis=1) / total
    shares = (ranked - area[:, None] * pairs) / total
    sides = (shares[:, one & (pairs > 0)] for one in (chosen, ~chosen))
    return DeLong(area, np.sum([_covariance(x * x.shape[1]) for x in sides], axis=0))


def delong_interval(
    scores: ArrayLike,
    positive: ArrayLike,
    *,
    level: float = 0.95,
    scale: Literal["plain", "logit"] = "plain",
) -> tuple[float, float, float]:
    """Return area, low and high of one curve by the normal approximation.

    ``plain`` is clipped to [0, 1]; ``logit`` never leaves it, and covers better near its ends. An
    area of exactly 0 or 1 has no estimated variance: its interval is a point in both, and too sure.
    Arguments and errors as `delong`, with scores n; `level` in (0, 1).
    """
    result = delong(scores, positive)
    area, variance = float(result.auc[0]), float(result.covariance[0, 0])
    half = normal_quantile(level) * math.sqrt(variance)
    if scale == "plain" or not 0 < area < 1:
        return area, float(np.clip(area - half, 0, 1)), float(np.clip(area + half, 0, 1))
    centre, half = math.log(area / (1 - area)), half / (area * (1 - area))
    return area, 1 / (1 + math.exp(half - centre)), 1 / (1 + math.exp(-half - centre))


def delong_paired(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    positive: ArrayLike,
    *,
    level: float = 0.95,
    strata: ArrayLike | None = None,
) -> tuple[float, float, float, float]:
    """Return area of a minus area of b on the same cases, with low, high and two-sided p.

    Equal scores give p = 1. A difference without variance has NaN for interval and p.
    Arguments and errors as `delong`, with scores n each; `level` in (0, 1).
    """
    result = delong(np.stack([_finite(scores_a), _finite(scores_b)]), positive, strata)
    contrast = np.array([1.0, -1.0])
    return _normal(contrast @ result.auc, contrast @ result.covariance @ contrast, level)


def auc_difference_shared_positives(
    positive: ArrayLike, negatives_a: ArrayLike, negatives_b: ArrayLike, *, level: float = 0.95
) -> tuple[float, float, float, float]:
    """Return the area against negatives a minus that against b, with low, high and two-sided p.

    One head, the same positives, two independent sets of negatives. DeLong's structural components:
    positives contribute the variance of their own difference, each set of negatives its variance.
    Where two sets are told apart completely there is no variance: the interval is NaN, and p that
    of the exact permutation of negatives between the sets.

    Raises:
        AuditError: a score is not finite.
    """
    high, a, b = (_finite(x).reshape(1, -1) for x in (positive, negatives_a, negatives_b))
    if not (high.size and a.size and b.size):
        return (math.nan,) * 4
    (shared_a, own_a), (shared_b, own_b) = (
        structural_components(high, a),
        structural_components(high, b),
    )
    variance = sum(float(_covariance(x)[0, 0]) for x in (shared_a - shared_b, own_a, own_b))
    result = _normal(shared_a.mean() - shared_b.mean(), variance, level)
    if variance <= _NO_VARIANCE and math.isnan(result[3]):
        extreme = 2 if a.size == b.size else 1  # arrangements as far apart as this one
        return (*result[:3], extreme / math.comb(a.size + b.size, a.size))
    return result


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
    table, drawn = _matrix(values), np.asarray(weights)
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
    table = _matrix(values)
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


def clustered_auc_interval(
    scores: ArrayLike,
    positive: ArrayLike,
    cluster: ArrayLike,
    count: int,
    seed: int,
    level: float = 0.95,
    strata: ArrayLike | None = None,
) -> tuple[float, float]:
    """Return the percentile interval of an area, resampling clusters (patients) of cases.

    Resamples as `resampled_auc`; those without a positive or without a negative are left out.

    Args:
        scores: n.
        positive: n bool.
        cluster: n labels; cases of one label are drawn together.
        count: resamples.
        seed: of the resamples.
        level: in (0, 1).
        strata: n labels, of the area as in `weighted_auc`.

    Raises:
        AuditError: lengths differ, or a score is not finite.
    """
    chosen = np.asarray(positive, bool).ravel()
    names, member = np.unique(np.asarray(cluster, str), return_inverse=True)
    if member.size != chosen.size:
        raise AuditError(f"A case has one cluster; got {member.size} for {chosen.size} cases.")
    if not 0 < chosen.sum() < chosen.size:
        return math.nan, math.nan
    blocks = draw_blocks(count, len(names), seed, width=chosen.size)
    areas = [resampled_auc(scores, chosen, member, block.T, strata) for block in blocks]
    return interval(np.concatenate(areas), level)


def resampled_auc(
    scores: ArrayLike,
    positive: ArrayLike,
    member: NDArray[np.intp],
    drawn: ArrayLike,
    strata: ArrayLike | None = None,
) -> Floats:
    """Return the area under the curve in resamples of clusters, count; NaN where a side is none.

    A positive and a negative of one cluster keep the weight that they have in the area: drawing
    with replacement would pair a cluster with itself twice as often, and shift all resamples where
    both arms are of the same patients.

    Args:
        scores: n.
        positive: n bool.
        member: n, each case's row in `drawn`.
        drawn: clusters x count, how often each is drawn.
        strata: n labels, of the area as in `weighted_auc`.

    Raises:
        AuditError: lengths differ, or a score is not finite.
    """
    table, chosen = _cases(_finite(scores).reshape(1, -1), positive)
    weights, parts = np.asarray(drawn, np.float64), _parts(strata, chosen.size)
    above, pairs = _own_pairs(table[0], chosen, member, parts, len(weights))
    ranked, total = _ranked(table[0], chosen, weights[member], parts)
    # Two clusters are drawn together 1 - 1/n times on average, a cluster once.
    times = (1 - 1 / max(1, len(weights))) * weights - weights**2
    return ratio(ranked + above @ times, total + pairs @ times, least=_TIE)


def weighted_auc(
    scores: ArrayLike, positive: ArrayLike, weights: ArrayLike, strata: ArrayLike | None = None
) -> Floats:
    """Return the area under the curve in each resample, count; NaN where a side is not drawn.

    Args:
        scores: n.
        positive: n bool.
        weights: n x count, how often each case was drawn; a resample is a column, which makes
            this several times faster than rows would.
        strata: n labels, such as sources. A positive and a negative count as a pair where both are
            of one stratum: what differs between strata cannot tell them apart.

    Raises:
        AuditError: lengths differ, or a score is not finite.
    """
    table, chosen = _cases(_finite(scores).reshape(1, -1), positive)
    drawn = np.asarray(weights, np.float64)
    if drawn.ndim != 2 or len(drawn) != chosen.size:
        raise AuditError(
            f"Weights must be {chosen.size} x count, a row a case; got shape {drawn.shape}."
        )
    return ratio(*_ranked(table[0], chosen, drawn, _parts(strata, chosen.size)))


def _parts(strata: ArrayLike | None, n: int) -> NDArray[np.intp]:
    """Return the number of each case's stratum, n."""
    if strata is None:
        return np.zeros(n, np.intp)
    parts = np.unique(np.asarray(strata).ravel(), return_inverse=True)[1]
    if parts.size != n:
        raise AuditError(f"A case has one stratum; got {parts.size} for {n} cases.")
    return parts


def _ranked(
    scores: Floats, chosen: NDArray[np.bool_], drawn: Floats, parts: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Return pairs ranked rightly and all pairs, within strata, in each resample, count each."""
    ranked, pairs = np.zeros((2, drawn.shape[1]))
    for part in range(parts.max(initial=-1) + 1):
        there, absent = (np.flatnonzero((parts == part) & one) for one in (chosen, ~chosen))
        absent = absent[np.argsort(scores[absent], kind="stable")]
        high, mass = drawn[there], np.zeros((len(absent) + 1, drawn.shape[1]))
        np.cumsum(drawn[absent], axis=0, out=mass[1:])
        below, upto = (np.searchsorted(scores[absent], scores[there], side) for side in _SIDES)
        ranked += np.einsum("ij,ij->j", high, mass[below] + mass[upto]) / 2
        pairs += high.sum(axis=0) * mass[-1]
    return ranked, pairs


def _own_pairs(
    scores: Floats,
    chosen: NDArray[np.bool_],
    member: NDArray[np.intp],
    parts: NDArray[np.intp],
    count: int,
) -> tuple[Floats, Floats]:
    """Return pairs ranked rightly and all pairs of each cluster with itself, count each."""
    above, pairs = np.zeros((2, count))
    group = np.unique(member * (parts.max(initial=0) + 1) + parts, return_inverse=True)[1]
    sides = (np.bincount(group[one], minlength=len(group)) > 0 for one in (chosen, ~chosen))
    both = np.flatnonzero(np.logical_and(*sides)[group])
    order = both[np.argsort(group[both], kind="stable")]
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else ():
        own, there = scores[rows], chosen[rows]
        apart = np.sign(np.subtract.outer(own[there], own[~there])) / 2 + 0.5
        above[member[rows[0]]] += apart.sum()
        pairs[member[rows[0]]] += apart.size
    return above, pairs


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
    table = _matrix(values)
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
    row, table = np.asarray(observed, np.float64).ravel(), _matrix(chance)
    if table.shape[1] != row.size:
        raise AuditError(f"Chance needs one column per statistic, {row.size}; got {table.shape}.")
    p = np.full(row.size, np.nan)
    order = np.argsort(row, kind="stable")[: int(np.isfinite(row).sum() + np.isinf(row).sum())]
    largest = np.maximum.accumulate(table[:, order], axis=1)
    raw = (1 + (largest >= row[order]).sum(axis=0)) / (len(table) + 1)
    p[order] = np.maximum.accumulate(raw[::-1])[::-1]
    return p


def smallest_detectable(
    deviation: ArrayLike, n: ArrayLike, *, alpha: float = 0.05, power: float = 0.8
) -> Any:
    """Return the smallest mean that a two-sided one-sample t test of n patients would detect.

    Solved exactly in the noncentral t distribution.

    Args:
        deviation: standard deviation between patients, in any unit; the result has that unit.
        n: patients; broadcast against `deviation`.
        alpha: of the test.
        power: probability of detection, in (alpha, 1).

    Returns:
        a float, or an array where an argument is one; NaN for n < 2.

    Raises:
        AuditError: alpha and power are not 0 < alpha < power < 1.
    """
    if not 0 < alpha < power < 1:
        raise AuditError(f"Power needs 0 < alpha < power < 1; got {alpha:g} and {power:g}.")
    units = np.vectorize(lambda m: _detectable_units(float(m), alpha, power), otypes=[float])(n)
    result = np.asarray(deviation, np.float64) * units
    return result if result.ndim else float(result)


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
    doses, table = np.asarray(levels, np.float64).ravel(), _matrix(values)
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


def structural_components(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Return structural components of k x m positives and k x n negatives, from midranks.

    A positive's is the share of negatives below it, a negative's that of positives above it; the
    mean of either is the area (DeLong et al. 1988).
    """
    m, n = positive.shape[1], negative.shape[1]
    together = stats.rankdata(np.concatenate([positive, negative], axis=1), axis=1)
    first = (together[:, :m] - stats.rankdata(positive, axis=1)) / n
    second = 1 - (together[:, m:] - stats.rankdata(negative, axis=1)) / m
    return first, second


def _covariance(components: Floats) -> Floats:
    """Return the covariance, k x k, of the means of k x n components."""
    k, n = components.shape
    if n < 2:
        return np.full((k, k), np.nan)
    return np.asarray(np.cov(components).reshape(k, k) / n, np.float64)


def _normal(value: Any, variance: float, level: float) -> tuple[float, float, float, float]:
    """Return a difference with low, high and two-sided p of the normal approximation."""
    difference, quantile = float(value), normal_quantile(level)
    if variance <= _NO_VARIANCE:
        same = abs(difference) < _TIE
        return (difference, 0.0, 0.0, 1.0) if same else (difference, *(math.nan,) * 3)
    error = math.sqrt(variance)
    p = float(2 * stats.norm.sf(abs(difference) / error))
    return difference, difference - quantile * error, difference + quantile * error, p


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


@lru_cache(maxsize=4096)
def _detectable_units(n: float, alpha: float, power: float) -> float:
    """Return the detectable mean in standard deviations."""
    if not n >= 2:
        return math.nan
    limit = float(stats.t.isf(alpha / 2, n - 1))

    def short(shift: float) -> float:
        # t^2 is noncentral F: both tails at once, where scipy's noncentral t gives NaN far out.
        return 1 - float(special.ncfdtr(1, n - 1, shift**2, limit**2)) - power

    high = limit
    while short(high) < 0:
        high *= 2
    return float(optimize.brentq(short, 0, high, xtol=1e-12)) / math.sqrt(n)


def _tail(level: float) -> float:
    if not 0 < level < 1:
        raise AuditError(f"A confidence level must be between 0 and 1; got {level:g}.")
    return (1 - level) / 2


def normal_quantile(level: float) -> float:
    """Return the normal quantile of a two-sided interval: 1.96 of level 0.95."""
    return float(stats.norm.isf(_tail(level)))


def _finite(scores: ArrayLike) -> Floats:
    table = np.asarray(scores, np.float64)
    if not np.isfinite(table).all():
        count = int((~np.isfinite(table)).sum())
        raise AuditError(f"Scores must be finite; got {count} that are not. Leave those cases out.")
    return table


def _cases(scores: Floats, positive: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    chosen = np.asarray(positive, bool).ravel()
    if scores.ndim != 2 or scores.shape[1] != chosen.size:
        raise AuditError(
            f"Scores must be k x n for n labels; got shape {scores.shape} and {chosen.size} labels."
        )
    return scores, chosen


def _matrix(values: ArrayLike) -> Floats:
    table = np.asarray(values, np.float64)
    if table.ndim != 2:
        raise AuditError(f"Values must be n x m, patients in rows; got shape {table.shape}.")
    return table
