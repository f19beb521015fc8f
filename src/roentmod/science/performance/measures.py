"""Thresholds, precision and calibration of one head, in a test and in its resamples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from roentmod.science.stats import ratio

__all__ = [
    "average_precision",
    "calibration_error",
    "chance_error",
    "platt",
    "two_way",
    "weighted_mean",
    "youden",
]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def youden(scores: Floats, positive: Mask) -> float:
    """Return the threshold with the greatest sensitivity + specificity; scores at or above it call.

    Youden, Cancer 3 (1950) 32. It lies midway between two neighbouring scores, so that it does not
    hang on one picture; among equals the most balanced one, then the lowest. NaN where there are
    no positives, no negatives, or only one score.

    Args:
        scores: n.
        positive: n.
    """
    values, code = np.unique(scores, return_inverse=True)
    high = np.bincount(code, weights=positive, minlength=values.size)
    low = np.bincount(code, weights=~positive, minlength=values.size)
    if values.size < 2 or not (high.sum() and low.sum()):
        return math.nan
    sensitivity = 1 - np.cumsum(high)[:-1] / high.sum()
    specificity = np.cumsum(low)[:-1] / low.sum()
    index = np.round(sensitivity + specificity, 12)
    best = np.lexsort((np.abs(sensitivity - specificity).round(12), -index))[0]
    return float((values[best] + values[best + 1]) / 2)


def platt(scores: Floats, positive: Mask) -> tuple[float, float]:
    """Return slope and intercept of the logistic line from logits to calibrated logits.

    Platt (1999), with his targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2), which keep a complete
    separation finite. NaN where there are no positives or no negatives.

    Args:
        scores: n.
        positive: n.
    """
    high, low = int(positive.sum()), int((~positive).sum())
    if not (high and low):
        return math.nan, math.nan
    target = np.where(positive, (high + 1) / (high + 2), 1 / (low + 2))
    # Standardised scores make one start and one tolerance good for all.
    centre, scale = float(scores.mean()), float(scores.std()) or 1.0
    standard = (scores - centre) / scale

    def loss(line: Floats) -> tuple[float, Floats]:
        logit = line[0] * standard + line[1]
        error = special.expit(logit) - target
        value = float((np.logaddexp(0, logit) - target * logit).mean())
        return value, np.array([(error * standard).mean(), error.mean()])

    start = np.array([0.0, special.logit(target.mean())])
    result = optimize.minimize(loss, start, jac=True, method="BFGS").x
    slope = float(result[0]) / scale
    return slope, float(result[1]) - slope * centre


def average_precision(scores: Floats, positive: Mask, weights: Floats) -> Floats:
    """Return average precision in each resample, count; NaN where no positive is drawn.

    The sum over thresholds of precision times the step of recall, without interpolation, equal
    scores in one step, as `sklearn.metrics.average_precision_score`.

    Args:
        scores: n.
        positive: n.
        weights: n x count.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # of equal scores
    drawn = weights[order]
    both = np.cumsum(drawn, axis=0)[last]
    right = np.cumsum(drawn * positive[order][:, None], axis=0)[last]
    precision = np.divide(right, both, out=np.zeros_like(both), where=both > 0)
    ranked = np.einsum("ij,ij->j", np.diff(right, axis=0, prepend=0), precision)
    return ratio(ranked, right[-1])


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Return the mean of values in each resample, ... x count; NaN where nobody is drawn.

    Args:
        values: ... x n.
        weights: n x count.
    """
    total = np.broadcast_to(weights.sum(axis=0), (*values.shape[:-1], weights.shape[1]))
    return ratio(values @ weights, total)


def calibration_error(
    probability: Floats, positive: Mask, weights: Floats, bins: int = 15
) -> Floats:
    """Return the expected calibration error in each resample, count.

    Naeini et al., AAAI 2015, in bins of equal mass: bins are of the n cases as they are, equal
    probabilities are in one bin, and the absolute mean of probability less label in each bin is
    weighted by the cases in it.

    Args:
        probability: n in [0, 1].
        positive: n.
        weights: n x count.
        bins: how many.
    """
    own = _members(probability, bins).T @ ((probability - positive)[:, None] * weights)
    return ratio(np.abs(own).sum(axis=0), weights.sum(axis=0))


def chance_error(probability: Floats, bins: int = 15) -> float:
    """Return the calibration error that probabilities would show if they were exactly right.

    By chance the bins of a finite sample are off: in the normal approximation a bin's expected
    absolute sum is sqrt(2 / pi) times the deviation of its labels.

    Args:
        probability: n in [0, 1].
        bins: how many.
    """
    variance = probability * (1 - probability)
    deviation = np.sqrt(_members(probability, bins).T @ variance)
    return float(math.sqrt(2 / math.pi) * deviation.sum() / max(1, probability.size))


def _members(probability: Floats, bins: int) -> Floats:
    """Return who is in which bin of equal mass, n x bins, ones and zeros."""
    # Probabilities that are not known get some bin: what is summed in it is NaN.
    rank = stats.rankdata(np.nan_to_num(probability), method="min").astype(int) - 1
    member: Floats = np.eye(bins)[rank * bins // max(1, rank.size)]
    return member


def two_way(
    samples: Floats, by_seed: Floats, patients: int, level: float
) -> tuple[float, float, float]:
    """Return low, high and p against 0 of a mean over seeds: patients and seeds are both drawn.

    Seeds are to patients what readers are to cases (Obuchowski and Rockette, Commun Stat Simul
    Comput 24 (1995) 285). The margin over resamples of patients, seeds fixed, and that between
    seeds, each with a t of its degrees of freedom, are added in quadrature (Zou and Donner, Stat
    Med 27 (2008) 1693). Of three seeds such intervals hold 95 to 98 % of truths; one t after
    Satterthwaite holds 92 %, and resampled seeds, whose variance is a third too small, fewer.

    Args:
        samples: 1 + resamples of patients of the mean over seeds, the value itself first.
        by_seed: the value of each seed.
        patients: how many there are.
        level: of the interval.

    Returns:
        NaN with fewer than two seeds or an unknown value.
    """
    count, value = len(by_seed), float(samples[0])
    if count < 2 or not np.isfinite([value, *by_seed]).all() or patients < 2:
        return (math.nan,) * 3
    parts = np.array([np.nanvar(samples[1:], ddof=1), np.var(by_seed, ddof=1) / count])
    freedom = np.array([patients - 1, count - 1])

    def margin(p: float) -> float:
        return float(np.sqrt((special.stdtrit(freedom, 1 - p / 2) ** 2 * parts).sum()))

    half, tiny = margin(1 - level), 1e-12
    if margin(tiny) <= abs(value):
        return value - half, value + half, tiny if value else 1.0
    p = optimize.brentq(lambda p: margin(p) - abs(value), tiny, 1.0)
    return value - half, value + half, float(p)
