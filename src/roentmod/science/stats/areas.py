"""Areas under the curve: values, errors by DeLong, and resamples of patients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from roentmod.errors import AuditError
from roentmod.science.stats.resampling import draw_blocks, interval, normal_quantile, ratio

__all__ = [
    "DeLong",
    "auc",
    "auc_difference_shared_positives",
    "clustered_auc_interval",
    "delong",
    "delong_interval",
    "delong_paired",
    "resampled_auc",
    "structural_components",
    "weighted_auc",
]

Floats = NDArray[np.float64]
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
    if pairs.any():
        # Two clusters are drawn together 1 - 1/n times on average, a cluster once.
        times = (1 - 1 / len(weights)) * weights - weights**2
        ranked, total = ranked + above @ times, total + pairs @ times
    return ratio(ranked, total, least=_TIE)


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
