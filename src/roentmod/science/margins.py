"""Tests at the margin: is an off-target effect beyond it, or surely within, over all cells.

A head's *share* is its off-target effect as a ratio to its own effect. That it exceeds a margin m
is a linear contrast, off - leakage - m x own > 0, so that nothing is divided by what may be small
(Fieller 1954). Every term is a mean over patients, and a contrast of such means has one linearised
value per patient (the delta method), whose mean is studentised. The bootstrap-t over patients
simulates that statistic (Hall, Ann Stat 16 (1988) 927), which allows for skewness; and because all
cells are resampled together, the largest statistic of those not yet decided gives p-values adjusted
for all of them, however cells depend on each other (step-down max-T: Romano and Wolf, JASA 100
(2005) 94). Terms have patients of their own, as a gate lets few of many count: in a resample each
is a mean over, and varies by, those of its patients who were drawn.
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
_COLUMNS = 2000  # resampled at once
_POWER = 0.8  # chance with which a detectable effect is called
_FLOOR = 1e-4  # least variance of a resample, as a share of that of all patients


class Terms(NamedTuple):
    """Net effects per patient behind m cells, each n x m in logits, NaN where missing.

    Attributes:
        off: the read head's, counted pairs of the edited finding.
        own: its yardstick's, counted pairs.
        leak: the judge's of the read finding, in the pairs of `off`.
        rate: the read head's in all pairs of its own finding, counted or not, and
        seen: the judge's in the same: `rate` / `seen` turns the judge's logits into the head's. No
            pair is chosen here, as the choice by the judge would choose what it happens to
            overrate.
        other: the judge's of the read finding in other pictures of the same edits than those whose
            choice it made, and
        weight: what each patient counts for in it; None: there are no others. `leak` is too high
            where the judge's errors go together, `other` too low where an edit did not come out.
        base: what the judge sees of the read finding in unedited radiographs of other patients,
            whose mean is taken off `leak`, `other` and `seen`; None: each is less its own control
            already.
    """

    off: Floats
    own: Floats
    leak: Floats
    rate: Floats
    seen: Floats
    other: Floats | None = None
    weight: Floats | None = None
    base: Floats | None = None


class Shares(NamedTuple):
    """Shares of the own effect, and tests at the margin, each of m cells; NaN where unknown.

    Attributes:
        ratio: off-target effect over own effect, with its interval.
        leak: of which the pictures show so much of the read finding, with its interval; of two
            estimates the higher.
        corrected: ratio less leakage, with its interval.
        least: low end of `corrected` that holds for all cells at once.
        beyond_p: adjusted p that the corrected share is not above the margin.
        below_p: adjusted p that the ratio is not below minus the margin.
        within_p: adjusted p that the share is not inside the margins when only as much is taken off
            it as surely leaks, by the lower estimate.
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


class _Value(NamedTuple):
    """What is made of means over patients, m, and its derivative by each of them, K x m."""

    value: Floats
    slopes: Floats

    def less(self, other: _Value, times: Floats | float = 1.0) -> _Value:
        return _Value(self.value - times * other.value, self.slopes - times * other.slopes)


class _Sample:
    """K means over patients of m cells, and how they vary together.

    Attributes:
        means: K x m.
        off_by: each patient's deviation from each mean, K x n x m; 0 where there is none.
        weights: what each patient counts for in each mean, K x n x m, on average 1.
        moments: mean products of deviations over patients, K x K x m.
    """

    def __init__(self, tables: list[Floats], weights: list[Floats | float]) -> None:
        means, deviations, counts = [], [], []
        for values, some in zip(tables, weights, strict=True):
            here = np.isfinite(values)
            weight = np.where(here, some, 0.0)
            total = weight.sum(axis=0)
            mean = stats.ratio((weight * np.where(here, values, 0)).sum(axis=0), total)
            weight = weight * len(values) / np.where(total > 0, total, 1)
            means.append(mean)
            deviations.append(np.where(here, values - mean, 0) * weight)
            counts.append(weight)
        self.means, self.off_by = np.array(means), np.array(deviations)
        self.weights = np.array(counts)
        self.n = self.off_by.shape[1]
        self.moments = np.einsum("knm,lnm->klm", self.off_by, self.off_by) / self.n

    def mean(self, k: int) -> _Value:
        """Return one of the means."""
        slopes = np.zeros_like(self.means)
        slopes[k] = 1
        return _Value(self.means[k], slopes)

    def variance(self, one: _Value, other: _Value | None = None) -> Floats:
        """Return the variance of a value's mean over patients, or a covariance, m."""
        second = one if other is None else other
        product = np.einsum("km,klm,lm->m", one.slopes, self.moments, second.slopes)
        return np.asarray(product / self.n, np.float64)

    def error(self, one: _Value) -> Floats:
        return np.asarray(np.sqrt(np.maximum(self.variance(one), 0)), np.float64)

    def t(self, one: _Value) -> Floats:
        # What does not vary is as sure as rounding lets it be.
        size = np.abs(one.slopes * np.nan_to_num(self.means)).sum(axis=0)
        return np.asarray(one.value / np.maximum(self.error(one), 1e-9 * size + 1e-300), np.float64)

    def resampled(self, values: list[_Value], rules: Rules) -> tuple[Floats, Floats]:
        """Return what chance makes of q values' statistics, and the errors that studentise them.

        Both are of resamples of patients, q x count x m; values are centred.
        """
        slopes = np.nan_to_num(np.array([one.slopes for one in values]))
        if not (self.weights == self.weights[:1]).all():
            return _resampled(self.off_by, self.weights, slopes, rules)
        # What is made of means over the same patients is one mean over these.
        q, _, m = slopes.shape
        lines = np.einsum("qkm,knm->nqm", slopes, self.off_by).reshape(1, self.n, q * m)
        found = _resampled(lines, np.tile(self.weights[:1], q), np.ones((1, 1, q * m)), rules)
        first, second = (one.reshape(rules.resamples, q, m).swapaxes(0, 1) for one in found)
        return first, second


def _resampled(
    off_by: Floats, weights: Floats, slopes: Floats, rules: Rules
) -> tuple[Floats, Floats]:
    """Return chance and errors of q values, q x count x m.

    Args:
        off_by: of a sample, K x n x m.
        weights: of a sample, K x n x m.
        slopes: of the values, q x K x m.
        rules: how many resamples, and their seed.
    """
    q, k, m = slopes.shape
    chance, errors = (np.zeros((q, rules.resamples, m)) for _ in range(2))
    step = max(1, _COLUMNS // (k * (2 * k + 3)))
    for start in range(0, m, step):
        some = (..., slice(start, start + step))
        found = _of_cells(off_by[some], weights[some], slopes[some], rules)
        chance[some], errors[some] = found
    return chance, errors


def _of_cells(
    off_by: Floats, weights: Floats, slopes: Floats, rules: Rules
) -> tuple[Floats, Floats]:
    """Return chance and errors of some cells, with slopes q x K x cells.

    In a resample a mean moves by the mean of `off_by` over that of `weights`, and each patient
    is off it by `off_by` less `weights` times the move, over the mean of `weights`. Their mean
    products follow from those of `off_by` and `weights`, so that no resample is held.
    """
    both = np.concatenate([off_by, weights])
    both = np.stack([_grouped(np.nan_to_num(one)) for one in both])
    size, n, m = both.shape
    k = size // 2
    first, second = np.triu_indices(size)
    table = np.concatenate([both, both[first] * both[second]]).transpose(1, 0, 2)
    drawn = stats.resampled_means(table.reshape(n, -1), rules.resamples, rules.seed)
    drawn = drawn.reshape(len(drawn), -1, m)
    share = drawn[:, k:size]
    # A mean of patients of whom none is drawn stays where it is.
    scale = np.divide(1, share, out=np.zeros_like(share), where=share > 0)
    moved = drawn[:, :k] * scale
    place = np.zeros((size, size), int)
    place[first, second] = place[second, first] = size + np.arange(first.size)
    products = drawn[:, place]
    crossed = moved[:, :, None] * products[:, k:, :k]
    around = products[:, :k, :k] - crossed - crossed.swapaxes(1, 2)
    around += moved[:, :, None] * moved[:, None] * products[:, k:, k:]
    around *= scale[:, :, None] * scale[:, None]
    mean = np.einsum("qkm,ckm->qcm", slopes, moved)
    half = np.einsum("qkm,cklm->qclm", slopes, around)
    variance = np.einsum("qclm,qlm->qcm", half, slopes)
    whole = both[:k, None] * both[None, :k]
    whole = np.einsum("qkm,klm,qlm->qm", slopes, whole.mean(axis=2), slopes)
    errors = np.sqrt(np.maximum(variance, _FLOOR * np.maximum(whole, 0)[:, None]) / n)
    chance = np.divide(mean, errors, out=np.zeros_like(mean), where=errors > 0)
    return chance, errors


def shares(terms: Terms, rules: Rules) -> Shares:
    """Return shares and tests of m cells.

    Args:
        terms: of off-target cells, whose yardsticks are surely above 0.
        rules: margin, level, resamples, seed; `exact`: nothing leaks.
    """
    sample = _sampled(terms)
    off, own = sample.mean(_OFF), sample.mean(_OWN)
    shown, fewer = _leakage(sample, terms)
    nothing = off.less(off)
    left = off.less(nothing if rules.exact else shown)
    ratio, leaking = off.value / own.value, shown.value / own.value
    lines = [off.less(own, ratio), shown.less(own, leaking), left.less(own, left.value / own.value)]
    # To clear a pair, nothing is taken off that is not surely there.
    sure = np.where(sample.t(fewer) > stats.normal_quantile(rules.level), 1.0, 0.0)
    at = [left, off.less(nothing if rules.exact else fewer, sure), off]
    contrasts = [
        one.less(own, sign * rules.margin) for one, sign in zip(at, (1, 1, -1), strict=True)
    ]
    chance, errors = sample.resampled([*lines, *contrasts], rules)
    tail = (1 - rules.level) / 2
    ends = [
        _fieller(sample, one, own, some, tail)
        for one, some in zip((off, shown, left), chance[:3], strict=True)
    ]
    together = np.broadcast_to(chance[2].max(axis=1, initial=0.0)[:, None], chance[2].shape)
    least, _ = _fieller(sample, left, own, together, tail)
    beyond, upper, lower, below = (
        stats.step_down(sign * sample.t(contrasts[k]), sign * chance[3 + k])
        for k, sign in ((0, 1), (1, -1), (2, 1), (2, -1))
    )
    needed = _needed(chance[3], errors[3], sample.error(contrasts[0]), rules)
    # Leakage explains a rise, and no more of it than there is.
    leak = np.zeros_like(leaking) if rules.exact else leaking
    corrected = ratio - np.clip(leak, 0, np.maximum(0, ratio))
    corrected = np.where(np.isfinite(leak), corrected, np.nan)
    (raw_low, raw_high), leak_ends, (low, high) = ends
    low = np.maximum(low, np.minimum(0, raw_low))
    return Shares(
        *(ratio, raw_low, raw_high, leaking, *leak_ends),
        *(corrected, np.minimum(low, corrected), np.maximum(high, corrected)),
        *(np.minimum(least, low), beyond, below, np.maximum(upper, lower)),
        np.where(np.isfinite(left.value), rules.margin * own.value + needed, np.nan),
    )


_OFF, _OWN, _LEAK, _RATE, _SEEN = range(5)


def _sampled(terms: Terms) -> _Sample:
    """Return the means of the terms: the five that always are, then `other` and `base`."""
    tables = [terms.off, terms.own, terms.leak, terms.rate, terms.seen]
    weights: list[Floats | float] = [1.0] * len(tables)
    if terms.other is not None:
        tables.append(terms.other)
        weights.append(1.0 if terms.weight is None else terms.weight)
    if terms.base is not None:
        tables.append(terms.base)
        weights.append(1.0)
    return _Sample(tables, weights)


def _leakage(sample: _Sample, terms: Terms) -> tuple[_Value, _Value]:
    """Return what leaks, in the head's logits: the higher and the lower estimate.

    NaN where the judge does not read the finding. A negative leak is the judge's own habit, as a
    radiograph without a finding cannot lose it, and a head that does not react to its finding does
    not react to what leaks of it either.
    """
    leaks = [sample.mean(_LEAK)]
    rate, seen = sample.mean(_RATE), sample.mean(_SEEN)
    if terms.other is not None:
        leaks.append(sample.mean(_SEEN + 1))
    if terms.base is not None:
        base = sample.mean(len(sample.means) - 1)
        leaks, seen = [one.less(base) for one in leaks], seen.less(base)
    known = np.where(seen.value > 0, seen.value, np.nan)
    each = np.maximum(0, rate.value) / known
    found = []
    for leak in leaks:
        amount = np.maximum(0, leak.value)
        slopes = leak.slopes * each + rate.slopes * (amount / known)
        slopes = slopes - seen.slopes * (amount * each / known)
        found.append(_Value(amount * each, slopes))
    first, last = found[0], found[-1]
    higher = last.value > first.value
    return _chosen(higher, last, first), _chosen(higher, first, last)


def _chosen(where: NDArray[np.bool_], one: _Value, other: _Value) -> _Value:
    return _Value(
        np.where(where, one.value, other.value), np.where(where, one.slopes, other.slopes)
    )


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


def _fieller(
    sample: _Sample, above: _Value, below: _Value, chance: Floats, tail: float
) -> tuple[Floats, Floats]:
    """Return ends of the interval of a ratio of means, infinite where the divisor may be 0.

    They are the ratios r at which the statistic of above - r x below is at a quantile of what it
    is by chance.
    """
    a, b = above.value, below.value
    aa, bb, ab = (sample.variance(*two) for two in ((above,), (below,), (above, below)))
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
