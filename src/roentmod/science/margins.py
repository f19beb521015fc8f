"""Tests at the margin: is an off-target effect beyond it, or surely within, over all cells.

A head's *share* is its off-target effect as a ratio to its own effect. That it exceeds a margin m
is a linear contrast, off - leakage - m x own > 0, so that nothing is divided by what may be small
(Fieller 1954). Every term is a mean over patients, and a contrast of such means has one linearised
value per patient (the delta method), whose mean is studentised. The bootstrap-t over patients
simulates that statistic (Hall, Ann Stat 16 (1988) 927), which allows for skewness; and because all
cells are resampled together, the largest statistic of those not yet decided gives p-values adjusted
for all of them, however cells depend on each other (step-down max-T: Romano and Wolf, JASA 100
(2005) 94).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roentmod.plans.audit import Rules
from roentmod.science import stats

__all__ = ["Shares", "Terms", "shares"]

Floats = NDArray[np.float64]
_GROUPS = 2000  # patients beyond so many are resampled in so many groups
_POWER = 0.8  # chance with which a detectable effect is called
_FLOOR = 1e-4  # least variance of a resample, as a share of that of all patients


class Terms(NamedTuple):
    """Net effects per patient behind m cells, each n x m in logits, NaN where missing.

    Attributes:
        off: the read head's, counted pairs of the edited finding.
        own: its yardstick's, counted pairs.
        leak: the judge's of the read finding, in the pairs of `off`, and
        weight: what each patient counts for in it.
        rate: the read head's in all pairs of its own finding, counted or not, and
        seen: the judge's in the same: `rate` / `seen` turns the judge's logits into the head's. No
            pair is chosen here, as the choice by the judge would choose what it happens to
            overrate.
        base: what the judge sees of the read finding in unedited radiographs of other patients,
            whose mean is taken off `leak` and `seen`; None: each is less its own control already.
    """

    off: Floats
    own: Floats
    leak: Floats
    weight: Floats
    rate: Floats
    seen: Floats
    base: Floats | None = None


class Shares(NamedTuple):
    """Shares of the own effect, and tests at the margin, each of m cells; NaN where unknown.

    Attributes:
        ratio: off-target effect over own effect, with its interval.
        leak: of which the pictures show so much of the read finding, with its interval.
        corrected: ratio less leakage, with its interval.
        least: low end of `corrected` that holds for all cells at once.
        beyond_p: adjusted p that the corrected share is not above the margin.
        below_p: adjusted p that the ratio is not below minus the margin.
        within_p: adjusted p that the corrected share is not inside the margins.
        detectable: smallest off-target effect in logits, after leakage is taken off, that the test
            behind `beyond_p` calls with a chance of 80 % in as many patients: as the largest of
            all cells. Of effects as skewed as an exponential it calls 70 %. NaN where so few
            resamples cannot reach the level.
    """

    ratio: Floats
    ratio_low: Floats
    ratio_high: Floats
    leak: Floats
    leak_low: Floats
    leak_high: Floats
    corrected: Floats
    corrected_low: Floats
    corrected_high: Floats
    least: Floats
    beyond_p: Floats
    below_p: Floats
    within_p: Floats
    detectable: Floats


class _Mean(NamedTuple):
    """A mean over patients of each cell, m, and a value per patient, n x m, that has this mean."""

    mean: Floats
    values: Floats

    def less(self, other: _Mean, times: Floats | float = 1.0) -> _Mean:
        return _Mean(self.mean - times * other.mean, self.values - times * other.values)


def shares(terms: Terms, rules: Rules) -> Shares:
    """Return shares and tests of m cells.

    Args:
        terms: of off-target cells, whose yardsticks are surely above 0.
        rules: margin, level, resamples, seed; `exact`: nothing leaks.
    """
    off, own = _mean(terms.off), _mean(terms.own)
    leak = _leakage(terms) if not rules.exact else off.less(off)
    shown = _leakage(terms)
    m, tail = off.mean.size, (1 - rules.level) / 2
    ratio, leaking = off.mean / own.mean, shown.mean / own.mean
    left = off.less(leak)
    lines = [off.less(own, ratio), shown.less(own, leaking), left.less(own, left.mean / own.mean)]
    # To clear a pair, nothing is taken off that is not surely there.
    sure = np.where(_t(shown) > stats.normal_quantile(rules.level), 1.0, 0.0)
    at = [left, off.less(leak, sure), off]
    contrasts = [
        one.less(own, sign * rules.margin) for one, sign in zip(at, (1, 1, -1), strict=True)
    ]
    chance, errors = _resampled([one.values for one in (*lines, *contrasts)], rules)
    by_chance = [chance[:, k * m : (k + 1) * m] for k in range(6)]
    ends = [
        _fieller(one, own, some, tail)
        for one, some in zip((off, shown, left), by_chance[:3], strict=True)
    ]
    together = by_chance[2].max(axis=1, initial=0.0)
    least, _ = _fieller(left, own, np.repeat(together[:, None], m, axis=1), tail)
    beyond, upper, lower, below = (
        stats.step_down(sign * _t(contrasts[k]), sign * by_chance[3 + k])
        for k, sign in ((0, 1), (1, -1), (2, 1), (2, -1))
    )
    needed = _needed(by_chance[3], errors[:, 3 * m : 4 * m], _error(contrasts[0]), rules)
    # Leakage explains a rise, and no more of it than there is.
    corrected = ratio - np.clip(leak.mean / own.mean, 0, np.maximum(0, ratio))
    corrected = np.where(np.isfinite(leak.mean), corrected, np.nan)
    (raw_low, raw_high), leak_ends, (low, high) = ends
    low = np.maximum(low, np.minimum(0, raw_low))
    return Shares(
        *(ratio, raw_low, raw_high, leaking, *leak_ends),
        *(corrected, np.minimum(low, corrected), np.maximum(high, corrected)),
        *(np.minimum(least, low), beyond, below, np.maximum(upper, lower)),
        np.where(np.isfinite(left.mean), rules.margin * own.mean + needed, np.nan),
    )


def _mean(values: Floats, weights: Floats | float = 1.0) -> _Mean:
    here = np.isfinite(values)
    weight = np.where(here, weights, 0)
    total = weight.sum(axis=0)
    mean = stats.ratio((weight * np.where(here, values, 0)).sum(axis=0), total)
    weight = weight * len(values) / np.where(total > 0, total, 1)
    return _Mean(mean, mean + np.where(here, values - mean, 0) * weight)


def _leakage(terms: Terms) -> _Mean:
    """Return what leaks, in the head's logits; NaN where the judge does not read the finding.

    A negative leak is the judge's own habit, as a radiograph without a finding cannot lose it, and
    a head that does not react to its finding does not react to what leaks of it either.
    """
    leak, rate, seen = _mean(terms.leak, terms.weight), _mean(terms.rate), _mean(terms.seen)
    if terms.base is not None:
        base = _mean(terms.base)
        leak, seen = leak.less(base), seen.less(base)
    known = np.where(seen.mean > 0, seen.mean, np.nan)
    amount, each = np.maximum(0, leak.mean), np.maximum(0, rate.mean) / known
    values = (leak.values - leak.mean) * each
    values = values + (rate.values - rate.mean) * (amount / known)
    values = values - (seen.values - seen.mean) * (amount * each / known)
    return _Mean(amount * each, amount * each + values)


def _t(contrast: _Mean) -> Floats:
    error = _error(contrast)
    # What does not vary is as sure as rounding lets it be.
    least = 1e-9 * np.abs(contrast.values).max(axis=0, initial=1e-300)
    return np.asarray(contrast.mean / np.maximum(error, least), np.float64)


def _error(contrast: _Mean) -> Floats:
    error: Floats = np.sqrt(_variance(contrast.values) / len(contrast.values))
    return error


def _variance(values: Floats, other: Floats | None = None) -> Floats:
    centred = values - values.mean(axis=0)
    second = centred if other is None else other - other.mean(axis=0)
    return np.asarray((centred * second).mean(axis=0), np.float64)


def _resampled(tables: list[Floats], rules: Rules) -> tuple[Floats, Floats]:
    """Return what chance makes of the statistic, and the standard errors it is studentised by.

    Both are of resamples of patients, count x columns; means are centred.
    """
    table = np.nan_to_num(_grouped(np.concatenate(tables, axis=1)))
    n, m = table.shape
    table -= table.mean(axis=0)
    drawn = stats.resampled_means(
        np.concatenate([table, table**2], axis=1), rules.resamples, rules.seed
    )
    mean, variance = drawn[:, :m], drawn[:, m:] - drawn[:, :m] ** 2
    least = np.maximum(variance, _FLOOR * (table**2).mean(axis=0))
    errors = np.sqrt(least / n)
    return np.nan_to_num(mean / np.where(errors > 0, errors, np.inf)), errors


def _needed(chance: Floats, errors: Floats, error: Floats, rules: Rules) -> Floats:
    """Return by how much a contrast must exceed 0 to be rejected with a chance of `_POWER`, m.

    A resample's statistic, were the contrast d higher, is chance + d / error; it must exceed what
    the largest of all cells exceeds by chance in alpha of the resamples. Standard errors are
    smaller in resamples than in the patients, and there smaller than in truth: by as much.
    """
    allowed = int((1 - rules.level) / 2 * (len(chance) + 1)) - 1
    if allowed < 0 or not chance.size:
        return np.full(chance.shape[1], np.nan)
    limit = np.sort(chance.max(axis=1))[-1 - allowed]
    needed = np.quantile(errors * (limit - chance), _POWER, axis=0)
    mean = errors.mean(axis=0)
    return np.asarray(needed * error / np.where(mean > 0, mean, 1), np.float64)


def _grouped(table: Floats) -> Floats:
    """Return the table, or that of groups of patients which are as independent as patients are."""
    n = len(table)
    if n <= _GROUPS:
        return table
    starts = np.linspace(0, n, _GROUPS, endpoint=False).astype(int)
    return np.asarray(np.add.reduceat(table, starts, axis=0) * (_GROUPS / n), np.float64)


def _fieller(above: _Mean, below: _Mean, chance: Floats, tail: float) -> tuple[Floats, Floats]:
    """Return ends of the interval of a ratio of means, infinite where the divisor may be 0.

    They are the ratios r at which the statistic of above - r x below is at a quantile of what it
    is by chance.
    """
    n = len(above.values)
    a, b = above.mean, below.mean
    aa, bb = _variance(above.values) / n, _variance(below.values) / n
    ab = _variance(above.values, below.values) / n
    quantiles = np.quantile(chance, [1 - tail, tail], axis=0)
    ends = []
    for q, sign in zip(quantiles, (-1.0, 1.0), strict=True):
        square = q * q
        first, second, third = b * b - square * bb, a * b - square * ab, a * a - square * aa
        root = np.sqrt(np.maximum(second * second - first * third, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            # A quantile on the wrong side of 0 gives the other end.
            end = (second + np.where(q < 0, 1.0, -1.0) * root) / first
        unknown = np.isnan(a) | np.isnan(b)
        ends.append(np.where(unknown, np.nan, np.where(first > 0, end, sign * np.inf)))
    return ends[0], ends[1]
